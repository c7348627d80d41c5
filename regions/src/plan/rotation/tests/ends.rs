//! How rotations end, forward and back, whole and with regions left out.

use serde_json::json;

use super::world::{PATH, World, phase, states};
use crate::catalogue::types::SecretKind;
use crate::plan::rotation::facts::sha256;
use crate::plan::rotation::mark::Phase;
use crate::plan::rotation::{Plan, Refusal, Step, Traffic, Waiting};

const KINDS: [SecretKind; 3] = [SecretKind::Value, SecretKind::Clients, SecretKind::Keyset];

/// Versions of a region's document that can be read.
fn readable(world: &World, place: usize) -> usize {
    world.regions[place].secrets[PATH].iter().filter(|(_, document)| document.is_some()).count()
}

#[test]
fn it_ends_with_one_version_everywhere_and_nothing_left_to_plan() {
    for kind in KINDS {
        let mut world = World::of(kind);
        let before = world.document(0);
        world.finish();
        assert!(world.plan().is_empty());
        for place in 0..2 {
            assert_eq!(readable(&world, place), 1, "{kind:?}");
            assert_eq!(world.document(place), world.document(0));
        }
        assert_ne!(world.document(0), before);
        // The same command again, given in the same moments, makes no second one.
        world.request.fresh = "r-2".into();
        assert!(world.plan().is_empty());
        world.request.again = true;
        assert!(!world.plan().is_empty());
    }
}

#[test]
fn what_another_run_wrote_is_written_once_more_before_the_end() {
    for kind in KINDS {
        let mut world = World::of(kind);
        while destroyed(&world.plan()).is_empty() {
            world.step();
            world.use_all();
            world.pass(1);
        }
        // Another run goes on, or somebody else has had the locks meanwhile.
        let own = world.plan();
        for region in &mut world.regions {
            region.fenced.clear();
        }
        let documents = [0, 1].map(|place| world.document(place));
        let versions = readable(&world, 0);
        let plan = world.step();
        let paths: Vec<&str> = plan.steps.iter().map(path).collect();
        match kind {
            SecretKind::Clients => {
                assert_eq!(paths, [PATH, "client/a", "client/b", PATH, "client/a", "client/b"]);
            }
            _ => assert_eq!(paths, [PATH, PATH]),
        }
        assert_eq!([0, 1].map(|place| world.document(place)), documents, "{kind:?}");
        assert_eq!(readable(&world, 0), versions + 1);
        // Nothing goes before every pod uses that, and then everything goes that would have gone before.
        assert!(matches!(world.plan().waits[..], [Waiting::Pods { .. }, Waiting::Pods { .. }]));
        assert_eq!(world.plan().steps, []);
        world.use_all();
        let after = world.plan();
        assert_eq!(destroyed(&after), destroyed(&own));
        world.finish();
        assert_eq!(readable(&world, 0), 1);
    }
}

/// Where a step writes a version.
fn path(step: &Step) -> &str {
    match step {
        Step::Write(write) => &write.path,
        other => panic!("{other:?}"),
    }
}

/// Regions and paths of which versions are destroyed.
fn destroyed(plan: &Plan) -> Vec<(&str, &str)> {
    let destroyed = plan.steps.iter().filter_map(|step| match step {
        Step::Destroy(destroy) => Some((destroy.region.as_str(), destroy.path.as_str())),
        _ => None,
    });
    destroyed.collect()
}

#[test]
fn a_rotation_that_is_named_is_made_once() {
    let mut world = World::of(SecretKind::Keyset);
    world.request.id = Some("named".into());
    world.finish();
    world.pass(100_000);
    assert!(world.plan().is_empty());
    world.request.id = Some("another".into());
    assert_eq!(world.plan().rotation.unwrap().id, "another");
}

#[test]
fn clients_find_their_new_secrets_and_the_former_ones_are_gone() {
    let mut world = World::of(SecretKind::Clients);
    world.request.clients = ["a".to_owned()].into();
    world.finish();
    let new = world.at(1, "client/a").unwrap()["secret"].as_str().unwrap().to_owned();
    let document = world.document(0);
    assert_eq!(document["clients"]["a"]["secrets"], json!([{"sha256": sha256(&new), "not_after": null}]));
    assert_eq!(document["clients"]["b"]["secrets"], json!([{"sha256": sha256("first of b")}]));
    assert_eq!(world.at(0, "client-pending/a"), None);
    assert_eq!(world.at(0, "client/b"), Some(json!({"secret": "first of b"})));
    let former = &world.regions[0].secrets["client/a"][0];
    assert_eq!(former.1, None);
}

