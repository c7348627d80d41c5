//! All that is looked at in a region before anything is written there.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use kube::config::Kubeconfig;
use zeroize::Zeroizing;

use super::carry::Work;
use super::live::{Live, Outside};
use super::report::Skipped;
use super::targets::Target;
use super::{CALLS, FIRST_CALLS};
use crate::cluster::error::{Cause, ClusterError};
use crate::cluster::nodes::asks_for;
use crate::cluster::{Cluster, ends};
use crate::execute::Contents;
use crate::helm::{Helm, HelmError, SERVICE};
use crate::plan::conflict::Conflict;
use crate::plan::manifest::{self, ManifestError};
use crate::plan::needs;
use crate::plan::object::Object;
use crate::plan::promotion::refusal::Credential;
use crate::plan::record::{Intent, Provenance, Record, Release, Run, State, Wanted};
use crate::plan::view::HealthState;
use crate::plan::{self, Plan, Stored};
use crate::probe::door::Roots;
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
    /// Something else speaks against it.
    #[error("{region}: {why}")]
    Other {
        /// The region.
        region: String,
        /// What, and what to do.
        why: String,
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
    /// The region.
    pub live: Live,
    /// Its API server's version.
    pub kubernetes: String,
    /// What is to be done.
    pub plan: Plan,
    /// What it is to run.
    pub work: Work,
    /// The record of what runs there.
    pub former: Option<Record>,
    /// Whether a promotion of this very release is not over there.
    pub is_open: bool,
    /// Whether its fence holds: the policy that refuses late writes is there.
    pub is_fenced: bool,
    /// Credentials that end.
    pub credentials: Vec<Credential>,
    /// For how long they are needed.
    pub needed: SignedDuration,
    /// What is not looked at.
    pub skipped: Vec<Skipped>,
}

/// A release, and what renders it.
pub(super) struct Chart {
    /// The release.
    pub packaged: Packaged,
    /// The renderer.
    pub helm: Helm,
}

/// What is the same for every region.
pub(super) struct Common {
    /// The kubeconfig with every region's context.
    pub kubeconfig: Kubeconfig,
    /// How the regions' Vaults are asked, where they are.
    pub vault: Option<Access>,
    /// Who vouches for what clients are shown.
    pub roots: Roots,
    /// The issuer of the environment's tokens.
    pub issuer: String,
    /// DNS name of the environment.
    pub domain: String,
    /// Why, and from which build.
    pub provenance: Provenance,
    /// For how long credentials are needed.
    pub needed: SignedDuration,
}

/// A region that answers.
struct Reached {
    cluster: Cluster,
    kubernetes: String,
    who: String,
}

/// What a region is to run, and where that comes from.
struct What {
    release: Release,
    values_sha256: String,
    manifest_sha256: String,
    objects: Vec<Object>,
    contents: Contents,
    /// The record that it is restored from.
    restores: Option<u64>,
    /// Whether it runs again what it ran: what only judges a new release is not asked for then.
    is_back: bool,
}

/// Reaches a region, renders the release for it, and plans. Writes nothing.
///
/// # Errors
/// Whatever keeps the region from being promoted to, as much of it as can be told at once.
pub(super) async fn prepare(common: &Common, chart: &Chart, target: &Target) -> Result<Prepared, Refusal> {
    let reached = reach(common, target).await?;
    let (manifest, objects) = rendered(chart, target, &reached.kubernetes).await?;
    let what = What {
        release: chart.packaged.release.clone(),
        values_sha256: target.values.digest(),
        manifest_sha256: digest_of(&objects),
        objects,
        contents: Contents { values: kept(target), manifest },
        restores: None,
        is_back: false,
    };
    planned(common, target, reached, what).await
}

