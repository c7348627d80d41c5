//! The command line of `regions promote`.

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;

use super::targets::Environment;
use crate::vault::reach::Clusters;
use crate::vault::secrets::Vaults;

/// What each ending means for this verb.
const ENDINGS: &str = "\
Examples:
  regions promote --env qa --release chart.tgz --dry-run
  regions promote --env production --release oci://REPOSITORY@sha256:DIGEST --why 'ticket 1234'

Exit codes:
  0  every region runs the release, and every gate has passed (or --dry-run, or --settle with nothing to undo)
  1  refused: nothing was changed in any region
  2  the command line, catalogue, kubeconfig or Helm is not in order; nothing was changed
  3  it failed, and every region that was touched runs what it ran before
  4  it is not over: run again to go on, or `regions promote --env E --settle` to end it
  5  another run is at work in one of the regions

A release that fails a gate, or does not become ready, is taken back from every region that it was promoted to, newest
wave first. A run that was killed is gone on with by running the same command again.";

/// What to promote, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = ENDINGS)]
pub struct Args {
    /// The environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub environment: String,
    /// The release: a packaged chart (CHART.tgz) or oci://REPOSITORY@sha256:DIGEST, never a tag
    #[arg(long, value_name = "RELEASE", required_unless_present = "settle")]
    pub release: Option<String>,
    /// End what a run left that was killed or cancelled: undo it, unless every gate had passed
    #[arg(long, conflicts_with_all = ["release", "override_freeze", "unproven"])]
    pub settle: bool,
    /// Show what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask before the first region is written to
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the release record
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Promote although the environment is frozen, and why; for the release record
    #[arg(long, value_name = "WHY")]
    pub override_freeze: Option<String>,
    /// Promote although the environment before has not run the release healthily, and why; for the release record
    #[arg(long, value_name = "WHY")]
    pub unproven: Option<String>,
    /// Append what gates see to this file, a JSON document for each look at a region: to judge the gates by later
    #[arg(long, value_name = "FILE", conflicts_with_all = ["settle", "dry_run"])]
    pub record_looks: Option<PathBuf>,
    /// The build that runs this, for the release record
    #[arg(long, value_name = "URL", env = "CIRCLE_BUILD_URL")]
    pub build: Option<String>,
    /// How to do it
    #[command(flatten)]
    pub how: How,
    /// The regions' Vaults
    #[command(flatten)]
    pub vaults: Vaults,
    /// The Helm program [default: `helm` from PATH]
    #[arg(long, value_name = "FILE")]
    pub helm: Option<PathBuf>,
}

/// How regions are worked on and asked.
#[derive(Debug, Clone, clap::Args)]
pub struct How {
    /// Regions of a wave that are worked on at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub parallel: u8,
    /// How long the workloads of a region may take to become ready
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
    /// How long a pod may wait for a node to be made for it
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = duration)]
    pub unschedulable_after: Duration,
    /// After so long without a word from it, a run counts as killed, and another may take its regions over
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub lease: Duration,
    /// PEM certificates of the authorities that vouch for what clients are shown [default: those of this machine]
    #[arg(long, value_name = "FILE")]
    pub public_ca: Option<PathBuf>,
    /// The regions' clusters
    #[command(flatten)]
    pub clusters: Clusters,
}

impl Args {
    /// The command that does the same again.
    pub(super) fn command(&self, environment: &Environment, as_before: bool) -> String {
        let dry_run = if self.dry_run && as_before { " --dry-run" } else { "" };
        match &self.release {
            Some(release) => {
                format!("regions promote --env {} --release {release}{dry_run}", environment.name)
            }
            None => format!("regions promote --env {} --settle{dry_run}", environment.name),
        }
    }
}

/// A duration such as `90s` or `10m`, above zero and at most a day.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let read: SignedDuration =
        text.parse().map_err(|_| format!("{text} is not a duration such as 90s or 10m"))?;
    let read = Duration::try_from(read).map_err(|_| format!("{text} is below zero"))?;
    let bounds = Duration::from_secs(1)..=Duration::from_secs(86_400);
    if bounds.contains(&read) { Ok(read) } else { Err(format!("{text} is not between 1s and 24h")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "10", "0s", "-1s", "25h", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
