//! Schedules of everything that goes wrong, each from its seed; at the end of each all is as it should be.

use std::rc::Rc;
use std::time::Duration;

use regions::plan::promotion::End;
use regions::promote::carry::Outcome;
use tokio::time::{Instant, sleep};

use crate::release::{Fault, Made};
use crate::run::{Fate, run};
use crate::schedules::{Counts, number, play_all};
use crate::world::World;

/// Runs that may be needed at the end, once nothing goes wrong any more.
const MORE: u64 = 6;

/// Plays something under a clock that goes on where everybody waits.
pub(crate) fn paused<T>(what: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(what)
}

/// One schedule: what it met, and the rules that were broken.
async fn schedule(seed: u64) -> (Counts, Vec<String>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let sizes: Vec<usize> = (0..random.usize(1..4)).map(|_| random.usize(1..3)).collect();
    let world = Rc::new(World::new(!seed, &sizes));
    let mut id = 0;
    let mut next_id = || {
        id += 1;
        id
    };
    let first = run(&world, next_id(), Some(&Made::good(1)), Fate::default()).await;
    if !matches!(&first, Some(Outcome::Ended(End::Done, _))) {
        world.breaks(format!("a good first release came to {first:?}"));
    }
    world.serves.set(true);
    // A digest means one thing for good: each release that is made has its own.
    let mut number = 1;
    let mut made = |random: &mut fastrand::Rng| {
        number += 1;
        made(number, &world, random)
    };
    let release = made(&mut random);
    if !release.faults.is_empty() {
        world.meets("a release that is not good");
    }
    // Runs that come to no good end, one after the other, some of another release, and perhaps another operator beside one
    // of them.
    for _ in 0..random.u32(0..4) {
        let wanted = if random.f64() < 0.3 {
            world.meets("another release meanwhile");
            made(&mut random)
        } else {
            release.clone()
        };
        if random.f64() < 0.3 {
            let place = random.usize(0..world.regions.len());
            let begins = Duration::from_millis(random.u64(0..20_000));
            let lasts = Duration::from_secs(random.u64(1..50));
            let away = Rc::clone(&world);
            let outage = async move {
                sleep(begins).await;
                away.regions[place].borrow_mut().away = Some(Instant::now() + lasts);
            };
            let fate = fate(&mut random);
            let own = run(&world, next_id(), Some(&wanted), fate);
            futures_util::future::join(own, outage).await;
        } else if random.f64() < 0.3 {
            world.meets("two operators at once");
            let other = if random.bool() { release.clone() } else { made(&mut random) };
            let later = Duration::from_millis(random.u64(0..15_000));
            let (fates, ids) = ([fate(&mut random), fate(&mut random)], [next_id(), next_id()]);
            let [mine, theirs] = fates;
            let second = async {
                sleep(later).await;
                run(&world, ids[1], Some(&other), theirs).await
            };
            futures_util::future::join(run(&world, ids[0], Some(&wanted), mine), second).await;
        } else {
            let fate = fate(&mut random);
            run(&world, next_id(), Some(&wanted), fate).await;
        }
    }
    for region in &world.regions {
        region.borrow_mut().away = None;
    }
    // Nothing goes wrong any more: the same command, or one that ends what was left.
    let settles = random.f64() < 0.3;
    let good = release.faults.is_empty();
    let (mut last, mut undone) = (None, false);
    for _ in 0..MORE {
        last = run(&world, next_id(), (!settles).then_some(&release), Fate::default()).await;
        match &last {
            // It ends what had failed before, once; then the release is tried anew.
            Some(Outcome::Ended(End::Undone, _)) if good && !settles && !undone => undone = true,
            Some(Outcome::Ended(End::Incomplete, _) | Outcome::Locked(..) | Outcome::Unable(_)) | None => {}
            Some(Outcome::Ended(..) | Outcome::Nothing) => break,
        }
    }
    sleep(Duration::from_secs(60)).await;
    world.ended();
    match &last {
        Some(Outcome::Nothing) if settles => {}
        Some(Outcome::Ended(End::Done | End::NoChange | End::Undone, _)) if settles => {}
        Some(Outcome::Ended(End::Done | End::NoChange, _)) if good => {}
        Some(Outcome::Ended(End::Undone | End::Refused, _)) if !good => {}
        other => world.breaks(format!("the last run came to {other:?}")),
    }
    (world.met.take(), world.broken.take())
}

fn made(number: u64, world: &World, random: &mut fastrand::Rng) -> Made {
    let mut release = Made::good(number);
    if random.bool() {
        let place = random.usize(0..world.regions.len());
        release.faults.insert(place, Fault::ALL[random.usize(0..Fault::ALL.len())]);
    }
    release
}

fn fate(random: &mut fastrand::Rng) -> Fate {
    let mut fate = Fate { fails: [0.0, 0.02, 0.1][random.usize(0..3)], ..Fate::default() };
    // Most calls of a run come in its bakes: kills are spread over its beginning and its whole.
    let mut call = || if random.bool() { random.u32(1..80) } else { random.u32(1..800) };
    let at = [call(), call(), call()];
    if random.f64() < 0.6 {
        fate.killed = Some((at[0], random.bool()));
    }
    if random.f64() < 0.3 {
        fate.stopped = Some((at[1], Duration::from_millis(random.u64(1_000..60_000))));
    }
    if random.f64() < 0.1 {
        fate.signalled = Some(at[2]);
    }
    fate
}

fn run_all(seeds: std::ops::Range<u64>) {
    let again = "cargo test --workspace --test promotions schedules_end_well";
    play_all(seeds, again, |seed| paused(schedule(seed)));
    println!("0 broken");
}

#[test]
fn schedules_end_well() {
    run_all(number("SEED").map_or(0..150, |seed| seed..seed + 1));
}

/// `make promotions`: as many as are asked for.
#[test]
#[ignore = "make promotions"]
fn many_schedules_end_well() {
    run_all(0..number("SCHEDULES").unwrap_or(100_000));
}
