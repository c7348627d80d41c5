//! What a promotion needs to know of an environment: its waves, and of each region how it is reached and what
//! Helm is given for it.

use crate::catalogue::types::Vault;
use crate::helm::Values;
use crate::signature::Signer;

/// An environment, in the order in which its regions are promoted to.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// The environment that comes after it, if any.
    pub next: Option<String>,
    /// Who signs what is promoted to it; nobody is asked where there is none.
    pub signers: Vec<Signer>,
    /// Its waves, in the catalogue's order.
    pub waves: Vec<Wave>,
}

/// Regions that are promoted to at the same time.
#[derive(Debug, Clone)]
pub struct Wave {
    /// Its name.
    pub name: String,
    /// Its regions, by name.
    pub targets: Vec<Target>,
}

/// A region.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub region: String,
    /// Its kubeconfig context.
    pub context: String,
    /// Its Vault.
    pub vault: Vault,
    /// Address of its watcher, where that is not reached through the API server.
    pub watcher: Option<String>,
    /// The secrets that the catalogue says it has.
    pub secrets: Vec<String>,
    /// What Helm is given.
    pub values: Values,
}
