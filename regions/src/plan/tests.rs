use super::*;
use record::{Provenance, Release};
use serde_json::json;

fn id(kind: &str, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: "v1".into(),
        kind: kind.into(),
        namespace: Some("meridian".into()),
        name: name.into(),
    }
}

fn live(name: &str, content: u64) -> Value {
    json!({
        "metadata": {
            "name": name, "uid": format!("uid-{name}"), "resourceVersion": content.to_string(),
            "labels": {OWNER_LABEL: OWNER},
        },
        "data": {"content": content},
    })
}

fn wanted(release: u64) -> Wanted {
    Wanted {
        release: Release {
            reference: format!("service-{release}.tgz"),
            digest: format!("sha256:{release}"),
            package_sha256: release.to_string(),
            chart: "service".into(),
            version: format!("{release}.0.0"),
        },
        values_sha256: "v".into(),
        manifest_sha256: format!("m{release}"),
        provenance: Provenance { who: "somebody".into(), why: None, build: None },
        intent: Intent::Run(Run::default()),
    }
}

/// A region as the planner sees it, whose writes are carried out by the tests themselves.
#[derive(Debug, Clone, Default)]
struct Region {
    namespace: bool,
    objects: std::collections::BTreeMap<ObjectRef, Value>,
    records: Vec<Stored>,
    version: u64,
}

impl Region {
    /// A release of ConfigMaps: name and content.
    fn snapshot(&self, release: u64, objects: &[(&str, u64)]) -> Snapshot {
        let wanted_ids: Vec<_> = objects.iter().map(|(name, _)| id("ConfigMap", name)).collect();
        let observed = objects.iter().zip(&wanted_ids).map(|((name, content), id)| Observed {
            object: Object { id: id.clone(), value: live(name, *content) },
            live: self.objects.get(id).cloned(),
            applied: self.namespace.then(|| live(name, *content)),
        });
        let mut left_over: Vec<(ObjectRef, Value)> = Vec::new();
        for id in self.records.iter().flat_map(|stored| &stored.record.objects) {
            let known = wanted_ids.contains(id) || left_over.iter().any(|(other, _)| other == id);
            if let (false, Some(value)) = (known, self.objects.get(id)) {
                left_over.push((id.clone(), value.clone()));
            }
        }
        Snapshot {
            region: "eu".into(),
            namespace_exists: self.namespace,
            wanted: wanted(release),
            objects: observed.collect(),
            records: self.records.clone(),
            left_over,
            conflicts: Vec::new(),
        }
    }

    /// Carries out the first `limit` steps, as if the command had been killed then.
    fn carry_out(&mut self, plan: &Plan, limit: usize) {
        for step in plan.steps.iter().take(limit) {
            self.version += 1;
            let version = self.version.to_string();
            match step.clone() {
                Step::CreateNamespace => self.namespace = true,
                Step::CloseRecord(stored) => {
                    let own =
                        self.records.iter_mut().find(|own| **own == stored).expect("the record is there");
                    own.record.state = State::Failed;
                    own.resource_version = version;
                }
                Step::BeginRecord { record, over } => {
                    let stored = Stored { record: *record, resource_version: version };
                    match over {
                        None => self.records.insert(0, stored),
                        Some(over) => {
                            assert_eq!(self.records[0].resource_version, over);
                            self.records[0] = stored;
                        }
                    }
                }
                Step::Apply(object) => drop(self.objects.insert(object.id, object.value)),
                Step::Await { .. } => {}
                Step::Prune { object, uid, resource_version } => {
                    let gone = self.objects.remove(&object).expect("only what is there is pruned");
                    assert_eq!(gone["metadata"]["uid"], uid);
                    assert_eq!(gone["metadata"]["resourceVersion"], resource_version);
                }
                Step::MarkUndoing { stored, .. } => {
                    let own = self.records.iter_mut().find(|own| **own == *stored).expect("it is there");
                    own.record.state = State::Undoing;
                    own.resource_version = version;
                }
                Step::FinishRecord(state) => {
                    let open = self.records.iter_mut().find(|own| own.record.state.is_open());
                    let own = open.expect("it was begun, or marked");
                    own.record.state = state;
                    own.resource_version = version;
                }
                Step::DropRecord(stored) => self.records.retain(|own| *own != stored),
            }
        }
    }

    fn states(&self) -> Vec<State> {
        self.records.iter().map(|stored| stored.record.state).collect()
    }

    fn promote(&mut self, release: u64, objects: &[(&str, u64)]) -> Plan {
        self.killed(release, objects, usize::MAX)
    }

    /// Promotes, and is killed after so many steps.
    fn killed(&mut self, release: u64, objects: &[(&str, u64)], after: usize) -> Plan {
        let plan = plan(&self.snapshot(release, objects), Timestamp::UNIX_EPOCH).unwrap();
        self.carry_out(&plan, after);
        plan
    }
}

