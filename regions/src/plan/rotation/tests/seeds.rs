//! What schedules of the simulation have found, each as the smallest world in which it was so.

use std::time::Duration;

use jiff::SignedDuration;
use secrets_agent_client::Version;
use serde_json::{Value, json};

use super::world::{PATH, Region, World, key, phase};
use crate::catalogue::types::SecretKind;
use crate::plan::rotation::facts::sha256;
use crate::plan::rotation::mark::Phase;
use crate::plan::rotation::{Plan, Refusal, Step, Traffic, Waiting};

/// A region's Vault is restored from a snapshot that is older than any rotation.
fn restore(region: &mut Region) {
    restore_to(region, 1);
}

/// It is restored from one that has so many versions, and no note of a rotation.
fn restore_to(region: &mut Region, versions: usize) {
    region.secrets.get_mut(PATH).unwrap().truncate(versions);
    region.custom.clear();
}

/// A region's document as a person copies it: without the rotation's mark.
fn unmarked(world: &World, place: usize) -> Value {
    let mut document = world.document(place);
    document.as_object_mut().unwrap().remove("rotation");
    document
}

/// The keys of a region's document.
fn kids(world: &World, place: usize) -> Vec<String> {
    world.document(place)["keys"].as_object().unwrap().keys().cloned().collect()
}

fn leave_out(world: &mut World, place: usize) {
    world.regions[place].vault = Err("black hole".into());
    world.regions[place].traffic = Traffic::Out("drained".into());
    world.request.without = [world.regions[place].name.to_owned()].into();
}

fn take_in(world: &mut World, place: usize) {
    world.regions[place].vault = Ok(());
    world.request.without.clear();
}

/// A world's us after another rotation was begun in it alone, while eu was away, and something came to be so.
fn us_with_another(world: &World, id: &str, so: impl Fn(&World) -> bool) -> Region {
    let mut other = world.clone();
    other.request.fresh = id.into();
    // What it makes is not what the world's own rotation makes.
    other.made = 10;
    leave_out(&mut other, 0);
    go_on_until(&mut other, so);
    other.regions.swap_remove(1)
}

/// Takes what is planned, until something is so.
fn until(world: &mut World, so: impl Fn(&World) -> bool) {
    stepwise(world, so, |_, _| {});
}

/// Goes on, with pods that use everything at once, until something is so.
fn go_on_until(world: &mut World, so: impl Fn(&World) -> bool) {
    stepwise(world, so, |world, plan| {
        if plan.steps.is_empty() {
            world.pass(10);
        }
        world.use_all();
    });
}

fn stepwise(world: &mut World, so: impl Fn(&World) -> bool, then: impl Fn(&mut World, &Plan)) {
    for _ in 0..20 {
        if so(world) {
            return;
        }
        let plan = world.step();
        then(world, &plan);
    }
    panic!("it never is so: {:?}", world.plan());
}

/// The phases that a plan writes in a region.
fn written(plan: &Plan, region: &str) -> Vec<Option<Phase>> {
    let writes = plan.steps.iter().filter_map(|step| match step {
        Step::Write(write) if write.region == region && write.path == PATH => Some(write),
        _ => None,
    });
    writes.map(|write| write.recipe.mark.phase()).collect()
}

#[test]
fn what_a_region_gave_its_clients_before_it_was_left_out_is_waited_for() {
    let mut world = World::of(SecretKind::Keyset);
    leave_out(&mut world, 1);
    world.go_on();
    // Every pod of eu has had it for as long as a JWKS is kept, and us gave one without it a moment ago.
    world.pass(11);
    world.regions[1].out_for = Duration::from_secs(3);
    let waits = world.go_on().waits;
    let [Waiting::Time { region, phase: Phase::Publish, left, .. }] = &waits[..] else { panic!("{waits:?}") };
    assert_eq!((region.as_str(), *left), ("us", Duration::from_secs(8)));
    assert_eq!(phase(&world.document(0)), Some(Phase::Publish));
    world.regions[1].out_for = Duration::from_secs(11);
    world.go_on();
    assert_eq!(phase(&world.document(0)), Some(Phase::Activate));
}

#[test]
fn a_rotation_that_was_taken_back_stays_so_whatever_is_written_over_it() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.request.abort = true;
    while (0..2).any(|place| phase(&world.document(place)) != Some(Phase::Remove)) {
        assert!(!world.plan().steps.is_empty(), "{:?}", world.plan());
        world.step();
        world.use_all();
    }
    // It has not noted its end yet when somebody writes.
    let by_hand = unmarked(&world, 0);
    (0..2).for_each(|place| world.put(place, PATH, &by_hand));
    world.use_all();
    world.request.abort = false;
    world.request.overwrite = ["eu".to_owned(), "us".to_owned()].into();
    assert_eq!(written(&world.plan(), "eu"), [Some(Phase::Remove)]);
}

