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
Examples:
  regions diff --env production
  regions diff --env production --region us-east4 --output json

Each region is compared with the release that was applied there last, by the API server's own dry run. What others set
beside a release is no drift. A region in which a promotion is half done is not compared.

Exit codes: 0 no drift · 6 drift found · 4 a region cannot be read, or a promotion is half done there · 2 usage or
configuration")]
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
    /// The record of what is half applied or half taken back there; nothing is compared then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Record>,
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
    /// Who set it, as far as the API server noted it; nobody where it was taken away.
    pub owners: Vec<Owner>,
}

/// Compares every region at the same time. Writes nothing.
pub async fn read(environment: &Environment, kubeconfig: &Kubeconfig) -> Drift {
    let regions = environment.targets().map(async |target| {
        let nothing = RegionDrift {
            region: target.region.clone(),
            record: None,
            open: None,
            objects: Vec::new(),
            error: None,
        };
        match region(target, kubeconfig).await {
            Ok(Seen::Nothing) => nothing,
            Ok(Seen::Open(record)) => RegionDrift { open: Some(record), ..nothing },
            Ok(Seen::Compared(record, objects)) => RegionDrift { record: Some(record), objects, ..nothing },
            Err(error) => RegionDrift { error: Some(error), ..nothing },
        }
    });
    Drift { environment: environment.name.clone(), regions: join_all(regions).await }
}

/// What a region is found to be.
enum Seen {
    /// No release was applied there yet.
    Nothing,
    /// A release is half applied or half taken back there.
    Open(Record),
    /// It runs this release, and these objects differ.
    Compared(Record, Vec<Differs>),
}

async fn region(target: &Target, kubeconfig: &Kubeconfig) -> Result<Seen, String> {
    let told = |error: ClusterError| error.to_string();
    let cluster = Cluster::connect(&target.region, &target.context, kubeconfig.clone(), FIRST_CALLS);
    let cluster = cluster.await.map_err(told)?;
    let records = cluster.records().await.map_err(told)?;
    let half_done = |state| matches!(state, State::Applying | State::Undoing);
    if let Some(newest) = records.first().filter(|newest| half_done(newest.record.state)) {
        return Ok(Seen::Open(newest.record.clone()));
    }
    let applied = |state| matches!(state, State::Applied | State::Baking);
    let Some(stored) = records.into_iter().find(|stored| applied(stored.record.state)) else {
        return Ok(Seen::Nothing);
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
    Ok(Seen::Compared(stored.record, differing.map_err(told)?))
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
    /// Exit code: 6 where anything differs, or else 4 where a region cannot be read or compared.
    pub fn code(&self) -> u8 {
        if self.regions.iter().any(|region| !region.objects.is_empty()) {
            6
        } else if self.regions.iter().any(|region| region.error.is_some() || region.open.is_some()) {
            4
        } else {
            0
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for region in &self.regions {
            text.push_str(&region.text());
        }
        if self.code() == 6 {
            let _ = writeln!(
                text,
                "next: set each field back to the release's value, or put the live one into the release; promoting the \
                 same release again makes anew what is missing"
            );
        }
        let mut open = self.regions.iter().filter_map(|region| region.open.as_ref());
        if let Some(record) = open.next() {
            let verb = if record.restores.is_some() { "rollback" } else { "promote" };
            let _ = writeln!(
                text,
                "next: wait for the run that is at work, or go on where none is by the same `regions {verb}` again\n   \
                 or end it: regions promote --env {} --settle",
                self.environment
            );
        }
        text
    }
}

impl RegionDrift {
    fn text(&self) -> String {
        let Self { region, record, open, objects, error } = self;
        let named = |record: &Record| {
            let Record { number, release, .. } = record;
            format!("release {number} {} {}", release.version, short(&release.digest))
        };
        if let Some(error) = error {
            return format!("{error}\n");
        }
        if let Some(record) = open {
            let half = if record.state == State::Undoing { "taken back" } else { "applied" };
            return format!("{region}  {} is half {half}: nothing is compared\n", named(record));
        }
        let Some(record) = record else { return format!("{region}  nothing was applied yet\n") };
        let differ = match objects.len() {
            0 => "no drift".to_owned(),
            1 => "1 object differs".to_owned(),
            many => format!("{many} objects differ"),
        };
        let objects: String = objects.iter().map(Differs::text).collect();
        format!("{region}  {}: {differ}\n{objects}", named(record))
    }
}

impl Differs {
    fn text(&self) -> String {
        if self.missing {
            return format!("  {} is not there\n", self.object);
        }
        let fields: String = self.fields.iter().map(|field| format!("    {}\n", field.text())).collect();
        format!("  {}\n{fields}", self.object)
    }
}

impl Field {
    fn text(&self) -> String {
        let Self { path, release, live, owners } = self;
        let shown =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "none".to_owned(), Value::to_string);
        let owner = |owner: &Owner| match &owner.at {
            Some(at) => format!("{} at {at}", owner.manager),
            None => owner.manager.clone(),
        };
        let by = match (owners.as_slice(), live) {
            ([], None) => "taken away".to_owned(),
            ([], Some(_)) => "nobody is noted for it".to_owned(),
            (owners, _) => format!("by {}", owners.iter().map(owner).collect::<Vec<_>>().join(", ")),
        };
        format!("{path}: release {}, live {}, {by}", shown(release), shown(live))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::record::samples::{record, release};

    fn region(open: Option<Record>) -> RegionDrift {
        RegionDrift { region: "eu".into(), record: None, open, objects: Vec::new(), error: None }
    }

    fn of(region: RegionDrift) -> Drift {
        Drift { environment: "qa".into(), regions: vec![region] }
    }

    fn field(live: Option<Value>, owners: Vec<Owner>) -> String {
        Field { path: ".spec.x".into(), release: Some(json!(1)), live, owners }.text()
    }

    #[test]
    fn only_what_is_gone_was_taken_away() {
        assert_eq!(field(None, Vec::new()), ".spec.x: release 1, live none, taken away");
        assert_eq!(field(Some(json!(2)), Vec::new()), ".spec.x: release 1, live 2, nobody is noted for it");
        let owner = Owner { manager: "kubectl-edit".into(), at: None };
        assert_eq!(field(Some(json!(2)), vec![owner]), ".spec.x: release 1, live 2, by kubectl-edit");
    }

    #[test]
    fn a_promotion_that_is_half_done_is_told_instead_of_drift() {
        let drift = of(region(Some(record(2, release("sha256:b", "1.1.0"), State::Applying))));
        let text = drift.text();
        assert!(text.starts_with("eu  release 2 1.1.0 b is half applied: nothing is compared\n"), "{text}");
        assert!(text.contains("the same `regions promote` again"), "{text}");
        assert!(text.contains("regions promote --env qa --settle"), "{text}");
        assert!(!text.contains("set each field back"), "{text}");
        assert_eq!(drift.code(), 4);
    }

    #[test]
    fn a_rollback_that_is_half_done_is_gone_on_with_as_one() {
        let mut back = record(3, release("sha256:a", "1.0.0"), State::Applying);
        back.restores = Some(1);
        let text = of(region(Some(back))).text();
        assert!(text.contains("the same `regions rollback` again"), "{text}");
    }

    #[test]
    fn a_promotion_that_is_half_taken_back_is_told_as_that() {
        let text = of(region(Some(record(2, release("sha256:b", "1.1.0"), State::Undoing)))).text();
        assert!(text.contains("is half taken back"), "{text}");
    }
}
