//! What is waited for, and for how long.

use std::time::Duration;

use serde_json::json;

use super::world::{PATH, World, key, phase, states, times};
use crate::catalogue::types::SecretKind;
use crate::plan::rotation::mark::Phase;
use crate::plan::rotation::times::Times;
use crate::plan::rotation::{Plan, Step, Waiting};

/// The seconds that are waited for, by region. No two versions have the same time, so some of them are not whole.
fn left(plan: &Plan) -> Vec<(String, u64)> {
    let time = |waiting: &Waiting| match waiting {
        Waiting::Time { region, left, .. } => Some((region.clone(), left.as_secs_f64().ceil() as u64)),
        _ => None,
    };
    plan.waits.iter().filter_map(time).collect()
}

fn both(seconds: u64) -> Vec<(String, u64)> {
    vec![("eu".into(), seconds), ("us".into(), seconds)]
}

#[test]
fn a_new_key_signs_when_no_jwks_without_it_is_left_and_the_old_one_goes_when_no_token_of_it_is() {
    let mut world = World::of(SecretKind::Keyset);
    assert_eq!(left(&world.go_on()), both(11), "max-age + skew");
    world.pass(10);
    assert_eq!(left(&world.go_on()), both(1));
    let published = states(&world.document(1));
    assert_eq!(published["old"], "active");
    world.pass(1);
    assert_eq!(left(&world.go_on()), both(103), "token life + leeway + skew");
    assert_eq!(states(&world.document(1))["old"], "retiring");
    assert!(world.document(0)["keys"]["old"].get("private_pem").is_none());
    world.pass(102);
    assert_eq!(left(&world.go_on()), both(1));
    world.pass(1);
    assert!(world.go_on().is_empty());
    assert_eq!(states(&world.document(0)), [("new1".to_owned(), "active".to_owned())].into());
    assert_eq!(world.document(0), world.document(1));
}

#[test]
fn the_second_wave_is_written_when_every_pod_of_the_first_uses_it() {
    let mut world = World::of(SecretKind::Keyset);
    for _ in 0..5 {
        world.step();
    }
    assert_eq!((phase(&world.document(0)), phase(&world.document(1))), (Some(Phase::Publish), None));
    let waits = world.plan().waits;
    assert!(matches!(&waits[..], [Waiting::Pods { region, .. }] if region == "eu"), "{waits:?}");
    world.use_in(0);
    world.step();
    assert_eq!(phase(&world.document(1)), Some(Phase::Publish));
}

#[test]
fn a_barrier_counts_for_its_version_and_for_what_says_the_same_right_above_it() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.pass(5);
    let mut again = world.clone();
    let document = again.document(1);
    again.put(1, PATH, &document);
    // It counts once every pod uses it, and the wait goes on as if it had been there before.
    let waits = again.plan().waits;
    assert!(
        waits.iter().any(|waiting| matches!(waiting, Waiting::Pods { region, .. } if region == "us")),
        "{waits:?}"
    );
    again.use_all();
    let plan = again.step();
    assert!(matches!(&plan.steps[..], [Step::Note { region, .. }] if region == "us"), "{:?}", plan.steps);
    assert_eq!(left(&again.go_on()), both(6));
    // Where anything else came in between, or something that is gone, the wait begins anew.
    let mut late = world.clone();
    let document = late.document(1);
    late.put(1, PATH, &json!({"keys": {"old": key("active", "old")}}));
    late.put(1, PATH, &document);
    late.regions[1].secrets.get_mut(PATH).unwrap()[2].1 = None;
    late.use_all();
    let plan = late.step();
    assert!(matches!(&plan.steps[..], [Step::Note { region, .. }] if region == "us"), "{:?}", plan.steps);
    assert_eq!(left(&late.go_on()), [("eu".to_owned(), 6), ("us".to_owned(), 11)]);
    world.pass(6);
    world.step();
    assert_eq!(phase(&world.document(0)), Some(Phase::Activate));
}

#[test]
fn a_lowered_ceiling_counts_when_the_former_one_has_run_out() {
    let mut world = World::of(SecretKind::Keyset);
    let former = Times { token_life: Duration::from_secs(1000), ..times() };
    for region in &mut world.regions {
        region.custom.insert("ceilings".into(), former.to_string().into());
    }
    assert_eq!(left(&world.go_on()), both(11));
    world.pass(11);
    // 1003 s from the moment at which the lower ceiling was seen; 11 of them have passed.
    assert_eq!(left(&world.go_on()), both(1003));
    world.pass(600);
    assert_eq!(left(&world.go_on()), both(403));
    // When the former one has run out, the lower one counts, and that is long over.
    world.pass(392);
    assert!(world.go_on().is_empty());
}

#[test]
fn a_raised_ceiling_counts_at_once() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.pass(11);
    world.go_on();
    world.request.ceilings.token_life = Duration::from_secs(500);
    assert_eq!(left(&world.go_on()), both(503));
}

#[test]
fn with_a_compromised_key_nothing_but_the_pods_is_waited_for() {
    let mut world = World::of(SecretKind::Keyset);
    world.request.compromised = true;
    let plan = world.plan();
    assert!(plan.breaks.unwrap().contains("stop verifying"));
    assert!(world.go_on().is_empty());
    assert_eq!(states(&world.document(1)).len(), 1);
}

#[test]
fn a_value_is_kept_for_a_grace_and_clients_have_time_to_look() {
    let mut world = World::of(SecretKind::Value);
    assert_eq!(left(&world.go_on()), both(3), "leeway + skew");
    world.request.grace = Some(Duration::from_secs(60));
    assert_eq!(left(&world.go_on()), both(60));
    let mut world = World::of(SecretKind::Clients);
    assert_eq!(left(&world.go_on()), both(101), "token life + skew");
    assert_eq!(world.at(0, "client/a"), world.at(1, "client/a"));
    assert_ne!(world.at(0, "client/a").unwrap()["secret"], json!("first of a"));
}

#[test]
fn a_region_whose_watcher_is_away_is_waited_for() {
    let mut world = World::of(SecretKind::Keyset);
    world.go_on();
    world.pass(11);
    world.regions[1].view = Err("no answer".into());
    let plan = world.step();
    assert!(
        matches!(&plan.waits[..], [Waiting::Watcher { region, .. }] if region == "us"),
        "{:?}",
        plan.waits
    );
    assert_eq!(phase(&world.document(0)), Some(Phase::Publish));
}