#[test]
fn a_way_back_waits_for_the_region_that_may_have_all_of_what_it_takes_back() {
    for kind in [SecretKind::Keyset, SecretKind::Clients] {
        let mut world = World::of(kind);
        until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Publish));
        assert_eq!(phase(&world.document(1)), None);
        world.request.abort = true;
        // The intention comes to us alone, and eu is away.
        let withdraw = world.plan().steps;
        let in_us = withdraw.iter().filter(|step| step.region() == "us");
        in_us.for_each(|step| world.take(step));
        assert_eq!(phase(&world.document(1)), Some(Phase::Withdraw));
        leave_out(&mut world, 0);
        world.use_in(1);
        let plan = world.go_on();
        assert_eq!(plan.waits, [Waiting::Region { region: "eu".into() }], "{kind:?}");
        assert_eq!(phase(&world.document(1)), Some(Phase::Withdraw));
        take_in(&mut world, 0);
        world.finish();
        assert_eq!(world.document(0), world.document(1));
    }
}

#[test]
fn a_rotation_without_a_document_is_not_offered_over_one_that_has() {
    let mut world = World::of(SecretKind::Clients);
    let us = us_with_another(&world, "r-2", |other| phase(&other.document(1)) == Some(Phase::Publish));
    until(&mut world, |world| world.at(0, "client-pending/a").is_some());
    assert_eq!(phase(&world.document(0)), None);
    world.regions[1] = us;
    world.use_all();
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    assert!(refusal.why.contains("r-1 in eu; r-2 in us"), "{refusal:?}");
    let [way] = &refusal.ways[..] else { panic!("{refusal:?}") };
    assert!(way.starts_with("go on with r-2") && way.contains("--overwrite eu"), "{way}");
    world.request.overwrite = ["eu".to_owned()].into();
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    assert_eq!(world.at(0, "client-pending/a"), None);
}

#[test]
fn a_rotation_without_a_document_is_not_gone_on_with_instead_of_one_that_has() {
    let mut world = World::of(SecretKind::Clients);
    let us = us_with_another(&world, "r-2", |other| phase(&other.document(1)) == Some(Phase::Hand));
    until(&mut world, |world| world.at(0, "client-pending/a").is_some());
    world.regions[1] = us;
    world.use_all();
    // It was given for a document by hand, which is not there any more.
    world.request.overwrite = ["us".to_owned()].into();
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    let [way] = &refusal.ways[..] else { panic!("{refusal:?}") };
    assert!(way.starts_with("go on with r-2") && way.contains("--overwrite eu"), "{way}");
    world.request.overwrite.insert("eu".to_owned());
    world.finish();
    assert_eq!(world.document(0), world.document(1));
}

#[test]
fn of_two_rotations_whose_documents_are_all_written_over_the_one_that_is_named_goes_on() {
    let mut world = World::of(SecretKind::Clients);
    // What r-0 has handed out in us is in use, and somebody writes its document again.
    let handed_out = |other: &World| other.at(1, "client/b").unwrap()["secret"] != "first of b";
    let us = us_with_another(&world, "r-0", handed_out);
    leave_out(&mut world, 1);
    go_on_until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Publish));
    take_in(&mut world, 1);
    world.regions[1] = us;
    assert_eq!(phase(&world.document(1)), Some(Phase::Publish));
    let by_hand = unmarked(&world, 1);
    world.put(1, PATH, &by_hand);
    world.use_all();
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    let way = "go on with r-0, and put its document over the others': \
               regions rotate secret --env qa --rotation r-0 --overwrite eu";
    assert!(refusal.ways.iter().any(|told| told == way), "{refusal:?}");
    world.request.id = Some("r-0".into());
    world.request.overwrite = ["eu".to_owned(), "us".to_owned()].into();
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    let (taken, found) = taken_and_found(&world, 1, "a");
    assert_eq!(taken, found);
}

/// A rotation of clients that eu has published, and us has the new secret of one client of.
fn half_pending() -> World {
    let mut world = World::of(SecretKind::Clients);
    go_on_until(&mut world, |world| world.at(1, "client-pending/b").is_some());
    assert_eq!((phase(&world.document(0)), phase(&world.document(1))), (Some(Phase::Publish), None));
    // The command was killed between the two.
    world.regions[1].secrets.remove("client-pending/b");
    world
}

/// The hash of the only secret with which a region takes a client, beside that of the secret which the client finds.
fn taken_and_found(world: &World, place: usize, client: &str) -> (Value, Value) {
    let secrets = &world.document(place)["clients"][client]["secrets"];
    assert_eq!(secrets.as_array().unwrap().len(), 1);
    let found = world.at(place, &format!("client/{client}")).unwrap();
    (secrets[0]["sha256"].clone(), sha256(found["secret"].as_str().unwrap()).into())
}

