//! The other regions of the environment: what their Vaults hold, and whether they agree.

use std::collections::BTreeMap;

use futures_util::future::{join_all, try_join_all};

use super::{Failure, Work};
use crate::catalogue::types::SecretKind;
use crate::plan::vault::documents::difference;
use crate::vault::client::{Authorities, Vault, credential};
use crate::vault::error::VaultError;
use crate::vault::kv::Document;
use crate::vault::reach::Place;
use crate::vault::seal::Hidden;

/// As whom a bootstrap logs in to the other regions.
const ROLE: &str = "rotator";

/// What a caller is told whom another region's Vault denies something.
const DENIED: &str = "the token has ended, or has not the policy rotator (regions vault apply)";

/// Folders of client secrets, which are copied whole.
const CLIENTS: [&str; 2] = ["client", "client-pending"];

/// The other regions that are looked at.
#[derive(Debug)]
pub(super) struct Others {
    pub(super) regions: Vec<Other>,
    /// The one to copy from; nothing where the new region is the first.
    pub(super) source: Option<Source>,
}

/// Another region's Vault.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) region: String,
    pub(super) vault: Vault,
    /// Whether this run logged in, and gives the token back.
    logged_in: bool,
}

/// What is copied.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) region: String,
    /// Paths below the mount, in the order in which they are written, with their kinds.
    pub(super) documents: Vec<(String, SecretKind)>,
}

impl Others {
    /// Another region by name.
    pub(super) fn get(&self, region: &str) -> Option<&Other> {
        self.regions.iter().find(|other| other.region == region)
    }

    /// The Vault to copy from, with what is copied.
    pub(super) fn from(&self) -> Option<(&Other, &Source)> {
        let source = self.source.as_ref()?;
        Some((self.get(&source.region)?, source))
    }

    /// What is copied.
    pub(super) fn documents(&self) -> Vec<String> {
        let documents = self.source.iter().flat_map(|source| &source.documents);
        documents.map(|(path, _)| path.clone()).collect()
    }

    /// Gives the tokens back that logging in gave.
    pub(super) async fn log_out(&self) {
        let own = self.regions.iter().filter(|other| other.logged_in);
        join_all(own.map(|other| other.vault.log_out())).await;
    }
}

