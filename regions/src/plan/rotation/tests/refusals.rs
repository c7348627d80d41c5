//! What stands in the way, and what is said about it.

use jiff::SignedDuration;
use secrets_agent_client::Version;
use serde_json::json;

use super::world::{PATH, World, key, phase, states};
use crate::catalogue::types::SecretKind;
use crate::plan::rotation::mark::Phase;

/// The one refusal of a plan: why, and its ways.
#[track_caller]
fn refused(world: &World) -> (String, Vec<String>) {
    let plan = world.plan();
    assert!(plan.steps.is_empty());
    match &plan.refused[..] {
        [refusal] => (refusal.why.clone(), refusal.ways.clone()),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn says(world: &World, words: &[&str]) {
    let (why, ways) = refused(world);
    let all = format!("{why} {}", ways.join(" "));
    for word in words {
        assert!(all.contains(word), "{word:?} is not in {all}");
    }
}

#[test]
fn a_region_that_is_away_is_named_with_the_way_on() {
    let mut world = World::of(SecretKind::Keyset);
    world.regions[1].vault = Err("no answer within 10 s".into());
    says(&world, &["us: no answer within 10 s", "regions rotate secret --env qa --without us"]);
    world.regions[1].vault = Ok(());
    world.regions[1].view = Err("unreachable".into());
    says(&world, &["us: its watcher cannot be asked: unreachable", "--without us"]);
}

#[test]
fn a_region_that_the_catalogue_lacks_stops_it_before_each_phase() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.pass(11);
    let mut other = world.clone();
    other.regions[1].custom.insert("regions".into(), "ap,eu,us".into());
    says(&other, &["us names ap", "catalogue"]);
    world.step();
    assert_eq!(phase(&world.document(0)), Some(Phase::Activate));
}

#[test]
fn the_names_of_all_regions_are_noted_first() {
    let mut world = World::of(SecretKind::Value);
    world.step();
    assert!(world.regions.iter().all(|region| region.custom["regions"] == "eu,us"));
}

#[test]
fn clocks_that_are_too_far_apart_are_named() {
    let mut world = World::of(SecretKind::Keyset);
    world.regions[1].ahead = SignedDuration::from_secs(3);
    assert!(world.plan().refused.is_empty(), "a skew of 1 s, and 2 s for reading");
    world.regions[1].ahead = SignedDuration::from_secs(4);
    says(&world, &["the clocks of the Vaults of eu and us are 4.0 s apart"]);
}

#[test]
fn what_a_person_wrote_in_the_middle_stops_it_and_is_overwritten_on_request_where_nothing_is_lost() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    let mut document = world.document(1);
    document.as_object_mut().unwrap().remove("rotation");
    world.put(1, PATH, &document);
    says(
        &world,
        &["us: version 3 of secret was written by hand", "--overwrite us", "--abort --overwrite us"],
    );
    world.request.overwrite = ["us".to_owned()].into();
    world.finish();
    assert_eq!(world.document(0), world.document(1));

    // A key that may sign is not thrown away.
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    let hand = json!({"keys": {"old": key("retiring", "old"), "hand": key("active", "hand")}});
    world.put(1, PATH, &hand);
    world.request.overwrite = ["us".to_owned()].into();
    says(&world, &["it may be in use: the key hand (active)"]);
}

#[test]
fn a_value_that_a_person_writes_meanwhile_is_not_lost_unseen() {
    let mut world = World::of(SecretKind::Value);
    for _ in 0..3 {
        world.step();
    }
    assert_eq!((phase(&world.document(0)), phase(&world.document(1))), (Some(Phase::Write), None));
    world.put(1, PATH, &json!({"value": "by hand"}));
    world.use_all();
    says(&world, &["us: version 2 of secret was written by hand, while r-1 was under way"]);
}

#[test]
fn a_vault_that_was_restored_is_told_and_brought_up_to_date_on_request() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.pass(11);
    world.go_on();
    // The snapshot is from before the rotation.
    let us = &mut world.regions[1];
    us.secrets.get_mut(PATH).unwrap().truncate(1);
    us.custom.clear();
    assert_eq!(us.floor.unwrap().version, 3);
    says(&world, &["us: its Vault holds version 1", "version 3 of", "--restored us"]);
    world.request.restored = ["us".to_owned()].into();
    world.go_on();
    let number = world.regions[1].secrets[PATH].len();
    assert!(number >= 3, "agents deliver nothing below what they have seen: {number}");
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    assert_eq!(states(&world.document(1)).len(), 1);
}

