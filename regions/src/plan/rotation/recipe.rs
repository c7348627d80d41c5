//! How a document comes from others. The planner says what is done to which version; whoever may read values puts
//! it together by [`Recipe::make`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrets_agent_client::Version;
use serde_json::{Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use super::facts::State;
use super::mark::Mark;
use crate::wipe::wipe;

/// A version that is read for a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// In this region's Vault.
    pub region: String,
    /// At this path below the mount.
    pub path: String,
    /// This version and no other of that number.
    pub version: Version,
}

/// How a document comes about.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What is read for it, in the order in which the change takes it.
    pub sources: Vec<Source>,
    /// What becomes of it.
    pub change: Change,
    /// The mark of the new document.
    pub mark: Mark,
}

/// What is done to the sources.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Nothing: the first source as it is.
    Same,
    /// Nothing: what is there, once more.
    Again,
    /// A whole document from outside takes its place.
    Replace,
    /// A new secret becomes the field `value`, beside whatever else the first source has, if there is one.
    Value,
    /// A new key is published beside those that are there.
    Publish,
    /// The key that is published signs from now on, and the one that signed retires.
    Activate,
    /// Keys that are retiring go.
    Retire,
    /// A key signs again, by its private part in the second source, and another retires.
    Reactivate {
        /// The key that signs again.
        old: String,
        /// The key that retires.
        new: String,
    },
    /// A key goes.
    Remove {
        /// The key.
        new: String,
    },
    /// A new secret of one client, which nobody has yet.
    Pending {
        /// The client.
        client: String,
    },
    /// The secret of the first source becomes that of the second, if there is one.
    Hand,
    /// One more hash for each client.
    AddHashes(BTreeMap<String, String>),
    /// Of each client only this hash.
    KeepHashes(BTreeMap<String, String>),
    /// Of each client all hashes but this one.
    DropHashes(BTreeMap<String, String>),
}

/// Something new, which only the run that made it knows until it is written.
pub enum Made {
    /// A signing key.
    Key {
        /// Its RFC 7638 thumbprint.
        kid: String,
        /// Its private part, as PKCS#8 in PEM.
        private_pem: Zeroizing<String>,
        /// Its public part.
        public_jwk: Value,
    },
    /// A secret text.
    Secret(Zeroizing<String>),
    /// A whole document.
    Document(Value),
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Self::Document(document) = self {
            wipe(document);
        }
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key { .. } => "Made(key)",
            Self::Secret(_) => "Made(secret)",
            Self::Document(_) => "Made(document)",
        })
    }
}

/// What has to be made for a recipe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A signing key.
    Key,
    /// A secret text, for this client where it is one's.
    Secret(Option<String>),
    /// The document from outside.
    Document,
}

impl Change {
    /// What has to be made for it.
    pub fn need(&self) -> Option<Need> {
        match self {
            Self::Replace => Some(Need::Document),
            Self::Value => Some(Need::Secret(None)),
            Self::Publish => Some(Need::Key),
            Self::Pending { client } => Some(Need::Secret(Some(client.clone()))),
            _ => None,
        }
    }
}

