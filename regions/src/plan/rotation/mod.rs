//! From what every region shows of a secret to the steps by which a rotation of it goes on.
//!
//! A rotation is a row of phases, each of which is a document in every region. A region goes from one phase to the next
//! only when every region has the one before, every pod of every region was seen to use it, and the wait that the
//! kind asks for is over there. What has been done is read from the Vaults each time: which rotation and phase
//! wrote each version, and since when every pod uses it. So a plan made after another was carried out has nothing left,
//! and one made after a run that was killed goes on where that one was.

pub mod adoption;
pub mod clients;
pub mod facts;
mod keyset;
pub mod kind;
pub mod mark;
pub mod notes;
mod open;
mod place;
pub mod recipe;
mod refusals;
mod settle;
mod standing;
mod steps;
#[cfg(test)]
mod tests;
pub mod times;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrets_agent_client::Version;

use super::view::View;
use crate::catalogue::types::{Generator, SecretKind};
use adoption::Missing;
use facts::{Fingerprint, Stored};
use mark::Phase;
use notes::{Note, Notes};
use recipe::Recipe;
use times::Times;

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The secret's name.
    pub secret: String,
    /// The environment, as far as commands name it.
    pub environment: String,
    /// How it rotates.
    pub kind: SecretKind,
    /// What makes a new one.
    pub generator: Option<Generator>,
    /// The new document, where it comes from outside.
    pub input: Option<Fingerprint>,
    /// Whether a rotation is to be taken back.
    pub abort: bool,
    /// Whether what somebody wrote by hand into every region ends what is under way.
    pub settle: bool,
    /// The rotation that is meant; where there is none, it is begun under this id.
    pub id: Option<String>,
    /// The id of a rotation that is begun.
    pub fresh: String,
    /// Whether a new one is begun right after another has ended.
    pub again: bool,
    /// Whether the waits are skipped.
    pub compromised: bool,
    /// Regions that are left out while they are away.
    pub without: BTreeSet<String>,
    /// Regions in which the document of the rotation takes the place of another.
    pub overwrite: BTreeSet<String>,
    /// Regions whose Vault was restored from a snapshot.
    pub restored: BTreeSet<String>,
    /// Keys that no Vault has any more, and that are let go although pods of a restored region still show them; of clients,
    /// rotations that no Vault knows any more.
    pub give_up: BTreeSet<String>,
    /// How long what was there before is kept where nothing else says it.
    pub grace: Option<Duration>,
    /// Clients whose secrets change; all where empty.
    pub clients: BTreeSet<String>,
    /// The catalogue's ceilings.
    pub ceilings: Times,
    /// The catalogue's regions.
    pub members: BTreeSet<String>,
}

impl Request {
    /// Whether the new secret is made, and does not come from outside.
    pub fn generates(&self) -> bool {
        self.input.is_none() && self.generator.is_some()
    }
}

/// A region, as it was seen. Its pods are looked at before its Vault: what the Vault's clock says is later than what the
/// pods showed.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Its name.
    pub region: String,
    /// The place of its wave.
    pub wave: usize,
    /// What its Vault holds, or why that cannot be seen.
    pub vault: Result<Held, String>,
    /// What its watcher says, or why it says nothing.
    pub view: Result<View, String>,
    /// Versions, by path, that this run wrote, and over which nothing can come that somebody else has sent before.
    pub fenced: BTreeMap<String, u64>,
    /// Whether it takes traffic; asked of regions that are left out.
    pub traffic: Traffic,
    /// How long this run has seen that it takes none; asked of regions that are left out.
    pub out_for: Duration,
}

/// What a Vault holds of a secret.
#[derive(Debug, Clone)]
pub struct Held {
    /// The Vault's clock.
    pub now: Timestamp,
    /// How much that was ahead of the operator's when it was asked.
    pub ahead: SignedDuration,
    /// The document's path below the mount.
    pub path: String,
    /// The document, and for `clients` what each client has, by path below the mount.
    pub stored: BTreeMap<String, Stored>,
    /// What stands beside the document.
    pub notes: Notes,
}

impl Held {
    /// The document, all versions.
    pub fn document(&self) -> &Stored {
        static NONE: Stored = Stored { current: 0, versions: BTreeMap::new() };
        self.stored.get(&self.path).unwrap_or(&NONE)
    }
}