#[test]
fn a_client_finds_the_secret_that_is_taken_where_two_regions_have_each_made_one() {
    let mut world = half_pending();
    leave_out(&mut world, 0);
    go_on_until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Hand));
    assert_ne!(world.at(0, "client-pending/b"), world.at(1, "client-pending/b"));
    take_in(&mut world, 0);
    world.finish();
    for place in 0..2 {
        for client in ["a", "b"] {
            let (taken, found) = taken_and_found(&world, place, client);
            assert_eq!(taken, found, "{client} in {}", world.regions[place].name);
        }
    }
}

#[test]
fn a_secret_that_a_client_may_have_found_is_not_lost_to_another_regions() {
    let mut world = half_pending();
    leave_out(&mut world, 0);
    go_on_until(&mut world, |world| world.at(1, "client/b").unwrap()["secret"] != "first of b");
    assert_eq!(phase(&world.document(1)), Some(Phase::Publish));
    take_in(&mut world, 0);
    leave_out(&mut world, 1);
    go_on_until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Hand));
    take_in(&mut world, 1);
    world.use_all();
    let plan = world.plan();
    let [refusal] = &plan.refused[..] else { panic!("{plan:?}") };
    assert!(refusal.why.contains("us: its document has what that of eu has not"), "{refusal:?}");
    assert!(refusal.why.contains("a secret of the client b"), "{refusal:?}");
    assert!(refusal.ways[0].ends_with(": regions rotate secret --env qa --settle"), "{refusal:?}");
    // Its own document takes what it gives its clients until somebody has decided.
    assert_eq!(plan.steps, []);
}

#[test]
fn a_restored_region_gets_no_document_that_each_region_makes_of_its_own() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.request.abort = true;
    until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Return));
    assert_eq!(phase(&world.document(1)), Some(Phase::Withdraw));
    restore(&mut world.regions[1]);
    world.request.restored = ["us".to_owned()].into();
    // What eu withdrew from is eu's; what it returned to is everybody's.
    assert_eq!(written(&world.plan(), "us"), [Some(Phase::Return)]);
    world.finish();
    assert_eq!(world.document(0), world.document(1));
}

#[test]
fn what_would_be_lost_is_told_with_the_command_that_keeps_it() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    let keys = json!({
        "old": key("retiring", "old"), "hand": key("active", "hand"),
    });
    world.put(1, PATH, &json!({"keys": keys}));
    world.request.overwrite = ["us".to_owned()].into();
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    assert!(refusal.why.contains("the key hand (active)"), "{refusal:?}");
    let way = "or leave what is there, and see how else it can go on: regions rotate secret --env qa";
    assert_eq!(refusal.ways[0], way);
    assert!(refusal.ways[1].ends_with(": regions rotate secret --env qa --settle"), "{refusal:?}");
}

#[test]
fn a_key_that_a_restore_lost_is_let_go_by_whoever_knows_that_nothing_of_it_is_left() {
    let mut world = World::of(SecretKind::Keyset);
    leave_out(&mut world, 0);
    world.go_on();
    assert_eq!(phase(&world.document(1)), Some(Phase::Publish));
    take_in(&mut world, 0);
    // us alone had the new key, and now only its pods have it.
    restore(&mut world.regions[1]);
    (world.request.fresh, world.request.restored) = ("r-2".into(), ["us".to_owned()].into());
    until(&mut world, |world| !world.plan().refused.is_empty());
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    assert!(refusal.why.contains("its pods show new1, which no Vault has any more"), "{refusal:?}");
    assert!(refusal.why.contains("until 103 s after it last signed"), "{refusal:?}");
    let [way] = &refusal.ways[..] else { panic!("{refusal:?}") };
    assert!(way.ends_with("regions rotate secret --env qa --restored us --give-up new1"), "{way}");
    // Another key is not what was asked about.
    world.request.give_up = ["another".to_owned()].into();
    assert!(!world.plan().refused.is_empty());
    world.request.give_up = ["new1".to_owned()].into();
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    assert!(world.document(0)["keys"].as_object().unwrap().keys().eq(["new2"]));
}

/// A rotation of values that differ from region to region, taken back once both regions have its document.
fn taken_back_values() -> World {
    let mut world = World::of(SecretKind::Value);
    world.put(1, PATH, &json!({"value": "of us"}));
    world.use_all();
    go_on_until(&mut world, |world| (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Write)));
    world.request.abort = true;
    world
}

fn write_by_hand(world: &mut World, place: usize) {
    world.put(place, PATH, &json!({"value": "by hand"}));
    world.use_in(place);
}

#[test]
fn a_region_that_is_restored_on_the_way_back_goes_back_to_its_own() {
    let mut world = taken_back_values();
    go_on_until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Return));
    restore_to(&mut world.regions[1], 2);
    world.request.restored = ["us".to_owned()].into();
    world.finish();
    assert_eq!(world.document(0)["value"], "first");
    assert_eq!(world.document(1)["value"], "of us");
}