/// The same from what a record keeps, of a release that ran there once. `choose` is given the region's records.
///
/// # Errors
/// Whatever keeps the region from going back, as much of it as can be told at once.
pub(super) async fn prepare_back(
    common: &Common,
    target: &Target,
    choose: impl Fn(&[Stored]) -> Result<Record, String>,
) -> Result<Prepared, Refusal> {
    let one = |error| Refusal::Cluster(vec![error]);
    let other = |why: String| Refusal::Other { region: target.region.clone(), why };
    let reached = reach(common, target).await?;
    let records = reached.cluster.records().await.map_err(one)?;
    let record = choose(&records).map_err(other)?;
    let (values, manifest) = reached.cluster.kept(record.number).await.map_err(one)?;
    let mut objects = manifest::parse(&manifest)
        .map_err(|source| Refusal::Manifest { region: target.region.clone(), source })?;
    objects.iter_mut().for_each(|object| object.mark(&record.release.digest));
    let what = What {
        release: record.release.clone(),
        values_sha256: record.values_sha256.clone(),
        manifest_sha256: record.manifest_sha256.clone(),
        objects,
        contents: Contents { values, manifest },
        restores: Some(record.number),
        is_back: true,
    };
    planned(common, target, reached, what).await
}

async fn reach(common: &Common, target: &Target) -> Result<Reached, Refusal> {
    let one = |error| Refusal::Cluster(vec![error]);
    let cluster = Cluster::connect(&target.region, &target.context, common.kubeconfig.clone(), FIRST_CALLS);
    let cluster = cluster.await.map_err(one)?;
    let kubernetes = cluster.version().await.map_err(one)?;
    let who = cluster.caller().await.map_err(one)?;
    Ok(Reached { cluster, kubernetes, who })
}

async fn planned(
    common: &Common,
    target: &Target,
    reached: Reached,
    what: What,
) -> Result<Prepared, Refusal> {
    let Reached { cluster, kubernetes, who } = reached;
    let one = |error| Refusal::Cluster(vec![error]);
    let region = &target.region;
    let other = |why: String| Refusal::Other { region: region.clone(), why };
    let needed = needs::of(&what.objects, &target.secrets).map_err(other)?;
    let (versions, secret) = secrets(common, target, &needed).await?;
    let run = Run { bakes: true, restores: what.restores, secrets: versions, ..Run::default() };
    let wanted = Wanted {
        release: what.release,
        values_sha256: what.values_sha256,
        manifest_sha256: what.manifest_sha256,
        provenance: Provenance { who, ..common.provenance.clone() },
        intent: Intent::Run(run),
    };
    let objects = what.objects;
    let snapshot =
        snapshot::observe(&cluster, objects.clone(), wanted.clone()).await.map_err(Refusal::Cluster)?;
    let plan = plan::plan(&snapshot, Timestamp::now())
        .map_err(|conflicts| Refusal::Conflicts { region: region.clone(), conflicts })?;
    if plan.writes() {
        room(&cluster, target, &objects).await?;
    }
    let is_fenced = cluster.has_fence_policy().await.map_err(one)?;
    let outside = Outside {
        host: format!("{region}.{}", common.domain),
        issuer: common.issuer.clone(),
        roots: common.roots.clone(),
    };
    let credentials = ends::of(&common.kubeconfig, &target.context)
        .into_iter()
        .map(|(what, ends)| Credential { region: region.clone(), what, ends });
    let skipped =
        [(Skipped::Secrets, common.vault.is_none()), (Skipped::Tokens, secret.is_none() && !what.is_back)];
    let skipped = skipped.into_iter().filter_map(|(what, is_skipped)| is_skipped.then_some(what)).collect();
    let live = Live::new(cluster.patient(CALLS), target.watcher.clone(), outside, secret);
    // A way back is open to a region whose watcher is away, too.
    if !what.is_back && snapshot.records.iter().any(|stored| stored.record.state == State::Applied) {
        watched(&live, region).await?;
    }
    let former = snapshot.records.iter().map(|stored| &stored.record);
    let former = former.filter(|record| record.state == State::Applied && !record.is_for(&wanted));
    let former = former.max_by_key(|record| record.number).cloned();
    let newest = snapshot.records.first().map(|stored| &stored.record);
    let is_open = newest.is_some_and(|record| record.state.is_open());
    let work = Work { objects, wanted, contents: what.contents, shown: plan.changes.clone() };
    let credentials = credentials.collect();
    let needed = common.needed;
    Ok(Prepared { live, kubernetes, plan, work, former, is_open, is_fenced, credentials, needed, skipped })
}

