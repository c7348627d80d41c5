//! What the agent holds: two versions of each secret, who uses which, and how Vault does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use secrets_agent_client::Version;
use secrets_agent_client::wire::{
    Adopted, Instance, SecretState, SecretStatus, SecretSummary, VaultState, VaultStatus,
};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::memory::LockedBytes;

/// The most instances of the application that may watch at once: one pod has one, two while it restarts.
pub(crate) const MOST_INSTANCES: usize = 64;

/// One version of one secret.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its identity.
    pub version: Version,
    /// The rotation that wrote it.
    pub rotation_id: Option<String>,
    /// The document without its `rotation` key.
    pub data: LockedBytes,
}

/// What [`Store::deliver`] made of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It is newer, and watchers were told.
    New,
    /// It is what was held already.
    Unchanged,
    /// It is older than what is held, which stays.
    Older,
}

/// Everything that the agent holds. Cheap to lock, and never locked across a wait.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    generation: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    /// In the order of the configuration.
    secrets: Vec<Slot>,
    instances: BTreeMap<Uuid, Watcher>,
    streams: u64,
    vault: VaultStatus,
}

#[derive(Debug)]
struct Slot {
    name: String,
    current: Option<Arc<Document>>,
    previous: Option<Arc<Document>>,
    generation: u64,
    delivered: Option<Timestamp>,
    confirmed: Option<Instant>,
    error: Option<String>,
    stepped_back: bool,
}

#[derive(Debug)]
struct Watcher {
    stream: u64,
    start: Timestamp,
    adopted: BTreeMap<String, Version>,
}

/// What metrics show of one secret.
#[derive(Debug)]
pub(crate) struct Observation {
    /// Its name.
    pub name: String,
    /// The delivered version.
    pub version: Option<Version>,
    /// Seconds since Vault confirmed it.
    pub age_s: Option<u64>,
    /// Why it is not fresh.
    pub error: Option<String>,
    /// Whether Vault holds something older.
    pub stepped_back: bool,
}

/// Why an acknowledgement was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdopted {
    /// No such secret is configured.
    #[error("no secret of that name is configured")]
    UnknownSecret,
    /// Nothing of that identity was delivered, or it is retired.
    #[error("{0} was not delivered, or is retired")]
    NotDelivered(Version),
    /// The instance has no open watch stream.
    #[error("instance {0} has no open watch stream: open /v1/watch?instance={0} first, and keep it open")]
    NotWatching(Uuid),
}

/// An open watch stream. When it is dropped, its instance is forgotten with all that it acknowledged.
#[derive(Debug)]
pub(crate) struct Stream {
    store: Arc<Store>,
    instance: Uuid,
    stream: u64,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut inner = self.store.lock();
        // A newer stream of the same instance has taken its place.
        if inner.instances.get(&self.instance).is_some_and(|watcher| watcher.stream == self.stream) {
            inner.instances.remove(&self.instance);
        }
    }
}

impl Stream {
    /// Whether a newer stream of the same instance has taken this one's place.
    pub(crate) fn is_replaced(&self) -> bool {
        self.store.lock().instances.get(&self.instance).is_none_or(|watcher| watcher.stream != self.stream)
    }
}