impl Work<'_> {
    /// Reaches every other region of the environment, and finds out what there is to copy.
    pub(super) async fn others(
        &self,
        authorities: &Authorities,
        tokens: &BTreeMap<String, Hidden>,
    ) -> Result<Others, Failure> {
        if self.args.first {
            return Ok(Others { regions: Vec::new(), source: None });
        }
        let names = self.environment.regions.iter().filter(|region| region.name != self.region.name);
        let names = names.filter(|region| !self.args.without.contains(&region.name));
        let jwt = self.args.vault_jwt_file.as_deref().map(credential).transpose().map_err(Failure::File)?;
        self.line.say("look at the other regions");
        let reached = names.map(async |region| {
            let failed = |source| Failure::Vault { region: region.name.clone(), source };
            let vault = self.args.clusters.vault(Place::of(region), authorities, DENIED).await;
            let mut vault = vault.map_err(failed)?;
            let mut logged_in = false;
            match (tokens.get(&region.name), &jwt) {
                (Some(token), _) => vault.set_token(token),
                (None, Some(jwt)) => {
                    vault.log_in_by_jwt(jwt, ROLE).await.map_err(failed)?;
                    logged_in = true;
                }
                (None, None) => {
                    return Err(Failure::Usage(format!(
                        "{0}: name a token for its Vault (--vault-token {0}=FILE), log in (--vault-jwt-file FILE), \
                         or leave it out while it is away (--without {0}); where no region has a Vault yet, say so \
                         (--first)",
                        region.name
                    )));
                }
            }
            Ok(Other { region: region.name.clone(), vault, logged_in })
        });
        let mut others = Others { regions: try_join_all(reached).await?, source: None };
        if others.regions.is_empty() {
            return if self.args.without.is_empty() {
                Ok(others)
            } else {
                Err(Failure::Refused(
                    "no other region is left to copy from; bootstrap again when one is back".into(),
                ))
            };
        }
        others.source = Some(self.source(&others).await?);
        self.check_stop()?;
        Ok(others)
    }

    /// The region to copy from: the one that was named, or the first that has everything.
    async fn source(&self, others: &Others) -> Result<Source, Failure> {
        let documents = self.compared(others).await?;
        let candidates = others.regions.iter().filter(|other| match &self.args.from {
            Some(from) => other.region == *from,
            None => true,
        });
        let mut lacking = Vec::new();
        for other in candidates {
            let found = &documents[&other.region];
            let absent: Vec<&str> = found
                .iter()
                .filter(|(_, document)| document.is_none())
                .map(|(name, _)| name.as_str())
                .collect();
            if absent.is_empty() {
                let documents = self.paths(other).await?;
                return Ok(Source { region: other.region.clone(), documents });
            }
            lacking.push(format!("{} cannot give service/{}", other.region, absent.join(", service/")));
        }
        if lacking.is_empty() {
            let from = self.args.from.as_deref().unwrap_or_default();
            return Err(Failure::Usage(format!(
                "--from {from}: that is the new region, or one that is left out"
            )));
        }
        Err(Failure::Refused(format!(
            "no region has a current version of every secret of the catalogue: {}; write it there first (vault kv \
             put), or run `regions rotate`",
            lacking.join("; ")
        )))
    }

    /// Every managed document of every other region, once those that must agree do.
    async fn compared(
        &self,
        others: &Others,
    ) -> Result<BTreeMap<String, BTreeMap<String, Option<Document>>>, Failure> {
        let read = others
            .regions
            .iter()
            .map(async |other| Ok::<_, Failure>((other.region.clone(), self.managed(other).await?)));
        let documents: BTreeMap<_, _> = try_join_all(read).await?.into_iter().collect();
        let differences = self.disagreements(&documents);
        if differences.is_empty() {
            return Ok(documents);
        }
        Err(Failure::Refused(format!(
            "the regions do not agree; let the rotation end its phase, or mend it (regions rotate): {}",
            differences.join("; ")
        )))
    }

    /// The managed documents of a region by name.
    pub(super) async fn managed(&self, other: &Other) -> Result<BTreeMap<String, Option<Document>>, Failure> {
        let mut documents = BTreeMap::new();
        for name in self.environment.settings.secrets.keys() {
            let document = other.vault.document(&format!("service/{name}")).await;
            documents.insert(name.to_string(), document.map_err(|source| other.failed(source))?);
        }
        Ok(documents)
    }

    /// How keysets and clients differ between regions, which they must not: a token of one region verifies in
    /// every other.
    pub(super) fn disagreements(
        &self,
        documents: &BTreeMap<String, BTreeMap<String, Option<Document>>>,
    ) -> Vec<String> {
        let mut told = Vec::new();
        let Some((first, theirs)) = documents.iter().next() else { return told };
        for (name, secret) in &self.environment.settings.secrets {
            if secret.kind == SecretKind::Value {
                continue;
            }
            let name = name.to_string();
            let Some(Some(one)) = theirs.get(&name) else { continue };
            for (other, documents) in documents.iter().skip(1) {
                let Some(Some(document)) = documents.get(&name) else { continue };
                let between = difference(secret.kind, (first, one.expose()), (other, document.expose()));
                told.extend(between.map(|difference| format!("service/{name}: {difference}")));
            }
        }
        told
    }

    /// What is copied from a region: its managed documents, and every client's secret.
    async fn paths(&self, other: &Other) -> Result<Vec<(String, SecretKind)>, Failure> {
        let secrets = self.environment.settings.secrets.iter();
        let mut paths: Vec<_> =
            secrets.map(|(name, secret)| (format!("service/{name}"), secret.kind)).collect();
        for folder in CLIENTS {
            let list = other.vault.list(&format!("{}/metadata/{folder}/", crate::plan::vault::MOUNT)).await;
            for name in list.map_err(|source| other.failed(source))? {
                let path = format!("{folder}/{name}");
                let metadata = other.vault.metadata(&path).await.map_err(|source| other.failed(source))?;
                // What a rotation took away again stays away.
                if metadata.is_some_and(|metadata| metadata.absence.is_none()) {
                    paths.push((path, SecretKind::Value));
                }
            }
        }
        Ok(paths)
    }
}

impl Other {
    pub(super) fn failed(&self, source: VaultError) -> Failure {
        Failure::Vault { region: self.region.clone(), source }
    }
}
