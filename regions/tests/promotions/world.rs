//! Regions in waves, what is true of releases, and the rules that always hold.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use regions::plan::record;
use tokio::time::Instant;

use crate::release::{Fault, Made, settings};
use crate::rollout::WANTED;
use crate::run::LEASE;
use crate::schedules::Counts;
use crate::state::State;

/// Everything.
pub(crate) struct World {
    pub(crate) random: RefCell<fastrand::Rng>,
    pub(crate) waves: Vec<Vec<usize>>,
    pub(crate) regions: Vec<RefCell<State>>,
    releases: RefCell<BTreeMap<String, Made>>,
    /// Promotions that have begun to go back.
    failed: RefCell<BTreeSet<String>>,
    /// Rules that were broken.
    pub(crate) broken: RefCell<Vec<String>>,
    /// What went wrong on purpose, and how often.
    pub(crate) met: RefCell<Counts>,
    /// Whether a whole release has run: from then on clients are to be served.
    pub(crate) serves: Cell<bool>,
}

impl World {
    pub(crate) fn new(seed: u64, sizes: &[usize]) -> Self {
        let mut places = 0..;
        let waves: Vec<Vec<usize>> = sizes.iter().map(|size| places.by_ref().take(*size).collect()).collect();
        let regions = sizes.iter().sum();
        Self {
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            waves,
            regions: (0..regions).map(|_| RefCell::default()).collect(),
            releases: RefCell::default(),
            failed: RefCell::default(),
            broken: RefCell::default(),
            met: RefCell::default(),
            serves: Cell::new(false),
        }
    }

    pub(crate) fn knows(&self, release: &Made) {
        self.releases.borrow_mut().insert(release.digest(), release.clone());
    }

    pub(crate) fn fault(&self, digest: &str, place: usize) -> Option<Fault> {
        self.releases.borrow().get(digest).and_then(|release| release.faults.get(&place).copied())
    }

    pub(crate) fn is_good(&self, digest: &str) -> bool {
        self.releases.borrow().get(digest).is_some_and(|release| release.faults.is_empty())
    }

    pub(crate) fn meets(&self, what: &'static str) {
        *self.met.borrow_mut().entry(what).or_default() += 1;
    }

    pub(crate) fn breaks(&self, rule: String) {
        self.broken.borrow_mut().push(rule);
    }

    /// A region is about to get a release: it was good wherever it came before.
    pub(crate) fn enters(&self, digest: &str, place: usize) {
        let wave = self.waves.iter().position(|wave| wave.contains(&place)).unwrap();
        for before in self.waves[..wave].iter().flatten() {
            if let Some(fault) = self.fault(digest, *before) {
                self.breaks(format!(
                    "{digest} enters region {place} of wave {wave}, and {fault:?} in region {before}"
                ));
            }
        }
    }

    /// A region's record says that a release stays there.
    pub(crate) fn stays(&self, digest: &str, place: usize) {
        if let Some(fault) = self.fault(digest, place) {
            self.breaks(format!("{digest} is said to be good in region {place}, where it {fault:?}"));
        }
    }

    /// A Lease goes from one run to another: it is given back, or has not been renewed for its life.
    pub(crate) fn leases(&self, place: usize, [former, holder]: [&str; 2], renewed: Option<Instant>) {
        let works = !former.is_empty() && renewed.is_some_and(|renewed| renewed.elapsed() < LEASE);
        if works && former != holder {
            self.breaks(format!("{holder} takes the Lease of region {place} from {former}, which works"));
        }
    }

    /// A promotion is gone on with in a region: it goes back everywhere once it has begun to.
    pub(crate) fn goes_on(&self, record: &record::Record, place: usize) {
        let promotion = record.promotion.clone().unwrap_or_default();
        match record.state {
            record::State::Undoing | record::State::Undone => {
                self.failed.borrow_mut().insert(promotion);
            }
            record::State::Applying | record::State::Applied if self.failed.borrow().contains(&promotion) => {
                self.breaks(format!("{promotion} goes on in region {place}, and has failed"));
            }
            _ => {}
        }
    }

    /// Clients of a region find all but one of its pods at any moment.
    pub(crate) fn capacity(&self, place: usize, state: &State) {
        let reads = |digest: &str| state.objects.contains_key(&format!("ConfigMap {}", settings(digest)));
        let serving = state.rollout.serving(Instant::now(), reads);
        if self.serves.get() && serving < WANTED - 1 {
            self.breaks(format!("{serving} pods serve in region {place}"));
        }
    }

    /// A write was taken. Once a run has written in a region, none does so that held its Lease before.
    pub(crate) fn taken(&self, place: usize, state: &mut State, hold: u64, what: &str) {
        if hold < state.wrote {
            self.breaks(format!(
                "a run of Lease {hold} {what} in region {place} after one of {}",
                state.wrote
            ));
        }
        state.wrote = state.wrote.max(hold);
        self.capacity(place, state);
    }

    /// At the end: all regions run one good release, with nothing open, left over or missing.
    pub(crate) fn ended(&self) {
        let mut random = self.random.borrow_mut();
        let mut runs = Vec::new();
        for (place, region) in self.regions.iter().enumerate() {
            let mut state = region.borrow_mut();
            state.rollout.advance(&mut random);
            let deployment = state.objects.get("Deployment service").map(|live| live.value.clone());
            let digest = deployment.as_ref().map(crate::release::digest_of).unwrap_or_default();
            if !state.rollout.is_all(&digest) {
                self.breaks(format!("not every pod of region {place} runs {digest}"));
            }
            let open = state.records.values().filter(|kept| kept.stored.record.state.is_open());
            if open.count() > 0 {
                self.breaks(format!("a record of region {place} is open"));
            }
            let newest =
                state.records.values().rev().find(|kept| kept.stored.record.state == record::State::Applied);
            if newest.is_none_or(|kept| kept.stored.record.release.digest != digest) {
                self.breaks(format!("no record of region {place} says that {digest} runs"));
            }
            let left: Vec<&String> =
                state.objects.keys().filter(|key| key.starts_with("ConfigMap settings")).collect();
            if left != [&format!("ConfigMap {}", settings(&digest))] {
                self.breaks(format!("region {place} has {left:?} beside {digest}"));
            }
            if state.records.len() > 11 {
                self.breaks(format!("region {place} has {} records", state.records.len()));
            }
            runs.push(digest);
        }
        runs.dedup();
        if runs.len() != 1 || !self.is_good(&runs[0]) {
            self.breaks(format!("the regions run {runs:?}"));
        }
    }
}
