//! What a region's pods and this command's own transactions have counted, and what came to it since the last look.

use std::collections::BTreeMap;
use std::ops::{Add, AddAssign};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::view;

/// The global entry asks here all the time; a drained region answers it with 503 on purpose.
const ENTRY: &str = "/trafficz";

/// Where a pod counts paths that it does not know. Whoever scans the internet decides how many 404 come of them.
const UNKNOWN: &str = "other";

/// Answers, and how many of them were bad in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Answers.
    pub answers: u64,
    /// With a status of 500 and above.
    pub server_errors: u64,
    /// Answers of paths that the service has.
    pub known: u64,
    /// Those of them with a status from 400 to 499.
    pub client_errors: u64,
    /// Answers whose time is known.
    pub timed: u64,
    /// Those of them that took longer than the limit.
    pub slow: u64,
}

/// A pod of the workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its uid.
    pub uid: String,
    /// The digest of the release that it runs; nothing where it does not say, or its Deployment has gone on to other pods.
    pub release: Option<String>,
    /// What it has counted since it started.
    pub counts: Counts,
}

/// Transactions of this command's own, since the look before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// So many were made.
    pub made: u64,
    /// So many of them were not answered as they should be.
    pub failed: u64,
    /// So many of those that were took longer than the limit.
    pub slow: u64,
}

/// One look at a region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Transactions of this command's own, since the look before.
    pub own: Own,
}

/// A look that was kept: which region, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// The region's name.
    pub region: String,
    /// What was seen.
    #[serde(flatten)]
    pub sample: Sample,
}

impl Pod {
    /// Whether it runs this release.
    fn runs(&self, release: Option<&str>) -> bool {
        release.is_some() && self.release.as_deref() == release
    }
}

impl Counts {
    /// From what a pod's watcher says that it has counted. An answer is slow when it took longer than the first
    /// bucket's bound that is not below `limit`.
    pub fn of(service: &view::Service, limit: Duration) -> Self {
        let mut counts = Self::default();
        for (route, by_status) in service.answers.iter().filter(|(route, _)| *route != ENTRY) {
            for (status, number) in by_status {
                counts.answers += number;
                counts.server_errors += if status.starts_with('5') { *number } else { 0 };
                if route != UNKNOWN {
                    counts.known += number;
                    counts.client_errors += if status.starts_with('4') { *number } else { 0 };
                }
            }
        }
        for (_, buckets) in service.latency.iter().filter(|(route, _)| *route != ENTRY) {
            let all = buckets.last().map_or(0, |(_, number)| *number);
            let quick = buckets.iter().find(|(bound, _)| {
                bound.parse::<f64>().is_ok_and(|bound| bound >= limit.as_secs_f64() - 1e-9)
            });
            counts.timed += all;
            counts.slow += quick.map_or(0, |(_, quick)| all.saturating_sub(*quick));
        }
        counts
    }

    /// What came since `former`. A pod that counts less than it did has started anew.
    pub fn since(&self, former: &Self) -> Self {
        let fields = |counts: &Self| {
            let Counts { answers, server_errors, known, client_errors, timed, slow } = *counts;
            [answers, server_errors, known, client_errors, timed, slow]
        };
        let (now, then) = (fields(self), fields(former));
        if now.iter().zip(then).any(|(now, then)| *now < then) {
            return *self;
        }
        Self {
            answers: self.answers - former.answers,
            server_errors: self.server_errors - former.server_errors,
            known: self.known - former.known,
            client_errors: self.client_errors - former.client_errors,
            timed: self.timed - former.timed,
            slow: self.slow - former.slow,
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            answers: self.answers.saturating_add(other.answers),
            server_errors: self.server_errors.saturating_add(other.server_errors),
            known: self.known.saturating_add(other.known),
            client_errors: self.client_errors.saturating_add(other.client_errors),
            timed: self.timed.saturating_add(other.timed),
            slow: self.slow.saturating_add(other.slow),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Remembers what each pod had counted, and gives what has come since.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    former: BTreeMap<String, Counts>,
}

/// What came since the last look, by the release of the pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Came {
    /// To pods of the new release.
    pub new: Counts,
    /// To all others.
    pub old: Counts,
}

impl Tracker {
    /// Takes a look's counts for what was there before. Gives what pods of other releases than `release` have
    /// counted in all their time; where there is none, every pod is such a one.
    pub fn begin(&mut self, sample: &Sample, release: Option<&str>) -> Counts {
        self.former = sample.pods.iter().map(|pod| (pod.uid.clone(), pod.counts)).collect();
        let old = sample.pods.iter().filter(|pod| !pod.runs(release));
        old.fold(Counts::default(), |sum, pod| sum + pod.counts)
    }

    /// What came since the last look. Of a pod that was not there, all that it has counted. A pod that does not
    /// answer for a moment is remembered.
    pub fn look(&mut self, sample: &Sample, release: Option<&str>) -> Came {
        let mut came = Came::default();
        for pod in &sample.pods {
            let former = self.former.insert(pod.uid.clone(), pod.counts).unwrap_or_default();
            let since = pod.counts.since(&former);
            match pod.runs(release) {
                true => came.new += since,
                false => came.old += since,
            }
        }
        came
    }
}
