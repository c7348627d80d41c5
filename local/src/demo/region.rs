//! A region of the demo: a Vault, and two pods.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use local_region::pki::Ca;
use local_region::pod::{Pod, Site};
use local_region::vault::{Admin, AppRole, Kv, Storage, VaultServer};
use serde_json::{Value, json};

/// The identities of a region, as the catalogue's AppRoles give them.
#[derive(Debug)]
pub(crate) struct Identities {
    /// For the agents.
    pub(crate) service: AppRole,
    /// For the demo as the one who rotates.
    pub(crate) rotator: Admin,
    /// For the demo as the client, whose secret a promoter may read.
    pub(crate) probe: Admin,
}

impl Identities {
    /// Takes them as root, and gives up the root token.
    async fn take(root: &Admin) -> Result<Self> {
        // Shorter than the catalogue's hour: they end while their Vault is frozen, so that the agents have to log
        // in again by themselves.
        let service = root.create_approle("service", json!({"token_ttl": "15s"})).await?;
        let [rotator, promoter] = ["rotator", "promoter"].map(async |role| {
            let role = root.create_approle(role, json!({})).await?;
            anyhow::Ok(root.login_approle(&role).await?)
        });
        let (rotator, probe) = (rotator.await?, promoter.await?);
        root.revoke_self().await.context("give up the root token")?;
        Ok(Identities { service, rotator, probe })
    }
}

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
    /// Starts the Vault, and no pod.
    pub(crate) async fn start_vault(site: &Site<'_>, name: &str) -> Result<VaultServer> {
        let ca = Ca::new(&format!("meridian demo, Vault of {name}"))?;
        let vault = VaultServer::named(name)
            .storage(Storage::Raft)
            .folder(site.folder.join(format!("vault-{name}")))
            .log(site.logs.join(format!("vault-{name}.log")))
            .start(&ca)
            .await?;
        Ok(vault)
    }

    /// The region of a Vault that the catalogue has been applied to. Gives up the root token.
    pub(crate) async fn new(vault: VaultServer) -> Result<Self> {
        let name = vault.name().to_owned();
        let identities = Identities::take(&vault.admin()).await;
        let identities = identities.with_context(|| format!("take the identities of {name}"))?;
        Ok(Region { name, vault, identities, pods: Vec::new(), versions: BTreeMap::new() })
    }

    /// Takes over the documents that a bootstrap has copied.
    pub(crate) async fn adopt(&mut self, documents: &[(&'static str, Value)]) -> Result<()> {
        for (document, _) in documents {
            let found = self.rotator().read("kv", &format!("service/{document}"), None).await;
            let found = found.with_context(|| format!("find {document} in {}", self.name))?;
            self.versions.insert(document, found.version);
        }
        Ok(())
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
