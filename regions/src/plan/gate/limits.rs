//! What a bake asks for, from the catalogue.

use std::time::Duration;

use crate::catalogue::types::{Bake, Gates};

/// The share of answers that may be slower than `latency_p99`: that is what the name says.
pub const SLOW: f64 = 0.01;

/// How much longer than its least time a bake may take to come to an end, at least.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);

/// Own transactions a second: at least, so that a quiet region is seen, and at most.
const RATE: std::ops::RangeInclusive<f64> = 2.0..=50.0;

/// More of them than the bake needs, so that one that is slow to begin does not make it late.
const SPARE: f64 = 1.25;

/// What a bake asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Least time.
    pub time: Duration,
    /// Least number of answers of the release's pods, in each region.
    pub samples: u64,
    /// Share of answers that may fail.
    pub error_ratio: f64,
    /// By how much the share of answers with a status from 400 to 499 may be over the former release's.
    pub client_error_shift: f64,
    /// What 99 of 100 answers may take.
    pub latency: Duration,
}

impl Limits {
    /// As the catalogue has them.
    pub fn of(bake: &Bake, gates: &Gates) -> Self {
        Self {
            time: bake.time.get(),
            samples: u64::from(bake.samples),
            error_ratio: gates.error_ratio,
            client_error_shift: gates.client_error_shift,
            latency: gates.latency_p99.get(),
        }
    }

    /// After so long a bake ends, whether or not it is decided: its time again, and what its samples take where
    /// only own transactions bring any.
    pub fn patience(&self) -> Duration {
        let samples = Duration::try_from_secs_f64(self.samples as f64 / self.rate()).unwrap_or(Duration::MAX);
        self.time.max(samples).saturating_add(self.time.max(LEAST_PATIENCE))
    }

    /// Own transactions a second in each region, such that they alone bring the samples in the bake's time.
    pub fn rate(&self) -> f64 {
        let needed = SPARE * self.samples as f64 / self.time.as_secs_f64().max(1.0);
        needed.clamp(*RATE.start(), *RATE.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(time: u64, samples: u64) -> Limits {
        let (latency, time) = (Duration::from_millis(250), Duration::from_secs(time));
        Limits { time, samples, error_ratio: 0.01, client_error_shift: 0.05, latency }
    }

    #[test]
    fn own_transactions_alone_bring_the_samples_in_time_where_they_may() {
        assert!((limits(1800, 10_000).rate() - 6.94).abs() < 0.01);
        assert_eq!(limits(10, 100).rate(), 12.5);
        assert_eq!(limits(3600, 1).rate(), 2.0);
        assert_eq!(limits(1, 1_000_000).rate(), 50.0);
    }

    #[test]
    fn a_bake_has_an_end() {
        assert_eq!(limits(10, 100).patience(), Duration::from_secs(70));
        assert_eq!(limits(1800, 10_000).patience(), Duration::from_secs(3600));
        assert_eq!(limits(10, 10_000).patience(), Duration::from_secs(260));
    }
}
