//! Whether a release that runs in a region is good: judged from what its pods answer, beside what the former
//! release's pods answer, and from this command's own transactions.
//!
//! A bake has a least time and a least number of samples. Over it stand gates: the share of answers with a status
//! of 500 and above, a shift of those from 400 to 499 against the former release, the share of answers that are
//! slower than `latency_p99`, and the same of own transactions. A gate fails once the evidence against it is such
//! as a good release would show in one of a thousand promotions at most ([`FALSE_ALARMS`], all gates of all
//! regions together, whenever it is looked). It passes with the bake's time and samples, and a share that is not
//! over the limit, or is so by a moment's stall only; in between, the bake goes on, for a bounded time. A share that is
//! over its limit all that time, with evidence for it though not enough, fails it as well: what that adds to the bound
//! on false alarms is nothing that a simulation finds, for shares of up to half the limit.

pub mod evidence;
pub mod limits;
pub mod sample;
pub mod text;

use std::time::Duration;

use serde::Serialize;

use evidence::{Evidence, between};
use limits::{Limits, SLOW};
use sample::{Counts, Own, Sample, Tracker};

/// The chance that a promotion of a good release fails a gate, over all gates of all its regions.
pub const FALSE_ALARMS: f64 = 1e-3;

/// Answers of the former release from which it is compared with.
const COMPARED: u64 = 50;

/// Answers since this began from which they alone tell what the former release is like: an incident of last week that its
/// pods have counted is no measure of today.
const RECENT: u64 = 500;

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Answers with a status of 500 and above.
    ServerErrors,
    /// Answers with a status from 400 to 499, against the former release.
    ClientErrors,
    /// Answers that are slower than `latency_p99`.
    Latency,
    /// Own transactions that fail.
    Transactions,
    /// Own transactions that are slower than `latency_p99`, the way there and back left out.
    TransactionLatency,
}

impl Gate {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ServerErrors, Self::ClientErrors, Self::Latency, Self::Transactions, Self::TransactionLatency];
}

/// A gate as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// Which.
    pub gate: Gate,
    /// So many were bad.
    pub bad: u64,
    /// Of so many.
    pub total: u64,
    /// The share that is borne; nothing while there is nothing to compare with.
    pub limit: Option<f64>,
    /// The same of the former release: bad ones, of how many.
    pub former: (u64, u64),
}

/// Why a release is not good.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "breach")]
pub enum Breach {
    /// A share is over its limit.
    Over(Reading),
    /// A share seemed to be over its limit until there was no more time to find out.
    Undecided(Reading),
    /// Too few samples came in time.
    Samples {
        /// So many.
        seen: u64,
        /// Of so many.
        needed: u64,
        /// In so many seconds.
        after_s: u64,
    },
}

/// What is known of a release so far.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It bakes.
    Baking {
        /// Answers of its pods.
        samples: u64,
    },
    /// It is good.
    Passed {
        /// Answers of its pods.
        samples: u64,
    },
    /// It is not.
    Failed(Vec<Breach>),
}

/// Watches one region through a promotion.
#[derive(Debug, Clone)]
pub struct Watch {
    limits: Limits,
    release: String,
    alpha: f64,
    tracker: Tracker,
    evidence: [Evidence; Gate::ALL.len()],
    limit: [Option<f64>; Gate::ALL.len()],
    /// What pods of the former release have counted in this region, before and since.
    before: Counts,
    /// The same elsewhere, since this began.
    beside: Counts,
    old_since: Counts,
    samples: u64,
    /// Whether anything of the release may be there. Until then all that is seen is of what runs there before it.
    has_begun: bool,
    /// Whether it is ready.
    is_ready: bool,
}

impl Watch {
    /// Watches a region that gets `release`, or has begun to, one of `regions` that are watched.
    pub fn new(limits: &Limits, release: &str, regions: usize, before: &Sample, has_begun: bool) -> Self {
        let gates = Gate::ALL.len() * regions.max(1);
        // Half for the evidence, half for what is known of the former release.
        let alpha = FALSE_ALARMS / gates as f64 / 2.0;
        let mut tracker = Tracker::default();
        let before = tracker.begin(before, has_begun.then_some(release));
        Self {
            has_begun,
            is_ready: false,
            limits: limits.clone(),
            release: release.to_owned(),
            alpha,
            tracker,
            evidence: std::array::from_fn(|_| Evidence::new(alpha)),
            limit: [None; Gate::ALL.len()],
            before,
            beside: Counts::default(),
            old_since: Counts::default(),
            samples: 0,
        }
    }

    /// The release is about to be written there: from now on its pods speak for it or against it.
    pub fn begins(&mut self) {
        self.has_begun = true;
    }

    /// What has passed is watched on while other regions get the release, as closely as in the beginning.
    pub fn again(&mut self) {
        self.evidence.iter_mut().for_each(Evidence::again);
    }

    /// The release is ready: from now on own transactions speak of it. Before, nobody answers them, or pods of the former
    /// release do.
    pub fn ready(&mut self) {
        self.is_ready = true;
    }

