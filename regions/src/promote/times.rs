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

/// What a region was waited for.
#[derive(Debug, Clone)]
pub(super) struct Waits {
    /// Its wave.
    pub(super) wave: String,
    /// Until what was applied was ready.
    pub(super) starting: Duration,
    /// While it baked.
    pub(super) baking: Duration,
}

impl Times {
    pub(super) fn of(whole: Duration, regions: impl Iterator<Item = Waits>) -> Self {
        let mut waves: BTreeMap<String, (Duration, Duration)> = BTreeMap::new();
        for region in regions {
            let (starting, baking) = waves.entry(region.wave).or_default();
            (*starting, *baking) = (region.starting.max(*starting), region.baking.max(*baking));
        }
        let starting: Duration = waves.values().map(|(starting, _)| *starting).sum();
        let baking: Duration = waves.values().map(|(_, baking)| *baking).sum();
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

    fn waits(wave: &str, starting: u64, baking: u64) -> Waits {
        let seconds = Duration::from_secs;
        Waits { wave: wave.into(), starting: seconds(starting), baking: seconds(baking) }
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