impl Store {
    /// An empty store for these secrets.
    pub(crate) fn new(names: &[String]) -> Self {
        let secrets = names
            .iter()
            .map(|name| Slot {
                name: name.clone(),
                current: None,
                previous: None,
                generation: 0,
                delivered: None,
                confirmed: None,
                error: None,
                stepped_back: false,
            })
            .collect();
        let vault = VaultStatus { state: VaultState::Unknown, last_contact: None, error: None };
        let inner = Inner { secrets, instances: BTreeMap::new(), streams: 0, vault };
        Store { inner: Mutex::new(inner), generation: watch::channel(0).0 }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a version that Vault holds as its current one. The one held before stays readable as the
    /// previous one, and the one before that is wiped.
    pub(crate) fn deliver(&self, name: &str, document: Document) -> Delivery {
        let mut inner = self.lock();
        let Some(slot) = inner.slot_mut(name) else { return Delivery::Unchanged };
        let held = slot.current.as_ref().map(|current| current.version);
        if held > Some(document.version) {
            slot.stepped_back = true;
            return Delivery::Older;
        }
        slot.confirmed = Some(Instant::now());
        slot.error = None;
        slot.stepped_back = false;
        if held == Some(document.version) {
            return Delivery::Unchanged;
        }
        slot.previous = slot.current.replace(Arc::new(document));
        slot.delivered = Some(Timestamp::now());
        let generation = *self.generation.borrow() + 1;
        slot.generation = generation;
        drop(inner);
        self.generation.send_replace(generation);
        Delivery::New
    }

    /// Notes why a secret could not be confirmed. What is held stays. Gives whether the reason is another
    /// than before.
    pub(crate) fn fail(&self, name: &str, error: &str) -> bool {
        let mut inner = self.lock();
        let Some(slot) = inner.slot_mut(name) else { return false };
        slot.error.replace(error.to_owned()).as_deref() != Some(error)
    }

    /// Raises the alarm that Vault holds something older than was known; the next delivery ends it.
    pub(crate) fn note_step_back(&self, name: &str) {
        if let Some(slot) = self.lock().slot_mut(name) {
            slot.stepped_back = true;
        }
    }

    /// Notes an exchange with Vault that went as it should.
    pub(crate) fn vault_answered(&self) {
        self.lock().vault =
            VaultStatus { state: VaultState::Ok, last_contact: Some(Timestamp::now()), error: None };
    }

    /// Notes an exchange with Vault that did not.
    pub(crate) fn vault_failed(&self, state: VaultState, error: &str) {
        let vault = &mut self.lock().vault;
        vault.state = state;
        vault.error = Some(error.to_owned());
    }

    /// How Vault does.
    pub(crate) fn vault(&self) -> VaultStatus {
        self.lock().vault.clone()
    }

    /// The version before the current one, while it is readable.
    pub(crate) fn previous(&self, name: &str) -> Option<Version> {
        Some(self.lock().slot(name)?.previous.as_ref()?.version)
    }

    /// Lets go of the previous version, if it still is this one. It is wiped when its last reader is done.
    pub(crate) fn retire(&self, name: &str, version: Version) {
        if let Some(slot) = self.lock().slot_mut(name)
            && slot.previous.as_ref().is_some_and(|previous| previous.version == version)
        {
            slot.previous = None;
        }
    }

    /// Lets go of every value.
    pub(crate) fn wipe(&self) {
        for slot in &mut self.lock().secrets {
            slot.current = None;
            slot.previous = None;
        }
    }

    /// Whether a secret of this name is configured.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.lock().slot(name).is_some()
    }

    /// The current version of a secret, or the named one if it is held.
    pub(crate) fn get(&self, name: &str, version: Option<u64>) -> Option<Arc<Document>> {
        let inner = self.lock();
        let slot = inner.slot(name)?;
        let mut held = slot.current.iter().chain(&slot.previous);
        match version {
            None => slot.current.clone(),
            Some(number) => held.find(|document| document.version.version == number).cloned(),
        }
    }

    /// Why a secret is not fresh.
    pub(crate) fn error(&self, name: &str) -> Option<String> {
        self.lock().slot(name)?.error.clone()
    }

    /// Told whenever something was delivered; its value is the newest generation.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// The current version of each secret that was delivered after `generation`, in that order.
    pub(crate) fn since(&self, generation: u64) -> Vec<(u64, String, Arc<Document>)> {
        let inner = self.lock();
        let mut changes: Vec<_> = inner
            .secrets
            .iter()
            .filter(|slot| slot.generation > generation)
            .filter_map(|slot| Some((slot.generation, slot.name.clone(), Arc::clone(slot.current.as_ref()?))))
            .collect();
        changes.sort_by_key(|(generation, ..)| *generation);
        changes
    }

    /// Opens a watch stream for an instance, which has then adopted nothing. `None` when too many watch.
    pub(crate) fn open(self: &Arc<Self>, instance: Uuid) -> Option<Stream> {
        let mut inner = self.lock();
        if inner.instances.len() >= MOST_INSTANCES && !inner.instances.contains_key(&instance) {
            return None;
        }
        inner.streams += 1;
        let stream = inner.streams;
        inner
            .instances
            .insert(instance, Watcher { stream, start: Timestamp::now(), adopted: BTreeMap::new() });
        Some(Stream { store: Arc::clone(self), instance, stream })
    }

