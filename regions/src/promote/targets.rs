//! What a promotion needs to know of an environment: its waves, and of each region how it is reached and what
//! Helm is given for it.

use crate::catalogue::types::Vault;
use crate::helm::Values;
use crate::plan::gate::limits::Limits;
use crate::plan::promotion::refusal::Freeze;
use crate::signature::Signer;

/// An environment, in the order in which its regions are promoted to.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// The environment that comes after it, if any.
    pub next: Option<String>,
    /// The environment that comes before it, if any.
    pub before: Option<Before>,
    /// DNS name under which it is served.
    pub domain: String,
    /// Times in which nothing is promoted to it.
    pub freezes: Vec<Freeze>,
    /// What a bake asks for.
    pub gates: Limits,
    /// Who signs what is promoted to it; nobody is asked where there is none.
    pub signers: Vec<Signer>,
    /// Its waves, in the catalogue's order.
    pub waves: Vec<Wave>,
}

/// The environment before: where its regions are asked what they have run.
#[derive(Debug, Clone)]
pub struct Before {
    /// Its name.
    pub name: String,
    /// Its regions and their contexts.
    pub regions: Vec<(String, String)>,
}

impl Environment {
    /// Its regions, in the order of waves.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.waves.iter().flat_map(|wave| &wave.targets)
    }

    /// The same with these regions alone; with all of them where none is named.
    ///
    /// # Errors
    /// A region that it does not have.
    pub fn only(&self, regions: &[String]) -> Result<Self, String> {
        let mut some = self.clone();
        if regions.is_empty() {
            return Ok(some);
        }
        if let Some(unknown) = regions.iter().find(|name| !self.targets().any(|own| own.region == **name)) {
            let known: Vec<&str> = self.targets().map(|target| target.region.as_str()).collect();
            return Err(format!("{} has no region {unknown}; it has {}", self.name, known.join(", ")));
        }
        some.waves.iter_mut().for_each(|wave| wave.targets.retain(|target| regions.contains(&target.region)));
        some.waves.retain(|wave| !wave.targets.is_empty());
        Ok(some)
    }

    /// The issuer of its tokens.
    pub fn issuer(&self) -> String {
        format!("https://{}", self.domain)
    }

    /// The name by which a region of it is asked from outside.
    pub fn host(&self, region: &str) -> String {
        format!("{region}.{}", self.domain)
    }

    /// Names of waves, and the places of their regions among [`Environment::targets`].
    pub fn places(&self) -> Vec<(String, Vec<usize>)> {
        let mut places = 0..;
        let places_of = |wave: &Wave| (wave.name.clone(), places.by_ref().take(wave.targets.len()).collect());
        self.waves.iter().map(places_of).collect()
    }
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
    /// Address of its watcher; nothing where that is reached through the API server.
    pub watcher: Option<String>,
    /// Nodes that its pools may have together.
    pub nodes: u64,
    /// Pods of the service that it may have.
    pub pods: u32,
    /// Its Vault.
    pub vault: Vault,
    /// The secrets that the catalogue says it has.
    pub secrets: Vec<String>,
    /// What Helm is given.
    pub values: Values,
}
