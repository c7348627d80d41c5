//! An environment that is up, as the process that holds it has left word of it: for whoever works with its regions.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::documents::CLIENT;
use crate::http::{Client, Target, client_tls};
use crate::kubernetes::{self, Access};
use crate::platform::{self, Plan};
use crate::vault::{self, Admin};
use crate::wait::{NotInTime, wait_until};

/// The name that the certificate of a region's Vault is for.
pub const VAULT_NAME: &str = "vault.vault.svc";

/// How long a pod or a Service may take to get an address.
const ADDRESS: Duration = Duration::from_secs(60);

/// Why an environment cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process holds it.
    #[error("{0} is not up: local-region up {0}")]
    Down(String),
    /// It was brought up without Vaults.
    #[error("{0} is up without Vaults")]
    WithoutVault(String),
    /// It has no such region.
    #[error("{environment} has no region {name}")]
    NoRegion {
        /// The environment.
        environment: String,
        /// The region.
        name: String,
    },
    /// A file of it cannot be used.
    #[error("read {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A cluster refused.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::Error),
    /// A Vault refused.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// Something has no address in time.
    #[error(transparent)]
    NotInTime(#[from] NotInTime),
}

/// An environment that is up.
#[derive(Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Its name.
    pub environment: String,
    /// The process that holds it.
    pub holder: i32,
    /// DNS name of the environment.
    pub domain: String,
    /// The kubeconfig with the regions' contexts.
    pub kubeconfig: PathBuf,
    /// The registry that its nodes pull from.
    pub registry: Registry,
    /// The authority of the certificate that clients are shown; nothing without Vaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_authority: Option<PathBuf>,
    /// The authorities of all Vaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_authorities: Option<PathBuf>,
    /// Its regions, those of the first wave first.
    pub regions: Vec<Region>,
}

/// Where the registry is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registry {
    /// The process that holds it.
    pub holder: i32,
    /// Its port on loopback.
    pub port: u16,
    /// The authority of its certificate.
    pub authority: PathBuf,
}

impl Registry {
    /// What references to images begin with, here and on nodes.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

/// A region of an environment that is up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// The context of its cluster.
    pub context: String,
    /// Where its API server listens.
    pub api: String,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// Addresses of its Services of type LoadBalancer.
    pub addresses: String,
    /// Its Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Vault>,
    /// Memory that its processes hold, in MiB, as of the look that was asked for.
    #[serde(default)]
    pub resident_mib: u64,
}

/// A region's Vault, as files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vault {
    /// The authority of its certificate.
    pub authority: PathBuf,
    /// Tokens by what they may do: `promoter`, `rotator`, `root`.
    pub tokens: BTreeMap<String, PathBuf>,
    /// Its recovery shares, as `regions bootstrap` showed them.
    pub shares: PathBuf,
}

impl Environment {
    /// The environment of this name.
    ///
    /// # Errors
    /// It is not up.
    pub fn open(name: &str) -> Result<Self, Error> {
        let folder = folder(name);
        let read = || serde_json::from_slice(&fs::read(folder.join("state.json")).ok()?).ok();
        is_held(&folder).then(read).flatten().ok_or_else(|| Error::Down(name.to_owned()))
    }

    /// A region by name.
    ///
    /// # Errors
    /// There is none.
    pub fn region(&self, name: &str) -> Result<&Region, Error> {
        let missing = || Error::NoRegion { environment: self.environment.clone(), name: name.to_owned() };
        self.regions.iter().find(|region| region.name == name).ok_or_else(missing)
    }

    /// The regions as the catalogue has them.
    ///
    /// # Errors
    /// What was noted of them cannot be read.
    pub fn plans(&self) -> Result<Vec<Plan>, Error> {
        #[derive(Deserialize)]
        struct Order {
            plans: Vec<Plan>,
        }
        let file = folder(&self.environment).join("order.json");
        let order: Order = serde_json::from_slice(&read(&file)?)
            .map_err(|error| Error::File { path: file, source: io::Error::other(error) })?;
        Ok(order.plans)
    }

    /// The issuer of its tokens.
    pub fn issuer(&self) -> String {
        format!("https://{}", self.domain)
    }