/// What Helm makes of the release for this region, as text and as objects with this tool's marks.
async fn rendered(
    chart: &Chart,
    target: &Target,
    kubernetes: &str,
) -> Result<(String, Vec<Object>), Refusal> {
    let region = || target.region.clone();
    let manifest = chart
        .helm
        .template(&chart.packaged.file, SERVICE, &target.values, kubernetes)
        .await
        .map_err(|source| Refusal::Helm { region: region(), source })?;
    let mut objects =
        manifest::parse(&manifest).map_err(|source| Refusal::Manifest { region: region(), source })?;
    for object in &mut objects {
        object.mark(&chart.packaged.release.digest);
    }
    Ok((manifest, objects))
}

/// Versions of secrets by name, and the secret of the client `probe`.
type Found = (BTreeMap<String, u64>, Option<Arc<Zeroizing<String>>>);

/// Looks whether the region's Vault has what the release needs. Where nobody may ask it, its watcher does later.
async fn secrets(common: &Common, target: &Target, needed: &needs::Needs) -> Result<Found, Refusal> {
    let Some(vault) = &common.vault else { return Ok((BTreeMap::new(), None)) };
    let region = &target.region;
    let place = Place { region, context: &target.context, vault: &target.vault };
    let holds = vault.holds(place, needed).await;
    let holds = holds.map_err(|source| Refusal::Vault { region: region.clone(), source })?;
    if !holds.missing.is_empty() {
        return Err(Refusal::Secrets { region: region.clone(), missing: holds.missing });
    }
    Ok((holds.versions, holds.probe))
}

/// A rollout needs room for one more pod. Where nodes may not be listed, the pods themselves will tell.
async fn room(cluster: &Cluster, target: &Target, objects: &[Object]) -> Result<(), Refusal> {
    let deployments = objects.iter().filter(|object| object.id.kind == "Deployment");
    let specs = deployments.filter_map(|object| {
        serde_json::from_value::<Deployment>(object.value.clone()).ok()?.spec?.template.spec
    });
    let Some(spec) = specs.into_iter().next() else { return Ok(()) };
    let nodes = match cluster.nodes(target.nodes).await {
        Err(ClusterError { cause: Cause::Api(status), .. }) if status.code == 403 => return Ok(()),
        nodes => nodes.map_err(|error| Refusal::Cluster(vec![error]))?,
    };
    let region = target.region.clone();
    nodes.take(&asks_for(&spec)).map_err(|why| Refusal::Other { region, why })
}

/// A region that runs something has a watcher, which tells gates what pods answer, and whether Vault does.
async fn watched(live: &Live, region: &str) -> Result<(), Refusal> {
    let other = |why: String| Refusal::Other { region: region.to_owned(), why };
    let seen = live.seen().await.map_err(|why| {
        let why = why.strip_prefix(&format!("{region}: ")).map(str::to_owned).unwrap_or(why);
        other(format!("its watcher does not answer, so nothing can be judged there: {why}"))
    })?;
    match seen.vault.state {
        HealthState::Ok | HealthState::Unknown => Ok(()),
        state => {
            let why = seen.vault.error.unwrap_or_default();
            let state = state.as_str();
            Err(other(format!(
                "its Vault is {state}, as its watcher sees it, so no new pod would start: {why}"
            )))
        }
    }
}

/// The files that Helm was given, as a record keeps them.
fn kept(target: &Target) -> BTreeMap<String, String> {
    let files = target.values.files.iter();
    let mut values: BTreeMap<String, String> =
        files.map(|(name, text)| (format!("values.{name}"), text.clone())).collect();
    let set = serde_json::to_string(&target.values.set).unwrap_or_default();
    values.insert("values.set.json".into(), set);
    values
}

/// Digest of what was rendered, whatever its comments and its order of keys.
fn digest_of(objects: &[Object]) -> String {
    let values: Vec<_> = objects.iter().map(|object| &object.value).collect();
    hex_sha256(&serde_json::to_vec(&values).unwrap_or_default())
}

fn lines(items: &[impl std::fmt::Display]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}
