//! How a region's Vault is reached: directly, or through the API server of its cluster.

use std::path::PathBuf;
use std::time::Duration;

use super::client::{Authorities, Vault, credential};
use super::error::VaultError;
use crate::catalogue::region::Region;
use crate::catalogue::types;
use crate::cluster::error::{Cause, ClusterError};
use crate::cluster::forward::Forward;
use crate::cluster::{Cluster, Patience, access};

/// Bound of one call to an API server on the way to a Vault.
const PATIENCE: Patience = Patience { call: Duration::from_secs(10), tries: 3 };

/// The Service of Vault's official chart that has the active server alone; none while there is no active one.
const ACTIVE: &str = "-active";

/// A region's Vault, and the cluster that it may lie behind.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The region's name.
    pub region: &'a str,
    /// The context of its cluster.
    pub context: &'a str,
    /// What the catalogue says of its Vault.
    pub vault: &'a types::Vault,
}

impl<'a> Place<'a> {
    /// The Vault of a region.
    pub fn of(region: &'a Region) -> Self {
        Self { region: &region.name, context: region.context.value.as_str(), vault: &region.vault.value }
    }
}

/// Where contexts of clusters are found; read only where a Vault lies behind one.
#[derive(Debug, Clone, clap::Args)]
pub struct Clusters {
    /// The kubeconfig with the regions' contexts [default: KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

impl Clusters {
    /// The API server of a region's cluster. Nothing is asked yet.
    ///
    /// # Errors
    /// The kubeconfig, or the context in it, cannot be used.
    pub async fn cluster(&self, place: Place<'_>) -> Result<Cluster, VaultError> {
        let kubeconfig = access::kubeconfig(self.kubeconfig.as_deref());
        let kubeconfig = kubeconfig.map_err(|error| VaultError::Forward(error.to_string()))?;
        Cluster::connect(place.region, place.context, kubeconfig, PATIENCE)
            .await
            .map_err(|error| closed(&error))
    }

    /// A client of a region's Vault, without a token. Vault itself is not called yet.
    ///
    /// # Errors
    /// It lies behind a cluster, and cannot be reached through it.
    pub async fn vault(
        &self,
        place: Place<'_>,
        authorities: &Authorities,
        denied: &str,
    ) -> Result<Vault, VaultError> {
        let address = place.vault.address.as_str();
        let forward = match place.vault.service().filter(|_| place.vault.port_forward) {
            Some((namespace, service)) => {
                let cluster = self.cluster(place).await?;
                let port = place.vault.port();
                Some(forward(&cluster, namespace, service, port).await.map_err(|error| closed(&error))?)
            }
            None => None,
        };
        Vault::new(address, forward, authorities, denied)
    }
}

/// The active server where there is one; otherwise any, such as one that nobody has initialised.
async fn forward(
    cluster: &Cluster,
    namespace: &str,
    service: &str,
    port: u16,
) -> Result<Forward, ClusterError> {
    let base = service.strip_suffix(ACTIVE).unwrap_or(service);
    match cluster.forward(namespace, &format!("{base}{ACTIVE}"), port).await {
        Err(ClusterError { cause: Cause::Unready(_), .. }) => {}
        Err(error) if error.cause.status().is_some_and(kube::core::Status::is_not_found) => {}
        answer => return answer,
    }
    cluster.forward(namespace, base, port).await
}

fn closed(error: &ClusterError) -> VaultError {
    VaultError::Forward(error.within_region())
}

/// How an operator reaches a region's Vault, and as whom.
#[derive(Debug, Clone, clap::Args)]
pub struct Reach {
    /// PEM certificates of the authorities that vouch for the Vault; no others do
    #[arg(long, value_name = "FILE")]
    pub vault_ca: PathBuf,
    /// File with a token for the Vault, `-` for standard input [default: ~/.vault-token, which `vault login`
    /// writes]
    #[arg(long, value_name = "FILE")]
    pub vault_token_file: Option<PathBuf>,
    /// The cluster that the Vault may lie behind
    #[command(flatten)]
    pub clusters: Clusters,
}

impl Reach {
    /// The Vault, with the caller's token. Nothing of it is called yet.
    ///
    /// # Errors
    /// A file of the caller's cannot be used, or the Vault cannot be reached through its cluster.
    pub async fn vault(&self, place: Place<'_>, denied: &str) -> Result<Vault, VaultError> {
        let authorities = Authorities::read(&self.vault_ca)?;
        let token = credential(&self.token_file()?)?;
        let mut vault = self.clusters.vault(place, &authorities, denied).await?;
        vault.set_token(&token);
        Ok(vault)
    }

    fn token_file(&self) -> Result<PathBuf, VaultError> {
        let own = || std::env::home_dir().map(|home| home.join(".vault-token"));
        self.vault_token_file.clone().or_else(own).ok_or_else(|| VaultError::File {
            file: "~/.vault-token".into(),
            reason: "there is no home; name a file with --vault-token-file".into(),
        })
    }
}
