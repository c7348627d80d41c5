//! What is asked of one region while a secret rotates: its Vault, its watcher and its lock, at the level of the wire.

#![expect(async_fn_in_trait, reason = "the futures stay on the thread that made them")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::cluster::error::ClusterError;
use crate::plan::rotation::Traffic;
use crate::plan::view::View;
use crate::vault::error::VaultError;
use crate::vault::kv::{Document, Metadata};

/// Why something of a region did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No answer came. What was to be written may have been written, or may be later.
    #[error("{0}")]
    Away(String),
    /// It said no. Nothing was written.
    #[error("{0}")]
    Refused(String),
    /// Somebody else wrote meanwhile. Nothing was written.
    #[error("somebody else wrote {0} meanwhile")]
    Overtaken(String),
    /// Somebody else holds the lock.
    #[error("{by} is writing there")]
    Locked {
        /// Who.
        by: String,
    },
}

/// Who asks, so that others are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// The person, and the process on a machine.
    pub who: String,
    /// One run of the command.
    pub run: String,
    /// The secret that is rotated.
    pub secret: String,
}

/// A lock that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Nobody else has had it since this run had it last.
    Kept,
    /// Somebody else may have had it, or this is the first time.
    Anew,
}

/// A secret's metadata, by path below the mount.
pub type Found = BTreeMap<String, Metadata>;

/// One region.
pub trait Region {
    /// Its name.
    fn name(&self) -> &str;

    /// The place of its wave.
    fn wave(&self) -> usize;

    /// What its watcher sees, in a round that begins after this call.
    async fn view(&self, asking: &Asking) -> Result<View, Trouble>;

    /// Whether it takes traffic.
    async fn traffic(&self) -> Traffic;

    /// Its Vault's clock, which may be cut off to whole seconds.
    async fn clock(&self) -> Result<Timestamp, Trouble>;

    /// A secret's metadata.
    async fn metadata(&self, path: &str) -> Result<Option<Metadata>, Trouble>;

    /// A version; nothing where it cannot be read any more.
    async fn document(&self, path: &str, version: u64) -> Result<Option<Document>, Trouble>;

    /// The names in a folder.
    async fn list(&self, folder: &str) -> Result<Vec<String>, Trouble>;

    /// Writes a version where this one is still the current one.
    async fn put(&self, path: &str, document: &Value, over: u64) -> Result<(), Trouble>;

    /// Merges entries into what stands beside a secret.
    async fn note(&self, path: &str, entries: &Map<String, Value>) -> Result<(), Trouble>;

    /// Destroys versions.
    async fn destroy(&self, path: &str, versions: &[u64]) -> Result<(), Trouble>;

    /// Takes the region's lock, or keeps it. Once it is held, it stays held for longer than a write may take.
    async fn lock(&self, asking: &Asking) -> Result<Lock, Trouble>;

    /// Gives the lock back.
    async fn unlock(&self);
}

impl Trouble {
    /// What a failed call of a Vault means for what it was to do.
    pub(super) fn of_vault(error: &VaultError) -> Self {
        match error.status() {
            _ if error.is_check_and_set() => Self::Overtaken("it".into()),
            // 5xx may come from whatever stands before Vault, and then nobody knows.
            Some(400..500) => Self::Refused(error.to_string()),
            _ => Self::Away(error.to_string()),
        }
    }

    /// What a failed call of an API server means for what it was to do.
    pub(super) fn of_cluster(error: &ClusterError) -> Self {
        match error.cause.status() {
            Some(status) if status.code == 409 => Self::Overtaken(error.object.clone()),
            _ if error.cause.is_transient() => Self::Away(error.within_region()),
            _ => Self::Refused(error.within_region()),
        }
    }
}
