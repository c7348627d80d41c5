//! The gates over noise that real regions made: `noise.jsonl` holds what `regions promote --record-looks` kept of good
//! releases under load, on a machine that was given more work than it could do in bursts of seconds: own transactions were
//! slow then, several at once. `RECORD_LOOKS` of `make e2e` keeps more of it; pods have short names here, and no release.

use std::collections::BTreeMap;

use super::super::sample::{Look, Tracker};
use super::*;

/// Rounds for which the former release has been seen: a minute.
const FORMER: usize = 120;

/// What came in each round, region by region.
fn recorded() -> Vec<Vec<(Counts, Own)>> {
    let mut regions: BTreeMap<String, (Tracker, Vec<(Counts, Own)>)> = BTreeMap::new();
    for line in include_str!("noise.jsonl").lines() {
        let look: Look = serde_json::from_str(line).unwrap();
        match regions.get_mut(&look.region) {
            Some((tracker, rounds)) => {
                rounds.push((tracker.look(&look.sample, Some(NEW)).old, look.sample.own));
            }
            None => {
                let mut tracker = Tracker::default();
                tracker.begin(&look.sample, Some(NEW));
                regions.insert(look.region, (tracker, Vec::new()));
            }
        }
    }
    regions.into_values().map(|(_, rounds)| rounds).collect()
}

/// A release to which happens what happened from some round on; after the last comes the first.
struct Replay<'a> {
    rounds: &'a [(Counts, Own)],
    next: usize,
    counts: Counts,
}

impl<'a> Replay<'a> {
    fn of(rounds: &'a [(Counts, Own)], random: &mut fastrand::Rng) -> Self {
        Self { rounds, next: random.usize(..rounds.len()), counts: Counts::default() }
    }

    fn round(&mut self) -> (Counts, Own) {
        let (came, own) = self.rounds[self.next % self.rounds.len()];
        self.next += 1;
        self.counts += came;
        (came, own)
    }

    fn pod(&self, release: &str) -> Pod {
        Pod { uid: release.to_owned(), release: Some(release.to_owned()), counts: self.counts }
    }
}

/// One promotion; of the new release's answers so large a share fails on top.
fn promotion(seed: u64, regions: &[Vec<(Counts, Own)>], fails: f64) -> Verdict {
    let mut random = fastrand::Rng::with_seed(seed);
    let rounds = &regions[random.usize(..regions.len())];
    let (mut former, mut fresh) = (Replay::of(rounds, &mut random), Replay::of(rounds, &mut random));
    for _ in 0..FORMER {
        former.round();
    }
    let before = Sample { pods: vec![former.pod(OLD)], own: Own::default() };
    let watch = Watch::new(&limits(), NEW, 2, &before, true);
    let seen = |_| {
        let (came, own) = fresh.round();
        fresh.counts.server_errors += (0..came.answers).filter(|_| random.f64() < fails).count() as u64;
        Sample { pods: vec![fresh.pod(NEW)], own }
    };
    decided(watch, seen).0
}

fn aborted(promotions: u64) -> u64 {
    let regions = recorded();
    let aborts =
        (0..promotions).filter(|seed| !matches!(promotion(*seed, &regions, 0.0), Verdict::Passed { .. }));
    aborts.count() as u64
}

#[test]
fn the_recording_is_of_enough_rounds_answers_and_trouble() {
    let recorded = recorded();
    let trouble = |(came, own): &(Counts, Own)| came.slow + came.server_errors + own.slow + own.failed > 0;
    let troubled = recorded.iter().flatten().filter(|round| trouble(round)).count();
    assert!(troubled >= 10, "{troubled} rounds with trouble");
    for rounds in recorded {
        let answers: u64 = rounds.iter().map(|(came, _)| came.answers).sum();
        let own: u64 = rounds.iter().map(|(_, own)| own.made).sum();
        assert!(
            rounds.len() >= 2 * FORMER && answers >= 2_000 && own >= 500,
            "{}, {answers}, {own}",
            rounds.len()
        );
    }
}

#[test]
fn recorded_noise_hardly_ever_aborts() {
    let aborted = aborted(2_000);
    assert!(aborted <= 2, "{aborted} of 2000");
}

#[test]
fn errors_on_top_of_recorded_noise_are_found() {
    let regions = recorded();
    let found = (0..200).filter(|seed| matches!(promotion(*seed, &regions, 0.05), Verdict::Failed(_)));
    // One in twenty, at some thirty answers a second: a bake of ten seconds may be lucky.
    let found = found.count();
    assert!(found >= 196, "{found} of 200");
}

#[test]
#[ignore = "make gates"]
fn recorded_noise_hardly_ever_aborts_in_many_promotions() {
    at_most_one_in_a_thousand("over recorded noise", aborted);
}
