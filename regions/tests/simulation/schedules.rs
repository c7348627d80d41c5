//! Runs of many schedules, each of which a seed makes: rotations' and promotions' alike.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How often each fault was met.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// How many schedules are played from one line of progress to the next.
const TOLD: u64 = 5_000;

/// Plays schedules on every core until three have gone wrong, and says which as soon as they have. `play` gives what a seed's
/// schedule met, and what was wrong; `again` is how one is played again.
pub(crate) fn play_all(seeds: Range<u64>, again: &str, play: impl Fn(u64) -> (Counts, Vec<String>) + Sync) {
    let (first, count) = (seeds.start, seeds.end - seeds.start);
    let (began, next) = (Instant::now(), AtomicU64::new(first));
    let (counts, wrong) = (Mutex::new(Counts::new()), Mutex::new(Vec::new()));
    let play_on = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || wrong.lock().unwrap().len() >= 3 {
                return;
            }
            if seed > first && (seed - first).is_multiple_of(TOLD) {
                let long = began.elapsed().as_secs_f64();
                eprintln!("{} of {count} schedules, {long:.0} s", seed - first);
            }
            let (met, violations) = play(seed);
            for (what, times) in met {
                *counts.lock().unwrap().entry(what).or_default() += times;
            }
            if !violations.is_empty() {
                let told: Vec<&str> = violations.iter().take(6).map(String::as_str).collect();
                let told = format!("SEED={seed}: {}", told.join("; "));
                eprintln!("{told}");
                wrong.lock().unwrap().push(told);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(play_on);
        }
    });
    println!("{count} schedules from {first} on, in {:.1} s", began.elapsed().as_secs_f64());
    for (what, times) in &counts.into_inner().unwrap() {
        println!("{times:>10} {what}");
    }
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "\n{}\nplay one again: SEED=… {again}\n", wrong.join("\n"));
}

/// A number from the environment.
pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