    /// Notes that an instance uses a version.
    ///
    /// # Errors
    /// It cannot be so: see [`NotAdopted`].
    pub(crate) fn adopt(&self, name: &str, adopted: &Adopted) -> Result<(), NotAdopted> {
        let mut inner = self.lock();
        let slot = inner.slot(name).ok_or(NotAdopted::UnknownSecret)?;
        let version = adopted.version();
        if !slot.current.iter().chain(&slot.previous).any(|document| document.version == version) {
            return Err(NotAdopted::NotDelivered(version));
        }
        let watcher =
            inner.instances.get_mut(&adopted.instance).ok_or(NotAdopted::NotWatching(adopted.instance))?;
        watcher.adopted.insert(name.to_owned(), version);
        Ok(())
    }

    /// The instances that watch.
    pub(crate) fn instances(&self) -> Vec<Instance> {
        self.lock().instances.iter().map(|(id, watcher)| Instance { id: *id, start: watcher.start }).collect()
    }

    /// Each secret as `/v1/secrets` shows it.
    pub(crate) fn summaries(&self) -> Vec<SecretSummary> {
        let inner = self.lock();
        inner.secrets.iter().map(Slot::summary).collect()
    }

    /// Each secret as `/v1/status` shows it.
    pub(crate) fn statuses(&self) -> Vec<SecretStatus> {
        let inner = self.lock();
        inner.secrets.iter().map(|slot| slot.status(&inner.instances)).collect()
    }

    /// Each secret as metrics show it.
    pub(crate) fn observe(&self) -> Vec<Observation> {
        let inner = self.lock();
        let observe = |slot: &Slot| Observation {
            name: slot.name.clone(),
            version: slot.current.as_ref().map(|current| current.version),
            age_s: slot.age_s(),
            error: slot.error.clone(),
            stepped_back: slot.stepped_back,
        };
        inner.secrets.iter().map(observe).collect()
    }
}

impl Inner {
    fn slot(&self, name: &str) -> Option<&Slot> {
        self.secrets.iter().find(|slot| slot.name == name)
    }

    fn slot_mut(&mut self, name: &str) -> Option<&mut Slot> {
        self.secrets.iter_mut().find(|slot| slot.name == name)
    }
}

impl Slot {
    fn age_s(&self) -> Option<u64> {
        self.confirmed.map(|confirmed| confirmed.elapsed().as_secs())
    }

    fn summary(&self) -> SecretSummary {
        let current = self.current.as_deref();
        let state = match (current, &self.error) {
            (None, _) => SecretState::Missing,
            (Some(_), None) => SecretState::Fresh,
            (Some(_), Some(_)) => SecretState::Stale,
        };
        SecretSummary {
            name: self.name.clone(),
            state,
            version: current.map(|document| document.version.version),
            created_time: current.map(|document| document.version.created_time),
            rotation_id: current.and_then(|document| document.rotation_id.clone()),
            previous: self.previous.as_ref().map(|document| document.version),
            age_s: self.age_s(),
            error: self.error.clone(),
        }
    }

