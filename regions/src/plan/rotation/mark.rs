//! Which rotation a version belongs to, and which phase of it: the key names of `rotation` in each document.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Key of a document that is a rotation's own.
pub const ROTATION: &str = "rotation";

/// Most bytes of a rotation's id.
const LONGEST: usize = 64;

/// A phase of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The new document takes the place of the former.
    Write,
    /// What is new is taken beside what was there.
    Publish,
    /// What is new is used.
    Activate,
    /// Clients find their new secrets.
    Hand,
    /// What was there before is gone.
    Retire,
    /// Nothing has changed but the mark: a write of the way forward that comes late is refused from here on.
    Withdraw,
    /// What was there before is used again.
    Return,
    /// What was new is gone.
    Remove,
}

impl Phase {
    const ALL: [Self; 8] = [
        Self::Write,
        Self::Publish,
        Self::Activate,
        Self::Hand,
        Self::Retire,
        Self::Withdraw,
        Self::Return,
        Self::Remove,
    ];

    /// As in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Publish => "publish",
            Self::Activate => "activate",
            Self::Hand => "hand",
            Self::Retire => "retire",
            Self::Withdraw => "withdraw",
            Self::Return => "return",
            Self::Remove => "remove",
        }
    }

    /// From a document's key name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The rotation that wrote a version, and the phase in which it did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// The rotation's id.
    pub id: String,
    /// The phase. A name that no phase has is one of another version of this program, or of a person.
    pub phase: String,
}

impl Mark {
    /// The mark of a phase.
    pub fn new(id: &str, phase: Phase) -> Self {
        Self { id: id.to_owned(), phase: phase.as_str().to_owned() }
    }

    /// The phase, where it is one that this program knows.
    pub fn phase(&self) -> Option<Phase> {
        Phase::named(&self.phase)
    }

    /// The mark in a document, or in its subkeys, which have the same names and no values. Nothing where it was
    /// written by hand.
    pub fn of(document: &Value) -> Option<Self> {
        let mut ids = document[ROTATION].as_object()?.iter();
        let (id, phases) = ids.next().filter(|_| ids.next().is_none())?;
        let mut phases = phases.as_object()?.keys();
        let phase = phases.next().filter(|_| phases.next().is_none())?;
        Some(Self { id: id.clone(), phase: phase.clone() })
    }

    /// Puts the mark into a document, in the place of any other.
    pub fn put(&self, document: &mut Value) {
        document[ROTATION] = json!({self.id.as_str(): {self.phase.as_str(): ""}});
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.phase)
    }
}

/// Whether this can be a rotation's id: it stands in documents, in `custom_metadata` and on terminals.
pub fn is_id(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_from_documents_and_from_subkeys_and_nothing_else_is_one() {
        let mark = Mark::new("r-1", Phase::Publish);
        let mut document = json!({"a": 1, "rotation": {"r-0": {"retire": ""}}});
        mark.put(&mut document);
        assert_eq!(document, json!({"a": 1, "rotation": {"r-1": {"publish": ""}}}));
        assert_eq!(Mark::of(&document), Some(mark.clone()));
        assert_eq!(Mark::of(&json!({"rotation": {"r-1": {"publish": null}}})), Some(mark));
        for other in [
            json!({}),
            json!({"rotation": null}),
            json!({"rotation": {}}),
            json!({"rotation": {"r": {}}}),
            json!({"rotation": {"r": ""}}),
            json!({"rotation": {"r": {"a": ""}, "s": {"b": ""}}}),
            json!({"rotation": {"r": {"a": "", "b": ""}}}),
        ] {
            assert_eq!(Mark::of(&other), None, "{other}");
        }
    }

    #[test]
    fn each_phase_has_a_name_of_its_own() {
        for phase in Phase::ALL {
            assert_eq!(Phase::named(phase.as_str()), Some(phase));
        }
        assert_eq!(Phase::named("Publish"), None);
    }

    #[test]
    fn an_id_can_stand_anywhere() {
        assert!(is_id("signing-keys-20261125T194500Z-1f") && is_id("a"));
        for wrong in ["", "a b", "a,b", "ä", &"x".repeat(65), "a\n"] {
            assert!(!is_id(wrong), "{wrong:?}");
        }
    }
}
