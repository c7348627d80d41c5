//! An environment's regions, brought up by one command and left running until another: `up`, `down`, `status`
//! and `kubeconfig`.
//!
//! A process in the background holds them. When it ends, in whatever way, they end with it; what is left then is
//! found by name and removed by the next `up` or `down`.

pub(crate) mod check;
mod down;
pub(crate) mod faults;
mod hold;
mod registry;
mod status;
mod up;
mod vaults;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use local_region::platform::Plan;
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

/// Writes a file in one step for whoever reads it at the same time.
fn publish(file: &Path, content: &impl Serialize) -> Result<()> {
    let draft = file.with_added_extension("draft");
    fs::write(&draft, serde_json::to_vec_pretty(content)?)?;
    fs::rename(&draft, file).with_context(|| format!("write {}", file.display()))
}
