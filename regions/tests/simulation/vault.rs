//! A Vault's KV v2 engine, as far as a rotation asks it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use regions::vault::kv::{Document, Metadata, VersionState};
use serde_json::{Map, Value};

/// As Vault's default.
const MOST_VERSIONS: usize = 10;

/// A Vault.
#[derive(Clone, Default)]
pub(crate) struct Vault {
    /// How much its clock is ahead of the world's.
    pub(crate) ahead: SignedDuration,
    pub(crate) up: bool,
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Grows when it is restored: what was on its way to the former one never arrives.
    pub(crate) life: u32,
    pub(crate) snapshot: Option<BTreeMap<String, Secret>>,
    /// No two versions have the same time.
    ticks: i64,
}

/// A secret.
#[derive(Clone, Default)]
pub(crate) struct Secret {
    pub(crate) current: u64,
    pub(crate) versions: BTreeMap<u64, Kept>,
    pub(crate) custom: Map<String, Value>,
}

/// A version.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) created: Timestamp,
    pub(crate) data: Option<Value>,
}

impl Vault {
    pub(crate) fn new(ahead: SignedDuration) -> Self {
        Self { ahead, up: true, ..Self::default() }
    }

    /// Writes a version; where it is told, only over that one.
    pub(crate) fn put(&mut self, path: &str, data: &Value, over: Option<u64>, now: Timestamp) -> bool {
        let secret = self.secrets.entry(path.to_owned()).or_default();
        if over.is_some_and(|over| over != secret.current) {
            return false;
        }
        self.ticks += 1;
        let created = now + SignedDuration::from_nanos(self.ticks);
        secret.current += 1;
        secret.versions.insert(secret.current, Kept { created, data: Some(data.clone()) });
        while secret.versions.len() > MOST_VERSIONS {
            secret.versions.pop_first();
        }
        true
    }

    pub(crate) fn metadata(&self, path: &str) -> Option<Metadata> {
        let secret = self.secrets.get(path)?;
        let state = |(number, kept): (&u64, &Kept)| {
            let gone = kept.data.is_none();
            (*number, VersionState { created_time: kept.created, readable: !gone, destroyed: gone })
        };
        Some(Metadata {
            version: secret.current,
            absence: None,
            versions: secret.versions.iter().map(state).collect(),
            custom: secret.custom.clone(),
        })
    }

    pub(crate) fn document(&self, path: &str, number: u64) -> Option<Document> {
        let kept = self.secrets.get(path)?.versions.get(&number)?;
        Some(Document::new(kept.data.clone()?, number, kept.created))
    }

    /// The current version of a secret.
    pub(crate) fn current(&self, path: &str) -> Option<Document> {
        self.document(path, self.secrets.get(path)?.current)
    }

    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let inside = |path: &String| path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned);
        self.secrets.keys().filter_map(inside).collect()
    }

    pub(crate) fn note(&mut self, path: &str, entries: &Map<String, Value>) {
        let secret = self.secrets.entry(path.to_owned()).or_default();
        for (key, value) in entries {
            match value {
                Value::Null => secret.custom.remove(key),
                value => secret.custom.insert(key.clone(), value.clone()),
            };
        }
    }

    pub(crate) fn destroy(&mut self, path: &str, numbers: &[u64]) {
        let Some(secret) = self.secrets.get_mut(path) else { return };
        for number in numbers {
            if let Some(kept) = secret.versions.get_mut(number) {
                kept.data = None;
            }
        }
    }
}