#[test]
fn a_version_of_the_same_number_and_an_earlier_time_is_older() {
    let mut world = World::of(SecretKind::Value);
    let floor = world.regions[0].floor.unwrap();
    let later = floor.created_time + SignedDuration::from_secs(1);
    world.regions[0].floor = Some(Version { created_time: later, ..floor });
    says(&world, &["eu: its Vault holds version 1"]);
}

#[test]
fn documents_that_must_agree_and_do_not_are_told() {
    let mut world = World::of(SecretKind::Keyset);
    world.put(1, PATH, &json!({"keys": {"other": key("active", "other")}}));
    says(&world, &["the documents of eu and us are not the same"]);
    let mut world = World::of(SecretKind::Value);
    world.put(1, PATH, &json!({"value": "another"}));
    assert!(world.plan().refused.is_empty(), "a value may be another in each region");
}

#[test]
fn a_document_that_is_none_and_one_that_is_not_there_are_told() {
    let mut world = World::of(SecretKind::Keyset);
    world.put(0, PATH, &json!({"keys": {"a": key("published", "a")}}));
    says(&world, &["eu: version 2 of secret: it has not exactly one active key"]);
    let mut world = World::of(SecretKind::Keyset);
    world.regions[0].secrets.get_mut(PATH).unwrap()[0].1 = None;
    says(&world, &["eu: the current version 1 of secret is deleted"]);
    world.regions[0].secrets.clear();
    world.regions[0].floor = None;
    world.regions[0].used = None;
    says(&world, &["eu: it has no secret (regions bootstrap)"]);
}

#[test]
fn another_rotation_is_not_begun_over_one_that_is_under_way() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.request.id = Some("another".into());
    says(&world, &["the rotation r-1 of secret has not ended yet", "--rotation r-1 --abort"]);
    world.request.id = Some("r-1".into());
    assert!(world.plan().refused.is_empty());
}

#[test]
fn two_rotations_at_once_are_told_with_which_goes_on() {
    let mut world = World::of(SecretKind::Keyset);
    let mut other = world.clone();
    other.request.fresh = "r-2".into();
    other.request.without = ["eu".to_owned()].into();
    other.regions[0].traffic = crate::plan::rotation::Traffic::Out("drained".into());
    other.go_on();
    world.step();
    world.step();
    world.regions[1] = other.regions[1].clone();
    let (why, ways) = refused(&world);
    assert!(why.contains("r-1 in eu; r-2 in us"), "{why}");
    // The one that is farther first, and either leads to an end.
    assert!(ways[0].starts_with("go on with r-2") && ways[1].contains("--overwrite us"), "{ways:?}");
    for over in ["eu", "us"] {
        let mut world = world.clone();
        world.request.overwrite = [over.to_owned()].into();
        world.finish();
        assert_eq!(world.document(0), world.document(1));
    }
}

#[test]
fn a_phase_of_a_newer_program_is_left_alone() {
    let mut world = World::of(SecretKind::Value);
    for place in 0..2 {
        world.put(place, PATH, &json!({"value": "x", "rotation": {"r-9": {"sideways": ""}}}));
    }
    world.use_all();
    let plan = world.plan();
    assert!(
        plan.refused[0].why.contains("r-9 (sideways) is a phase that this version"),
        "{:?}",
        plan.refused
    );
}

#[test]
fn a_client_that_is_not_there_or_has_two_secrets_is_named() {
    let mut world = World::of(SecretKind::Clients);
    world.request.clients = ["c".to_owned()].into();
    let plan = world.plan();
    assert!(plan.refused[0].why.contains("there is no client c; there are a, b"), "{:?}", plan.refused);
    world.request.clients.clear();
    for place in 0..2 {
        let mut document = world.document(place);
        document["clients"]["a"]["secrets"] = json!([{"sha256": "x"}, {"sha256": "y"}]);
        world.put(place, PATH, &document);
    }
    world.use_all();
    let plan = world.plan();
    assert!(plan.refused[0].why.contains("the client a has 2 secrets already"), "{:?}", plan.refused);
    world.request.clients = ["b".to_owned()].into();
    assert!(world.plan().refused.is_empty());
}

#[test]
fn a_value_without_a_generator_comes_from_outside() {
    let mut world = World::of(SecretKind::Value);
    world.request.generator = None;
    says(&world, &["--from-stdin"]);
}

#[test]
fn the_watcher_of_another_region_vouches_for_nobody() {
    let mut world = World::of(SecretKind::Keyset);
    world.request.environment = "production".into();
    assert_eq!(world.plan().refused.len(), 2);
    assert!(world.plan().refused[0].why.contains("at its watcher's address is the watcher of qa/eu"));
}
