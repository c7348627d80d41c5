//! What somebody wrote by hand into every region ends what was under way, and nothing less does.

use serde_json::{Value, json};

use super::world::{PATH, World, key, phase, states};
use crate::catalogue::types::SecretKind;
use crate::plan::rotation::mark::Phase;
use crate::plan::rotation::{Plan, Step, Waiting};

/// Each region has activated the key of a rotation of its own, and they see each other again.
fn two_in_use() -> World {
    let mut world = World::of(SecretKind::Keyset);
    let of_its_own = |place: usize, id: &str| {
        let mut keys = json!({"old": key("retiring", "old")});
        keys[id] = key("active", id);
        let published = json!({"keys": {"old": key("active", "old"), id: key("published", id)}});
        [(published, "publish"), (json!({"keys": keys}), "activate")].map(|(mut document, phase)| {
            document["rotation"] = json!({id: {phase: ""}});
            (place, document)
        })
    };
    for (place, document) in [of_its_own(0, "r-1"), of_its_own(1, "r-2")].concat() {
        world.put(place, PATH, &document);
    }
    world.use_all();
    world
}

/// What has all that is in use in either region.
fn merged() -> Value {
    json!({"keys": {
        "old": key("retiring", "old"), "r-1": key("active", "r-1"), "r-2": key("retiring", "r-2"),
    }})
}

fn write(world: &mut World, documents: [&Value; 2]) {
    for (place, document) in documents.into_iter().enumerate() {
        world.put(place, PATH, document);
    }
    world.use_all();
}

fn told(plan: &Plan) -> Vec<&str> {
    assert_eq!((&plan.steps[..], &plan.waits[..]), (&[][..], &[][..]));
    plan.refused.iter().map(|refusal| refusal.why.as_str()).collect()
}

#[test]
fn two_rotations_that_are_both_in_use_end_with_what_stands_everywhere() {
    let mut world = two_in_use();
    // Neither can be put over the other, and each says what can be done instead.
    for (id, other) in [("r-1", "us"), ("r-2", "eu")] {
        (world.request.id, world.request.overwrite) = (Some(id.into()), [other.to_owned()].into());
        let refused = world.plan().refused;
        let [refusal] = &refused[..] else { panic!("{refused:?}") };
        assert!(refusal.why.contains("put it into every region first"), "{refusal:?}");
        assert!(
            refusal.ways.iter().any(|way| way.ends_with(": regions rotate secret --env qa --settle")),
            "{refusal:?}"
        );
    }
    (world.request.id, world.request.settle) = (None, true);
    world.request.overwrite.clear();
    write(&mut world, [&merged(), &merged()]);
    let plan = world.step();
    assert!(plan.steps.iter().all(|step| matches!(step, Step::Note { .. })), "{plan:?}");
    assert!(world.plan().is_empty(), "{:?}", world.plan());
    assert_eq!(states(&world.document(0))["r-2"], "retiring");
    // The next one begins from there, and takes away what has been over for as long as it waits.
    world.request.settle = false;
    world.pass(3600);
    world.request.fresh = "r-3".into();
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    assert_eq!(states(&world.document(0)).len(), 1);
}

#[test]
fn what_is_still_a_rotations_own_is_not_what_somebody_decided() {
    let mut world = two_in_use();
    world.request.settle = true;
    assert_eq!(told(&world.plan()).len(), 2);
    world.put(0, PATH, &merged());
    world.use_all();
    let plan = world.plan();
    let [why] = told(&plan)[..] else { panic!("{plan:?}") };
    assert!(why.starts_with("us: version 3 was written by the rotation r-2 (activate)"), "{why}");
}

#[test]
fn what_stands_has_to_be_the_same_everywhere() {
    let mut world = two_in_use();
    world.request.settle = true;
    let mut other = merged();
    other["keys"]["more"] = key("retiring", "more");
    write(&mut world, [&merged(), &other]);
    let plan = world.plan();
    assert!(told(&plan)[0].starts_with("the documents of eu and us are not the same"), "{plan:?}");
}

#[test]
fn what_stands_has_all_that_is_in_use_anywhere() {
    for lost in ["old", "r-2"] {
        let mut world = two_in_use();
        world.request.settle = true;
        let mut lacking = merged();
        lacking["keys"].as_object_mut().unwrap().remove(lost);
        write(&mut world, [&lacking, &lacking]);
        let plan = world.plan();
        for why in told(&plan) {
            assert!(
                why.contains("lacks what may be in use") && why.contains(&format!("the key {lost}")),
                "{why}"
            );
        }
        assert_eq!(plan.refused.len(), 2);
    }
}

#[test]
fn nothing_is_over_before_every_pod_uses_what_stands() {
    let mut world = two_in_use();
    world.request.settle = true;
    (0..2).for_each(|place| world.put(place, PATH, &merged()));
    world.use_in(0);
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    let [Waiting::Pods { region, .. }] = &plan.waits[..] else { panic!("{plan:?}") };
    assert_eq!(region, "us");
}

#[test]
fn no_region_can_be_left_out_of_it() {
    let mut world = two_in_use();
    world.request.settle = true;
    write(&mut world, [&merged(), &merged()]);
    world.regions[1].traffic = crate::plan::rotation::Traffic::Out("drained".into());
    world.request.without = ["us".to_owned()].into();
    let plan = world.plan();
    assert!(told(&plan)[0].contains("none can be left out"), "{plan:?}");
}

#[test]
fn what_nobody_has_yet_goes_with_the_rotation_that_made_it() {
    let mut world = World::of(SecretKind::Clients);
    while phase(&world.document(0)) != Some(Phase::Publish) {
        world.step();
    }
    assert!(world.at(0, "client-pending/a").is_some());
    let mut by_hand = world.document(0);
    by_hand.as_object_mut().unwrap().remove("rotation");
    world.request.settle = true;
    write(&mut world, [&by_hand, &by_hand]);
    world.step();
    assert_eq!((world.at(0, "client-pending/a"), world.at(0, "client-pending/b")), (None, None));
    assert!(world.plan().is_empty(), "{:?}", world.plan());
}

#[test]
fn where_nothing_is_under_way_there_is_nothing_to_end() {
    let mut world = World::of(SecretKind::Keyset);
    world.request.settle = true;
    assert!(world.plan().is_empty());
    world.request.settle = false;
    world.finish();
    world.request.settle = true;
    assert!(world.plan().is_empty());
}
