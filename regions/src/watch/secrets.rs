//! What the region's Vault holds of each secret, asked once a second and before each look at the pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrets_agent_client::Version;
use tokio::time::timeout;

use crate::plan::rotation::mark::Mark;
use crate::plan::view::{Health, HealthState, Secret};
use crate::vault::client::Vault;
use crate::vault::error::VaultError;
use crate::vault::session::{NoToken, Session};

/// Bound of asking for all secrets. Two of them, and a look at the pods, end before a round has to.
const CALL: Duration = Duration::from_secs(2);

/// What is known of the secrets, and how the Vault does.
pub(super) struct Secrets {
    session: Session,
    names: Vec<String>,
    known: Mutex<Known>,
    /// One asks at a time.
    asking: tokio::sync::Mutex<()>,
}

struct Known {
    secrets: BTreeMap<String, Secret>,
    /// The numbers of each secret's versions that can be read.
    readable: BTreeMap<String, BTreeSet<u64>>,
    health: Health,
}

/// Something that agents have to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) name: String,
    /// The current version.
    pub(super) version: Version,
    /// Whether it was not known before. Otherwise one before it was taken away, and is to be wiped.
    pub(super) is_new: bool,
    /// Whether a rotation wrote it.
    pub(super) mark: Option<Mark>,
}

impl Secrets {
    pub(super) fn new(session: Session, names: Vec<String>) -> Self {
        let health = Health { state: HealthState::Unknown, last_contact: None, error: None };
        let secrets = names.iter().map(|name| (name.clone(), Secret::default())).collect();
        let known = Mutex::new(Known { secrets, readable: BTreeMap::new(), health });
        Self { session, names, known, asking: tokio::sync::Mutex::default() }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// What is known of each secret.
    pub(super) fn known(&self) -> BTreeMap<String, Secret> {
        self.lock().secrets.clone()
    }

    /// How the Vault does.
    pub(super) fn health(&self) -> Health {
        self.lock().health.clone()
    }

    /// Takes over floors that were kept.
    pub(super) fn raise(&self, floors: &BTreeMap<String, Version>) {
        let mut known = self.lock();
        for (name, floor) in floors {
            if let Some(secret) = known.secrets.get_mut(name) {
                secret.floor = secret.floor.max(Some(*floor));
            }
        }
    }

    /// The highest version that the region has seen of each secret.
    pub(super) fn floors(&self) -> BTreeMap<String, Version> {
        let known = self.lock();
        known.secrets.iter().filter_map(|(name, secret)| Some((name.clone(), secret.floor?))).collect()
    }

    /// Asks the Vault. Gives what is new.
    pub(super) async fn poll(&self) -> Vec<News> {
        let _alone = self.asking.lock().await;
        let vault = match self.session.vault() {
            Ok(vault) => vault,
            Err(why) => {
                // Whatever a login is answered but that Vault is sealed, it is not let in.
                let state = match &*why {
                    NoToken::Refused(error) if error.is_sealed() => HealthState::Sealed,
                    NoToken::Refused(error) if error.status().is_some() => HealthState::Denied,
                    NoToken::Refused(_) | NoToken::NotYet => HealthState::Unreachable,
                };
                self.unwell(state, why.to_string());
                return Vec::new();
            }
        };
        let asked = self.names.iter().map(async |name| (name, self.ask(&vault, name).await));
        // A Vault that hangs must not keep anybody from being told of the pods.
        let Ok(answers) = timeout(CALL, futures_util::future::join_all(asked)).await else {
            let why = format!("{}: no answer within {} s", vault.address(), CALL.as_secs());
            self.unwell(HealthState::Unreachable, why);
            return Vec::new();
        };
        let mut news = Vec::new();
        let mut failed = None;
        for (name, answer) in answers {
            match answer {
                Ok((found, readable)) => news.extend(self.take(name, found, readable)),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            None => {
                let last_contact = Some(Timestamp::now());
                self.lock().health = Health { state: HealthState::Ok, last_contact, error: None };
            }
            Some(error) => {
                if error.status() == Some(403) {
                    self.session.refused();
                }
                self.unwell(state(&error), error.to_string());
            }
        }
        news
    }

    fn unwell(&self, state: HealthState, error: String) {
        let health = &mut self.lock().health;
        (health.state, health.error) = (state, Some(error));
    }

    /// A secret as the Vault has it now, and which of its versions can be read. The names of its keys are read of a
    /// version that is not known yet.
    async fn ask(&self, vault: &Vault, name: &str) -> Result<(Secret, BTreeSet<u64>), VaultError> {
        let path = format!("service/{name}");
        let Some(metadata) = vault.metadata(&path).await? else {
            let absence = Some("was never written".into());
            return Ok((Secret { absence, ..Secret::default() }, BTreeSet::new()));
        };
        let readable = metadata.versions.iter().filter(|(_, state)| state.readable);
        let readable = readable.map(|(number, _)| *number).collect();
        let current = metadata
            .versions
            .get(&metadata.version)
            .map(|state| Version { version: metadata.version, created_time: state.created_time });
        let absence = metadata.absence.map(str::to_owned);
        let known = self.lock().secrets.get(name).cloned().unwrap_or_default();
        if known.current == current && known.absence == absence {
            return Ok((known, readable));
        }
        let mark = match (&absence, current) {
            (None, Some(version)) => vault.subkeys(&path, version.version).await?.as_ref().and_then(Mark::of),
            _ => None,
        };
        Ok((Secret { current, mark, absence, floor: None }, readable))
    }

    fn take(&self, name: &str, found: Secret, readable: BTreeSet<u64>) -> Option<News> {
        let mut known = self.lock();
        let before = known.readable.get(name);
        let is_less = before.is_some_and(|before| before.difference(&readable).next().is_some());
        known.readable.insert(name.to_owned(), readable);
        let secret = known.secrets.get_mut(name)?;
        let (former, floor) = (secret.current, secret.floor);
        *secret = found;
        secret.floor = floor.max(secret.current.filter(|_| secret.absence.is_none()));
        let version = secret.current?;
        let is_new = Some(version) != former;
        (is_new || is_less).then(|| News {
            name: name.to_owned(),
            version,
            is_new,
            mark: secret.mark.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state(error: &VaultError) -> HealthState {
    match error.status() {
        _ if error.is_sealed() => HealthState::Sealed,
        Some(403) => HealthState::Denied,
        Some(_) => HealthState::Faulty,
        None => HealthState::Unreachable,
    }
}
