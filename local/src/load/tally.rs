//! What became of the requests to one target.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::{LATE, Load};

/// So many failures are kept word for word.
const KEPT: usize = 5;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Who serves.
    Region,
    /// A token.
    Token,
    /// The keys that verify tokens.
    Jwks,
}

/// What became of the requests to one target.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>, Late);

/// The bound after which an answer comes too late.
#[derive(Debug)]
struct Late(Duration);

impl Default for Late {
    fn default() -> Self {
        Self(LATE)
    }
}

#[derive(Debug, Default)]
struct Counts {
    kinds: BTreeMap<Kind, u64>,
    failed: u64,
    /// With the time at which each first was.
    failures: Vec<(String, Timestamp)>,
    /// In microseconds, of the requests that were answered.
    latencies: Vec<u32>,
    apart: Apart,
    /// From the moment a pod is about to be killed until it is ready again.
    windows: Vec<(Instant, Option<Instant>)>,
}

/// Requests that met a pod while it was down on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Apart {
    /// That were answered.
    pub answered: u64,
    /// That were not.
    pub failed: u64,
}

/// The figures of one target, or of all.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Requests, those counted apart left out.
    pub requests: u64,
    /// By what they were for.
    pub by_kind: BTreeMap<Kind, u64>,
    /// Those that failed.
    pub failed: u64,
    /// Some of these, word for word, each with the time of the first like it.
    pub failures: Vec<String>,
    /// Those that met a pod which was down on purpose.
    pub counted_apart: Apart,
    /// From the moment a request was due to its whole answer, in milliseconds.
    pub latency_ms: Latency,
}

/// Latencies, in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// What 99 of 100 do not exceed.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Figures {
    /// Those of all targets together.
    pub fn of(load: &Load) -> Self {
        Tally::sum(load.targets.iter().map(|target| &target.tally))
    }
}

impl Tally {
    /// One with a bound of its own.
    pub(super) fn patient(late: Duration) -> Self {
        Self(Mutex::default(), Late(late))
    }

    /// The bound after which an answer comes too late.
    pub(super) fn late(&self) -> Duration {
        self.1.0
    }

    /// Notes a request that was due at `due` and is over now.
    pub(super) fn note(&self, kind: Kind, due: Instant, outcome: Result<(), String>) {
        let now = Instant::now();
        let took = now - due;
        let mut counts = lock(&self.0);
        let met =
            |(begin, end): &(Instant, Option<Instant>)| now >= *begin && end.is_none_or(|end| due <= end);
        if counts.windows.iter().any(met) {
            match outcome {
                Ok(()) => counts.apart.answered += 1,
                Err(_) => counts.apart.failed += 1,
            }
            return;
        }
        *counts.kinds.entry(kind).or_default() += 1;
        counts.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        let failure = match outcome {
            Ok(()) if took <= self.late() => return,
            Ok(()) => format!("answered after {:.2} s", took.as_secs_f64()),
            Err(failure) => failure,
        };
        counts.failed += 1;
        let failure = format!("{kind:?}: {failure}").to_lowercase();
        // Each once, so that many of one sort do not hide another.
        if counts.failures.len() < KEPT && counts.failures.iter().all(|(kept, _)| *kept != failure) {
            counts.failures.push((failure, Timestamp::now()));
        }
    }

    /// From now on, what meets the pod is counted apart.
    pub(super) fn begin_apart(&self) {
        lock(&self.0).windows.push((Instant::now(), None));
    }

    /// What comes due from now on counts again.
    pub(super) fn end_apart(&self) {
        if let Some((_, end)) = lock(&self.0).windows.last_mut() {
            *end = Some(Instant::now());
        }
    }

    pub(super) fn is_apart(&self) -> bool {
        lock(&self.0).windows.last().is_some_and(|(_, end)| end.is_none())
    }

    /// How many failed so far.
    pub fn failed(&self) -> u64 {
        lock(&self.0).failed
    }

    /// Its figures so far.
    pub fn figures(&self) -> Figures {
        Self::sum([self])
    }

    /// The figures of several targets together.
    fn sum<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Figures {
        let (mut figures, mut latencies) = (Figures::default(), Vec::new());
        for tally in tallies {
            let counts = lock(&tally.0);
            for (kind, number) in &counts.kinds {
                *figures.by_kind.entry(*kind).or_default() += number;
                figures.requests += number;
            }
            figures.failed += counts.failed;
            let failures = counts.failures.iter();
            figures.failures.extend(failures.map(|(failure, at)| format!("{failure} (at {at:.3})")));
            figures.counted_apart.answered += counts.apart.answered;
            figures.counted_apart.failed += counts.apart.failed;
            latencies.extend_from_slice(&counts.latencies);
        }
        latencies.sort_unstable();
        let (p50, p99, max) =
            (quantile(&latencies, 0.5), quantile(&latencies, 0.99), quantile(&latencies, 1.0));
        figures.latency_ms = Latency { p50, p99, max };
        figures
    }
}

/// The smallest of the sorted latencies that this share of them does not exceed, in milliseconds.
fn quantile(sorted: &[u32], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .map_or(0.0, |us| Duration::from_micros(u64::from(*us)).as_secs_f64() * 1e3)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_is_a_failure_and_counts_from_when_it_was_due() {
        let tally = Tally::default();
        tally.note(Kind::Region, Instant::now() - LATE - Duration::from_millis(500), Ok(()));
        tally.note(Kind::Region, Instant::now(), Ok(()));
        let figures = tally.figures();
        assert_eq!((figures.requests, figures.failed), (2, 1));
        assert!(figures.failures[0].starts_with("region: answered after 1.5"), "{:?}", figures.failures);
        assert!(figures.latency_ms.max >= 1500.0 && figures.latency_ms.p50 < 1000.0);
    }

    #[test]
    fn what_meets_a_killed_pod_is_counted_apart_and_nothing_else_is() {
        let tally = Tally::default();
        let before = Instant::now();
        tally.note(Kind::Token, before, Err("before".to_owned()));
        tally.begin_apart();
        assert!(tally.is_apart());
        tally.note(Kind::Token, before, Err("in flight when it was killed".to_owned()));
        let during = Instant::now();
        tally.end_apart();
        tally.note(Kind::Token, during, Ok(()));
        tally.note(Kind::Token, Instant::now(), Err("after".to_owned()));
        let figures = tally.figures();
        assert_eq!(sorts(&figures), ["token: before", "token: after"]);
        assert_eq!(figures.counted_apart, Apart { answered: 1, failed: 1 });
    }

    #[test]
    fn many_failures_of_one_sort_do_not_hide_another() {
        let tally = Tally::default();
        for failure in ["500", "500", "500", "500", "500", "500", "reset"] {
            tally.note(Kind::Region, Instant::now(), Err(failure.to_owned()));
        }
        let figures = tally.figures();
        assert_eq!((figures.failed, sorts(&figures)), (7, vec!["region: 500", "region: reset"]));
    }

    /// The failures without their times.
    fn sorts(figures: &Figures) -> Vec<&str> {
        figures.failures.iter().map(|failure| failure.split_once(" (at 2").unwrap().0).collect()
    }

    #[test]
    fn quantiles_are_of_the_sorted_latencies() {
        let sorted: Vec<u32> = (1..=100).map(|ms| ms * 1000).collect();
        assert_eq!(
            (quantile(&sorted, 0.5), quantile(&sorted, 0.99), quantile(&sorted, 1.0)),
            (50.0, 99.0, 100.0)
        );
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
