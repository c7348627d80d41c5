//! A region's lock: one writes there at a time. It is the Lease of the region's cluster; where the watcher is reached at
//! an address of its own, and there may be no cluster, it is a document in the region's Vault.
//!
//! It is taken around writes alone. Whoever finds it held by a process that is gone, or not renewed for as long as it
//! lasts by the finder's own clock, takes it over. Nothing depends on that clock for safety: documents are written with
//! check-and-set, and what is not says which version it is about.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::region::{self, Trouble};
use crate::cluster::Cluster;
use crate::cluster::leases::Lease;
use crate::vault::client::Vault;
use crate::who;

/// Name of the Lease.
pub(super) const LEASE: &str = "regions";

/// Where the lock lies in a Vault.
pub(super) const PATH: &str = "regions/lock";

/// How long it is held without being renewed. A write, and what comes before it, takes less.
const LASTS: Duration = Duration::from_secs(20);

/// After so long it is renewed before the next write.
const FRESH: Duration = Duration::from_secs(5);

/// Where the lock lies.
pub(super) enum Place {
    /// In the region's cluster.
    Cluster(Cluster),
    /// In the region's Vault.
    Vault,
}

/// The lock, as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Record {
    holder: String,
    renewed: String,
    transitions: u64,
    /// What it is written over.
    version: String,
}

/// A region's lock, and what this run knows of it.
pub(super) struct Lock {
    place: Place,
    state: RefCell<State>,
}

#[derive(Clone, Default)]
struct State {
    /// As this run wrote it last, and when.
    held: Option<(Record, Instant)>,
    /// As this run wrote it last, if it knows that.
    left: Option<Record>,
    /// As somebody else had it when it was seen so first.
    seen: Option<(Record, Instant)>,
}

impl Lock {
    pub(super) fn new(place: Place) -> Self {
        Self { place, state: RefCell::default() }
    }

    /// Takes the lock, or keeps it.
    pub(super) async fn take(&self, vault: &Vault, who: &str) -> Result<region::Lock, Trouble> {
        let State { held, left, .. } = self.state.borrow().clone();
        let over = match held {
            Some((_, since)) if since.elapsed() < FRESH => return Ok(region::Lock::Kept),
            Some((record, _)) => record,
            None => self.free(self.read(vault).await?)?,
        };
        match self.write(vault, &over, who).await {
            // Whoever else had it would have written it.
            Ok(()) if left.is_some_and(|left| left == over) => Ok(region::Lock::Kept),
            Ok(()) => Ok(region::Lock::Anew),
            // The answer of an earlier try may have been lost, or somebody else was quicker.
            Err(Trouble::Overtaken(_)) => {
                let now = self.read(vault).await?;
                let over = if now.holder == who { now } else { self.free(now)? };
                self.write(vault, &over, who).await.map(|()| region::Lock::Anew)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Gives it back. If that fails it ends by itself.
    pub(super) async fn give_back(&self, vault: &Vault) {
        let held = self.state.borrow_mut().held.take();
        if let Some((record, _)) = held {
            let _ = self.write(vault, &record, "").await;
            self.state.borrow_mut().held = None;
        }
    }

    /// The record, if it may be written over.
    fn free(&self, found: Record) -> Result<Record, Trouble> {
        // A run's own is one that it could not give back, or whose answer was lost: the region did not answer then.
        let free = |holder: &str| holder.is_empty() || who::is_own(holder) || who::is_gone(holder);
        if free(&found.holder) {
            return Ok(found);
        }
        let mut state = self.state.borrow_mut();
        match &state.seen {
            Some((seen, since)) if *seen == found => {
                if since.elapsed() >= LASTS {
                    return Ok(found);
                }
            }
            _ => state.seen = Some((found.clone(), Instant::now())),
        }
        Err(Trouble::Locked { by: who::person(&found.holder).to_owned() })
    }

    async fn read(&self, vault: &Vault) -> Result<Record, Trouble> {
        match &self.place {
            Place::Cluster(cluster) => {
                let lease = cluster.lease(LEASE).await.map_err(|error| Trouble::of_cluster(&error))?;
                Ok(record(lease))
            }
            Place::Vault => {
                let found = vault.document(PATH).await.map_err(|error| Trouble::of_vault(&error))?;
                let Some(found) = found else {
                    let metadata = vault.metadata(PATH).await.map_err(|error| Trouble::of_vault(&error))?;
                    let version = metadata.map_or(0, |metadata| metadata.version).to_string();
                    return Ok(Record { version, ..Record::default() });
                };
                let text = |key: &str| found.expose()[key].as_str().unwrap_or_default().to_owned();
                Ok(Record {
                    holder: text("holder"),
                    renewed: text("renewed"),
                    transitions: found.expose()["transitions"].as_u64().unwrap_or(0),
                    version: found.version.to_string(),
                })
            }
        }
    }

    async fn write(&self, vault: &Vault, over: &Record, holder: &str) -> Result<(), Trouble> {
        let began = Instant::now();
        self.state.borrow_mut().left = None;
        let written = match &self.place {
            Place::Cluster(cluster) => {
                let lease = Lease {
                    holder: over.holder.clone(),
                    renewed: over.renewed.clone(),
                    transitions: over.transitions,
                    version: over.version.clone(),
                    ..Lease::default()
                };
                let seconds = u32::try_from(LASTS.as_secs()).unwrap_or(u32::MAX);
                let written = cluster.write_lease(LEASE, &lease, holder, seconds).await;
                record(written.map_err(|error| Trouble::of_cluster(&error))?)
            }
            Place::Vault => {
                let transitions = over.transitions + u64::from(!holder.is_empty() && holder != over.holder);
                let renewed = jiff::Timestamp::now().to_string();
                let document: Value =
                    json!({"holder": holder, "renewed": renewed, "transitions": transitions});
                let version: u64 = over.version.parse().unwrap_or(0);
                let put = vault.put(PATH, &document, version).await;
                let version = put.map_err(|error| Trouble::of_vault(&error))?.to_string();
                Record { holder: holder.to_owned(), renewed, transitions, version }
            }
        };
        let mut state = self.state.borrow_mut();
        state.left = Some(written.clone());
        state.held = Some((written, began));
        Ok(())
    }
}

fn record(lease: Lease) -> Record {
    let Lease { holder, renewed, transitions, version, .. } = lease;
    Record { holder, renewed, transitions, version }
}