#[test]
fn a_first_release_makes_everything_in_order() {
    let plan = Region::default().promote(1, &[("a", 1)]);
    let names: Vec<&str> = plan.steps.iter().map(name).collect();
    assert_eq!(names, ["namespace", "begin", "apply", "finish"]);
    assert_eq!(plan.changes[0].kind, diff::ChangeKind::Create);
}

fn name(step: &Step) -> &'static str {
    match step {
        Step::CreateNamespace => "namespace",
        Step::CloseRecord(_) => "close",
        Step::BeginRecord { .. } => "begin",
        Step::Apply(_) => "apply",
        Step::Await { .. } => "await",
        Step::Prune { .. } => "prune",
        Step::MarkUndoing { .. } => "undoing",
        Step::FinishRecord(_) => "finish",
        Step::DropRecord(_) => "drop",
    }
}

#[test]
fn planning_after_success_writes_nothing() {
    let mut region = Region::default();
    assert!(region.promote(1, &[("a", 1)]).writes());
    let plan = region.promote(1, &[("a", 1)]);
    assert!(!plan.writes() && plan.changes.is_empty(), "{plan:?}");
}

#[test]
fn only_what_differs_is_applied_and_left_over_objects_go() {
    let mut region = Region::default();
    region.promote(1, &[("a", 1), ("b", 1), ("c", 1)]);
    let plan = region.promote(2, &[("a", 1), ("b", 2)]);
    let names: Vec<&str> = plan.steps.iter().map(name).collect();
    assert_eq!(names, ["begin", "apply", "prune", "finish"]);
    assert_eq!(region.records.len(), 2);
    assert_eq!(region.records[0].record.number, 2);
}

#[test]
fn what_others_made_or_own_is_never_pruned() {
    let mut region = Region::default();
    region.promote(1, &[("a", 1), ("traffic", 1), ("foreign", 1)]);
    let foreign = region.objects.get_mut(&id("ConfigMap", "foreign")).unwrap();
    foreign["metadata"]["labels"] = json!({});
    let plan = region.promote(2, &[("a", 1)]);
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::Prune { .. })), "{plan:?}");
}

#[test]
fn a_killed_run_of_another_release_is_closed() {
    let mut region = Region::default();
    region.promote(1, &[("a", 1)]);
    region.killed(2, &[("a", 2)], 1);
    region.promote(3, &[("a", 3)]);
    assert_eq!(region.states(), [State::Applied, State::Failed, State::Applied]);
}

#[test]
fn a_region_about_to_change_has_an_open_record_at_every_moment() {
    let mut region = Region::default();
    region.promote(1, &[("a", 1)]);
    region.killed(2, &[("a", 2)], 2);
    // Killed between the two, and taken back: nothing stays open beneath.
    let other = region.killed(3, &[("a", 3)], 1);
    let names: Vec<&str> = other.steps.iter().map(name).collect();
    assert_eq!(names, ["begin", "close", "apply", "finish"]);
    let back = undo(&region, 3, 1, &[("a", 1)]);
    region.carry_out(&back, usize::MAX);
    assert_eq!(region.states(), [State::Undone, State::Failed, State::Applied]);
}

#[test]
fn a_failed_release_is_begun_again_under_its_number() {
    let mut region = Region::default();
    region.promote(1, &[("a", 1)]);
    region.records[0].record.state = State::Failed;
    let plan = region.promote(1, &[("a", 1)]);
    assert!(plan.writes());
    assert_eq!((region.records[0].record.number, region.records[0].record.attempt), (1, 2));
    assert_eq!(region.records[0].record.state, State::Applied);
}

#[test]
fn history_is_bounded_and_keeps_what_a_rollback_needs() {
    let mut region = Region::default();
    region.promote(1, &[("a", 1)]);
    for release in 2..30 {
        region.promote(release, &[("a", release)]);
        region.records[0].record.state = State::Failed;
    }
    assert_eq!(region.records.len(), HISTORY + 1);
    assert_eq!(region.records.last().unwrap().record.number, 1, "the last that was applied");
    region.promote(30, &[("a", 30)]);
    region.promote(31, &[("a", 31)]);
    assert_eq!(region.records.len(), HISTORY);
}

