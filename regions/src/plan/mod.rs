//! From what a region holds and what the caller wants to the steps that lead from one to the other.
//!
//! Nothing here reads or writes anything: `snapshot` observes, this module decides, `execute` carries out.

pub mod conflict;
pub mod diff;
pub mod gate;
pub mod manifest;
pub mod needs;
pub mod object;
pub mod owner;
pub mod promotion;
pub mod readiness;
pub mod record;
pub mod rotation;
pub mod traffic;
pub mod vault;
pub mod view;

use jiff::Timestamp;
use serde_json::Value;

use conflict::Conflict;
use diff::Change;
use object::{OWNER, OWNER_LABEL, Object, ObjectRef};
use record::{HISTORY, Intent, Record, Run, State, Wanted};

/// Kinds that are never pruned: others' data would go with them.
const NEVER_PRUNED: [&str; 3] = ["Namespace", "CustomResourceDefinition", "PersistentVolumeClaim"];

/// The ConfigMap that says whether the region takes traffic. `drain` owns its data; a promotion neither
/// compares nor prunes it.
const TRAFFIC: &str = "traffic";

/// Kinds whose readiness a promotion waits for.
const AWAITED: [&str; 2] = ["Deployment", "Service"];

/// What a region holds, as far as a promotion is concerned.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The region's name.
    pub region: String,
    /// Whether the namespace of the release is there.
    pub namespace_exists: bool,
    /// What the caller wants.
    pub wanted: Wanted,
    /// The release's objects, in the order in which they are applied.
    pub objects: Vec<Observed>,
    /// Every release record of the region, newest first.
    pub records: Vec<Stored>,
    /// Live objects that some record names and the release does not.
    pub left_over: Vec<(ObjectRef, Value)>,
    /// Fields that others own and the release would set to another value.
    pub conflicts: Vec<Conflict>,
}

/// An object of the release beside what the region holds of it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// As the chart renders it, with this tool's marks.
    pub object: Object,
    /// As it is in the region; absent when it is not there.
    pub live: Option<Value>,
    /// As the API server says it would be after the apply; absent where it cannot say, since the namespace
    /// does not exist yet.
    pub applied: Option<Value>,
}

/// A record with the version under which the region stores it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// Its `resourceVersion`: a write is refused when somebody else wrote meanwhile.
    pub resource_version: String,
}

/// What has to be done in one region, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The region's name.
    pub region: String,
    /// What differs, for people.
    pub changes: Vec<Change>,
    /// What is carried out.
    pub steps: Vec<Step>,
}

/// One idempotent step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make the release's namespace.
    CreateNamespace,
    /// Mark the record of another release as failed: its run was killed, and this one takes its place.
    CloseRecord(Stored),
    /// Write the record of this release, in state `applying`: a new one, or over the version given.
    BeginRecord {
        /// The record.
        record: Box<Record>,
        /// The version that is replaced; absent for a new record.
        over: Option<String>,
    },
    /// Apply an object on the server's side, without force.
    Apply(Object),
    /// Wait until the object is ready; writes nothing.
    Await {
        /// The object.
        object: ObjectRef,
        /// As many pods as its autoscaler will ask for at least.
        at_least: i32,
    },
    /// Delete an object, if it is still the one that was seen.
    Prune {
        /// The object.
        object: ObjectRef,
        /// Its uid when it was seen.
        uid: String,
        /// Its version when it was seen.
        resource_version: String,
    },
    /// Write that the release of this record goes, and why.
    MarkUndoing {
        /// The record.
        stored: Box<Stored>,
        /// Why.
        why: String,
    },
    /// Write how far the release has come.
    FinishRecord(State),
    /// Delete a record that history no longer keeps.
    DropRecord(Stored),
}

impl Plan {
    /// Whether the plan writes anything at all.
    pub fn writes(&self) -> bool {
        !self.steps.iter().all(|step| matches!(step, Step::Await { .. }))
    }
}

/// Decides what has to be done in a region. A plan made after another was carried out writes nothing.
///
/// # Errors
/// The conflicts, when others own fields that the release would change.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Result<Plan, Vec<Conflict>> {
    if !snapshot.conflicts.is_empty() {
        return Err(snapshot.conflicts.clone());
    }
    let mut changes = Vec::new();
    let mut applies = Vec::new();
    for Observed { object, live, applied } in &snapshot.objects {
        let after = applied.as_ref().unwrap_or(&object.value);
        if let Some(change) = diff::compare(&object.id, live.as_ref(), after) {
            changes.push(change);
            applies.push(Step::Apply(object.clone()));
        }
    }
    let mut prunes = Vec::new();
    for (object, live) in snapshot.left_over.iter().filter(|(object, live)| prunable(object, live)) {
        let text = |pointer| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        changes.push(diff::prune(object, live));
        prunes.push(Step::Prune {
            object: object.clone(),
            uid: text("/metadata/uid"),
            resource_version: text("/metadata/resourceVersion"),
        });
    }
    let objects = || snapshot.objects.iter().map(|observed| &observed.object);
    let awaits =
        objects().filter(|object| AWAITED.contains(&object.id.kind.as_str())).map(|object| Step::Await {
            object: object.id.clone(),
            at_least: objects().filter_map(|scaler| floor(scaler, object)).max().unwrap_or(0),
        });

    let unchanged = applies.is_empty() && prunes.is_empty();
    let mut steps = Vec::new();
    let (first, last) = match &snapshot.wanted.intent {
        Intent::Run(run) => run_steps(snapshot, run, unchanged, now),
        Intent::Undo { number, why } => undo_steps(snapshot, *number, why),
    };
    let writes = !first.is_empty() || !unchanged;
    if writes && !snapshot.namespace_exists {
        steps.push(Step::CreateNamespace);
    }
    let begins = first.iter().any(|step| matches!(step, Step::BeginRecord { over: None, .. }));
    steps.extend(first);
    steps.extend(applies);
    steps.extend(awaits);
    // After the new pods are ready: pods of the former release may still read what it left over.
    steps.extend(prunes);
    steps.extend(last.filter(|_| writes));
    steps.extend(outdated(snapshot, begins).map(Step::DropRecord));
    Ok(Plan { region: snapshot.region.clone(), changes, steps })
}