#[test]
fn a_region_that_is_restored_to_before_a_value_goes_back_while_another_is_written_over() {
    let mut world = taken_back_values();
    go_on_until(&mut world, |world| (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Return)));
    // The first region's own document of the way back is under what somebody wrote; the other knows of nothing.
    write_by_hand(&mut world, 0);
    world.regions[0].secrets.get_mut(PATH).unwrap()[1].1 = None;
    restore_to(&mut world.regions[1], 2);
    (world.request.overwrite, world.request.restored) = (["eu".to_owned()].into(), ["us".to_owned()].into());
    world.finish();
    assert_eq!(world.document(0)["value"], "first");
    assert_eq!(world.document(1)["value"], "of us");
}

#[test]
fn what_is_written_over_a_value_on_its_way_back_makes_room_for_the_regions_own() {
    for returned in [false, true] {
        let mut world = taken_back_values();
        go_on_until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Return));
        if returned {
            go_on_until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Return));
        }
        write_by_hand(&mut world, 1);
        assert!(world.plan().refused[0].why.contains("written by hand"), "{:?}", world.plan());
        world.request.overwrite = ["us".to_owned()].into();
        world.finish();
        assert_eq!(world.document(0)["value"], "first");
        assert_eq!(world.document(1)["value"], "of us", "returned: {returned}");
    }
}

#[test]
fn a_value_whose_former_is_gone_is_not_taken_back_and_can_be_finished() {
    let mut world = World::of(SecretKind::Value);
    go_on_until(&mut world, |world| world.regions[0].secrets[PATH][0].1.is_none());
    write_by_hand(&mut world, 1);
    (world.request.abort, world.request.overwrite) = (true, ["us".to_owned()].into());
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    assert!(refusal.why.contains("too late"), "{refusal:?}");
    let finish = &refusal.ways[0];
    assert!(finish.contains("--overwrite us") && !finish.contains("--abort"), "{finish}");
    world.request.abort = false;
    world.finish();
    assert_eq!(world.document(0)["value"], world.document(1)["value"]);
}

#[test]
fn a_restored_region_keeps_a_key_that_has_signed_when_it_is_taken_back() {
    let mut world = World::of(SecretKind::Keyset);
    go_on_until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Activate));
    restore(&mut world.regions[1]);
    (world.request.abort, world.request.restored) = (true, ["us".to_owned()].into());
    until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Withdraw));
    assert_eq!(kids(&world, 1), ["new1", "old"]);
    world.finish();
    assert_eq!((kids(&world, 0), kids(&world, 1)), (vec!["old".to_owned()], vec!["old".to_owned()]));
}

/// A new key signs in eu, and a restore makes eu forget it: no Vault knows it any more.
fn forgotten_signature() -> World {
    let mut world = World::of(SecretKind::Keyset);
    go_on_until(&mut world, |world| {
        (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Publish))
    });
    go_on_until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Activate));
    restore_to(&mut world.regions[0], 2);
    world
}

/// A rotation that is taken back waits for the tokens of its key before that goes.
fn goes_back_after_a_wait(mut world: World) {
    go_on_until(&mut world, |world| (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Return)));
    let waits = world.go_on().waits;
    assert!(waits.iter().any(|wait| matches!(wait, Waiting::Time { phase: Phase::Return, .. })), "{waits:?}");
    world.finish();
    assert_eq!(kids(&world, 0), ["old"]);
}

#[test]
fn a_key_may_have_signed_where_somebody_wrote_over_what_a_restored_vault_brought_back() {
    let mut world = forgotten_signature();
    // The version that pods have seen is passed again.
    let by_hand = unmarked(&world, 0);
    world.put(0, PATH, &by_hand);
    world.use_all();
    (world.request.abort, world.request.overwrite) = (true, ["eu".to_owned()].into());
    goes_back_after_a_wait(world);
}

#[test]
fn what_is_written_over_a_withdrawn_document_keeps_what_that_region_had() {
    let mut world = World::of(SecretKind::Keyset);
    until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Publish));
    world.request.abort = true;
    until(&mut world, |world| (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Withdraw)));
    let by_hand = unmarked(&world, 0);
    world.put(0, PATH, &by_hand);
    world.use_all();
    world.request.overwrite = ["eu".to_owned()].into();
    until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Withdraw));
    assert_eq!(
        (kids(&world, 0), kids(&world, 1)),
        (vec!["new1".to_owned(), "old".into()], vec!["old".to_owned()])
    );
}

#[test]
fn two_documents_of_one_phase_become_the_one_that_has_all() {
    let mut world = World::of(SecretKind::Keyset);
    go_on_until(&mut world, |world| {
        (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Publish))
    });
    world.request.abort = true;
    go_on_until(&mut world, |world| (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Return)));
    // It went back in us alone, whose Vault had been restored, and whose new key had been let go.
    let mut without = world.document(1);
    without["keys"].as_object_mut().unwrap().remove("new1");
    world.regions[1].secrets.get_mut(PATH).unwrap().last_mut().unwrap().1 = Some(without);
    world.use_all();
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    assert!(refusal.why.contains("are not the same"), "{refusal:?}");
    for region in ["eu", "us"] {
        assert!(
            refusal.ways.iter().any(|way| way.ends_with(&format!("--overwrite {region}"))),
            "{refusal:?}"
        );
    }
    world.request.overwrite = ["eu".to_owned()].into();
    let refused = world.plan().refused;
    assert!(refused.iter().any(|refusal| refusal.why.contains("the key new1")), "{refused:?}");
    world.request.overwrite = ["us".to_owned()].into();
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    assert_eq!(kids(&world, 0), ["old"]);
}

