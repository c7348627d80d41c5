//! A region as it is: its Vault, its watcher, its lock.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::lock::Lock;
use super::region::{self, Asking, Region, Trouble};
use super::watcher::Watcher;
use crate::plan::rotation::Traffic;
use crate::plan::vault::MOUNT;
use crate::plan::view::{Pod, View};
use crate::vault::client::Vault;
use crate::vault::kv::{Document, Metadata};
use crate::who;

/// How long a region's entry may take to be reached. One that nobody reaches takes no traffic.
const ENTRY: Duration = Duration::from_secs(3);

/// Port of a region's entry.
const HTTPS: u16 = 443;

/// A region of the catalogue.
pub(super) struct Live {
    pub(super) name: String,
    pub(super) wave: usize,
    /// Its public name.
    pub(super) entry: String,
    /// Its Vault; why there is none, for a region that cannot be reached or is left out.
    pub(super) vault: Result<Vault, String>,
    pub(super) watcher: Result<Watcher, String>,
    pub(super) lock: Result<Lock, String>,
}

impl Live {
    fn vault(&self) -> Result<&Vault, Trouble> {
        self.vault.as_ref().map_err(|why| Trouble::Away(why.clone()))
    }
}

impl Region for Live {
    fn name(&self) -> &str {
        &self.name
    }

    fn wave(&self) -> usize {
        self.wave
    }

    async fn view(&self, asking: &Asking) -> Result<View, Trouble> {
        let watcher = self.watcher.as_ref().map_err(|why| Trouble::Away(why.clone()))?;
        let mut view =
            watcher.view(Some(asking)).await.map_err(|unseen| Trouble::Away(unseen.to_string()))?;
        // Whoever was killed on this machine is not at it any more.
        view.operators.retain(|operator| operator.run == asking.run || !who::is_gone(&operator.who));
        Ok(view.without_samples())
    }

    /// By what its pods say of it, if they can be asked. A region that answers and cannot tell is taken for one that
    /// serves; of one that is silent, by whether anybody takes a connection at its public name, as health checks and
    /// clients do.
    async fn traffic(&self) -> Traffic {
        if let Ok(watcher) = &self.watcher {
            match watcher.view(None).await {
                Ok(view) => return taken(&view),
                Err(unseen) if unseen.answered => {
                    return Traffic::In(format!("it may, for its watcher cannot tell: {unseen}"));
                }
                Err(_) => {}
            }
        }
        let entry = format!("{}:{HTTPS}", self.entry);
        match timeout(ENTRY, TcpStream::connect(&entry)).await {
            Ok(Ok(_)) => Traffic::In(format!("somebody answers at {entry}")),
            _ => Traffic::Out(format!("nobody answers at {entry}")),
        }
    }

    async fn clock(&self) -> Result<Timestamp, Trouble> {
        self.vault()?.clock().await.map_err(|error| Trouble::of_vault(&error))
    }

    async fn metadata(&self, path: &str) -> Result<Option<Metadata>, Trouble> {
        self.vault()?.metadata(path).await.map_err(|error| Trouble::of_vault(&error))
    }

    async fn document(&self, path: &str, version: u64) -> Result<Option<Document>, Trouble> {
        self.vault()?.document_at(path, version).await.map_err(|error| Trouble::of_vault(&error))
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, Trouble> {
        let list = self.vault()?.list(&format!("{MOUNT}/metadata/{folder}/")).await;
        list.map_err(|error| Trouble::of_vault(&error))
    }

    async fn put(&self, path: &str, document: &Value, over: u64) -> Result<(), Trouble> {
        match self.vault()?.put(path, document, over).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_check_and_set() => {
                Err(Trouble::Overtaken(format!("{path} in {}", self.name)))
            }
            Err(error) => Err(Trouble::of_vault(&error)),
        }
    }

    async fn note(&self, path: &str, entries: &Map<String, Value>) -> Result<(), Trouble> {
        self.vault()?.note(path, entries).await.map_err(|error| Trouble::of_vault(&error))
    }

    async fn destroy(&self, path: &str, versions: &[u64]) -> Result<(), Trouble> {
        self.vault()?.destroy(path, versions).await.map_err(|error| Trouble::of_vault(&error))
    }

    async fn lock(&self, asking: &Asking) -> Result<region::Lock, Trouble> {
        let lock = self.lock.as_ref().map_err(|why| Trouble::Away(why.clone()))?;
        lock.take(self.vault()?, &asking.who).await
    }

    async fn unlock(&self) {
        if let (Ok(lock), Ok(vault)) = (&self.lock, &self.vault) {
            lock.give_back(vault).await;
        }
    }
}

/// Whether a region takes traffic, by what its pods say. One that shows its keys answers clients, and may take some where
/// it cannot be read whether it does.
fn taken(view: &View) -> Traffic {
    let takes = |pod: &&Pod| pod.read().is_some_and(|service| service.ready && !service.drained);
    let count = view.pods.iter().filter(takes).count();
    if count > 0 {
        return Traffic::In(format!("{count} of its pods do"));
    }
    let alive = |pod: &&Pod| pod.service.as_ref().is_some_and(|service| service.unread);
    match view.pods.iter().find(alive) {
        Some(pod) => Traffic::In(format!("it may, for {} cannot be read: {}", pod.name, pod.why_unread())),
        None => Traffic::Out(format!("none of its {} pods takes any", view.pods.len())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::view::Service;

    fn view(services: &[Option<Service>]) -> View {
        let at = Timestamp::UNIX_EPOCH;
        let pods = services.iter().map(|service| {
            json!({
                "name": "one", "uid": "1", "node": null, "phase": "Running", "terminating": false, "agent": null,
                "agent_error": null, "service": service, "service_error": "no answer",
            })
        });
        let view = json!({
            "environment": "e", "region": "r", "watcher": {"name": "w", "start": at, "leads": true},
            "round": {"began": at, "ended": at}, "vault": {"state": "ok", "last_contact": null, "error": null},
            "secrets": {}, "pods": pods.collect::<Vec<_>>(),
        });
        serde_json::from_value(view).unwrap()
    }

    #[test]
    fn a_region_whose_pods_answer_nobody_takes_none() {
        assert!(matches!(taken(&view(&[None, None])), Traffic::Out(_)));
    }

    #[test]
    fn a_pod_that_shows_its_keys_alone_may_take_traffic() {
        let drained = Service { ready: true, drained: true, ..Service::default() };
        let unread = Service { unread: true, ..Service::default() };
        assert!(matches!(taken(&view(&[Some(drained), Some(unread)])), Traffic::In(_)));
    }

    #[test]
    fn a_region_whose_pods_say_that_it_is_drained_takes_none() {
        let drained = Service { ready: true, drained: true, ..Service::default() };
        assert!(matches!(taken(&view(&[Some(drained), None])), Traffic::Out(_)));
        assert!(matches!(taken(&view(&[])), Traffic::Out(_)));
    }
}
