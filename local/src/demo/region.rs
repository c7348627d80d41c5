//! A region of the demo: a Vault, and two pods.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use local_region::pki::Ca;
use local_region::vault::{Admin, Kv, Storage, VaultServer};
use serde_json::Value;

use super::pod::{Pod, Site};
use super::policy::{self, Identities};

/// A region: a Vault server of its own, and two pods that take their secrets from it.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) vault: VaultServer,
    pub(crate) identities: Identities,
    pub(crate) pods: Vec<Pod>,
    /// The current version of each document.
    versions: BTreeMap<&'static str, u64>,
}

impl Region {
    /// Starts the Vault, sets it up, and writes the first documents. No pod is started.
    pub(crate) async fn start(
        site: &Site<'_>,
        name: &str,
        documents: &[(&'static str, Value)],
    ) -> Result<Self> {
        let ca = Ca::new(&format!("meridian demo, Vault of {name}"))?;
        let vault = VaultServer::named(name)
            .storage(Storage::Raft)
            .folder(site.folder.join(format!("vault-{name}")))
            .log(site.logs.join(format!("vault-{name}.log")))
            .start(&ca)
            .await?;
        let identities =
            policy::set_up(&vault.admin()).await.with_context(|| format!("set up the Vault of {name}"))?;
        let mut region =
            Region { name: name.to_owned(), vault, identities, pods: Vec::new(), versions: BTreeMap::new() };
        for (document, content) in documents {
            region.write(document, content).await?;
        }
        Ok(region)
    }

    /// Starts two pods and waits until both are ready.
    pub(crate) async fn start_pods(&mut self, site: &Site<'_>) -> Result<()> {
        for number in 1..=2 {
            let name = format!("{}-{number}", self.name);
            self.pods.push(Pod::start(site, &self.name, &name, &self.vault, &self.identities.service)?);
        }
        for pod in &self.pods {
            pod.ready().await?;
        }
        Ok(())
    }

    /// The API of this region's Vault, as the one who rotates.
    pub(crate) fn rotator(&self) -> &Admin {
        &self.identities.rotator
    }

    /// Writes a document with check-and-set.
    pub(crate) async fn write(&mut self, document: &'static str, content: &Value) -> Result<Kv> {
        let current = self.version(document);
        let path = format!("service/{document}");
        let written = self.rotator().put("kv", &path, content, Some(current)).await;
        let written = written.with_context(|| format!("write {document} in {}", self.name))?;
        self.versions.insert(document, written.version);
        Ok(written)
    }

    /// The current version of a document; 0 for none.
    pub(crate) fn version(&self, document: &str) -> u64 {
        self.versions.get(document).copied().unwrap_or_default()
    }

    /// Destroys every version of a document but the current one.
    pub(crate) async fn destroy_former(&self, document: &str) -> Result<Vec<u64>> {
        let former: Vec<u64> = (1..self.version(document)).collect();
        let path = format!("service/{document}");
        let destroyed = self.rotator().destroy("kv", &path, &former).await;
        destroyed.with_context(|| format!("destroy former versions of {document} in {}", self.name))?;
        Ok(former)
    }

    /// Ends everything in order.
    pub(crate) async fn stop(&self) {
        futures_util::future::join_all(self.pods.iter().map(Pod::stop)).await;
        self.vault.stop().await;
    }
}