#[test]
fn of_two_documents_of_one_phase_none_is_lost_that_is_in_use() {
    let mut world = half_pending();
    leave_out(&mut world, 0);
    go_on_until(&mut world, |world| world.at(1, "client/b").unwrap()["secret"] != "first of b");
    take_in(&mut world, 0);
    world.use_all();
    for overwritten in ["us", "eu"] {
        world.request.overwrite = [overwritten.to_owned()].into();
        let refused = world.plan().refused;
        let lost = |refusal: &Refusal| refusal.why.contains("a secret of the client b");
        // What eu has published of b nobody has found, and b has what us has handed out.
        assert_eq!(refused.iter().any(lost), overwritten == "us", "{refused:?}");
    }
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    let (taken, found) = taken_and_found(&world, 0, "b");
    assert_eq!(taken, found);
}

#[test]
fn a_region_whose_former_value_is_gone_keeps_the_new_one_where_others_have_gone_back() {
    let mut world = World::of(SecretKind::Value);
    go_on_until(&mut world, |world| world.regions[0].secrets[PATH][0].1.is_none());
    // A snapshot brings back to us what it had before, and eu cannot be asked whether it still has that.
    world.regions[1].secrets.get_mut(PATH).unwrap()[0].1 = Some(json!({"value": "first"}));
    leave_out(&mut world, 0);
    world.request.abort = true;
    go_on_until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Return));
    take_in(&mut world, 0);
    world.use_all();
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    assert!(refusal.why.starts_with("eu: no former version of secret is left"), "{refusal:?}");
    let keep =
        "or keep there what the rotation has written: regions rotate secret --env qa --abort --overwrite eu";
    assert_eq!(refusal.ways, [keep]);
    world.request.overwrite = ["eu".to_owned()].into();
    world.finish();
    assert_eq!((&world.document(0)["value"], &world.document(1)["value"]), (&json!("new1"), &json!("first")));
}

#[test]
fn a_region_whose_former_value_is_gone_keeps_the_new_one_where_what_went_back_is_written_over() {
    let mut world = World::of(SecretKind::Value);
    go_on_until(&mut world, |world| world.regions.iter().all(|region| region.secrets[PATH][0].1.is_none()));
    write_by_hand(&mut world, 0);
    leave_out(&mut world, 1);
    (world.request.abort, world.request.overwrite) = (true, ["eu".to_owned()].into());
    go_on_until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Return));
    write_by_hand(&mut world, 0);
    take_in(&mut world, 1);
    // It cannot be finished, whoever asks for that.
    world.request.abort = false;
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    assert!(refusal.why.starts_with("us: no former version"), "{refusal:?}");
    assert!(refusal.ways.iter().any(|way| way.contains("--overwrite eu --overwrite us")), "{refusal:?}");
    world.request.overwrite.insert("us".to_owned());
    world.finish();
    assert_eq!(
        (&world.document(0)["value"], &world.document(1)["value"]),
        (&json!("by hand"), &json!("new1"))
    );
}

#[test]
fn what_was_written_by_hand_since_a_rotation_ended_is_told_when_it_is_not_the_same_everywhere() {
    let mut world = World::of(SecretKind::Keyset);
    world.finish();
    world.request.fresh = "r-2".into();
    assert!(world.plan().is_empty(), "{:?}", world.plan());
    let mut by_hand = unmarked(&world, 1);
    by_hand["keys"]["hand"] = key("published", "hand");
    world.put(1, PATH, &by_hand);
    world.use_in(1);
    let refused = world.plan().refused;
    assert!(refused.iter().any(|refusal| refusal.why.contains("are not the same")), "{refused:?}");
}

#[test]
fn a_copy_by_hand_of_the_rotations_own_document_is_withdrawn_from() {
    let mut world = World::of(SecretKind::Clients);
    leave_out(&mut world, 0);
    go_on_until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Hand));
    take_in(&mut world, 0);
    world.use_all();
    world.request.abort = true;
    // The intention comes to eu alone, from what it had before. What us has more may be in use.
    let withdraw = world.plan().steps;
    withdraw.iter().filter(|step| step.region() == "eu").for_each(|step| world.take(step));
    assert_eq!(phase(&world.document(0)), Some(Phase::Withdraw));
    let by_hand = unmarked(&world, 1);
    let mut more = by_hand.clone();
    more["clients"]["c"] = json!({"secrets": [{"sha256": "ab"}], "scopes": []});
    world.request.overwrite = ["us".to_owned()].into();

    let mut other = world.clone();
    other.put(1, PATH, &more);
    other.use_all();
    let refused = other.plan().refused;
    assert!(refused.iter().any(|refusal| refusal.why.contains("a secret of the client c")), "{refused:?}");

    world.put(1, PATH, &by_hand);
    world.use_all();
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    assert_eq!(world.document(0)["clients"]["a"]["secrets"].as_array().unwrap().len(), 1);
    assert_eq!(world.at(1, "client-pending/a"), None);
}

