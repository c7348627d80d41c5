//! What differs between the kinds of secrets: the phases of each, how each phase's document comes from what is
//! there, and how long is waited. One more kind is one more file.

use std::collections::BTreeSet;
use std::time::Duration;

use super::facts::{Content, Facts};
use super::mark::Phase;
use super::recipe::Recipe;
use super::standing::{Course, Standing};
use super::times::Times;
use super::{Request, Step, clients, keyset, value};
use crate::catalogue::types::SecretKind;

/// How a kind of secret rotates.
pub(super) trait Kind: Sync {
    /// The phases, in order.
    fn forward(&self) -> &'static [Phase];

    /// The phases of the way back, in order.
    fn back(&self) -> &'static [Phase];

    /// Whether every region has the same document.
    fn alike(&self) -> bool;

    /// Why a rotation cannot begin from a document; nothing where it can.
    fn unfit(&self, _content: &Content, _course: &Course<'_>) -> Option<String> {
        None
    }

    /// How the first document of a phase comes from what there is. `region` is where it is written; in every other
    /// it is copied.
    ///
    /// # Errors
    /// It cannot come about, and why.
    fn recipe(&self, phase: Phase, region: &Standing<'_>, course: &Course<'_>) -> Result<Recipe, String>;

    /// What has to be written in a region before the document of a phase.
    ///
    /// # Errors
    /// It cannot come about, and why.
    fn errands(
        &self,
        _phase: Phase,
        _region: &Standing<'_>,
        _course: &Course<'_>,
    ) -> Result<Vec<Step>, String> {
        Ok(Vec::new())
    }

    /// Whether nothing of what a phase takes back is to be seen, so that a region that is left out may have all of it.
    /// A document that is written without it would never be that region's.
    fn is_blind(&self, _phase: Phase, _course: &Course<'_>) -> bool {
        false
    }

    /// How long is waited after every pod uses a phase's document.
    fn wait(&self, phase: Phase, course: &Course<'_>, times: Times, request: &Request) -> Wait;

    /// Paths of what a rotation leaves in each region, beside the document.
    fn stays(&self, _course: &Course<'_>) -> Vec<String> {
        Vec::new()
    }

    /// What goes at the end in a region, beside former versions of the document.
    fn leftovers(&self, _region: &Standing<'_>, _course: &Course<'_>) -> Vec<Step> {
        Vec::new()
    }

    /// What would be lost that is in use, if this document took the place of that one.
    fn lost(&self, _there: &Facts, _instead: &Facts, _course: &Course<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Whether others find what a rotation hands out, and the document alone tells that it is taken.
    fn is_found(&self) -> bool {
        false
    }

    /// Whether a region has let go of what was there before.
    fn has_let_go(&self, region: &Standing<'_>, course: &Course<'_>) -> bool {
        region.reached(&course.id, Phase::Retire)
    }

    /// The keys that each pod's JWKS must show for a document.
    fn kids(&self, _content: &Content) -> Option<BTreeSet<String>> {
        None
    }

    /// What breaks where the waits are skipped.
    fn breaks(&self, times: Times) -> String;
}

/// A wait, and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// How long, counted from the moment at which every pod was seen to use the document.
    pub long: Duration,
    /// For people: waits `why`.
    pub why: &'static str,
}

impl Wait {
    pub(super) const NONE: Self = Self { long: Duration::ZERO, why: "" };
}

/// The kind of a secret.
pub(super) fn of(kind: SecretKind) -> &'static dyn Kind {
    match kind {
        SecretKind::Value => &value::Value,
        SecretKind::Clients => &clients::Clients,
        SecretKind::Keyset => &keyset::Keyset,
    }
}

/// Whether a phase takes something away that may still be in use where a region is left out.
pub(super) fn takes_away(phase: Phase) -> bool {
    matches!(phase, Phase::Retire | Phase::Remove)
}

/// Whether a phase counts only once every pod uses its document. One that changes nothing but the mark needs none: a
/// rotation is often taken back since pods cannot use what it wrote.
pub(super) fn needs_adoption(phase: Phase) -> bool {
    phase != Phase::Withdraw
}

/// Whether each region's document of a phase comes from its own, and not from another region's.
pub(super) fn of_its_own(kind: SecretKind, phase: Phase) -> bool {
    phase == Phase::Withdraw || (kind == SecretKind::Value && phase == Phase::Return)
}
