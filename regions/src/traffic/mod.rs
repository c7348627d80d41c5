//! `regions drain` and `regions restore`: a region goes out of global traffic and comes back, without a request lost.
//!
//! The ConfigMap `traffic` of the region says so; its pods answer `/trafficz` by it, and the global entry asks them
//! there. A drained region still serves whoever comes. The map is written first and in one piece, so that a run that is
//! killed leaves a region that is drained or is not, and the same command goes on.

mod drain;
mod held;
mod region;
mod report;
mod restore;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::promote::args::duration;
use crate::promote::targets::Environment;
use crate::vault::secrets::Vaults;

pub use report::Report;

/// Which region, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The region
    #[command(flatten)]
    pub named: crate::named::Named,
    /// Show what would be done, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask first
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for whoever looks at the region later
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Do it although something speaks against it, and why
    #[arg(long, value_name = "WHY")]
    pub force: Option<String>,
    /// How long it may take until clients have gone, or come back
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
    /// Over how long traffic is counted before it is said to be gone
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub window: Duration,
    /// After so long without a word from it, a run counts as killed, and another may take its regions over
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub lease: Duration,
    /// PEM certificates of the authorities that vouch for what clients are shown [default: those of this machine]
    #[arg(long, value_name = "FILE")]
    pub public_ca: Option<PathBuf>,
    /// The regions' clusters
    #[command(flatten)]
    pub clusters: crate::vault::reach::Clusters,
    /// The regions' Vaults
    #[command(flatten)]
    pub vaults: Vaults,
}

/// Takes a region out of global traffic, or lets it back in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Out.
    Out,
    /// Back in.
    In,
}

/// Does it. Once `stop` is true, the write in flight is ended and no other is begun.
pub async fn run(
    args: &Args,
    way: Way,
    environment: &Environment,
    region: &str,
    stop: watch::Receiver<bool>,
) -> Report {
    let mut report = Report::new(&environment.name, region, way);
    match way {
        Way::Out => drain::run(args, environment, &mut report, &stop).await,
        Way::In => restore::run(args, environment, &mut report, &stop).await,
    }
    report
}