/// Plays so many rounds, then takes it back; gives the world before and after.
fn aborted_after(kind: SecretKind, rounds: usize) -> Option<World> {
    let mut world = World::of(kind);
    for _ in 0..rounds {
        if world.step().is_empty() {
            return None;
        }
        world.use_all();
        world.pass(60);
    }
    world.request.abort = true;
    let Plan { refused, rotation, .. } = world.plan();
    let late =
        |refusal: &Refusal| ["too late", "no former version"].iter().any(|why| refusal.why.contains(why));
    // One that has ended cannot be taken back.
    if rotation.is_none() || refused.iter().any(late) {
        return None;
    }
    world.finish();
    Some(world)
}

#[test]
fn taken_back_anywhere_it_ends_with_what_was_there_before() {
    for kind in KINDS {
        let before = World::of(kind);
        let mut taken_back = 0;
        for rounds in 0..30 {
            let Some(world) = aborted_after(kind, rounds) else { continue };
            if world.regions.iter().all(|region| region.secrets[PATH].len() == 1) {
                continue;
            }
            taken_back += 1;
            for place in 0..2 {
                let (mut now, mut then) = (world.document(place), before.document(place));
                for document in [&mut now, &mut then] {
                    document.as_object_mut().unwrap().remove("rotation");
                    // A key that signs again does so since then, and a secret that was kept has no end.
                    let text = document.to_string();
                    assert!(!text.contains("new"), "{kind:?} after {rounds}: {text}");
                }
                if kind == SecretKind::Keyset {
                    assert_eq!(states(&now), states(&then));
                    assert_eq!(now["keys"]["old"]["private_pem"], then["keys"]["old"]["private_pem"]);
                }
                assert_eq!(readable(&world, place), 1, "{kind:?} after {rounds}");
                assert_eq!(
                    world.at(place, "client/a"),
                    before.at(place, "client/a").map(|mut document| {
                        let own = world.at(place, "client/a").unwrap();
                        if let Some(mark) = own.get("rotation") {
                            document["rotation"] = mark.clone();
                        }
                        document
                    })
                );
            }
        }
        assert!(taken_back > 1, "{kind:?}");
    }
}

#[test]
fn a_key_that_has_signed_verifies_for_a_tokens_life_after_it_was_taken_back() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.pass(11);
    world.go_on();
    world.request.abort = true;
    let plan = world.go_on();
    assert_eq!(states(&world.document(0))["new1"], "retiring");
    assert_eq!(states(&world.document(1))["old"], "active");
    assert!(
        matches!(&plan.waits[..], [_, Waiting::Time { left, .. }] if left.as_secs() == 103),
        "{:?}",
        plan.waits
    );

    // One that was only published has signed nothing.
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.request.abort = true;
    assert!(world.go_on().is_empty());
    assert_eq!(states(&world.document(1)).len(), 1);
}

#[test]
fn it_is_too_late_to_go_back_once_the_old_key_is_gone_anywhere() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.pass(11);
    world.go_on();
    world.pass(103);
    world.step();
    assert_eq!(phase(&world.document(0)), Some(Phase::Retire));
    world.request.abort = true;
    let refused = world.plan().refused;
    assert!(refused[0].why.contains("too late"), "{refused:?}");
    assert!(refused[0].ways.iter().all(|way| !way.contains("--abort")), "{refused:?}");
}

#[test]
fn a_retirement_that_arrives_after_all_makes_an_abort_an_end() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.pass(11);
    world.go_on();
    world.pass(103);
    let retire = world.plan().steps;
    world.request.abort = true;
    let withdraw = world.plan().steps;
    // It was on its way when the abort began, and reaches the region before the abort does.
    world.take(&retire[0]);
    world.take(&withdraw[1]);
    world.finish();
    assert_eq!(states(&world.document(0)), [("new1".to_owned(), "active".to_owned())].into());
    assert_eq!(world.document(0), world.document(1));
}

#[test]
fn a_region_that_is_left_out_keeps_the_old_key_verifying_and_catches_up_phase_by_phase() {
    let mut world = World::of(SecretKind::Keyset);
    world.request.without = ["us".to_owned()].into();
    world.regions[1].vault = Err("black hole".into());
    assert!(world.plan().refused[0].why.contains("takes traffic"));
    world.regions[1].traffic = Traffic::Out("drained".into());
    world.go_on();
    world.pass(11);
    world.go_on();
    world.pass(1000);
    let plan = world.go_on();
    assert_eq!(plan.waits, [Waiting::Region { region: "us".into() }]);
    assert_eq!(states(&world.document(0))["old"], "retiring");
    // It is back.
    world.request.without.clear();
    world.regions[1].vault = Ok(());
    world.go_on();
    assert_eq!(phase(&world.document(1)), Some(Phase::Publish));
    assert_eq!(states(&world.document(1))["old"], "active");
    world.pass(11);
    world.go_on();
    assert_eq!(phase(&world.document(1)), Some(Phase::Activate));
    assert_eq!(phase(&world.document(0)), Some(Phase::Activate));
    world.finish();
    assert_eq!(world.document(0), world.document(1));
}