#[test]
fn a_key_that_another_rotation_published_goes_with_it() {
    let mut world = World::of(SecretKind::Keyset);
    let us = us_with_another(&world, "r-2", |other| phase(&other.document(1)) == Some(Phase::Publish));
    until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Publish));
    world.regions[1] = us;
    world.use_all();
    (world.request.abort, world.request.overwrite) = (true, ["us".to_owned()].into());
    until(&mut world, |world| (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Withdraw)));
    // A restore gives the first region what the other withdrew from.
    restore_to(&mut world.regions[0], 2);
    world.request.restored = ["eu".to_owned()].into();
    world.use_in(1);
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    assert_eq!(kids(&world, 1), ["old"]);
}

#[test]
fn what_was_written_over_on_the_way_back_is_put_into_a_restored_region() {
    let mut world = World::of(SecretKind::Keyset);
    go_on_until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Publish));
    world.request.abort = true;
    go_on_until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Return));
    // Nothing but what is under the first region's document knows of the rotation any more.
    let by_hand = unmarked(&world, 0);
    world.put(0, PATH, &by_hand);
    world.use_in(0);
    world.regions[0].secrets.get_mut(PATH).unwrap()[1].1 = None;
    restore(&mut world.regions[1]);
    (world.request.overwrite, world.request.restored) = (["eu".to_owned()].into(), ["us".to_owned()].into());
    assert_eq!(written(&world.plan(), "us"), [Some(Phase::Return)]);
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    assert_eq!(kids(&world, 0).len(), 1);
}

#[test]
fn a_new_key_that_only_a_withdrawn_document_tells_of_is_removed() {
    let mut world = World::of(SecretKind::Keyset);
    until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Publish));
    world.request.abort = true;
    until(&mut world, |world| (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Withdraw)));
    // The version in which it was published was lost, as a restore from a snapshot loses it.
    world.regions[0].secrets.get_mut(PATH).unwrap()[1].1 = None;
    world.use_all();
    world.finish();
    assert_eq!(world.document(0), world.document(1));
    assert_eq!(kids(&world, 0), ["old"]);
}

#[test]
fn a_restored_vault_is_brought_up_to_its_pods_also_where_no_rotations_document_is_left() {
    let mut world = World::of(SecretKind::Value);
    world.finish();
    world.request.fresh = "r-2".into();
    (0..2).for_each(|place| write_by_hand(&mut world, place));
    restore(&mut world.regions[1]);
    world.request.restored = ["us".to_owned()].into();
    world.finish();
    world.use_all();
    world.request.restored.clear();
    assert!(world.plan().refused.is_empty(), "{:?}", world.plan());
    assert_eq!(world.document(0)["value"], world.document(1)["value"]);
}

#[test]
fn a_restored_vault_is_brought_up_to_services_whose_agents_have_forgotten() {
    let mut world = World::of(SecretKind::Clients);
    let created_time = world.now + SignedDuration::from_secs(1);
    world.regions[1].shown = Some(Version { version: 4, created_time });
    world.pass(10);
    let refused = world.plan().refused;
    assert!(refused[0].why.contains("its pods have seen version 4 of"), "{refused:?}");
    assert!(refused[0].ways[0].contains("--restored us"), "{refused:?}");
    world.request.restored = ["us".to_owned()].into();
    // The same number of a later time is newer, and pods use it.
    until(&mut world, |world| world.regions[1].secrets[PATH].len() == 4);
    assert_eq!(written(&world.plan(), "us"), []);
    world.use_in(1);
    world.regions[1].shown = world.regions[1].used.as_ref().map(|(version, _)| *version);
    assert!(world.plan().waits.iter().all(|waiting| waiting.region() != "us"), "{:?}", world.plan());
}

#[test]
fn a_key_that_has_signed_is_in_use_also_where_it_is_published_again() {
    let mut world = World::of(SecretKind::Keyset);
    // Somebody writes over what r-2 had activated in us, and it is withdrawn from where it was published.
    let mut us = us_with_another(&world, "r-2", |other| phase(&other.document(1)) == Some(Phase::Activate));
    let history = us.secrets.get_mut(PATH).unwrap();
    let [.., published, activated] = &history[..] else { panic!() };
    let (published, activated) = (published.1.clone().unwrap(), activated.clone());
    let mut by_hand = activated.1.clone().unwrap();
    by_hand.as_object_mut().unwrap().remove("rotation");
    let mut withdrawn = published;
    withdrawn["rotation"] = json!({"r-2": {"withdraw": ""}});
    history.extend([by_hand, withdrawn].map(|document| (activated.0, Some(document))));
    until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Publish));
    world.regions[1] = us;
    world.request.overwrite = ["us".to_owned()].into();
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    assert!(refusal.why.contains("the key new11"), "{refusal:?}");
    // The other way, what r-1 has only published gives way.
    world.use_all();
    (world.request.id, world.request.overwrite) = (Some("r-2".into()), ["eu".to_owned()].into());
    world.finish();
    assert_eq!((kids(&world, 0), kids(&world, 1)), (vec!["old".to_owned()], vec!["old".to_owned()]));
}