/// What comes before and after the objects of a release that is to run.
fn run_steps(snapshot: &Snapshot, run: &Run, unchanged: bool, now: Timestamp) -> (Vec<Step>, Option<Step>) {
    let newest = snapshot.records.first().filter(|stored| stored.record.is_for(&snapshot.wanted));
    let done = |state| state == State::Applied || (run.bakes && state == State::Baking);
    if unchanged && newest.is_some_and(|stored| done(stored.record.state)) {
        return (Vec::new(), None);
    }
    // A run that was killed, or came to nothing, goes on under its number. What was applied, or undone, stays in
    // the history as it is.
    let goes_on = |state| matches!(state, State::Applying | State::Baking | State::Failed);
    let current = newest.filter(|stored| goes_on(stored.record.state));
    let mut first = vec![begin(snapshot, run, current, now)];
    first.extend(replaced(snapshot, current.map(|stored| stored.record.number)));
    let end = if run.bakes { State::Baking } else { State::Applied };
    (first, Some(Step::FinishRecord(end)))
}

/// What comes before and after the objects of a release that takes another's place again.
fn undo_steps(snapshot: &Snapshot, number: u64, why: &str) -> (Vec<Step>, Option<Step>) {
    let failed = snapshot.records.iter().find(|stored| stored.record.number == number);
    match failed.filter(|stored| stored.record.state != State::Undone) {
        Some(stored) => {
            let mut first = vec![Step::MarkUndoing { stored: Box::new(stored.clone()), why: why.to_owned() }];
            first.extend(replaced(snapshot, Some(number)));
            (first, Some(Step::FinishRecord(State::Undone)))
        }
        None => (Vec::new(), None),
    }
}

/// Closes what other runs left open, once the record that takes its place is open: a region whose objects are about to
/// change has an open record at every moment, so that whoever settles it finds it.
fn replaced(snapshot: &Snapshot, by: Option<u64>) -> impl Iterator<Item = Step> {
    let others = snapshot.records.iter().filter(move |stored| Some(stored.record.number) != by);
    others.filter(|stored| stored.record.state.is_open()).cloned().map(Step::CloseRecord)
}

fn begin(snapshot: &Snapshot, run: &Run, current: Option<&Stored>, now: Timestamp) -> Step {
    let wanted = &snapshot.wanted;
    let newest = snapshot.records.first().map_or(0, |stored| stored.record.number);
    let number = current.map_or(newest + 1, |stored| stored.record.number);
    let former = snapshot.records.iter().map(|stored| &stored.record);
    let former = former
        .filter(|record| record.number < number && record.state == State::Applied)
        .max_by_key(|record| record.number);
    let record = Record {
        number,
        state: State::Applying,
        attempt: current.map_or(1, |stored| stored.record.attempt + 1),
        release: wanted.release.clone(),
        values_sha256: wanted.values_sha256.clone(),
        manifest_sha256: wanted.manifest_sha256.clone(),
        objects: snapshot.objects.iter().map(|observed| observed.object.id.clone()).collect(),
        provenance: wanted.provenance.clone(),
        promotion: run.promotion.clone(),
        former: former.map(|record| record.number),
        restores: run.restores,
        passed: None,
        secrets: run.secrets.clone(),
        started: now,
        finished: None,
        failure: None,
    };
    Step::BeginRecord {
        record: Box::new(record),
        over: current.map(|stored| stored.resource_version.clone()),
    }
}

/// As many pods as a HorizontalPodAutoscaler gives its target at least. A Deployment that it has not seen yet
/// has one pod, and would pass for ready.
fn floor(scaler: &Object, target: &Object) -> Option<i32> {
    let spec = &scaler.value["spec"];
    let aim = &spec["scaleTargetRef"];
    let aims = scaler.id.kind == "HorizontalPodAutoscaler"
        && aim["kind"] == target.id.kind.as_str()
        && aim["name"] == target.id.name.as_str();
    aims.then(|| spec["minReplicas"].as_i64().and_then(|min| i32::try_from(min).ok()).unwrap_or(1))
}

/// Records beyond what history keeps. The newest that was applied stays however old it is, since it is what
/// an undo would restore.
fn outdated(snapshot: &Snapshot, begins: bool) -> impl Iterator<Item = Stored> {
    let kept = HISTORY - usize::from(begins);
    let last_applied = snapshot.records.iter().position(|stored| stored.record.state == State::Applied);
    let records = snapshot.records.iter().enumerate().skip(kept);
    records.filter(move |(place, _)| Some(*place) != last_applied).map(|(_, stored)| stored.clone())
}

fn prunable(object: &ObjectRef, live: &Value) -> bool {
    let own = live["metadata"]["labels"][OWNER_LABEL] == OWNER;
    let going = live["metadata"].get("deletionTimestamp").is_some();
    let traffic = object.kind == "ConfigMap" && object.name == TRAFFIC;
    own && !going && !traffic && !NEVER_PRUNED.contains(&object.kind.as_str())
}

#[cfg(test)]
mod tests;
