//! `regions diff`: where a region is not what its release made of it, field by field, and who changed it.

use std::fmt::Write as _;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::config::Kubeconfig;
use serde::Serialize;
use serde_json::Value;

use crate::cluster::error::ClusterError;
use crate::cluster::{Cluster, NAMESPACE};
use crate::named::Read;
use crate::plan::diff::{self, ChangeKind};
use crate::plan::manifest;
use crate::plan::object::{Object, ObjectRef, fence_of};
use crate::plan::owner::{Owner, owners};
use crate::plan::record::{Record, State};
use crate::promote::FIRST_CALLS;
use crate::promote::targets::{Environment, Target};
use crate::status::short;

/// Calls to one API server at a time.
const AT_ONCE: usize = 8;

/// What to compare.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Each region is compared with the release that was applied there last, by the API server's own dry run. What others set
beside a release is no drift.

Exit codes: 0 no drift · 6 drift found · 4 a region cannot be read · 2 usage or configuration")]
pub struct Args {
    /// Which regions
    #[command(flatten)]
    pub regions: Read,
}

/// An environment beside its releases.
#[derive(Debug, Serialize)]
pub struct Drift {
    /// The environment.
    pub environment: String,
    /// Its regions, in the order of waves.
    pub regions: Vec<RegionDrift>,
}

/// A region beside its release.
#[derive(Debug, Serialize)]
pub struct RegionDrift {
    /// Its name.
    pub region: String,
    /// The record that it is compared with; nothing where no release is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// Objects that differ.
    pub objects: Vec<Differs>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An object that differs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Differs {
    /// Which.
    pub object: ObjectRef,
    /// Whether it is not there at all.
    pub missing: bool,
    /// Fields that differ.
    pub fields: Vec<Field>,
}

/// A field that differs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Field {
    /// Such as `.spec.paused`.
    pub path: String,
    /// Its value in the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Value>,
    /// Its value in the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// Who set it; nobody where it was taken away.
    pub owners: Vec<Owner>,
}

/// Compares every region at the same time. Writes nothing.
pub async fn read(environment: &Environment, kubeconfig: &Kubeconfig) -> Drift {
    let regions = environment.targets().map(async |target| match region(target, kubeconfig).await {
        Ok((record, objects)) => RegionDrift { region: target.region.clone(), record, objects, error: None },
        Err(error) => RegionDrift {
            region: target.region.clone(),
            record: None,
            objects: Vec::new(),
            error: Some(error),
        },
    });
    Drift { environment: environment.name.clone(), regions: join_all(regions).await }
}

async fn region(target: &Target, kubeconfig: &Kubeconfig) -> Result<(Option<Record>, Vec<Differs>), String> {
    let told = |error: ClusterError| error.to_string();
    let cluster = Cluster::connect(&target.region, &target.context, kubeconfig.clone(), FIRST_CALLS);
    let cluster = cluster.await.map_err(told)?;
    let records = cluster.records().await.map_err(told)?;
    let applied = |state| matches!(state, State::Applied | State::Baking);
    let Some(stored) = records.into_iter().find(|stored| applied(stored.record.state)) else {
        return Ok((None, Vec::new()));
    };
    let (_, manifest) = cluster.kept(stored.record.number).await.map_err(told)?;
    let mut objects = manifest::parse(&manifest).map_err(|error| format!("{}: {error}", target.region))?;
    objects.iter_mut().for_each(|object| object.mark(&stored.record.release.digest));
    let differing: Result<Vec<_>, _> = stream::iter(objects)
        .map(|object| differs(&cluster, object))
        .buffered(AT_ONCE)
        .try_filter_map(|found| async move { Ok(found) })
        .try_collect()
        .await;
    Ok((Some(stored.record), differing.map_err(told)?))
}

/// How an object differs, if it does.
async fn differs(cluster: &Cluster, mut object: Object) -> Result<Option<Differs>, ClusterError> {
    cluster.place(&mut object, NAMESPACE).await?;
    let Some(live) = cluster.get(&object.id).await? else {
        return Ok(Some(Differs { object: object.id, missing: true, fields: Vec::new() }));
    };
    object.fence(fence_of(&live));
    let wanted = cluster.would_be(&object).await?;
    let change = diff::compare(&object.id, Some(&live), &wanted);
    let change = change.filter(|change| change.kind == ChangeKind::Change);
    Ok(change.map(|change| {
        let fields = change.fields.into_iter().map(|field| Field {
            owners: owners(&live, &field.path),
            path: field.path,
            release: field.after,
            live: field.before,
        });
        Differs { object: object.id, missing: false, fields: fields.collect() }
    }))
}

impl Drift {
    /// Exit code: 6 where anything differs, or else 4 where a region cannot be read.
    pub fn code(&self) -> u8 {
        if self.regions.iter().any(|region| !region.objects.is_empty()) {
            6
        } else if self.regions.iter().any(|region| region.error.is_some()) {
            4
        } else {
            0
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for RegionDrift { region, record, objects, error } in &self.regions {
            let _ = match (record, error) {
                (_, Some(error)) => writeln!(text, "{error}"),
                (None, None) => writeln!(text, "{region}  nothing was applied yet"),
                (Some(record), None) => {
                    let differ = match objects.len() {
                        0 => "no drift".to_owned(),
                        1 => "1 object differs".to_owned(),
                        many => format!("{many} objects differ"),
                    };
                    let (version, digest) = (&record.release.version, short(&record.release.digest));
                    writeln!(text, "{region}  release {} {version} {digest}: {differ}", record.number)
                }
            };
            for object in objects {
                let _ = write!(text, "{}", object.text());
            }
        }
        if self.code() == 6 {
            let _ = writeln!(
                text,
                "next: set each field back to the release's value, or put the live one into the release; promoting the \
                 same release again makes anew what is missing"
            );
        }
        text
    }
}

impl Differs {
    fn text(&self) -> String {
        if self.missing {
            return format!("  {} is not there\n", self.object);
        }
        let mut text = format!("  {}\n", self.object);
        let shown =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "none".to_owned(), Value::to_string);
        for Field { path, release, live, owners } in &self.fields {
            let owner = |owner: &Owner| match &owner.at {
                Some(at) => format!("{} at {at}", owner.manager),
                None => owner.manager.clone(),
            };
            let by = owners.iter().map(owner).collect::<Vec<_>>().join(", ");
            let by = if by.is_empty() { "taken away".to_owned() } else { format!("by {by}") };
            let _ = writeln!(text, "    {path}: release {}, live {}, {by}", shown(release), shown(live));
        }
        text
    }
}
