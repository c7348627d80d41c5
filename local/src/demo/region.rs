//! A region of the demo: a Vault, a watcher, and two pods.

use anyhow::{Context, Result};
use local_region::pki::Ca;
use local_region::pod::{Pod, Site};
use local_region::vault::{Admin, AppRole, Storage, VaultServer};
use local_region::watcher::{Watched, Watcher};
use serde_json::json;

use super::catalogue::Catalogue;

/// What every pod takes, and its watcher watches.
const SECRETS: [&str; 4] = ["config", "clients", "signing-keys", "tls"];

/// The identities of a region, as the catalogue's AppRoles give them.
#[derive(Debug)]
pub(crate) struct Identities {
    /// For the agents.
    pub(crate) service: AppRole,
    /// For the watcher.
    pub(crate) watcher: AppRole,
    /// For the command that rotates.
    pub(crate) rotator: Admin,
    /// For the demo as the client, whose secret a promoter may read, and as who looks at the names of keys.
    pub(crate) probe: Admin,
}

impl Identities {
    /// Takes them as root, and gives up the root token.
    async fn take(root: &Admin) -> Result<Self> {
        // Shorter than the catalogue's hour: they end while their Vault is frozen, so that the agents have to log
        // in again by themselves.
        let service = root.create_approle("service", json!({"token_ttl": "15s"})).await?;
        let watcher = root.create_approle("watcher", json!({})).await?;
        let [rotator, promoter] = ["rotator", "promoter"].map(async |role| {
            let role = root.create_approle(role, json!({})).await?;
            anyhow::Ok(root.login_approle(&role).await?)
        });
        let (rotator, probe) = (rotator.await?, promoter.await?);
        root.revoke_self().await.context("give up the root token")?;
        Ok(Identities { service, watcher, rotator, probe })
    }
}

/// A region: a Vault server of its own, two pods that take their secrets from it, and who watches both.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) vault: VaultServer,
    pub(crate) identities: Identities,
    pub(crate) watcher: Watcher,
    pub(crate) pods: Vec<Pod>,
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

    /// The region of a Vault that the catalogue has been applied to, with its watcher and no pod. Gives up the root
    /// token.
    pub(crate) async fn new(site: &Site<'_>, catalogue: &Catalogue, vault: VaultServer) -> Result<Self> {
        let name = vault.name().to_owned();
        let identities = Identities::take(&vault.admin()).await;
        let identities = identities.with_context(|| format!("take the identities of {name}"))?;
        let watched = Watched { region: &name, vault: &vault, role: &identities.watcher, secrets: &SECRETS };
        let watcher = Watcher::start(site, watched)?;
        catalogue.watched_by(&name, &watcher)?;
        Ok(Region { name, vault, identities, watcher, pods: Vec::new() })
    }

    /// Starts two pods and waits until both are ready, and watched.
    pub(crate) async fn start_pods(&mut self, site: &Site<'_>) -> Result<()> {
        for number in 1..=2 {
            let name = format!("{}-{number}", self.name);
            self.pods.push(Pod::start(site, &self.name, &name, &self.vault, &self.identities.service)?);
        }
        for pod in &self.pods {
            pod.ready().await?;
        }
        self.watcher.watch(&self.pods)?;
        Ok(self.watcher.ready().await?)
    }

    /// The API of this region's Vault, as the one who rotates.
    pub(crate) fn rotator(&self) -> &Admin {
        &self.identities.rotator
    }

    /// The number of a document's current version.
    pub(crate) async fn version(&self, document: &str) -> Result<u64> {
        let metadata = self.rotator().metadata("kv", &format!("service/{document}")).await?;
        metadata["current_version"].as_u64().with_context(|| format!("find {document} in {}", self.name))
    }

    /// Ends everything in order.
    pub(crate) async fn stop(&self) {
        let pods = futures_util::future::join_all(self.pods.iter().map(Pod::stop));
        tokio::join!(pods, self.watcher.stop());
        self.vault.stop().await;
    }
}