/// Whether a region takes traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traffic {
    /// It does, or may.
    In(String),
    /// It does not, and by what that is known.
    Out(String),
}

/// What has to be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The rotation; nothing where there is none.
    pub rotation: Option<Rotation>,
    /// What can be done now, in order.
    pub steps: Vec<Step>,
    /// What has to come about before anything else can be done.
    pub waits: Vec<Waiting>,
    /// The phases that come after those that were begun.
    pub ahead: Vec<Phase>,
    /// What stands in the way. Nothing is written while something does.
    pub refused: Vec<Refusal>,
    /// How far each region is.
    pub progress: Vec<Progress>,
    /// What breaks, where the waits are skipped.
    pub breaks: Option<String>,
}

impl Plan {
    /// Whether there is nothing left to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.waits.is_empty() && self.refused.is_empty()
    }
}

/// The rotation that a plan is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Its id.
    pub id: String,
    /// Whether it is being taken back.
    pub back: bool,
    /// Whether any of it was written before.
    pub begun: bool,
    /// Clients whose secrets change.
    pub clients: BTreeSet<String>,
}

/// How far a region is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The region.
    pub region: String,
    /// The phase whose document it has; nothing before the first.
    pub phase: Option<Phase>,
    /// The version, where it can be read.
    pub version: Option<Version>,
    /// Pods that use it, and all that count; nothing where the watcher cannot be asked.
    pub adopted: Option<(usize, usize)>,
    /// Since when every pod was seen to use it.
    pub settled: Option<Timestamp>,
}

/// One step. Each can be taken twice with the same end.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write a version, if the one that was seen is still the current one.
    Write(Write),
    /// Note something beside a secret.
    Note {
        /// The region.
        region: String,
        /// What.
        note: Note,
    },
    /// Destroy versions.
    Destroy(Destroy),
}

impl Step {
    /// The region whose Vault it writes to.
    pub fn region(&self) -> &str {
        match self {
            Self::Write(Write { region, .. })
            | Self::Note { region, .. }
            | Self::Destroy(Destroy { region, .. }) => region,
        }
    }
}

/// A version that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The region.
    pub region: String,
    /// The path below the mount.
    pub path: String,
    /// Number of the version that must still be the current one; 0 for none.
    pub over: u64,
    /// How the document comes about.
    pub recipe: Recipe,
}

/// Versions that are to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroy {
    /// The region.
    pub region: String,
    /// The path below the mount.
    pub path: String,
    /// Which. One of another identity stays.
    pub versions: Vec<Version>,
}

/// What has to come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// A region's watcher has to answer.
    Watcher {
        /// The region.
        region: String,
        /// Why it does not.
        why: String,
    },
    /// Pods have to use a document.
    Pods {
        /// The region.
        region: String,
        /// The phase of the document.
        phase: Phase,
        /// What is missing.
        missing: Vec<Missing>,
    },
    /// Time has to pass.
    Time {
        /// The region whose clock counts.
        region: String,
        /// The phase after which it passes.
        phase: Phase,
        /// How much is left.
        left: Duration,
        /// What for.
        why: &'static str,
    },
    /// A region that is left out has to come back.
    Region {
        /// The region.
        region: String,
    },
}

impl Waiting {
    /// The region that is waited for.
    pub fn region(&self) -> &str {
        match self {
            Self::Watcher { region, .. }
            | Self::Pods { region, .. }
            | Self::Time { region, .. }
            | Self::Region { region } => region,
        }
    }
}

/// Why nothing is done, and what can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What stands in the way.
    pub why: String,
    /// Commands that lead on, each with what it does.
    pub ways: Vec<String>,
    /// Whether it may pass by itself: something did not answer.
    pub may_pass: bool,
}

/// Plans what can be done now. `regions` are those of the catalogue, in the order of its waves.
pub fn plan(request: &Request, regions: &[Observed]) -> Plan {
    let refused = refusals::outside(request, regions);
    if !refused.is_empty() {
        return Plan { refused, ..Plan::default() };
    }
    if request.settle {
        return settle::plan(request, regions);
    }
    match open::course(request, regions) {
        Ok(Some(course)) => steps::plan(&course, regions),
        Ok(None) => Plan::default(),
        Err(refused) => Plan { refused, ..Plan::default() },
    }
}