/// Why a document could not be put together. It never quotes one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; look at it by hand, and see what a rotation would do with --dry-run")]
pub struct Unfit(pub &'static str);

impl Recipe {
    /// Puts the document together. `sources` are those that it names, in order; `at` is the Vault's time.
    ///
    /// # Errors
    /// A source is not of the form that the plan took it for.
    pub fn make(&self, sources: &[&Value], made: Option<&Made>, at: Timestamp) -> Result<Value, Unfit> {
        let source = |place: usize| sources.get(place).copied().filter(|source| source.is_object()).cloned();
        let there = || source(0).ok_or(Unfit("what it comes from is not there"));
        let mut document = match &self.change {
            Change::Same | Change::Again => there()?,
            Change::Replace => match made {
                Some(Made::Document(document)) if document.is_object() => document.clone(),
                _ => return Err(Unfit("there is no document to write")),
            },
            Change::Value => {
                let mut document = source(0).unwrap_or_else(|| json!({}));
                document["value"] = secret(made)?.into();
                document
            }
            Change::Publish => publish(there()?, made, at)?,
            Change::Activate => activate(there()?, at)?,
            Change::Retire => without(there()?, |_, state| state == Some(State::Retiring.as_str()))?,
            Change::Reactivate { old, new } => {
                let private = sources.get(1).and_then(|second| second["keys"][old]["private_pem"].as_str());
                reactivate(there()?, old, new, private, at)?
            }
            Change::Remove { new } => without(there()?, |kid, _| kid == new)?,
            Change::Pending { .. } => json!({"secret": secret(made)?}),
            Change::Hand => {
                let new = sources.first().map(|pending| pending["secret"].clone()).filter(Value::is_string);
                let mut document = source(1).unwrap_or_else(|| json!({}));
                document["secret"] = new.ok_or(Unfit("the new secret is not there"))?;
                document
            }
            Change::AddHashes(hashes) => {
                let mut document = there()?;
                for (client, hash) in hashes {
                    let secrets = secrets(&mut document, client)?;
                    // Neither ends by itself while nobody knows yet who still uses which.
                    secrets.iter_mut().for_each(|secret| secret["not_after"] = Value::Null);
                    secrets.push(json!({"sha256": hash, "not_after": null}));
                }
                document
            }
            Change::KeepHashes(hashes) => keep(there()?, hashes, true)?,
            Change::DropHashes(hashes) => keep(there()?, hashes, false)?,
        };
        self.mark.put(&mut document);
        Ok(document)
    }
}

fn secret(made: Option<&Made>) -> Result<&str, Unfit> {
    match made {
        Some(Made::Secret(secret)) => Ok(secret),
        _ => Err(Unfit("there is no new secret to write")),
    }
}

type Keys = serde_json::Map<String, Value>;

fn keys(document: &mut Value) -> Result<&mut Keys, Unfit> {
    document["keys"].as_object_mut().ok_or(Unfit("the document has no `keys`"))
}

fn publish(mut document: Value, made: Option<&Made>, at: Timestamp) -> Result<Value, Unfit> {
    let Some(Made::Key { kid, private_pem, public_jwk }) = made else {
        return Err(Unfit("there is no new key to write"));
    };
    let entry = json!({
        "state": State::Published.as_str(), "private_pem": private_pem.as_str(), "public_jwk": public_jwk,
        "since": at,
    });
    keys(&mut document)?.insert(kid.clone(), entry);
    Ok(document)
}

/// The one key in a state.
fn only(keys: &Keys, state: State) -> Result<String, Unfit> {
    let mut found = keys.iter().filter(|(_, key)| key["state"] == state.as_str());
    match (found.next(), found.next()) {
        (Some((kid, _)), None) => Ok(kid.clone()),
        _ => Err(Unfit("the document has not exactly one key that is active and one that is published")),
    }
}

fn activate(mut document: Value, at: Timestamp) -> Result<Value, Unfit> {
    let keys = keys(&mut document)?;
    let (old, new) = (only(keys, State::Active)?, only(keys, State::Published)?);
    retire(&mut keys[&old], at);
    sign(&mut keys[&new], None, at)?;
    Ok(document)
}

fn reactivate(
    mut document: Value,
    old: &str,
    new: &str,
    private: Option<&str>,
    at: Timestamp,
) -> Result<Value, Unfit> {
    let keys = keys(&mut document)?;
    if let Some(new) = keys.get_mut(new) {
        retire(new, at);
    }
    let old = keys.get_mut(old).ok_or(Unfit("the key that signed before is not in the document"))?;
    if old["state"] != State::Active.as_str() {
        sign(old, private, at)?;
    }
    Ok(document)
}

/// A key that no longer signs has no private part here.
fn retire(key: &mut Value, at: Timestamp) {
    key["state"] = State::Retiring.as_str().into();
    key["since"] = json!(at);
    if let Some(Value::String(mut private)) = key.as_object_mut().and_then(|key| key.remove("private_pem")) {
        private.zeroize();
    }
}

fn sign(key: &mut Value, private: Option<&str>, at: Timestamp) -> Result<(), Unfit> {
    if let Some(private) = private {
        key["private_pem"] = private.into();
    }
    if !key["private_pem"].is_string() {
        return Err(Unfit("the key that should sign has no private part any more"));
    }
    key["state"] = State::Active.as_str().into();
    key["since"] = json!(at);
    Ok(())
}

fn without(mut document: Value, goes: impl Fn(&str, Option<&str>) -> bool) -> Result<Value, Unfit> {
    keys(&mut document)?.retain(|kid, key| !goes(kid, key["state"].as_str()));
    Ok(document)
}

fn secrets<'a>(document: &'a mut Value, client: &str) -> Result<&'a mut Vec<Value>, Unfit> {
    let entry = document["clients"].as_object_mut().and_then(|clients| clients.get_mut(client));
    let secrets = entry.and_then(|entry| entry["secrets"].as_array_mut());
    secrets.ok_or(Unfit("a client that should change is not in the document"))
}

fn keep(mut document: Value, hashes: &BTreeMap<String, String>, those: bool) -> Result<Value, Unfit> {
    for (client, hash) in hashes {
        let secrets = secrets(&mut document, client)?;
        let is =
            |secret: &Value| secret["sha256"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(hash));
        secrets.retain(|secret| is(secret) == those);
        if secrets.is_empty() {
            return Err(Unfit("a client would be left without a secret"));
        }
    }
    Ok(document)
}
