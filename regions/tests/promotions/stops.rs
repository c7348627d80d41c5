//! Regions beside each other: what fails in one ends the promotion in all, and one that hangs holds up no other.

use std::time::Duration;

use regions::plan::promotion::End;
use regions::plan::record::State;
use regions::promote::carry::Outcome;
use tokio::time::{Instant, sleep, timeout};

use crate::each::{is_well, running};
use crate::release::{Fault, Made};
use crate::run::{Fate, LEASE, run};
use crate::schedule::paused;
use crate::world::World;

/// Between two looks.
const TICK: Duration = Duration::from_millis(20);

/// Nothing takes longer that is waited for.
const LONG: Duration = Duration::from_secs(300);

/// How long it takes until this is so.
async fn until(mut so: impl FnMut() -> bool) -> Duration {
    let since = Instant::now();
    let wait = async {
        while !so() {
            sleep(TICK).await;
        }
    };
    timeout(LONG, wait).await.expect("it never came");
    since.elapsed()
}

/// Whether a region's second record is in this state.
fn is(world: &World, place: usize, state: State) -> bool {
    world.regions[place].borrow().records.get(&2).is_some_and(|kept| kept.stored.record.state == state)
}

fn bad(place: usize, fault: Fault) -> Made {
    Made { faults: [(place, fault)].into(), ..Made::good(2) }
}

#[test]
fn a_region_whose_turn_comes_after_another_has_failed_is_not_begun() {
    paused(async {
        let world = running(&[6]).await;
        let outcome = run(&world, 2, Some(&bad(0, Fault::Crashes)), Fate::default()).await;
        assert!(matches!(outcome, Some(Outcome::Ended(End::Undone, _))), "{outcome:?}");
        let begun = |place: &usize| world.regions[*place].borrow().records.contains_key(&2);
        assert_eq!((0..6).filter(begun).collect::<Vec<_>>(), [0, 1, 2, 3], "four go at the same time");
        is_well(&world, 0).await;
    });
}

#[test]
fn what_fails_in_one_region_is_undone_in_all_without_waiting_for_another_to_become_ready() {
    paused(async {
        let world = running(&[2]).await;
        let faults = [(0, Fault::Crashes), (1, Fault::NeverReady)].into();
        let release = Made { faults, ..Made::good(2) };
        let began = Instant::now();
        let outcome = run(&world, 2, Some(&release), Fate::default()).await;
        let Some(Outcome::Ended(End::Undone, fates)) = outcome else { panic!("{outcome:?}") };
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        assert_eq!(fates[1].why, None, "nothing was found to be wrong there");
        is_well(&world, 0).await;
    });
}

#[test]
fn a_wave_that_has_passed_and_turns_bad_ends_the_next_in_the_middle() {
    paused(async {
        let world = running(&[1, 1]).await;
        let release = bad(1, Fault::NeverReady);
        let turned = async {
            until(|| is(&world, 1, State::Applying)).await;
            world.regions[0].borrow_mut().rollout.turns(Fault::Errors);
            until(|| is(&world, 0, State::Undone) && is(&world, 1, State::Undone)).await
        };
        let ran = run(&world, 2, Some(&release), Fate::default());
        let (outcome, took) = futures_util::future::join(ran, turned).await;
        let Some(Outcome::Ended(End::Undone, fates)) = outcome else { panic!("{outcome:?}") };
        assert!(took < Duration::from_secs(30), "{took:?}");
        let why = fates[0].why.as_deref().unwrap_or_default();
        assert!(why.contains("500"), "{why}");
        is_well(&world, 0).await;
    });
}

#[test]
fn a_region_that_hangs_does_not_hold_up_the_judgement_of_another() {
    paused(async {
        let world = running(&[1, 1]).await;
        let hung = async {
            until(|| is(&world, 0, State::Applying)).await;
            world.regions[1].borrow_mut().hangs = Some(Instant::now() + Duration::from_secs(120));
            until(|| is(&world, 0, State::Undone)).await
        };
        let release = bad(0, Fault::Errors);
        let ran = run(&world, 2, Some(&release), Fate::default());
        let (outcome, took) = futures_util::future::join(ran, hung).await;
        assert!(matches!(outcome, Some(Outcome::Ended(End::Undone, _))), "{outcome:?}");
        assert!(took < Duration::from_secs(30), "{took:?}");
        is_well(&world, 0).await;
    });
}

#[test]
fn a_region_that_hangs_costs_no_other_its_lease() {
    paused(async {
        let world = running(&[1, 1, 1]).await;
        let other = async {
            until(|| is(&world, 0, State::Applying)).await;
            world.regions[2].borrow_mut().hangs = Some(Instant::now() + Duration::from_secs(60));
            sleep(2 * LEASE).await;
            run(&world, 3, Some(&Made::good(3)), Fate::default()).await
        };
        let release = bad(1, Fault::NeverReady);
        let ran = run(&world, 2, Some(&release), Fate::default());
        let (outcome, other) = futures_util::future::join(ran, other).await;
        assert!(matches!(outcome, Some(Outcome::Ended(End::Undone, _))), "{outcome:?}");
        let Some(Outcome::Locked(why, _)) = other else { panic!("{other:?}") };
        assert!(why.contains("region-0") && why.contains("is at work there"), "{why}");
        is_well(&world, 0).await;
    });
}

#[test]
fn leases_of_a_run_that_was_killed_end_together() {
    paused(async {
        let world = running(&[1, 1, 1]).await;
        let release = Made::good(2);
        tokio::select! {
            outcome = run(&world, 2, Some(&release), Fate::default()) => panic!("{outcome:?}"),
            _ = until(|| is(&world, 0, State::Applying)) => {}
        }
        let taken = until(|| world.regions[2].borrow().lease.holder == "operator@machine-3");
        let ran = run(&world, 3, Some(&release), Fate::default());
        let (outcome, took) = futures_util::future::join(ran, taken).await;
        assert!(matches!(outcome, Some(Outcome::Ended(End::Done, _))), "{outcome:?}");
        assert!(took < LEASE + LEASE / 2, "{took:?}");
        is_well(&world, 0).await;
    });
}

#[test]
fn what_mends_a_release_that_is_ill_is_not_taken_for_ill_itself() {
    paused(async {
        let world = running(&[1, 1]).await;
        for region in &world.regions {
            region.borrow_mut().rollout.turns(Fault::Errors);
        }
        let outcome = run(&world, 2, Some(&Made::good(2)), Fate::default()).await;
        assert!(matches!(outcome, Some(Outcome::Ended(End::Done, _))), "{outcome:?}");
        is_well(&world, 0).await;
    });
}
