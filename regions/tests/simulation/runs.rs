//! Runs of many schedules.

use crate::schedule::play;
use crate::schedules::{number, play_all};

fn run(first: u64, count: u64) {
    let again = "cargo test -p regions --test simulation replay -- --ignored --nocapture";
    play_all(first..first + count, again, |seed| {
        let outcome = play(seed, false);
        (outcome.counts, outcome.violations)
    });
    println!(
        "0 false \"adopted\", 0 retired while in use, every token verifiable, every schedule came to its end"
    );
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
