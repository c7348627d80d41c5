//! Everything there is in one schedule, and its clock.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use regions::catalogue::types::SecretKind;
use regions::plan::rotation::times::Times;
use regions::vault::kv::Document;
use secrets_agent_client::Version;
use tokio::time::Instant;

use crate::ledger::Ledger;
use crate::pods::Pod;
use crate::schedules::Counts;
use crate::vault::Vault;

/// A handle on the world; cheap to clone.
#[derive(Clone)]
pub(crate) struct World(Rc<RefCell<Inner>>);

pub(crate) struct Inner {
    pub(crate) rng: Rng,
    pub(crate) kind: SecretKind,
    pub(crate) times: Times,
    pub(crate) regions: Vec<RegionState>,
    pub(crate) ledger: Ledger,
    pub(crate) counts: Counts,
    /// Whether things go wrong.
    pub(crate) chaos: bool,
    pub(crate) start: Instant,
    pub(crate) story: Option<Vec<String>>,
    pub(crate) pods_born: u64,
    pub(crate) made: u64,
}

/// A region.
pub(crate) struct RegionState {
    pub(crate) name: String,
    pub(crate) wave: usize,
    pub(crate) vault: Vault,
    pub(crate) pods: Vec<Pod>,
    /// The highest version that the watcher has seen, by path of the document.
    pub(crate) floor: Option<Version>,
    /// Whether its API server answers the watcher.
    pub(crate) api: bool,
    /// Whether the watcher answers.
    pub(crate) watcher: bool,
    /// Whether operators reach the Vault.
    pub(crate) reachable: bool,
    /// Whether it is out of traffic.
    pub(crate) drained: bool,
    /// Whether its Vault was restored, and nobody has brought it up to date.
    pub(crate) restored: bool,
    /// Its lock.
    pub(crate) lock: Lock,
}

/// A region's lock.
#[derive(Default)]
pub(crate) struct Lock {
    /// Who holds it, and until when.
    pub(crate) held: Option<(String, Instant)>,
    /// How often it was written.
    pub(crate) version: u64,
}

/// Path of the secret that is rotated.
pub(crate) const SECRET: &str = "secret";
pub(crate) const PATH: &str = "service/secret";

impl World {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Rc::new(RefCell::new(inner)))
    }

    pub(crate) fn get(&self) -> RefMut<'_, Inner> {
        self.0.borrow_mut()
    }

    /// A random length of time.
    pub(crate) fn between(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.get().rng.u64(least..=most))
    }

    /// Whether something happens that does so one time in so many.
    pub(crate) fn one_in(&self, many: u32) -> bool {
        self.get().rng.u32(0..many) == 0
    }

    /// Whether something goes wrong that does so one time in so many while things do; it is counted.
    pub(crate) fn fault(&self, what: &'static str, many: u32) -> bool {
        self.get().fault(what, many)
    }

    /// Tells the story, where somebody listens.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        self.get().tell(what);
    }
}

impl Inner {
    /// Time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn fault(&mut self, what: &'static str, many: u32) -> bool {
        let met = self.chaos && self.rng.u32(0..many) == 0;
        if met {
            self.count(what);
        }
        met
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        let now = self.now();
        if let Some(story) = &mut self.story {
            story.push(format!("{:10.3} {}", now.as_secs_f64(), what()));
        }
    }

    /// A Vault's clock.
    pub(crate) fn clock(&self, region: usize) -> Timestamp {
        let ahead = self.regions[region].vault.ahead;
        let epoch = Timestamp::from_second(1_800_000_000).unwrap();
        epoch + SignedDuration::try_from(self.now()).unwrap() + ahead
    }

    /// Whether a client has been told a secret that no Vault's document takes.
    pub(crate) fn turns_away(&self) -> bool {
        let documents = self.regions.iter().filter_map(|region| region.vault.current(PATH));
        let documents: Vec<Document> = documents.collect();
        self.ledger.turns_away(&documents, self.now(), self.times)
    }

    /// Tells the ledger what every pod uses now.
    pub(crate) fn settle_accounts(&mut self) {
        let (now, before) = (self.now(), self.ledger.violations.len());
        self.ledger.look(now, &self.regions, self.times);
        if self.ledger.violations.len() > before {
            let wrong = self.ledger.violations[before..].join("; ");
            self.tell(|| format!("WRONG: {wrong}"));
        }
    }
}
