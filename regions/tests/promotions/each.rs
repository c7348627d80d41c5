//! One thing that goes wrong, at each call of a run in turn, beside what another run left.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use regions::plan::promotion::End;
use regions::promote::carry::Outcome;
use tokio::time::sleep;

use crate::release::{Fault, Made};
use crate::run::{Fate, back, run};
use crate::schedule::paused;
use crate::world::World;

/// Between two looks at what a run has come to.
const TICK: Duration = Duration::from_millis(20);

/// Leases of a run that was killed have ended after it.
const LEASES: Duration = Duration::from_secs(20);

/// A run makes fewer calls.
const CALLS: u32 = 1_000;

/// Two regions, one after the other, that run a release.
async fn two() -> Rc<World> {
    running(&[1, 1]).await
}

/// Waves of so many regions that run a release.
pub(crate) async fn running(sizes: &[usize]) -> Rc<World> {
    let world = Rc::new(World::new(1, sizes));
    let first = run(&world, 1, Some(&Made::good(1)), Fate::default()).await;
    assert!(matches!(first, Some(Outcome::Ended(End::Done, _))), "{first:?}");
    world.serves.set(true);
    world
}

/// Runs a release until its record is made in the last region, and kills it there.
async fn left(world: &Rc<World>, id: u64, release: &Made) {
    tokio::select! {
        outcome = run(world, id, Some(release), Fate::default()) => panic!("{outcome:?}"),
        () = async {
            while world.regions[1].borrow().records.len() < 2 {
                sleep(TICK).await;
            }
        } => {}
    }
    sleep(LEASES).await;
}

/// Every rule has held, and all regions run one good release.
pub(crate) async fn is_well(world: &World, at: u32) {
    sleep(Duration::from_secs(60)).await;
    world.ended();
    let broken = world.broken.borrow().join("; ");
    assert!(broken.is_empty(), "at call {at}: {broken}");
}

#[test]
fn a_call_that_is_lost_while_it_looks_takes_nothing_back() {
    paused(async {
        for at in 1..60 {
            let world = two().await;
            left(&world, 2, &Made::good(2)).await;
            let lost = Fate { lost: at..at + 2, ..Fate::default() };
            let mut outcome = run(&world, 3, Some(&Made::good(2)), lost).await;
            // Where it could not even lock them, it is run again.
            if matches!(outcome, Some(Outcome::Unable(_))) {
                sleep(LEASES).await;
                outcome = run(&world, 4, Some(&Made::good(2)), Fate::default()).await;
            }
            assert!(matches!(outcome, Some(Outcome::Ended(End::Done, _))), "at call {at}: {outcome:?}");
            is_well(&world, at).await;
        }
    });
}

/// Another release, good or not, is promoted over what one left and killed at each call; then all is settled.
fn settled_wherever_it_was_killed(faults: &[(usize, Fault)]) {
    paused(async {
        let mut ended = false;
        for at in 1..CALLS {
            let world = two().await;
            left(&world, 2, &Made::good(2)).await;
            let other = Made { faults: faults.iter().copied().collect(), ..Made::good(3) };
            let fate = Fate { killed: Some((at, true)), ..Fate::default() };
            ended = run(&world, 3, Some(&other), fate).await.is_some();
            sleep(LEASES).await;
            let settled = run(&world, 4, None, Fate::default()).await;
            assert!(
                matches!(settled, Some(Outcome::Ended(..) | Outcome::Nothing)),
                "at call {at}: {settled:?}"
            );
            is_well(&world, at).await;
            if ended {
                break;
            }
        }
        assert!(ended);
    });
}

#[test]
fn what_two_releases_left_is_settled_wherever_the_second_was_killed() {
    settled_wherever_it_was_killed(&[]);
}

#[test]
fn what_two_releases_left_is_settled_where_the_second_is_not_good() {
    settled_wherever_it_was_killed(&[(0, Fault::Crashes)]);
}

/// A run stands still at each call; another takes over.
fn writes_nothing_once_it_is_overtaken(wakes: bool) {
    paused(async {
        let mut ended = false;
        for at in 1..CALLS {
            let world = two().await;
            let stood = || world.met.borrow().contains_key("a run stands still");
            let fate = Fate { stopped: Some((at, Duration::from_secs(60))), wakes, ..Fate::default() };
            let over = Cell::new(false);
            let first = async {
                run(&world, 2, Some(&Made::good(2)), fate).await;
                over.set(true);
            };
            let second = async {
                while !stood() && !over.get() {
                    sleep(TICK).await;
                }
                if stood() {
                    run(&world, 3, Some(&Made::good(3)), Fate::default()).await;
                }
            };
            futures_util::future::join(first, second).await;
            ended = !stood();
            if ended {
                break;
            }
            run(&world, 4, Some(&Made::good(3)), Fate::default()).await;
            is_well(&world, at).await;
        }
        assert!(ended);
    });
}

/// A release has passed and is killed at each call; whoever goes back then does not get far.
#[test]
fn a_rollback_that_fails_leaves_every_region_with_the_same_release_wherever_what_it_came_over_was_killed() {
    paused(async {
        let mut ended = false;
        for at in 1..CALLS {
            let world = Rc::new(World::new(1, &[2]));
            run(&world, 1, Some(&Made::good(1)), Fate::default()).await;
            let fate = Fate { killed: Some((at, true)), ..Fate::default() };
            ended = run(&world, 2, Some(&Made::good(2)), fate).await.is_some();
            sleep(LEASES).await;
            let to = Made { faults: [(0, Fault::NeverReady)].into(), ..Made::good(1) };
            let outcome = back(&world, 3, &to, Fate::default()).await;
            let was_so = matches!(outcome, Some(Outcome::Ended(End::NoChange | End::Done, _)));
            assert!(was_so || matches!(outcome, Some(Outcome::Ended(..))), "at call {at}: {outcome:?}");
            world.knows(&Made::good(1));
            let runs = |place: usize| world.regions[place].borrow().target();
            assert_eq!(runs(0), runs(1), "at call {at}: {outcome:?}");
            if ended {
                break;
            }
        }
        assert!(ended);
    });
}

#[test]
fn a_run_that_stood_still_writes_nothing_where_another_has_taken_over() {
    writes_nothing_once_it_is_overtaken(false);
}

#[test]
fn a_run_that_goes_on_in_the_middle_of_another_writes_nothing() {
    writes_nothing_once_it_is_overtaken(true);
}
