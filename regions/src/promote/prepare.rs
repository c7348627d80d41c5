//! All that is looked at in a region before anything is written there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::config::Kubeconfig;

use super::targets::Target;
use crate::cluster::error::{Cause, ClusterError};
use crate::cluster::{Cluster, Patience};
use crate::execute::Contents;
use crate::helm::{Helm, HelmError, SERVICE};
use crate::plan::conflict::Conflict;
use crate::plan::manifest::{self, ManifestError};
use crate::plan::object::Object;
use crate::plan::record::{Provenance, Record, State, Wanted};
use crate::plan::{self, Plan};
use crate::release::{Packaged, hex_sha256};
use crate::snapshot;
use crate::vault::error::VaultError;
use crate::vault::reach::Place;
use crate::vault::secrets::{Access, Missing};

/// Why a region cannot be promoted to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Calls that failed, all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Cluster(Vec<ClusterError>),
    /// Helm does not render the chart for this region.
    #[error("{region}: render the release")]
    Helm {
        /// The region.
        region: String,
        /// What Helm said.
        #[source]
        source: HelmError,
    },
    /// What Helm rendered cannot be applied.
    #[error("{region}: read the rendered release")]
    Manifest {
        /// The region.
        region: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// Its Vault could not be asked.
    #[error("{region}: look at its secrets")]
    Vault {
        /// The region.
        region: String,
        /// Why not.
        #[source]
        source: VaultError,
    },
    /// Its Vault lacks secrets, without which its pods would never become ready.
    #[error("{region}: its Vault cannot deliver what the release needs:{}", lines(.missing))]
    Secrets {
        /// The region.
        region: String,
        /// The secrets.
        missing: Vec<Missing>,
    },
    /// Others own fields that the release would change.
    #[error("{region}: others own fields that the release would change; nothing is forced. Set each back to the \
             release's value, or put the live value into the release:{}", lines(.conflicts))]
    Conflicts {
        /// The region.
        region: String,
        /// The fields.
        conflicts: Vec<Conflict>,
    },
}

impl Refusal {
    /// Whether it lies in the caller's configuration alone.
    pub(super) fn is_configuration(&self) -> bool {
        match self {
            Self::Cluster(errors) => errors.iter().all(|error| matches!(error.cause, Cause::Access(_))),
            _ => false,
        }
    }
}

/// A region that is ready to be promoted to.
pub(super) struct Prepared {
    /// The region's API server.
    pub cluster: Cluster,
    /// Its version.
    pub kubernetes: String,
    /// What is to be done.
    pub plan: Plan,
    /// What its record will keep.
    pub contents: Contents,
    /// The record of what runs there.
    pub former: Option<Record>,
}

/// What is the same for every region of a promotion.
pub(super) struct Common {
    /// The release.
    pub packaged: Packaged,
    /// The renderer.
    pub helm: Helm,
    /// The kubeconfig with every region's context.
    pub kubeconfig: Kubeconfig,
    /// How the regions' Vaults are asked, where they are.
    pub vault: Option<Access>,
    /// Why, and from which build.
    pub provenance: Provenance,
    /// Bounds of calls.
    pub patience: Patience,
}

/// Reaches a region, renders the release for it, and plans. Writes nothing.
///
/// # Errors
/// Whatever keeps the region from being promoted to, as much of it as can be told at once.
pub(super) async fn prepare(common: &Common, target: &Target) -> Result<Prepared, Refusal> {
    let one = |error| Refusal::Cluster(vec![error]);
    let region = &target.region;
    let cluster = Cluster::connect(region, &target.context, common.kubeconfig.clone(), common.patience)
        .await
        .map_err(one)?;
    let kubernetes = cluster.version().await.map_err(one)?;
    let who = cluster.caller().await.map_err(one)?;
    if let Some(vault) = &common.vault {
        let place = Place { region, context: &target.context, vault: &target.vault };
        let missing = vault.missing(place, &target.secrets).await;
        let missing = missing.map_err(|source| Refusal::Vault { region: region.clone(), source })?;
        if !missing.is_empty() {
            return Err(Refusal::Secrets { region: region.clone(), missing });
        }
    }

    let manifest = common
        .helm
        .template(&common.packaged.file, SERVICE, &target.values, &kubernetes)
        .await
        .map_err(|source| Refusal::Helm { region: region.clone(), source })?;
    let mut objects =
        manifest::parse(&manifest).map_err(|source| Refusal::Manifest { region: region.clone(), source })?;
    for object in &mut objects {
        object.mark(&common.packaged.release.digest);
    }
    let wanted = Wanted {
        release: common.packaged.release.clone(),
        values_sha256: target.values.digest(),
        manifest_sha256: digest_of(&objects),
        provenance: Provenance { who, ..common.provenance.clone() },
    };
    let snapshot = snapshot::observe(&cluster, objects, wanted).await.map_err(Refusal::Cluster)?;
    let plan = plan::plan(&snapshot, Timestamp::now())
        .map_err(|conflicts| Refusal::Conflicts { region: region.clone(), conflicts })?;
    let former = snapshot.records.iter().map(|stored| &stored.record);
    let former = former.filter(|record| record.state == State::Applied && !record.is_for(&snapshot.wanted));
    let mut values: BTreeMap<String, String> =
        target.values.files.iter().map(|(name, text)| (format!("values.{name}"), text.clone())).collect();
    let set = serde_json::to_string(&target.values.set).unwrap_or_default();
    values.insert("values.set.json".into(), set);
    let former = former.max_by_key(|record| record.number).cloned();
    Ok(Prepared { cluster, kubernetes, plan, contents: Contents { values, manifest }, former })
}

/// Digest of what was rendered, whatever its comments and its order of keys.
fn digest_of(objects: &[Object]) -> String {
    let values: Vec<_> = objects.iter().map(|object| &object.value).collect();
    hex_sha256(&serde_json::to_vec(&values).unwrap_or_default())
}

fn lines(items: &[impl std::fmt::Display]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}
