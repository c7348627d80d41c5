//! Says in the region's own events what happens to its secrets, so that `kubectl events` tells it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::rounds::Seen;
use super::secrets::News;
use crate::cluster::{Cluster, NAMESPACE, WORKLOAD};
use crate::plan::rotation::adoption::{Wanted, adoption};
use crate::plan::view::{HealthState, View};

/// Something that happened, once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    reason: &'static str,
    note: String,
    bad: bool,
}

/// Tells of what is new until the watcher ends. Whoever does not lead leaves it to the one that does.
pub(super) async fn run(
    cluster: Option<Cluster>,
    watcher: String,
    leads: watch::Receiver<bool>,
    mut news: mpsc::UnboundedReceiver<News>,
    mut seen: watch::Receiver<Option<Seen>>,
) {
    // What stands now is told when it begins, and again when it has gone and come back.
    let mut standing: Option<BTreeSet<Told>> = None;
    loop {
        let told = tokio::select! {
            new = news.recv() => match new {
                Some(new) => vec![changed(&new)],
                None => return,
            },
            changed = seen.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = match &*seen.borrow_and_update() {
                    Some(Ok(view)) => facts(view),
                    _ => continue,
                };
                // What is well when it begins is no news.
                let news = |told: &&Told| match &standing {
                    Some(standing) => !standing.contains(*told),
                    None => told.bad,
                };
                let begun = now.iter().filter(news).cloned().collect();
                standing = Some(now);
                begun
            }
        };
        for event in told {
            tell(cluster.as_ref().filter(|_| *leads.borrow()), &watcher, &event).await;
        }
    }
}

fn changed(news: &News) -> Told {
    let by = match &news.mark {
        Some(mark) => format!("by {mark}"),
        None => "by hand: no rotation takes the former version away".to_owned(),
    };
    let note = format!("{} is version {} now, written {by}", news.name, news.version.version);
    Told { reason: "SecretChanged", note, bad: news.mark.is_none() }
}

/// What is so in the region.
fn facts(view: &View) -> BTreeSet<Told> {
    let mut facts = BTreeSet::new();
    for (name, secret) in &view.secrets {
        let Some(current) = secret.current else { continue };
        if let (true, Some(floor)) = (secret.stepped_back(), secret.floor) {
            let note = format!(
                "{name}: Vault holds version {} and the region has seen {}: was it restored?",
                current.version, floor.version
            );
            facts.insert(Told { reason: "SecretSteppedBack", note, bad: true });
        }
        let found = adoption(view, Wanted { secret: name, version: current, kids: None });
        if found.complete() {
            let note = format!("{name}: every pod uses version {}", current.version);
            facts.insert(Told { reason: "SecretAdopted", note, bad: false });
        }
        for missing in found.missing.iter().filter(|missing| missing.rejected) {
            let note = format!("{name}: {} rejects version {}", missing.pod, current.version);
            facts.insert(Told { reason: "SecretRejected", note, bad: true });
        }
    }
    if view.vault.state == HealthState::Sealed {
        let note = "Vault is sealed: pods serve what they have".to_owned();
        facts.insert(Told { reason: "VaultSealed", note, bad: true });
    }
    facts
}

async fn tell(cluster: Option<&Cluster>, watcher: &str, told: &Told) {
    if told.bad {
        warn!(reason = told.reason, "{}", told.note);
    } else {
        info!(reason = told.reason, "{}", told.note);
    }
    let Some(cluster) = cluster else { return };
    let now = Timestamp::now();
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"generateName": "watcher-", "namespace": NAMESPACE},
        "eventTime": format!("{now:.6}"),
        "reportingController": "meridian.internal/watcher", "reportingInstance": watcher,
        "type": if told.bad { "Warning" } else { "Normal" },
        "reason": told.reason, "action": "Watch", "note": told.note,
        "regarding": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": NAMESPACE, "name": WORKLOAD},
    });
    if let Err(error) = cluster.write_event(NAMESPACE, &event).await {
        debug!(%error, "an event was not written");
    }
}
