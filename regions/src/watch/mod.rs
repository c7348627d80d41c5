//! `regions watch`: what a region's pods use of what its Vault holds, for as long as it runs.
//!
//! It asks Vault once a second for what is new, tells the agents, and asks every pod who uses what. Whoever asks it for the
//! region gets an answer of a round that began after that. It ends for no trouble of Vault, of the API server or of a pod.

mod args;
mod ask;
mod events;
mod floor;
mod lead;
mod metrics;
mod openmetrics;
#[cfg(test)]
mod race;
pub mod round;
mod rounds;
mod secrets;
mod server;
pub(crate) mod tls;
mod workload;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::cluster::{Cluster, Patience, access};
use crate::vault::session::Session;
use floor::Floors;
use metrics::Metrics;
use rounds::{Own, Rounds};
use secrets::Secrets;
use server::Shared;
use workload::{Pods, Source};

pub use args::Args;

/// How patiently the region's API server is spoken to.
const CALLS: Patience = Patience { call: Duration::from_secs(3), tries: 2 };

/// Between two tries to write floors that could not be written.
const FLOORS: Duration = Duration::from_secs(5);

/// How long the Lease and the token may take to be given back.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why a watcher does not begin.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was told what cannot be.
    #[error("{0}")]
    Misconfigured(String),
    /// It cannot listen.
    #[error(transparent)]
    Listen(std::io::Error),
}

/// Watches until `stop` is true; then ends in order: no new connections, the Lease and the token given back.
///
/// # Errors
/// It cannot begin. Nothing about Vault, pods or the API server is an error here.
pub async fn run(args: &Args, stop: watch::Receiver<bool>) -> Result<(), Failure> {
    let start = Timestamp::now();
    let settings = args.settings().map_err(Failure::Misconfigured)?;
    let cluster = match &args.agents {
        Some(_) => None,
        None => Some(cluster(args).map_err(Failure::Misconfigured)?),
    };
    let listener = server::bind(args.listen).await.map_err(Failure::Listen)?;
    let machine = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = args.name.clone().unwrap_or_else(machine);
    info!(environment = args.environment, region = args.region, name, listen = %args.listen, "watching");

    let secrets = Arc::new(Secrets::new(Session::new(settings), args.secrets.clone()));
    // Who watches a list has nobody to take turns with.
    let (lead, leads) = watch::channel(cluster.is_none());
    let (tell_seen, seen) = watch::channel(None);
    let (tell_news, news) = mpsc::unbounded_channel();
    let source = match (&cluster, &args.agents) {
        (Some(cluster), _) => Source::Cluster(cluster.clone()),
        (None, file) => Source::File(file.clone().unwrap_or_default()),
    };
    let asker = ask::Asker::new().map_err(Failure::Misconfigured)?;
    let own = Own {
        environment: args.environment.clone(),
        region: args.region.clone(),
        name: name.clone(),
        start,
        leads: leads.clone(),
    };
    let pods = Pods { source, asker };
    let (rounds, asks) = Rounds::new(own, Arc::clone(&secrets), pods, tell_seen, tell_news);
    let metrics = Metrics::new(rounds.nudges.clone());
    let routes = server::routes(Shared::new(asks, seen.clone(), metrics));
    let floors = match (&cluster, &args.floor_dir) {
        (Some(cluster), _) => Floors::Cluster(cluster.clone()),
        (None, Some(folder)) => Floors::Folder(folder.clone()),
        (None, None) => Floors::Memory,
    };

    let session = async { secrets.session().keep().await };
    let kept = keep_floors(&floors, &secrets, leads.clone(), seen.clone());
    let told = events::run(cluster.clone(), name.clone(), leads, news, seen);
    let led = async {
        match cluster {
            Some(cluster) => lead::run(cluster, name, lead, stop.clone()).await,
            None => drop(stop.clone().wait_for(|stop| *stop).await),
        }
    };
    tokio::select! {
        () = session => {}
        () = kept => {}
        () = told => {}
        // Rounds end when nobody can ask any more.
        () = rounds.run() => {}
        ((), ()) = async { tokio::join!(server::serve(listener, routes, stop.clone()), led) } => {}
    }
    let _ = timeout(FAREWELL, secrets.session().end()).await;
    info!("ended");
    Ok(())
}

fn cluster(args: &Args) -> Result<Cluster, String> {
    let client = access::in_cluster(CALLS.call)
        .map_err(|cause| format!("{cause}; outside of a pod, name the machines to watch with --agents"))?;
    Ok(Cluster::of(&args.region, "its own", client, CALLS))
}

/// Reads the floors once they can be read, and raises them whenever something is new.
async fn keep_floors(
    floors: &Floors,
    secrets: &Secrets,
    leads: watch::Receiver<bool>,
    mut seen: watch::Receiver<Option<rounds::Seen>>,
) {
    loop {
        match floors.read().await {
            Ok(kept) => break secrets.raise(&kept),
            Err(why) => warn!(why, "the floors cannot be read"),
        }
        sleep(FLOORS).await;
    }
    let mut written = std::collections::BTreeMap::new();
    loop {
        let now = secrets.floors();
        if now != written && *leads.borrow() {
            match floors.raise(&now).await {
                Ok(()) => written = now,
                Err(why) => {
                    warn!(why, "the floors cannot be written");
                    sleep(FLOORS).await;
                    continue;
                }
            }
        }
        if seen.changed().await.is_err() {
            return;
        }
    }
}
