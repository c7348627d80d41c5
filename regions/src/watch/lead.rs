//! The Lease under which a region is watched: of two watchers at the same time one polls, nudges and writes, and either
//! answers.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::cluster::Cluster;
use crate::cluster::leases::Lease;

/// Name of the Lease.
const LEASE: &str = "watcher";

/// How long it is held without being renewed, and how often it is.
const LASTS: Duration = Duration::from_secs(15);
const RENEWED: Duration = Duration::from_secs(4);

/// One that cannot renew stops in time for the next: clocks need not agree, only their pace.
const GIVES_UP: Duration = Duration::from_secs(11);

/// Takes the Lease whenever it is free, and keeps it, until `stop` is true; then gives it back.
pub(super) async fn run(
    cluster: Cluster,
    name: String,
    leads: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let mut held: Option<(Lease, Instant)> = None;
    let mut seen: Option<(Lease, Instant)> = None;
    while !*stop.borrow() {
        match step(&cluster, &name, held.as_ref(), &mut seen).await {
            Ok(lease) => {
                if held.is_none() && lease.is_some() {
                    info!("this watcher leads");
                }
                held = lease.map(|lease| (lease, Instant::now()));
            }
            Err(why) => {
                if held.as_ref().is_some_and(|(_, since)| since.elapsed() > GIVES_UP) {
                    warn!(why, "the Lease cannot be renewed; this watcher does not lead any more");
                    held = None;
                }
            }
        }
        leads.send_if_modified(|leads| std::mem::replace(leads, held.is_some()) != held.is_some());
        tokio::select! {
            () = sleep(RENEWED) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
    leads.send_replace(false);
    if let Some((lease, _)) = held {
        let _ = cluster.write_lease(LEASE, &lease, "", seconds()).await;
    }
}

/// The Lease, if this watcher holds it now.
async fn step(
    cluster: &Cluster,
    name: &str,
    held: Option<&(Lease, Instant)>,
    seen: &mut Option<(Lease, Instant)>,
) -> Result<Option<Lease>, String> {
    let told = |error: crate::cluster::error::ClusterError| error.within_region();
    if let Some((lease, _)) = held {
        match cluster.write_lease(LEASE, lease, name, seconds()).await {
            Ok(lease) => return Ok(Some(lease)),
            // An earlier answer was lost, or somebody took it.
            Err(error) if error.cause.status().is_some_and(|status| status.code == 409) => {}
            Err(error) => return Err(told(error)),
        }
    }
    let found = cluster.lease(LEASE).await.map_err(told)?;
    let since = match seen {
        Some((known, since)) if *known == found => *since,
        _ => {
            let now = Instant::now();
            *seen = Some((found.clone(), now));
            now
        }
    };
    let free = found.holder.is_empty() || found.holder == name || since.elapsed() >= LASTS;
    if !free {
        return Ok(None);
    }
    cluster.write_lease(LEASE, &found, name, seconds()).await.map(Some).map_err(told)
}

fn seconds() -> u32 {
    u32::try_from(LASTS.as_secs()).unwrap_or(u32::MAX)
}