    fn status(&self, instances: &BTreeMap<Uuid, Watcher>) -> SecretStatus {
        let current = self.current.as_deref();
        let adopted = instances
            .iter()
            .filter_map(|(instance, watcher)| {
                let Version { version, created_time } = *watcher.adopted.get(&self.name)?;
                Some(Adopted { version, created_time, instance: *instance })
            })
            .collect();
        SecretStatus {
            name: self.name.clone(),
            version: current.map(|document| document.version.version),
            created_time: current.map(|document| document.version.created_time),
            rotation_id: current.and_then(|document| document.rotation_id.clone()),
            delivered: self.delivered,
            adopted,
            age_s: self.age_s(),
            error: self.error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(number: u64, time: &str) -> Document {
        let version = Version { version: number, created_time: time.parse().unwrap() };
        Document { version, rotation_id: None, data: LockedBytes::new(b"{}").unwrap() }
    }

    fn store() -> Arc<Store> {
        Arc::new(Store::new(&["config".to_owned(), "tls".to_owned()]))
    }

    const NEW_YEAR: &str = "2026-01-01T00:00:00Z";
    const LATER: &str = "2026-01-02T00:00:00Z";

    #[test]
    fn two_versions_are_kept_and_an_older_one_is_never_taken() {
        let store = store();
        for number in 1..=3 {
            assert_eq!(store.deliver("config", document(number, NEW_YEAR)), Delivery::New);
        }
        assert_eq!(store.deliver("config", document(3, NEW_YEAR)), Delivery::Unchanged);
        assert_eq!(store.deliver("config", document(2, LATER)), Delivery::Older);
        assert!(store.observe()[0].stepped_back);
        assert!(store.get("config", Some(1)).is_none());
        assert!(store.get("config", Some(2)).is_some());
        assert_eq!(store.get("config", None).unwrap().version.version, 3);
        assert_eq!(
            store.deliver("config", document(3, LATER)),
            Delivery::New,
            "the number came again, later"
        );
        assert!(!store.observe()[0].stepped_back);
    }

    #[test]
    fn an_acknowledgement_needs_a_delivery_and_an_open_stream() {
        let store = store();
        let instance = Uuid::new_v4();
        let adopted = Adopted { version: 1, created_time: NEW_YEAR.parse().unwrap(), instance };
        assert!(matches!(store.adopt("config", &adopted), Err(NotAdopted::NotDelivered(_))));
        store.deliver("config", document(1, NEW_YEAR));
        assert!(matches!(store.adopt("config", &adopted), Err(NotAdopted::NotWatching(_))));
        assert!(matches!(store.adopt("other", &adopted), Err(NotAdopted::UnknownSecret)));
        let stream = store.open(instance).unwrap();
        store.adopt("config", &adopted).unwrap();
        let same_number = Adopted { created_time: LATER.parse().unwrap(), ..adopted.clone() };
        assert!(matches!(store.adopt("config", &same_number), Err(NotAdopted::NotDelivered(_))));
        assert_eq!(store.statuses()[0].adopted, [adopted]);
        drop(stream);
        assert!(store.statuses()[0].adopted.is_empty() && store.instances().is_empty());
    }

    #[test]
    fn a_newer_stream_of_an_instance_starts_afresh_and_outlives_the_older() {
        let store = store();
        store.deliver("config", document(1, NEW_YEAR));
        let instance = Uuid::new_v4();
        let older = store.open(instance).unwrap();
        store
            .adopt("config", &Adopted { version: 1, created_time: NEW_YEAR.parse().unwrap(), instance })
            .unwrap();
        let newer = store.open(instance).unwrap();
        assert!(store.statuses()[0].adopted.is_empty());
        assert!(older.is_replaced() && !newer.is_replaced());
        drop(older);
        assert_eq!(store.instances().len(), 1);
    }

    #[test]
    fn a_retired_version_can_no_longer_be_read_or_acknowledged() {
        let store = store();
        store.deliver("config", document(1, NEW_YEAR));
        store.deliver("config", document(2, LATER));
        let retired = store.previous("config").unwrap();
        store.retire("config", Version { version: 1, created_time: LATER.parse().unwrap() });
        assert!(store.get("config", Some(1)).is_some(), "another version of that number is not this one");
        store.retire("config", retired);
        assert!(store.get("config", Some(1)).is_none());
    }

    #[test]
    fn what_came_after_a_generation_is_told_once_each_with_the_latest() {
        let store = store();
        store.deliver("config", document(1, NEW_YEAR));
        store.deliver("tls", document(1, NEW_YEAR));
        store.deliver("config", document(2, LATER));
        let told = |generation| -> Vec<(u64, String)> {
            store.since(generation).into_iter().map(|(generation, name, _)| (generation, name)).collect()
        };
        assert_eq!(told(0), [(2, "tls".to_owned()), (3, "config".to_owned())]);
        assert_eq!(told(2), [(3, "config".to_owned())]);
        assert!(told(3).is_empty());
    }

    #[test]
    fn watchers_are_bounded() {
        let store = store();
        let streams: Vec<_> = (0..MOST_INSTANCES).map(|_| store.open(Uuid::new_v4()).unwrap()).collect();
        assert!(store.open(Uuid::new_v4()).is_none());
        drop(streams);
        assert!(store.open(Uuid::new_v4()).is_some());
    }
}
