//! What a planner knows of a document: everything but its values.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use secrets_agent_client::Version;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::mark::{Mark, ROTATION};
use crate::catalogue::types::SecretKind;

/// Makes fingerprints of documents that nothing can be learnt from outside of one run: it is drawn at the
/// start of each.
#[derive(Clone)]
pub struct Salt([u8; 32]);

impl Salt {
    /// From random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The fingerprint of a document without its mark. Two documents have the same if they say the same.
    pub fn fingerprint(&self, document: &Value) -> Fingerprint {
        self.without(document, &[])
    }

    /// The same, without fields of this name in what the document holds.
    fn without(&self, document: &Value, fields: &[&str]) -> Fingerprint {
        let mut hash = Sha256::new_with_prefix(self.0);
        feed(&mut hash, document, &[ROTATION], fields);
        Fingerprint(hash.finalize().into())
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

/// Feeds a value to a hash, so that no two values feed the same, without fields of this name in it, and of those in what
/// it holds.
fn feed(hash: &mut Sha256, value: &Value, without: &[&str], within: &[&str]) {
    let mut text = |kind: &[u8], text: &str| {
        hash.update(kind);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    match value {
        Value::Null => text(b"0", ""),
        Value::Bool(truth) => text(b"b", if *truth { "1" } else { "0" }),
        Value::Number(number) => text(b"n", &number.to_string()),
        Value::String(string) => text(b"s", string),
        Value::Array(items) => {
            text(b"a", &items.len().to_string());
            items.iter().for_each(|item| feed(hash, item, within, within));
        }
        Value::Object(fields) => {
            let counted = |key: &&String| !without.contains(&key.as_str());
            text(b"o", &fields.keys().filter(counted).count().to_string());
            for key in fields.keys().filter(counted) {
                hash.update((key.len() as u64).to_be_bytes());
                hash.update(key.as_bytes());
                feed(hash, &fields[key], within, within);
            }
        }
    }
}

/// Stands for a document's content where it is compared with another's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// What is known of one readable version.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Which rotation wrote it; nothing where a person did.
    pub mark: Option<Mark>,
    /// Its content without the mark.
    pub body: Fingerprint,
    /// What it holds, by kind.
    pub content: Content,
}

/// What a document holds, without its values.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A document of which nothing needs to be known.
    Opaque,
    /// Signing keys by id.
    Keys(BTreeMap<String, Key>),
    /// The hashes of each client's secrets.
    Clients(BTreeMap<String, Vec<String>>),
    /// The hash of one client's secret.
    Secret(String),
    /// It is not of the form that its kind has.
    Broken(&'static str),
}

/// A signing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `published`, `active` or `retiring`.
    pub state: State,
    /// Whether its private part is there.
    pub private: bool,
}

/// How far a signing key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It verifies.
    Published,
    /// It signs.
    Active,
    /// It verifies what it signed until that has ended.
    Retiring,
}

impl State {
    /// As in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Published, Self::Active, Self::Retiring].into_iter().find(|state| state.as_str() == name)
    }
}

/// The facts of a document of this kind.
pub fn of_document(kind: SecretKind, document: &Value, salt: &Salt) -> Facts {
    let content = match kind {
        SecretKind::Value => Content::Opaque,
        SecretKind::Keyset => keys(document).map_or_else(Content::Broken, Content::Keys),
        SecretKind::Clients => clients(document).map_or_else(Content::Broken, Content::Clients),
    };
    // Since when a key is in its state is for people. Two operators who take a rotation back, each in a region that the
    // other does not reach, write other times and mean the same.
    let body = match kind {
        SecretKind::Keyset => salt.without(document, &["since"]),
        SecretKind::Value | SecretKind::Clients => salt.fingerprint(document),
    };
    Facts { mark: Mark::of(document), body, content }
}

/// The facts of a document with one client's secret.
pub fn of_client(document: &Value, salt: &Salt) -> Facts {
    let content = match document["secret"].as_str() {
        Some(secret) => Content::Secret(sha256(secret)),
        None => Content::Broken("it has no text `secret`"),
    };
    Facts { mark: Mark::of(document), body: salt.fingerprint(document), content }
}

/// A secret's hash, as the document `clients` has it. Secrets are random, so that it gives nothing away.
pub fn sha256(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn entries<'a>(document: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    document[key].as_object().filter(|entries| !entries.is_empty())
}

fn keys(document: &Value) -> Result<BTreeMap<String, Key>, &'static str> {
    let entries = entries(document, "keys").ok_or("it has no `keys`")?;
    let key = |(kid, entry): (&String, &Value)| {
        let state = entry["state"].as_str().and_then(State::named);
        let state = state.ok_or("a key's state is none of published, active and retiring")?;
        Ok((kid.clone(), Key { state, private: entry["private_pem"].is_string() }))
    };
    let keys: BTreeMap<String, Key> = entries.iter().map(key).collect::<Result<_, &'static str>>()?;
    let active = keys.values().filter(|key| key.state == State::Active).count();
    if active == 1 { Ok(keys) } else { Err("it has not exactly one active key") }
}

fn clients(document: &Value) -> Result<BTreeMap<String, Vec<String>>, &'static str> {
    let entries = entries(document, "clients").ok_or("it has no `clients`")?;
    let client = |(id, entry): (&String, &Value)| {
        let secrets = entry["secrets"].as_array().ok_or("a client has no list `secrets`")?;
        let hashes = secrets.iter().map(|secret| secret["sha256"].as_str().map(str::to_ascii_lowercase));
        let hashes: Option<Vec<String>> = hashes.collect();
        Ok((id.clone(), hashes.ok_or("a client's secret has no `sha256`")?))
    };
    entries.iter().map(client).collect()
}