    /// The cluster of a region, with its administrator's rights.
    ///
    /// # Errors
    /// The kubeconfig cannot be read.
    pub fn cluster(&self, region: &Region) -> Result<Access, Error> {
        Ok(Access::from_kubeconfig(&self.kubeconfig, &region.context)?)
    }

    /// The Vault of a region, with one of its tokens.
    ///
    /// # Errors
    /// There is none, or its pod has no address.
    pub async fn vault(&self, region: &Region, role: &str) -> Result<Admin, Error> {
        let without = || Error::WithoutVault(self.environment.clone());
        let made = region.vault.as_ref().ok_or_else(without)?;
        let token = made.tokens.get(role).ok_or_else(without)?;
        let authority = text(&made.authority)?;
        let address = vault_address(&self.cluster(region)?).await?;
        let config =
            client_tls(&authority).map_err(|source| Error::File { path: made.authority.clone(), source })?;
        let target = Target::Tls { address, name: VAULT_NAME.to_owned(), config };
        Ok(Admin::of(Client::new(target), &SecretString::from(text(token)?)))
    }

    /// The secret of the client `probe`, which whoever promotes may read.
    ///
    /// # Errors
    /// There is no Vault, or none in it.
    pub async fn secret(&self) -> Result<SecretString, Error> {
        let first = self.regions.first().ok_or_else(|| Error::Down(self.environment.clone()))?;
        let read = self.vault(first, "promoter").await?.read("kv", &format!("client/{CLIENT}"), None).await?;
        Ok(read.data["secret"].as_str().unwrap_or_default().into())
    }

    /// A region's service, as clients reach it: at the address of its LoadBalancer, by the region's own name.
    ///
    /// # Errors
    /// It has no address in time, or there is no authority of its certificate.
    pub async fn entry(&self, region: &Region) -> Result<Client, Error> {
        let authority =
            self.public_authority.as_ref().ok_or_else(|| Error::WithoutVault(self.environment.clone()))?;
        let cluster = self.cluster(region)?;
        let address =
            wait_until(format!("the address of {}'s LoadBalancer", region.name), ADDRESS, async || {
                let service =
                    cluster.call(Method::GET, "/api/v1/namespaces/meridian/services/service", None).await;
                let service = service.map_err(|error| error.to_string())?;
                let address = service
                    .pointer("/status/loadBalancer/ingress/0/ip")
                    .and_then(|ip| ip.as_str()?.parse().ok());
                address.ok_or_else(|| "none yet".to_owned())
            });
        let address: IpAddr = address.await?;
        let config = client_tls(&text(authority)?)
            .map_err(|source| Error::File { path: authority.clone(), source })?;
        let name = format!("{}.{}", region.name, self.domain);
        Ok(Client::new(Target::Tls { address: (address, 443).into(), name, config }))
    }
}

/// Where the pod of a region's Vault is, as this machine reaches it.
///
/// # Errors
/// It has no address in time.
pub async fn vault_address(cluster: &Access) -> Result<SocketAddr, Error> {
    let address = wait_until("the address of Vault's pod", ADDRESS, async || {
        let pod = cluster.call(Method::GET, "/api/v1/namespaces/vault/pods/vault-0", None).await;
        let pod = pod.map_err(|error| error.to_string())?;
        let address = pod["status"]["podIP"].as_str().and_then(|address| address.parse::<IpAddr>().ok());
        address.ok_or_else(|| "none yet".to_owned())
    });
    Ok(SocketAddr::new(address.await?, 8200))
}

/// The folder of an environment.
pub fn folder(environment: &str) -> PathBuf {
    platform::folder().join(environment)
}

/// Takes the lock of something that a process holds; nothing while one has it.
///
/// # Errors
/// The folder or the lock cannot be made.
pub fn lock(folder: &Path) -> Result<Option<File>, Error> {
    let make = || {
        fs::create_dir_all(folder)?;
        OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))
    };
    let lock = make().map_err(|source| Error::File { path: folder.join("lock"), source })?;
    Ok(lock.try_lock().is_ok().then_some(lock))
}

/// Whether a process holds it.
pub fn is_held(folder: &Path) -> bool {
    folder.join("lock").is_file() && lock(folder).is_ok_and(|lock| lock.is_none())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn text(path: &Path) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&read(path)?).trim().to_owned())
}
