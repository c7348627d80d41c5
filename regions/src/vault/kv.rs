//! Documents of the KV v2 engine, values included. What holds a value has no text form and is wiped when it is
//! let go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use rustify::enums::RequestMethod;
use serde_json::{Map, Value, json};

use super::client::Vault;
use super::error::VaultError;
use crate::plan::vault::{MOUNT, members};
use crate::wipe::wipe;

/// A secret's current document.
pub struct Document {
    data: Value,
    /// Number of the version.
    pub version: u64,
    /// When Vault wrote it. It and the number identify the version.
    pub created_time: Timestamp,
}

impl Document {
    /// A version's document.
    pub fn new(data: Value, version: u64, created_time: Timestamp) -> Self {
        Self { data, version, created_time }
    }

    /// The document itself.
    pub fn expose(&self) -> &Value {
        &self.data
    }

    /// Whether both are the same version of the same document.
    pub fn is_version_of(&self, other: &Self) -> bool {
        (self.version, self.created_time) == (other.version, other.created_time)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document(version {})", self.version)
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.data);
    }
}

/// What Vault says of a secret beside its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Number of the current version, 0 where there is none.
    pub version: u64,
    /// Why the current version cannot be read; nothing where it can.
    pub absence: Option<&'static str>,
    /// The versions that Vault knows.
    pub versions: BTreeMap<u64, VersionState>,
    /// What `regions` and others keep beside it.
    pub custom: Map<String, Value>,
}

/// What Vault says of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionState {
    /// When Vault wrote it.
    pub created_time: Timestamp,
    /// Whether its document can be read.
    pub readable: bool,
    /// Whether it is gone for good.
    pub destroyed: bool,
}

impl Vault {
    /// A secret's current document; nothing where it has none that can be read.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn document(&self, path: &str) -> Result<Option<Document>, VaultError> {
        self.document_of(&format!("{MOUNT}/data/{path}")).await
    }

    /// One version of a secret; nothing where it cannot be read any more.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn document_at(&self, path: &str, version: u64) -> Result<Option<Document>, VaultError> {
        self.document_of(&format!("{MOUNT}/data/{path}?version={version}")).await
    }

    async fn document_of(&self, full: &str) -> Result<Option<Document>, VaultError> {
        let Some(mut found) = self.read(full).await? else { return Ok(None) };
        let data = found["data"].take();
        let (version, created) = (&found["metadata"]["version"], &found["metadata"]["created_time"]);
        match (version.as_u64(), created.as_str().and_then(|created| created.parse().ok())) {
            (Some(version), Some(created_time)) if data.is_object() => {
                Ok(Some(Document { data, version, created_time }))
            }
            _ => Err(VaultError::lacks(&format!("GET {full}"), self.address(), "document with a version")),
        }
    }

    /// What Vault says of a secret; nothing where it was never written.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn metadata(&self, path: &str) -> Result<Option<Metadata>, VaultError> {
        let found = self.read(&format!("{MOUNT}/metadata/{path}")).await?;
        Ok(found.map(|found| Metadata {
            version: found["current_version"].as_u64().unwrap_or(0),
            absence: absence(&found),
            versions: versions(&found),
            custom: found["custom_metadata"].as_object().cloned().unwrap_or_default(),
        }))
    }

    /// The names of a version's keys, without values; nothing where it cannot be read.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn subkeys(&self, path: &str, version: u64) -> Result<Option<Value>, VaultError> {
        let found = self.read(&format!("{MOUNT}/subkeys/{path}?version={version}")).await?;
        Ok(found.map(|mut found| found["subkeys"].take()).filter(Value::is_object))
    }

    /// Writes a document where the current version is still this one, 0 for none. Gives the new version's number.
    ///
    /// # Errors
    /// Vault refused ([`VaultError::is_check_and_set`] when there is a newer version), or did not answer: then
    /// nobody knows whether it was written.
    pub async fn put(&self, path: &str, document: &Value, over: u64) -> Result<u64, VaultError> {
        let mut body = json!({"options": {"cas": over}, "data": document});
        let answer = self.write(RequestMethod::POST, &format!("{MOUNT}/data/{path}"), &body).await;
        wipe(&mut body);
        Ok(answer?["data"]["version"].as_u64().unwrap_or(over + 1))
    }

    /// Merges something into what stands beside a secret. What is null goes.
    ///
    /// # Errors
    /// Vault refused, or did not answer.
    pub async fn note(&self, path: &str, entries: &Map<String, Value>) -> Result<(), VaultError> {
        let body = json!({"custom_metadata": entries});
        self.write(RequestMethod::PATCH, &format!("{MOUNT}/metadata/{path}"), &body).await.map(drop)
    }

    /// Destroys versions for good.
    ///
    /// # Errors
    /// Vault refused, or did not answer.
    pub async fn destroy(&self, path: &str, versions: &[u64]) -> Result<(), VaultError> {
        let body = json!({"versions": versions});
        self.write(RequestMethod::PUT, &format!("{MOUNT}/destroy/{path}"), &body).await.map(drop)
    }

    /// Its clock, cut off to whole seconds. Takes no token.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn clock(&self) -> Result<Timestamp, VaultError> {
        let path = "sys/health?standbyok=true&perfstandbyok=true";
        let found = self.ask(path).await?;
        let seconds =
            found["server_time_utc"].as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok());
        seconds.ok_or_else(|| VaultError::lacks(&format!("GET {path}"), self.address(), "server_time_utc"))
    }

    /// Adds to the names of regions that stand beside a secret. Whether they were not there all.
    ///
    /// # Errors
    /// Vault refused, or did not answer.
    pub async fn add_members(&self, path: &str, names: &BTreeSet<String>) -> Result<bool, VaultError> {
        let full = format!("{MOUNT}/metadata/{path}");
        let found = self.metadata(path).await?;
        let custom = Value::Object(found.as_ref().map(|found| found.custom.clone()).unwrap_or_default());
        let former = members::read(&custom);
        let all: BTreeSet<String> = former.union(names).cloned().collect();
        if all == former {
            return Ok(false);
        }
        let method = if found.is_some() { RequestMethod::PATCH } else { RequestMethod::POST };
        self.write(method, &full, &json!({"custom_metadata": members::write(&all)})).await?;
        Ok(true)
    }
}

/// Why a secret's current version cannot be read; nothing when it can.
pub(super) fn absence(metadata: &Value) -> Option<&'static str> {
    match metadata["versions"].get(metadata["current_version"].to_string()) {
        None => Some("has no version"),
        Some(version) if version["destroyed"] == true => Some("is destroyed in its current version"),
        Some(version) if version["deletion_time"].as_str().is_some_and(|time| !time.is_empty()) => {
            Some("is deleted in its current version")
        }
        Some(_) => None,
    }
}

/// The versions in an answer; one whose time cannot be read counts as not there.
fn versions(metadata: &Value) -> BTreeMap<u64, VersionState> {
    let state = |(number, version): (&String, &Value)| {
        let destroyed = version["destroyed"] == true;
        let deleted = version["deletion_time"].as_str().is_some_and(|time| !time.is_empty());
        let created_time = version["created_time"].as_str()?.parse().ok()?;
        Some((
            number.parse().ok()?,
            VersionState { created_time, readable: !destroyed && !deleted, destroyed },
        ))
    };
    metadata["versions"].as_object().into_iter().flatten().filter_map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_no_text_form() {
        let data = json!({"a": "canary", "b": [{"c": "canary"}], "d": 1});
        let document = Document { data, version: 3, created_time: Timestamp::UNIX_EPOCH };
        assert_eq!(format!("{document:?}"), "Document(version 3)");
    }
}
