//! What the parts of a running service share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;

use crate::configuration::{Configuration, Dynamic};
use crate::logging::LevelHandle;
use crate::metrics::Metrics;
use crate::snapshot::{Parts, Snapshot};
use crate::traffic::Traffic;

/// What the parts of a running service share.
#[derive(Debug)]
pub struct State {
    /// The configuration of the start.
    pub configuration: Configuration,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether the region takes traffic.
    pub traffic: ArcSwap<Traffic>,
    snapshot: ArcSwapOption<Snapshot>,
    phase: AtomicU8,
    concerns: Mutex<BTreeMap<&'static str, String>>,
    log_level: LevelHandle,
}

/// How far a process is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It is not ready any more, and serves new connections.
    Leaving,
    /// Every answer closes its connection.
    Closing,
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Readiness {
    /// Whether new traffic should come here.
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What an operator should look at while the last good state is served.
    pub degraded: Vec<String>,
}

/// The concern under which missing first documents are told.
const WAITING: &str = "waiting";

impl State {
    /// A state without a snapshot: alive and not ready.
    pub fn new(configuration: Configuration, log_level: LevelHandle) -> Self {
        let metrics = Metrics::new();
        metrics.ceilings(&configuration.ceilings);
        State {
            configuration,
            metrics,
            traffic: ArcSwap::default(),
            snapshot: ArcSwapOption::empty(),
            phase: AtomicU8::new(Phase::Serving as u8),
            concerns: Mutex::default(),
            log_level,
        }
    }

    /// The snapshot in use; `None` before the first valid documents.
    pub fn snapshot(&self) -> arc_swap::Guard<Option<Arc<Snapshot>>> {
        self.snapshot.load()
    }

    /// Puts these parts to use, for every request that begins from now on.
    pub fn adopt(&self, parts: Parts) {
        let current = self.snapshot.load_full();
        let generation = current.as_ref().map_or(1, |current| current.generation + 1);
        let Dynamic { oauth, log_level } = &parts.dynamic;
        self.metrics.settings(oauth);
        self.log_level.set(*log_level);
        if let Some(tls) = &parts.tls {
            self.metrics.certificate_end.set(tls.not_after.as_second());
        }
        let issued = self.metrics.tokens(&parts.keys.active.kid);
        let snapshot = Arc::new(Snapshot::new(generation, &self.configuration.identity, parts, issued));
        self.snapshot.store(Some(Arc::clone(&snapshot)));
        self.metrics.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        let former = current.iter().flat_map(|current| &current.kids);
        for gone in former.filter(|kid| !snapshot.kids.contains(kid)) {
            self.metrics.forget_key(gone);
        }
        self.settle(WAITING);
    }

    /// How far the process is on its way to its end.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Serving,
            1 => Phase::Leaving,
            _ => Phase::Closing,
        }
    }

    /// Goes on towards the end; there is no way back.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }

    /// Notes something that an operator should look at, in place of what was noted under that name.
    /// Says whether that is news.
    pub fn concern(&self, name: &'static str, message: String) -> bool {
        let mut concerns = self.concerns();
        let news = concerns.get(name) != Some(&message);
        concerns.insert(name, message);
        news
    }

    /// Takes back what was noted under that name.
    pub fn settle(&self, name: &'static str) {
        self.concerns().remove(name);
    }

    /// Says what the first snapshot waits for.
    pub fn wait_for(&self, what: String) {
        self.concern(WAITING, what);
    }

    /// Whether new traffic should come here, and what an operator should look at.
    ///
    /// Once ready, only the end of the process takes it back: a Vault or an agent that is away must not
    /// empty every region at once.
    pub fn readiness(&self, now: Timestamp) -> Readiness {
        let snapshot = self.snapshot.load();
        let concerns = self.concerns();
        let reason = match (self.phase(), &*snapshot) {
            (Phase::Serving, Some(_)) => None,
            (Phase::Serving, None) => {
                Some(concerns.get(WAITING).cloned().unwrap_or_else(|| "starting".to_owned()))
            }
            (Phase::Leaving | Phase::Closing, _) => Some("shutting down".to_owned()),
        };
        let noted = concerns.iter().filter(|(name, _)| **name != WAITING);
        let mut degraded: Vec<String> = noted.map(|(name, message)| format!("{name}: {message}")).collect();
        let tls = snapshot.as_ref().and_then(|snapshot| snapshot.tls.as_ref());
        degraded.extend(tls.and_then(|tls| tls.warning(now)).map(|warning| format!("tls: {warning}")));
        self.metrics.ready.set(i64::from(reason.is_none()));
        Readiness { ready: reason.is_none(), reason, degraded }
    }

    fn concerns(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.concerns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