#[test]
fn a_deployment_is_ready_with_as_many_pods_as_its_autoscaler_asks_for() {
    let mut region = Region { namespace: true, ..Region::default() };
    let mut snapshot = region.snapshot(1, &[("service", 1), ("scaler", 1)]);
    snapshot.objects[0].object.id.kind = "Deployment".into();
    snapshot.objects[1].object.id.kind = "HorizontalPodAutoscaler".into();
    snapshot.objects[1].object.value =
        json!({"spec": {"minReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "service"}}});
    let plan = plan(&snapshot, Timestamp::UNIX_EPOCH).unwrap();
    let object = snapshot.objects[0].object.id.clone();
    assert!(plan.steps.contains(&Step::Await { object, at_least: 2 }), "{plan:?}");
    region.carry_out(&plan, usize::MAX);
}

#[test]
fn conflicts_refuse_the_whole_region() {
    let mut snapshot = Region::default().snapshot(1, &[("a", 1)]);
    let object = snapshot.objects[0].object.clone();
    snapshot.conflicts.push(Conflict::new(&object, None, ".data", "conflict with \"x\""));
    assert_eq!(plan(&snapshot, Timestamp::UNIX_EPOCH).unwrap_err().len(), 1);
}

/// The same region, wanting a release back whose record is there.
fn undo(region: &Region, number: u64, former: u64, objects: &[(&str, u64)]) -> Plan {
    let mut snapshot = region.snapshot(former, objects);
    snapshot.wanted.intent = Intent::Undo { number, why: "5xx".into() };
    plan(&snapshot, Timestamp::UNIX_EPOCH).unwrap()
}

#[test]
fn an_undo_puts_the_former_objects_back_and_marks_the_record_of_what_failed() {
    let mut region = Region::default();
    region.promote(1, &[("a", 1), ("b", 1)]);
    let before = region.objects.clone();
    region.promote(2, &[("a", 2), ("c", 2)]);
    assert_eq!(region.records[0].record.former, Some(1));
    let back = undo(&region, 2, 1, &[("a", 1), ("b", 1)]);
    let names: Vec<&str> = back.steps.iter().map(name).collect();
    assert_eq!(names, ["undoing", "apply", "apply", "prune", "finish"]);
    region.carry_out(&back, usize::MAX);
    assert_eq!(region.objects, before);
    assert_eq!(region.states(), [State::Undone, State::Applied]);
    assert!(!undo(&region, 2, 1, &[("a", 1), ("b", 1)]).writes());
    // What was undone is promoted anew under a number of its own, and goes back to the same.
    region.promote(2, &[("a", 2), ("c", 2)]);
    let newest = &region.records[0].record;
    assert_eq!((newest.number, newest.attempt, newest.former), (3, 1, Some(1)));
}

#[test]
fn a_release_that_bakes_is_not_applied_yet() {
    let mut region = Region::default();
    let mut snapshot = region.snapshot(1, &[("a", 1)]);
    snapshot.wanted.intent = Intent::Run(Run { bakes: true, ..Run::default() });
    let baking = plan(&snapshot, Timestamp::UNIX_EPOCH).unwrap();
    region.carry_out(&baking, usize::MAX);
    assert_eq!(region.records[0].record.state, State::Baking);
    let mut again = region.snapshot(1, &[("a", 1)]);
    again.wanted.intent = snapshot.wanted.intent;
    assert!(!plan(&again, Timestamp::UNIX_EPOCH).unwrap().writes());
    // Another release closes it, and would not go back to it.
    region.promote(2, &[("a", 2)]);
    assert_eq!((region.records[1].record.state, region.records[0].record.former), (State::Failed, None));
}

proptest::proptest! {
    /// An undo that is killed anywhere and made again ends with the former objects.
    #[test]
    fn an_undo_that_is_killed_anywhere_converges(
        former in release(), failed in release(), begun in 1usize..8, limits in proptest::collection::vec(0usize..8, 0..3),
    ) {
        proptest::prop_assume!(former.0 != failed.0);
        let mut region = Region::default();
        region.promote(former.0, &former.1);
        let before = region.objects.clone();
        region.killed(failed.0, &failed.1, begun);
        for limit in limits {
            let back = undo(&region, 2, former.0, &former.1);
            region.carry_out(&back, limit);
        }
        let back = undo(&region, 2, former.0, &former.1);
        region.carry_out(&back, usize::MAX);
        proptest::prop_assert_eq!(&region.objects, &before);
        proptest::prop_assert_eq!(region.records[0].record.state, State::Undone);
        proptest::prop_assert!(!undo(&region, 2, former.0, &former.1).writes());
    }

    /// Whatever was promoted before and wherever each run was killed, running the last one again leads to
    /// the same objects as if nothing had been killed, and then to an empty plan.
    #[test]
    fn killed_anywhere_and_run_again_converges(
        runs in proptest::collection::vec((release(), 0usize..8), 1..8),
        last in release(),
    ) {
        let mut region = Region::default();
        for ((number, objects), limit) in &runs {
            region.killed(*number, objects, *limit);
        }
        region.promote(last.0, &last.1);
        let expected: Vec<_> = last.1.iter().map(|(name, content)| live(name, *content)).collect();
        proptest::prop_assert_eq!(region.objects.values().cloned().collect::<Vec<_>>(), expected);
        proptest::prop_assert!(region.records.len() <= HISTORY + 1);
        proptest::prop_assert!(region.records.iter().all(|stored| stored.record.state != State::Applying));
        proptest::prop_assert!(!region.promote(last.0, &last.1).writes());
    }
}

/// A release and its objects; the same number always has the same objects.
fn release() -> impl proptest::strategy::Strategy<Value = (u64, Vec<(&'static str, u64)>)> {
    use proptest::prelude::*;
    (1u64..16).prop_map(|number| {
        let objects = ["a", "b", "c", "d"].into_iter().enumerate();
        let own = objects.filter(|(bit, _)| number >> bit & 1 == 1).map(|(_, name)| (name, number));
        (number, own.collect())
    })
}
