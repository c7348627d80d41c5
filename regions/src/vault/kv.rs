//! Documents of the KV v2 engine, values included. What holds a value has no text form and is wiped when it is
//! let go.

use std::collections::BTreeSet;
use std::fmt;

use rustify::enums::RequestMethod;
use serde_json::{Map, Value, json};
use zeroize::Zeroize as _;

use super::client::Vault;
use super::error::VaultError;
use crate::plan::vault::{MOUNT, members};

/// A secret's current document.
pub struct Document {
    data: Value,
    /// Number of the version.
    pub version: u64,
    /// When Vault wrote it. It and the number identify the version.
    pub created_time: String,
}

impl Document {
    /// The document itself.
    pub fn expose(&self) -> &Value {
        &self.data
    }

    /// Whether both are the same version of the same document.
    pub fn is_version_of(&self, other: &Self) -> bool {
        (self.version, &self.created_time) == (other.version, &other.created_time)
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

/// Overwrites every text in a value.
pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        _ => {}
    }
}

/// What Vault says of a secret beside its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Number of the current version, 0 where there is none.
    pub version: u64,
    /// Why the current version cannot be read; nothing where it can.
    pub absence: Option<&'static str>,
    /// What `regions` and others keep beside it.
    pub custom: Map<String, Value>,
}

impl Vault {
    /// A secret's current document; nothing where it has none that can be read.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn document(&self, path: &str) -> Result<Option<Document>, VaultError> {
        let full = format!("{MOUNT}/data/{path}");
        let Some(mut found) = self.read(&full).await? else { return Ok(None) };
        let data = found["data"].take();
        let (version, created) = (&found["metadata"]["version"], &found["metadata"]["created_time"]);
        match (version.as_u64(), created.as_str()) {
            (Some(version), Some(created)) if data.is_object() => {
                Ok(Some(Document { data, version, created_time: created.to_owned() }))
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
            custom: found["custom_metadata"].as_object().cloned().unwrap_or_default(),
        }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_no_text_form_and_leaves_nothing() {
        let data = json!({"a": "canary", "b": [{"c": "canary"}], "d": 1});
        let document = Document { data, version: 3, created_time: "t".into() };
        assert_eq!(format!("{document:?}"), "Document(version 3)");
        let mut value = document.expose().clone();
        wipe(&mut value);
        assert_eq!(value, json!({"a": "", "b": [{"c": ""}], "d": 1}));
    }
}
