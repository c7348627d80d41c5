//! The documents are copied, from memory to memory, until both sides say the same.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::others::{Other, Others};
use super::{Failure, Work};
use crate::catalogue::types::SecretKind;
use crate::plan::vault::documents::difference;
use crate::plan::vault::seed::{Decision, There, decide};
use crate::vault::client::Vault;
use crate::vault::kv::Document;

/// Where a bootstrap notes which versions are its own, while it is at work.
const NOTE: &str = "regions/bootstrap";

/// How often documents are copied that change meanwhile.
const ROUNDS: u32 = 5;

/// One secret, and what is to be done about it.
struct Item {
    path: String,
    source: Document,
    decision: Decision,
}

impl Work<'_> {
    /// Names the new region beside every managed secret of every other Vault, so that no rotation leaves it
    /// behind unseen. This comes before anything is copied.
    pub(super) async fn name_members(&mut self, vault: &Vault, others: &Others) -> Result<(), Failure> {
        self.line.say("name the region in every other Vault");
        let mut names: BTreeSet<String> = others.regions.iter().map(|other| other.region.clone()).collect();
        names.insert(self.region.name.clone());
        let paths: Vec<String> =
            self.environment.settings.secrets.keys().map(|name| format!("service/{name}")).collect();
        for other in &others.regions {
            for path in &paths {
                self.check_stop()?;
                // Where a region lacks a secret there is nothing to name it beside.
                let there = other.vault.metadata(path).await.map_err(|source| other.failed(source))?;
                if there.is_some() {
                    self.wrote |=
                        other.vault.add_members(path, &names).await.map_err(|source| other.failed(source))?;
                }
            }
        }
        if let Some((from, _)) = others.from() {
            for path in &paths {
                self.check_stop()?;
                let mut names = names.clone();
                let there = from.vault.metadata(path).await.map_err(|source| from.failed(source))?;
                if let Some(there) = there {
                    names.extend(crate::plan::vault::members::read(&Value::Object(there.custom)));
                }
                self.wrote |= vault.add_members(path, &names).await.map_err(|source| self.failed(source))?;
            }
        }
        Ok(())
    }

    /// Copies what the source has and the new region lacks, and compares all regions.
    pub(super) async fn seed(&mut self, vault: &Vault, others: &Others) -> Result<(), Failure> {
        let Some((from, source)) = others.from() else { return Ok(()) };
        let mut written: BTreeSet<String> = BTreeSet::new();
        for round in 0..ROUNDS {
            self.check_stop()?;
            let (noted, version) = self.noted(vault).await?;
            let items = self.decisions(vault, from, &source.documents, &noted).await?;
            refuse(&items)?;
            let open: Vec<&Item> =
                items.iter().filter(|item| matches!(item.decision, Decision::Write { .. })).collect();
            if open.is_empty() {
                let kept = items.iter().map(|item| &item.path).filter(|path| !written.contains(*path));
                self.report.kept = kept.cloned().collect();
                self.report.copied = written.into_iter().collect();
                self.compare(vault, others).await?;
                return self.settle(vault, &noted, version).await;
            }
            if round > 0 {
                self.line.say("a document changed meanwhile; copy it again");
            }
            self.note(vault, &noted, version, &open).await?;
            for (number, item) in open.iter().enumerate() {
                self.check_stop()?;
                self.line.say(&format!("copy {}/{}  {}", number + 1, open.len(), item.path));
                self.copy(vault, item).await?;
                written.insert(item.path.clone());
            }
        }
        Err(Failure::Incomplete(format!(
            "the documents of {} changed again and again while they were copied; run it again when the rotation is over",
            from.region
        )))
    }

    async fn decisions(
        &self,
        vault: &Vault,
        from: &Other,
        documents: &[(String, SecretKind)],
        noted: &BTreeMap<String, u64>,
    ) -> Result<Vec<Item>, Failure> {
        let mut items = Vec::new();
        for (path, kind) in documents {
            let source = from.vault.document(path).await.map_err(|source| from.failed(source))?;
            // A pending secret that a rotation took away meanwhile needs no copy.
            let Some(source) = source else {
                if path.starts_with("service/") {
                    let gone = format!("{}: {path} was deleted while it was copied", from.region);
                    return Err(Failure::Incomplete(gone));
                }
                continue;
            };
            let failed = |source| self.failed(source);
            let version = vault.metadata(path).await.map_err(failed)?.map_or(0, |metadata| metadata.version);
            let there = vault.document(path).await.map_err(failed)?;
            let there = There {
                version,
                document: there.as_ref().map(Document::expose),
                noted: noted.get(path).copied(),
            };
            let names = (from.region.as_str(), self.region.name.as_str());
            let decision = decide(*kind, (names.0, source.expose()), (names.1, there));
            items.push(Item { path: path.clone(), source, decision });
        }
        Ok(items)
    }

    async fn copy(&mut self, vault: &Vault, item: &Item) -> Result<(), Failure> {
        let Decision::Write { over } = item.decision else { return Ok(()) };
        self.wrote = true;
        match vault.put(&item.path, item.source.expose(), over).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_check_and_set() => Err(Failure::Locked(format!(
                "{}: somebody else wrote {} just now",
                self.region.name, item.path
            ))),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Keysets and clients of all regions, the new one among them.
    async fn compare(&mut self, vault: &Vault, others: &Others) -> Result<(), Failure> {
        self.line.say("compare all regions");
        let read = others
            .regions
            .iter()
            .map(async |other| Ok::<_, Failure>((other.region.clone(), self.managed(other).await?)));
        let mut documents: BTreeMap<_, _> = try_join_all(read).await?.into_iter().collect();
        let mut own = BTreeMap::new();
        for name in self.environment.settings.secrets.keys() {
            let document = vault.document(&format!("service/{name}")).await;
            own.insert(name.to_string(), document.map_err(|source| self.failed(source))?);
        }
        for (name, secret) in &self.environment.settings.secrets {
            if secret.kind == SecretKind::Value {
                self.note_differences(&name.to_string(), &own, &documents);
            }
        }
        documents.insert(self.region.name.clone(), own);
        let differences = self.disagreements(&documents);
        if differences.is_empty() {
            return Ok(());
        }
        Err(Failure::Incomplete(format!(
            "everything is copied, and the regions do not agree; let the rotation end its phase: {}",
            differences.join("; ")
        )))
    }

    /// Values may differ between regions. Whoever copies one should know.
    fn note_differences(
        &mut self,
        name: &str,
        own: &BTreeMap<String, Option<Document>>,
        documents: &BTreeMap<String, BTreeMap<String, Option<Document>>>,
    ) {
        let Some(Some(own)) = own.get(name) else { return };
        for (region, theirs) in documents {
            let Some(Some(theirs)) = theirs.get(name) else {
                self.report.notes.push(format!("{region} has no current version of service/{name}"));
                continue;
            };
            let new = (self.region.name.as_str(), own.expose());
            if let Some(difference) = difference(SecretKind::Value, (region, theirs.expose()), new) {
                self.report.notes.push(format!("service/{name}: {difference}"));
            }
        }
    }

    /// Which versions are a bootstrap's own, and the version of the note.
    async fn noted(&self, vault: &Vault) -> Result<(BTreeMap<String, u64>, u64), Failure> {
        let failed = |source| self.failed(source);
        let version = vault.metadata(NOTE).await.map_err(failed)?.map_or(0, |metadata| metadata.version);
        let note = vault.document(NOTE).await.map_err(failed)?;
        let own = note.as_ref().and_then(|note| note.expose()["writes"].as_object());
        let own =
            own.into_iter().flatten().filter_map(|(path, version)| Some((path.clone(), version.as_u64()?)));
        Ok((own.collect(), version))
    }

    /// Notes which versions the writes that come will be.
    async fn note(
        &mut self,
        vault: &Vault,
        noted: &BTreeMap<String, u64>,
        version: u64,
        open: &[&Item],
    ) -> Result<(), Failure> {
        let mut writes = noted.clone();
        for item in open {
            if let Decision::Write { over } = item.decision {
                writes.insert(item.path.clone(), over + 1);
            }
        }
        if writes == *noted {
            return Ok(());
        }
        self.put_note(vault, &writes, version).await
    }

    /// Empties the note: from now on everything in the Vault is its owners'. It is not deleted, since a Vault
    /// whose client goes away while it deletes a secret is left with half of it, which it cannot read.
    async fn settle(
        &mut self,
        vault: &Vault,
        noted: &BTreeMap<String, u64>,
        version: u64,
    ) -> Result<(), Failure> {
        if noted.is_empty() {
            return Ok(());
        }
        self.put_note(vault, &BTreeMap::new(), version).await
    }

    async fn put_note(
        &mut self,
        vault: &Vault,
        writes: &BTreeMap<String, u64>,
        version: u64,
    ) -> Result<(), Failure> {
        self.wrote = true;
        let note = json!({"from": self.report.from, "writes": writes});
        match vault.put(NOTE, &note, version).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_check_and_set() => Err(Failure::Locked(format!(
                "{}: another bootstrap is at work in its Vault; let it end",
                self.region.name
            ))),
            Err(error) => Err(self.failed(error)),
        }
    }
}

/// Ends a bootstrap that would overwrite somebody else's documents.
fn refuse(items: &[Item]) -> Result<(), Failure> {
    let refused: Vec<String> = items
        .iter()
        .filter_map(|item| match &item.decision {
            Decision::Refuse(why) => Some(format!("{}: {why}", item.path)),
            _ => None,
        })
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "what others wrote is not overwritten; make it the same as in the other regions, or remove it: {}",
        refused.join("; ")
    )))
}