    /// Takes a look. `beside` is what pods of the former release have counted in other regions since this began.
    pub fn look(&mut self, sample: &Sample, beside: Counts) {
        // Each limit is fixed by what was known before the round.
        self.limit = Gate::ALL.map(|gate| self.borne(gate));
        let came = self.tracker.look(sample, self.has_begun.then_some(self.release.as_str()));
        let own = if self.is_ready { sample.own } else { Own::default() };
        for (place, gate) in Gate::ALL.into_iter().enumerate() {
            let (bad, total) = round(gate, &came.new, &own);
            if let Some(limit) = self.limit[place] {
                self.evidence[place].round(bad, total, limit);
            }
        }
        self.before += came.old;
        self.old_since += came.old;
        self.beside = beside;
        self.samples = self.samples.saturating_add(came.new.answers);
    }

    /// What pods of the former release have counted here since this began.
    pub fn old_since(&self) -> Counts {
        self.old_since
    }

    /// Answers of the release's pods so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Gates that have failed, whether or not the bake has begun.
    pub fn failed(&self) -> Vec<Breach> {
        let failed = Gate::ALL.into_iter().enumerate().filter(|(place, _)| self.evidence[*place].decided());
        failed.map(|(place, gate)| Breach::Over(self.reading(place, gate))).collect()
    }

    /// Every gate as it stands.
    pub fn readings(&self) -> Vec<Reading> {
        Gate::ALL.into_iter().enumerate().map(|(place, gate)| self.reading(place, gate)).collect()
    }

    /// What is known, so long after the release was ready.
    pub fn verdict(&self, baked: Duration) -> Verdict {
        let failed = self.failed();
        if !failed.is_empty() {
            return Verdict::Failed(failed);
        }
        let samples = self.samples;
        if baked < self.limits.time {
            return Verdict::Baking { samples };
        }
        let over = || {
            let readings = self.readings().into_iter().zip(&self.evidence);
            let over = readings.filter(|(reading, evidence)| {
                evidence.leans() && reading.limit.is_some_and(|limit| reading.share() > limit)
            });
            over.map(|(reading, _)| reading)
        };
        let enough = samples >= self.limits.samples;
        if enough && over().next().is_none() {
            return Verdict::Passed { samples };
        }
        if baked < self.limits.patience() {
            return Verdict::Baking { samples };
        }
        let mut breaches: Vec<Breach> = over().map(Breach::Undecided).collect();
        if !enough {
            let (needed, after_s) = (self.limits.samples, baked.as_secs());
            breaches.push(Breach::Samples { seen: samples, needed, after_s });
        }
        Verdict::Failed(breaches)
    }

    fn reading(&self, place: usize, gate: Gate) -> Reading {
        let (bad, total) = self.evidence[place].seen();
        let former = self.former(gate);
        let former = if former.1 > 0 { former } else { of(gate, &self.beside) };
        Reading { gate, bad, total, limit: self.limit[place].or_else(|| self.borne(gate)), former }
    }

    /// What the former release's pods have counted here.
    fn former(&self, gate: Gate) -> (u64, u64) {
        let recent = of(gate, &self.old_since);
        if recent.1 >= RECENT { recent } else { of(gate, &self.before) }
    }

    /// The share that is borne. Where the former release is over the limit itself, here or elsewhere, the new one
    /// must be worse: what befalls both is not the release's fault.
    fn borne(&self, gate: Gate) -> Option<f64> {
        let former = [self.former(gate), of(gate, &self.beside)];
        let known = former.into_iter().filter(|(_, total)| *total >= COMPARED);
        let mut known = known.map(|(bad, total)| between(bad, total, self.alpha / 2.0));
        let borne = match gate {
            Gate::Transactions => self.limits.error_ratio,
            Gate::TransactionLatency => SLOW,
            Gate::ServerErrors | Gate::Latency => {
                let limit = if gate == Gate::Latency { SLOW } else { self.limits.error_ratio };
                known.filter(|(low, _)| *low > limit).fold(limit, |most, (_, high)| most.max(high))
            }
            Gate::ClientErrors => {
                let (_, first) = known.next()?;
                known.fold(first, |most, (_, high)| most.max(high)) + self.limits.client_error_shift
            }
        };
        (borne < 1.0).then_some(borne)
    }
}

impl Reading {
    /// The share that was bad.
    pub fn share(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.bad as f64 / self.total as f64 }
    }
}

/// Bad ones of a gate, of how many.
fn of(gate: Gate, counts: &Counts) -> (u64, u64) {
    match gate {
        Gate::ServerErrors => (counts.server_errors, counts.answers),
        Gate::ClientErrors => (counts.client_errors, counts.known),
        Gate::Latency => (counts.slow, counts.timed),
        Gate::Transactions | Gate::TransactionLatency => (0, 0),
    }
}

fn round(gate: Gate, new: &Counts, own: &Own) -> (u64, u64) {
    match gate {
        Gate::Transactions => (own.failed, own.made),
        Gate::TransactionLatency => (own.slow, own.made.saturating_sub(own.failed)),
        _ => of(gate, new),
    }
}

#[cfg(test)]
mod tests;