#[test]
fn copies_by_hand_of_what_two_regions_have_each_made_are_finished_and_taken_back() {
    for abort in [false, true] {
        let mut world = half_pending();
        leave_out(&mut world, 0);
        go_on_until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Hand));
        take_in(&mut world, 0);
        for place in 0..2 {
            let by_hand = unmarked(&world, place);
            world.put(place, PATH, &by_hand);
        }
        world.use_all();
        let handed_out = world.at(1, "client/b");
        (world.request.abort, world.request.overwrite) = (abort, ["eu".to_owned(), "us".to_owned()].into());
        world.step();
        assert_eq!(world.at(1, "client/b"), handed_out);
        world.finish();
        assert_eq!(world.document(0), world.document(1));
        let (taken, found) = taken_and_found(&world, 1, "b");
        assert_eq!(taken, found);
    }
}

#[test]
fn a_later_run_knows_that_a_key_may_have_signed_where_a_vault_was_restored() {
    let mut world = forgotten_signature();
    (world.request.abort, world.request.restored) = (true, ["eu".to_owned()].into());
    until(&mut world, |world| (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Withdraw)));
    // Its document is newer than what pods have seen, so that nobody asks again whether it was restored.
    world.use_all();
    world.request.restored.clear();
    goes_back_after_a_wait(world);
}

#[test]
fn what_clients_may_have_found_is_not_lost_to_a_restore_unless_somebody_says_so() {
    let mut world = World::of(SecretKind::Clients);
    // us alone has handed out what it made, and its Vault is restored to before that.
    let mut us = us_with_another(&world, "r-2", |other| phase(&other.document(1)) == Some(Phase::Hand));
    us.used = us.secrets[PATH].last().map(|(created_time, document)| {
        let version = Version { version: us.secrets[PATH].len() as u64, created_time: *created_time };
        (version, document.clone().unwrap())
    });
    restore(&mut us);
    world.regions[1] = us;
    world.request.restored = ["us".to_owned()].into();
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    assert!(
        refusal.why.starts_with("us: its pods use what r-2 wrote, and no Vault knows that"),
        "{refusal:?}"
    );
    assert!(refusal.ways[0].ends_with(" --restored us --give-up r-2"), "{refusal:?}");
    world.request.give_up = ["r-2".to_owned()].into();
    world.finish();
    assert_eq!(world.document(0), world.document(1));
}

#[test]
fn a_restored_region_keeps_what_clients_have_found_when_it_is_taken_back() {
    let mut world = World::of(SecretKind::Clients);
    go_on_until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Hand));
    let taken = world.document(1)["clients"].clone();
    restore(&mut world.regions[1]);
    (world.request.abort, world.request.restored) = (true, ["us".to_owned()].into());
    until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Withdraw));
    assert_eq!(world.document(1)["clients"], taken);
    world.finish();
    assert_eq!(world.document(0), world.document(1));
}

#[test]
fn what_becomes_pending_after_its_rotation_has_ended_begins_nothing_and_goes_with_the_next() {
    let mut world = World::of(SecretKind::Clients);
    until(&mut world, |world| world.at(0, "client-pending/b").is_some());
    let late = world.at(0, "client-pending/b").unwrap();
    world.finish();
    world.put(0, "client-pending/b", &late);
    assert!(world.plan().is_empty(), "{:?}", world.plan());
    world.pass(3600);
    (world.request.fresh, world.request.clients) = ("r-2".into(), ["a".to_owned()].into());
    assert_eq!(world.plan().rotation.unwrap().id, "r-2");
    world.finish();
    assert_eq!(world.at(0, "client-pending/b"), None);
}

#[test]
fn what_is_taken_back_takes_the_secrets_that_clients_have_found_on_the_way() {
    let mut world = half_pending();
    leave_out(&mut world, 0);
    go_on_until(&mut world, |world| world.at(1, "client/b").unwrap()["secret"] != "first of b");
    assert_eq!(phase(&world.document(1)), Some(Phase::Publish));
    take_in(&mut world, 0);
    let by_hand = unmarked(&world, 0);
    world.put(0, PATH, &by_hand);
    world.use_all();
    (world.request.abort, world.request.overwrite) = (true, ["eu".to_owned()].into());
    let takes = |world: &World| world.document(1)["clients"]["b"]["secrets"].to_string();
    let found = sha256(world.at(1, "client/b").unwrap()["secret"].as_str().unwrap());
    go_on_until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Return));
    assert!(takes(&world).contains(&found), "{}", takes(&world));
    world.finish();
    assert_eq!(world.document(0), world.document(1));
}