/// One secret of a Vault, all versions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    /// Number of the current version, 0 where there is none.
    pub current: u64,
    /// The versions that Vault still knows, by number.
    pub versions: BTreeMap<u64, Kept>,
}

/// One version.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// When Vault wrote it.
    pub created: Timestamp,
    /// What it holds; nothing where it was deleted or destroyed.
    pub facts: Option<Facts>,
    /// Whether its content is gone for good.
    pub destroyed: bool,
}

impl Stored {
    /// The identity of a version.
    pub fn version(&self, number: u64) -> Option<Version> {
        let kept = self.versions.get(&number)?;
        Some(Version { version: number, created_time: kept.created })
    }

    /// The current version with what it holds; nothing where that cannot be read.
    pub fn readable(&self) -> Option<(Version, &Facts)> {
        let facts = self.versions.get(&self.current)?.facts.as_ref()?;
        Some((self.version(self.current)?, facts))
    }

    /// The readable versions, newest first.
    pub fn history(&self) -> impl Iterator<Item = (Version, &Facts)> {
        self.versions.iter().rev().filter_map(|(number, kept)| {
            Some((Version { version: *number, created_time: kept.created }, kept.facts.as_ref()?))
        })
    }

    /// The newest readable version with this mark.
    pub fn marked(&self, mark: &Mark) -> Option<(Version, &Facts)> {
        self.history().find(|(_, facts)| facts.mark.as_ref() == Some(mark))
    }

    /// Versions before the current one whose content is not gone for good.
    pub fn former(&self) -> Vec<Version> {
        let former = self.versions.iter().filter(|(number, kept)| **number < self.current && !kept.destroyed);
        former.map(|(number, kept)| Version { version: *number, created_time: kept.created }).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn salt() -> Salt {
        Salt::new([7; 32])
    }

    #[test]
    fn a_fingerprint_knows_no_mark_and_no_order_and_everything_else() {
        let print = |value| salt().fingerprint(&value);
        let one = print(json!({"a": 1, "b": "2", "rotation": {"r": {"write": ""}}}));
        assert_eq!(one, print(json!({"b": "2", "a": 1})));
        for other in [
            json!({"a": 1, "b": 2}),
            json!({"a": 1}),
            json!({"a": 1, "b": ["2"]}),
            json!({"a": 1, "b": "2", "c": {"rotation": 1}}),
            json!({"a": "1", "b": "2"}),
        ] {
            assert_ne!(one, print(other.clone()), "{other}");
        }
        assert_ne!(print(json!({"c": {"rotation": 1}})), print(json!({"c": {"rotation": 2}})));
        assert_ne!(one, Salt::new([8; 32]).fingerprint(&json!({"a": 1, "b": "2"})));
    }

    #[test]
    fn keysets_that_differ_in_times_alone_are_the_same() {
        let keyset = |since: &str, state: &str| {
            let document = json!({"keys": {"k": {"state": state, "private_pem": "p", "since": since}}});
            of_document(SecretKind::Keyset, &document, &salt()).body
        };
        assert_eq!(keyset("2026-01-01T00:00:00Z", "active"), keyset("2026-01-02T00:00:00Z", "active"));
        assert_ne!(keyset("2026-01-01T00:00:00Z", "active"), keyset("2026-01-01T00:00:00Z", "published"));
        let value =
            |since: &str| of_document(SecretKind::Value, &json!({"a": {"since": since}}), &salt()).body;
        assert_ne!(value("a"), value("b"));
    }

    #[test]
    fn facts_hold_no_value() {
        let document = json!({"keys": {"k": {"state": "active", "private_pem": "canary"}}});
        let facts = of_document(SecretKind::Keyset, &document, &salt());
        assert!(!format!("{facts:?}").contains("canary"));
        let secret = of_client(&json!({"secret": "canary"}), &salt());
        assert!(!format!("{secret:?}").contains("canary"));
        assert_eq!(secret.content, Content::Secret(sha256("canary")));
    }

    #[test]
    fn a_document_of_another_form_is_broken() {
        let broken = |kind, document| match of_document(kind, &document, &salt()).content {
            Content::Broken(why) => why,
            other => panic!("{other:?}"),
        };
        let key = |state: &str| json!({"state": state});
        let keyset = SecretKind::Keyset;
        assert_eq!(broken(keyset, json!({})), "it has no `keys`");
        assert_eq!(broken(keyset, json!({"keys": {}})), "it has no `keys`");
        assert!(broken(keyset, json!({"keys": {"a": key("new")}})).contains("none of published"));
        for states in [["published", "published"], ["active", "active"]] {
            let keys = json!({"keys": {"a": key(states[0]), "b": key(states[1])}});
            assert!(broken(keyset, keys).contains("exactly one active"));
        }
        let clients = SecretKind::Clients;
        assert_eq!(broken(clients, json!({"clients": []})), "it has no `clients`");
        assert!(broken(clients, json!({"clients": {"a": {}}})).contains("no list"));
        assert!(broken(clients, json!({"clients": {"a": {"secrets": [{}]}}})).contains("sha256"));
    }

    proptest! {
        #[test]
        fn different_texts_in_different_places_never_look_alike(
            one in prop::collection::btree_map("[a-c]{0,2}", "[a-c]{0,2}", 0..4),
            other in prop::collection::btree_map("[a-c]{0,2}", "[a-c]{0,2}", 0..4),
        ) {
            let same = one == other;
            prop_assert_eq!(salt().fingerprint(&json!(one)) == salt().fingerprint(&json!(other)), same);
        }
    }
}
