//! What a region's watcher adds to its status: secrets, agents, Vault, certificates.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::plan::rotation::adoption::{Wanted, adoption};
use crate::plan::rotation::mark::Mark;
use crate::plan::view::{HealthState, View};

/// What a watcher says of a region.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Watched {
    /// Pods of the workload.
    pub pods: usize,
    /// Pods whose agent answers, and has its secrets fresh.
    pub agents_well: usize,
    /// How the region's Vault does.
    pub vault: HealthState,
    /// When the first of the pods' certificates ends.
    pub certificate_end: Option<Timestamp>,
    /// Its secrets by name.
    pub secrets: BTreeMap<String, SecretStatus>,
    /// What somebody should look at.
    pub concerns: Vec<String>,
}

/// A secret in a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretStatus {
    /// Number of the current version; nothing where there is none.
    pub version: Option<u64>,
    /// The rotation and phase that wrote it; nothing where it was written by hand.
    pub mark: Option<Mark>,
    /// Pods that use it.
    pub adopted: usize,
    /// Whether Vault holds something older than the region has seen.
    pub stepped_back: bool,
    /// Why it cannot be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absence: Option<String>,
}

/// What there is to show of a view.
pub(super) fn of(view: &View) -> Watched {
    let statuses = || view.pods.iter().filter_map(|pod| pod.agent.as_ref());
    let well = |status: &&secrets_agent_client::wire::Status| {
        status.secrets.iter().all(|secret| secret.error.is_none() && secret.version.is_some())
    };
    let services = view.pods.iter().filter_map(|pod| pod.service.as_ref());
    let mut concerns = Vec::new();
    if let Some(error) = &view.vault.error {
        concerns.push(format!("its Vault: {error}"));
    }
    for pod in &view.pods {
        concerns.extend(pod.agent_error.iter().map(|error| format!("{}: {error}", pod.name)));
        let degraded = pod.service.iter().flat_map(|service| &service.degraded);
        concerns.extend(degraded.map(|concern| format!("{}: {concern}", pod.name)));
    }
    let secrets = view.secrets.iter().map(|(name, secret)| {
        let wanted = secret.current.map(|version| Wanted { secret: name, version, kids: None });
        let adopted = wanted.map_or(0, |wanted| adoption(view, wanted).adopted);
        let status = SecretStatus {
            version: secret.current.map(|version| version.version),
            mark: secret.mark.clone(),
            adopted,
            stepped_back: secret.stepped_back(),
            absence: secret.absence.clone(),
        };
        (name.clone(), status)
    });
    Watched {
        pods: view.pods.len(),
        agents_well: statuses().filter(well).count(),
        vault: view.vault.state,
        certificate_end: services.filter_map(|service| service.certificate_end).min(),
        secrets: secrets.collect(),
        concerns,
    }
}