#[test]
fn a_new_secret_that_is_handed_out_late_is_refused_once_it_is_taken_back() {
    let mut world = World::of(SecretKind::Clients);
    go_on_until(&mut world, |world| {
        (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Publish))
    });
    world.use_all();
    let is_late = |step: &Step| matches!(step, Step::Write(write) if write.path == "client/b");
    until(&mut world, |world| world.plan().steps.iter().any(is_late));
    let late = world.plan().steps.into_iter().find(is_late);
    let Some(Step::Write(late)) = late else { unreachable!() };
    world.request.abort = true;
    world.finish();
    let versions = world.regions[world.place(&late.region)].secrets[&late.path].len() as u64;
    assert!(versions > late.over, "{versions} versions, over {}", late.over);
    assert_eq!(world.at(0, "client/b").unwrap()["secret"], "first of b");
}

#[test]
fn a_key_that_a_restored_vault_has_as_published_may_have_signed() {
    let mut world = World::of(SecretKind::Keyset);
    // us alone knew that its key signs, and was restored and withdrawn when nobody said so any more.
    let us = us_with_another(&world, "r-2", |other| phase(&other.document(1)) == Some(Phase::Activate));
    until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Publish));
    world.regions[1] = us;
    restore_to(&mut world.regions[1], 2);
    let mut withdrawn = world.document(1);
    withdrawn["rotation"] = json!({"r-2": {"withdraw": ""}});
    world.pass(3600);
    world.put(1, PATH, &withdrawn);
    world.regions[1].custom.insert("restored".into(), "r-2".into());
    world.use_all();
    world.request.overwrite = ["us".to_owned()].into();
    let refused = world.plan().refused;
    let [refusal] = &refused[..] else { panic!("{refused:?}") };
    assert!(refusal.why.contains("the key new11 (published)"), "{refusal:?}");
}

#[test]
fn the_new_key_is_removed_and_not_what_somebody_published_beside_it() {
    let mut world = World::of(SecretKind::Keyset);
    until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Publish));
    world.request.abort = true;
    until(&mut world, |world| (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Withdraw)));
    // The version in which it was published is gone, and a person's key is in what eu withdraws from.
    world.regions[0].secrets.get_mut(PATH).unwrap()[1].1 = None;
    let mut withdrawn = world.document(0);
    withdrawn["keys"]["hand"] = key("published", "hand");
    world.put(0, PATH, &withdrawn);
    world.use_all();
    go_on_until(&mut world, |world| (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Remove)));
    assert_eq!(kids(&world, 0), ["hand", "old"]);
}

#[test]
fn a_key_that_only_a_restored_region_knows_is_kept_on_the_way_back() {
    let mut world = World::of(SecretKind::Keyset);
    // eu alone publishes the key and signs with it; us comes back when it is taken back, and withdraws from what it has.
    leave_out(&mut world, 1);
    go_on_until(&mut world, |world| phase(&world.document(0)) == Some(Phase::Activate));
    world.use_all();
    take_in(&mut world, 1);
    world.request.abort = true;
    until(&mut world, |world| phase(&world.document(1)) == Some(Phase::Withdraw));
    assert!(!kids(&world, 1).contains(&"new1".into()));
    // What eu's snapshot has does not tell that the key signs, and no pod does either.
    restore_to(&mut world.regions[0], 2);
    world.regions[0].used = None;
    world.request.restored = ["eu".to_owned()].into();
    for _ in 0..4 {
        world.step();
        assert!(kids(&world, 0).contains(&"new1".into()), "{}", world.document(0));
    }
    world.use_all();
    world.request.restored.clear();
    world.finish();
    assert_eq!([kids(&world, 0), kids(&world, 1)], [["old"], ["old"]]);
}

#[test]
fn a_client_is_handed_no_new_secret_that_no_document_in_sight_takes() {
    let mut world = World::of(SecretKind::Clients);
    go_on_until(&mut world, |world| {
        (0..2).all(|place| phase(&world.document(place)) == Some(Phase::Publish))
    });
    // us had made another one before it was given eu's document, and eu is away now.
    let mut another = world.at(1, "client-pending/b").unwrap();
    another["secret"] = "another".into();
    world.put(1, "client-pending/b", &another);
    leave_out(&mut world, 0);
    let mut refused = Vec::new();
    for _ in 0..5 {
        world.use_all();
        world.pass(300);
        let plan = world.plan();
        plan.steps.iter().for_each(|step| world.take(step));
        refused.extend(plan.refused);
    }
    assert!(refused.iter().any(|one: &Refusal| one.why.contains("the client b")), "{refused:?}");
    assert_eq!(world.at(1, "client/b").unwrap()["secret"], "first of b");
    take_in(&mut world, 0);
    world.finish();
    assert_eq!(world.at(0, "client/b"), world.at(1, "client/b"));
}
