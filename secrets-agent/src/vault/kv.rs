//! Reading KV v2, value and identity together, without a copy of the value that is not wiped.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use secrecy::SecretString;
use secrets_agent_client::Version;
use serde::Deserialize;
use serde_json::value::RawValue;
use vaultrs::api::kv2::requests::{ReadSecretMetadataRequest, ReadSecretRequest};
use zeroize::Zeroizing;

use super::{Failure, Transport};
use crate::config;
use crate::memory::LockedBytes;

/// The key of a document that belongs to rotation and is not handed to the application.
const ROTATION: &str = "rotation";

/// Reads the secrets of one folder of one mount.
#[derive(Debug)]
pub(crate) struct KvReader {
    transport: Arc<Transport>,
    mount: String,
    folder: String,
    largest: usize,
}

/// What a read of the current version came to.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// A version with its document.
    Document {
        /// Its identity.
        version: Version,
        /// The rotation that wrote it.
        rotation_id: Option<String>,
        /// The document without `rotation`.
        data: LockedBytes,
    },
    /// There is nothing that can be delivered, and why.
    Unusable(String),
}

/// Whether a version is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retired {
    /// It can still be read.
    No,
    /// It was deleted or destroyed, or Vault no longer knows it.
    Yes,
}

#[derive(Deserialize)]
struct DataAnswer<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
    created_time: String,
    deletion_time: String,
    destroyed: bool,
}

#[derive(Deserialize)]
struct MetadataAnswer {
    data: Versions,
}

#[derive(Deserialize)]
struct Versions {
    versions: BTreeMap<String, VersionMetadata>,
}

#[derive(Deserialize)]
struct VersionMetadata {
    created_time: String,
    deletion_time: String,
    destroyed: bool,
}

impl KvReader {
    /// A reader of what `config` names.
    pub(crate) fn new(transport: Arc<Transport>, config: &config::Kv) -> Self {
        KvReader {
            transport,
            mount: config.mount.clone(),
            folder: config.path.trim_matches('/').to_owned(),
            largest: config.max_size.0,
        }
    }

    /// The whole path of a secret, as people write it.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{}", self.mount, self.inner(name))
    }

    /// The path that a policy must allow for asking whether a version is gone.
    pub(crate) fn metadata_path(&self, name: &str) -> String {
        format!("{}/metadata/{}", self.mount, self.inner(name))
    }

    fn inner(&self, name: &str) -> String {
        if self.folder.is_empty() { name.to_owned() } else { format!("{}/{name}", self.folder) }
    }

    /// Reads the current version of a secret.
    ///
    /// # Errors
    /// Vault could not be asked or refused. What Vault holds but cannot be delivered is
    /// [`Fetched::Unusable`].
    pub(crate) async fn read(&self, name: &str, token: &SecretString) -> Result<Fetched, Failure> {
        let endpoint = ReadSecretRequest { mount: self.mount.clone(), path: self.inner(name), version: None };
        let answer = self.transport.call(endpoint, Some(token)).await?;
        let path = self.path(name);
        if answer.body.is_empty() || answer.status == StatusCode::NO_CONTENT {
            return Err(garbage(&path, "it is empty"));
        }
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Fetched::Unusable(absent(&path, &answer.body)));
        }
        let DataAnswer { data } = serde_json::from_slice(&answer.body).map_err(|error| {
            garbage(&path, &format!("it breaks off at line {}, column {}", error.line(), error.column()))
        })?;
        let Some(Data { data: Some(document), metadata }) = data else {
            return Err(garbage(&path, "it holds no data; is the mount KV version 2?"));
        };
        let version =
            Version { version: metadata.version, created_time: time(&path, &metadata.created_time)? };
        Ok(self.document(&path, version, document))
    }

    fn document(&self, path: &str, version: Version, document: &RawValue) -> Fetched {
        let unusable = |reason: &str| Fetched::Unusable(format!("{path} {version}: {reason}"));
        if document.get().len() > self.largest {
            return unusable(&format!("the document is larger than kv.max_size ({} bytes)", self.largest));
        }
        let Ok(mut keys) = serde_json::from_str::<BTreeMap<String, &RawValue>>(document.get()) else {
            return unusable("the document is no JSON object");
        };
        let rotation_id = match keys.remove(ROTATION).map(rotation_id) {
            None => None,
            Some(Some(id)) => Some(id),
            Some(None) => {
                return unusable("its `rotation` is not of the form {\"<id>\": {\"<phase>\": \"\"}}");
            }
        };
        let mut kept = Zeroizing::new(Vec::with_capacity(document.get().len() + 2));
        if serde_json::to_writer(&mut *kept, &keys).is_err() {
            return unusable("the document cannot be written again");
        }
        match LockedBytes::new(&kept) {
            Ok(data) => Fetched::Document { version, rotation_id, data },
            Err(error) => unusable(&format!("there is no memory for it: {error}")),
        }
    }

    /// Asks whether a version that was current before is gone.
    ///
    /// # Errors
    /// Vault could not be asked or refused.
    pub(crate) async fn retired(
        &self,
        name: &str,
        version: Version,
        token: &SecretString,
    ) -> Result<Retired, Failure> {
        let endpoint = ReadSecretMetadataRequest { mount: self.mount.clone(), path: self.inner(name) };
        let answer = self.transport.call(endpoint, Some(token)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Retired::Yes);
        }
        let path = self.path(name);
        let MetadataAnswer { data } = serde_json::from_slice(&answer.body).map_err(|error| {
            garbage(&path, &format!("its metadata breaks off at column {}", error.column()))
        })?;
        let Some(entry) = data.versions.get(&version.version.to_string()) else { return Ok(Retired::Yes) };
        let same = time(&path, &entry.created_time)? == version.created_time;
        // With delete_version_after each version carries the time, still to come, at which it is deleted.
        let deleted = match entry.deletion_time.as_str() {
            "" => false,
            at => time(&path, at)? <= Timestamp::now(),
        };
        Ok(if same && !entry.destroyed && !deleted { Retired::No } else { Retired::Yes })
    }
}

