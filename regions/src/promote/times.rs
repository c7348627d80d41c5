//! Where the time of a promotion went.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Where the time of a promotion went, in seconds. Regions of a wave wait at the same time: the longest wait counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// From its begin to its end, without the wait for somebody to confirm it.
    pub whole_s: f64,
    /// Until pods, and the address of a first release, were ready.
    pub starting_s: f64,
    /// In bakes.
    pub baking_s: f64,
    /// All else: looking, planning, locking, applying, recording.
    pub own_s: f64,
}

/// How long a run waited for a region.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Waits {
    /// Until what was applied was ready.
    pub starting: Duration,
    /// While its wave baked.
    pub baking: Duration,
}

impl Times {
    /// Of the waits for regions, each with its wave.
    pub(super) fn of<'a>(whole: Duration, regions: impl Iterator<Item = (&'a str, Waits)>) -> Self {
        let mut waves: BTreeMap<&str, Waits> = BTreeMap::new();
        for (wave, waits) in regions {
            let most = waves.entry(wave).or_default();
            most.starting = most.starting.max(waits.starting);
            most.baking = most.baking.max(waits.baking);
        }
        let starting: Duration = waves.values().map(|waits| waits.starting).sum();
        let baking: Duration = waves.values().map(|waits| waits.baking).sum();
        let own = whole.saturating_sub(starting + baking);
        let [whole_s, starting_s, baking_s, own_s] =
            [whole, starting, baking, own].map(|time| time.as_secs_f64());
        Self { whole_s, starting_s, baking_s, own_s }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whole_s, starting_s, baking_s, own_s } = self;
        write!(
            f,
            "{whole_s:.1} s: {starting_s:.1} s until pods were ready, {baking_s:.1} s in bakes, {own_s:.1} s of its own"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(wave: &str, starting: u64, baking: u64) -> (&str, Waits) {
        let seconds = Duration::from_secs;
        (wave, Waits { starting: seconds(starting), baking: seconds(baking) })
    }

    #[test]
    fn waves_wait_one_after_the_other_and_regions_of_one_together() {
        let regions = [waits("first", 8, 10), waits("second", 5, 11), waits("second", 9, 10)];
        let times = Times::of(Duration::from_millis(42_500), regions.into_iter());
        assert_eq!(times, Times { whole_s: 42.5, starting_s: 17.0, baking_s: 21.0, own_s: 4.5 });
        assert_eq!(
            times.to_string(),
            "42.5 s: 17.0 s until pods were ready, 21.0 s in bakes, 4.5 s of its own"
        );
    }

    #[test]
    fn waits_that_overlap_never_make_its_own_time_negative() {
        assert_eq!(Times::of(Duration::from_secs(3), [waits("first", 2, 2)].into_iter()).own_s, 0.0);
    }
}
