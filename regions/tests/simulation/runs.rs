//! Runs of many schedules.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::schedule::play;
use crate::world::Counts;

/// How many schedules are played from one line of progress to the next.
const TOLD: u64 = 5_000;

/// Plays schedules on every core until three have gone wrong, and says which as soon as they have.
fn run(first: u64, count: u64) {
    let next = AtomicU64::new(first);
    let (counts, wrong) = (Mutex::new(Counts::new()), Mutex::new(Vec::new()));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || wrong.lock().unwrap().len() >= 3 {
                        return;
                    }
                    if seed > first && (seed - first).is_multiple_of(TOLD) {
                        let long = began.elapsed().as_secs_f64();
                        eprintln!("{} of {count} schedules, {long:.0} s", seed - first);
                    }
                    let outcome = play(seed, false);
                    for (what, times) in outcome.counts {
                        *counts.lock().unwrap().entry(what).or_default() += times;
                    }
                    if let Some(what) = outcome.violations.first() {
                        eprintln!("SEED={seed}: {what}");
                        wrong.lock().unwrap().push(format!("SEED={seed}: {what}"));
                    }
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    println!("{count} schedules from {first} on, in {:.1} s", began.elapsed().as_secs_f64());
    for (what, times) in &counts {
        println!("{times:>10} {what}");
    }
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "\n{}\nplay one again: SEED=… cargo test -p regions --test simulation replay -- --ignored --nocapture\n",
        wrong.join("\n")
    );
    println!(
        "0 false \"adopted\", 0 retired while in use, every token verifiable, every schedule came to its end"
    );
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn a_few_schedules() {
    run(1, 75);
}

#[test]
#[ignore = "SCHEDULES of them from SEED on; make simulate"]
fn many_schedules() {
    run(number("SEED").unwrap_or(1), number("SCHEDULES").unwrap_or(100_000));
}

#[test]
#[ignore = "plays the schedule of SEED and tells it"]
fn replay() {
    let seed = number("SEED").expect("SEED=N");
    let outcome = play(seed, true);
    outcome.story.iter().for_each(|line| println!("{line}"));
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
}