/// The id of `{"<id>": {"<phase>": ""}}`.
fn rotation_id(value: &RawValue) -> Option<String> {
    let ids: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(value.get()).ok()?;
    let mut ids = ids.into_iter();
    match (ids.next(), ids.next()) {
        (Some((id, phases)), None) if phases.len() == 1 => Some(id),
        _ => None,
    }
}

/// Why a 404 was given: KV v2 sends the metadata of a version that was deleted with it.
fn absent(path: &str, body: &[u8]) -> String {
    let Ok(DataAnswer { data: Some(Data { metadata, .. }) }) = serde_json::from_slice(body) else {
        return format!("{path} does not exist: is the mount right, and was the secret written?");
    };
    let Metadata { version, deletion_time, destroyed, .. } = metadata;
    if destroyed {
        return format!("{path}: the current version {version} was destroyed; write the secret again");
    }
    format!(
        "{path}: the current version {version} was deleted at {deletion_time}; undelete it or write the secret again"
    )
}

fn time(path: &str, text: &str) -> Result<Timestamp, Failure> {
    text.parse().map_err(|_| garbage(path, "a time in it is not RFC 3339"))
}

fn garbage(path: &str, reason: &str) -> Failure {
    Failure::Garbage { call: format!("read {path}"), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn reader() -> KvReader {
        let vault = config::Vault {
            address: "https://localhost:1".to_owned(),
            ca_file: "/nowhere".into(),
            namespace: None,
            timeout: crate::units::Time(std::time::Duration::from_secs(1)),
            longest_retry: crate::units::Time(std::time::Duration::from_secs(1)),
        };
        KvReader::new(Arc::new(Transport::new(&vault, 1 << 20)), &config::Kv::default())
    }

    fn read(document: &str) -> Fetched {
        let version = Version { version: 3, created_time: "2026-01-01T00:00:00Z".parse().unwrap() };
        reader().document("kv/service/config", version, &raw(document))
    }

    #[test]
    fn rotation_is_taken_out_and_the_rest_is_kept_to_the_letter() {
        let document = r#"{"b": 1.50, "rotation": {"r-1": {"publish": ""}}, "a": {"x": "ÿ\u0000"}}"#;
        let Fetched::Document { rotation_id, data, .. } = read(document) else { panic!("not usable") };
        assert_eq!(rotation_id.as_deref(), Some("r-1"));
        assert_eq!(std::str::from_utf8(&data).unwrap(), r#"{"a":{"x": "ÿ\u0000"},"b":1.50}"#);
    }

    #[test]
    fn what_cannot_be_delivered_says_why_and_quotes_nothing() {
        for (document, expected) in [
            (r#"["canary"]"#, "is no JSON object"),
            (r#""canary""#, "is no JSON object"),
            (r#"{"rotation": "canary"}"#, "`rotation` is not of the form"),
            (r#"{"rotation": {"canary": {}}}"#, "`rotation` is not of the form"),
            (r#"{"rotation": {"canary": {"a": ""}, "b": {"c": ""}}}"#, "`rotation` is not of the form"),
        ] {
            let Fetched::Unusable(reason) = read(document) else { panic!("{document} was usable") };
            assert!(reason.contains(expected) && !reason.contains("canary"), "{reason}");
            assert!(reason.starts_with("kv/service/config version 3 of 2026-01-01T00:00:00Z: "), "{reason}");
        }
        let large = format!(r#"{{"a": "{}"}}"#, "x".repeat(1 << 20));
        assert!(matches!(read(&large), Fetched::Unusable(reason) if reason.contains("kv.max_size")));
    }

    #[test]
    fn a_404_tells_deleted_destroyed_and_never_written_apart() {
        let told = |deletion: &str, destroyed: bool| {
            let body = format!(
                r#"{{"data":{{"data":null,"metadata":{{"version":4,"created_time":"2026-01-01T00:00:00Z","deletion_time":"{deletion}","destroyed":{destroyed}}}}}}}"#
            );
            absent("kv/service/tls", body.as_bytes())
        };
        assert!(told("", true).contains("version 4 was destroyed"));
        assert!(told("2026-02-01T00:00:00Z", false).contains("version 4 was deleted at 2026-02-01"));
        assert!(absent("kv/service/tls", br#"{"errors":[]}"#).contains("does not exist"));
    }

    proptest! {
        #[test]
        fn no_json_panics(text in r#"[\[\]{}":,a-z0-9 ]{0,64}"#) {
            if let Ok(value) = RawValue::from_string(text) {
                let version = Version { version: 1, created_time: Timestamp::UNIX_EPOCH };
                let _ = reader().document("p", version, &value);
            }
        }
    }
}
