//! An environment's regions, brought up by one command and left running until another: `up`, `down`, `status`
//! and `kubeconfig`.
//!
//! A process in the background holds them. When it ends, in whatever way, they end with it; what is left then is
//! found by name and removed by the next `up` or `down`.

mod down;
pub(crate) mod faults;
mod hold;
mod registry;
mod status;
mod up;
mod vaults;

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use local_region::platform::{self, Plan};
use serde::{Deserialize, Serialize};

pub(crate) use down::down;
pub(crate) use hold::hold;
pub(crate) use registry::hold as hold_registry;
pub(crate) use status::{kubeconfig, status};
pub(crate) use up::up;

/// How long a holder may take to end everything in order.
const DOWN: Duration = Duration::from_secs(60);

/// What `up` tells the process that holds the regions.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    environment: String,
    /// The catalogue's folder.
    catalogue: PathBuf,
    /// DNS name of the environment.
    domain: String,
    /// What the service's configuration may say at most, as the catalogue has it.
    ceilings: serde_json::Value,
    /// Regions, those of the first wave first.
    plans: Vec<Plan>,
    /// Whether each gets a Vault.
    vaults: bool,
    /// The registry's port.
    registry: u16,
}

/// What a held environment is.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    environment: String,
    /// The process that holds it.
    holder: i32,
    kubeconfig: PathBuf,
    registry: registry::State,
    /// The authority of the certificate that clients are shown; nothing without Vaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_authority: Option<PathBuf>,
    /// The authorities of all Vaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vault_authorities: Option<PathBuf>,
    regions: Vec<Held>,
}

/// One of its regions.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    name: String,
    context: String,
    /// Where its API server listens.
    api: String,
    nodes: Vec<String>,
    /// Addresses of its Services of type LoadBalancer.
    addresses: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vault: Option<vaults::Made>,
    /// Memory that its processes hold, in MiB, as of this look.
    #[serde(default)]
    resident_mib: u64,
}

/// The folder of an environment.
fn folder(environment: &str) -> PathBuf {
    platform::folder().join(environment)
}

/// Takes the lock of a held thing; nothing while another process has it.
fn lock(folder: &Path) -> Result<Option<File>> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    Ok(lock.try_lock().is_ok().then_some(lock))
}

/// Whether a process holds it.
fn is_held(folder: &Path) -> bool {
    folder.join("lock").is_file() && lock(folder).is_ok_and(|lock| lock.is_none())
}

/// What an environment that is up is.
fn state(environment: &str) -> Result<State> {
    let folder = folder(environment);
    let read = || serde_json::from_slice(&fs::read(folder.join("state.json")).ok()?).ok();
    let state: Option<State> = is_held(&folder).then(read).flatten();
    state.with_context(|| format!("{environment} is not up: local-region up {environment}"))
}

/// Writes a file in one step for whoever reads it at the same time.
fn publish(file: &Path, content: &impl Serialize) -> Result<()> {
    let draft = file.with_added_extension("draft");
    fs::write(&draft, serde_json::to_vec_pretty(content)?)?;
    fs::rename(&draft, file).with_context(|| format!("write {}", file.display()))
}
