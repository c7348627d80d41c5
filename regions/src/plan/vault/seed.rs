//! Whether a secret is copied into a new region's Vault.
//!
//! A bootstrap notes, before it writes a secret, which version that write will be. A run that comes after one
//! that was killed so tells what that one wrote from what a person did.

use serde_json::Value;

use super::documents::difference;
use crate::catalogue::types::SecretKind;

/// What the new region has of a secret.
#[derive(Debug, Clone, Copy, Default)]
pub struct There<'a> {
    /// Number of the current version, 0 where there is none.
    pub version: u64,
    /// The document, where there is one that can be read.
    pub document: Option<&'a Value>,
    /// The newest version that a bootstrap noted as its own.
    pub noted: Option<u64>,
}

/// What is done about a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is there already.
    Keep,
    /// It is written over this version.
    Write {
        /// The version that must still be current; 0 for none.
        over: u64,
    },
    /// It is somebody else's.
    Refuse(String),
}

/// Decides about one secret. `from` is the region that it would be copied from, `to` the new one.
pub fn decide(kind: SecretKind, (from, source): (&str, &Value), (to, there): (&str, There<'_>)) -> Decision {
    if there.document == Some(source) {
        return Decision::Keep;
    }
    let own = there.noted.is_some_and(|noted| there.version <= noted);
    if there.version == 0 || own {
        return Decision::Write { over: there.version };
    }
    Decision::Refuse(match there.document {
        None => format!("version {} in {to} was deleted by somebody", there.version),
        Some(document) => {
            let what = difference(kind, (from, source), (to, document));
            what.unwrap_or_else(|| format!("not the same in {from} and {to}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn decided(version: u64, document: Option<&Value>, noted: Option<u64>) -> Decision {
        let there = There { version, document, noted };
        decide(SecretKind::Value, ("eu", &json!({"a": 1})), ("ap", there))
    }

    #[test]
    fn what_is_there_already_is_kept_whoever_wrote_it() {
        assert_eq!(decided(7, Some(&json!({"a": 1})), None), Decision::Keep);
    }

    #[test]
    fn nothing_of_somebody_elses_is_overwritten() {
        let other = json!({"a": 2});
        assert_eq!(decided(1, Some(&other), Some(1)), Decision::Write { over: 1 });
        assert_eq!(decided(2, Some(&other), Some(1)), Decision::Refuse("not the same in eu and ap".into()));
        assert_eq!(decided(1, Some(&other), None), Decision::Refuse("not the same in eu and ap".into()));
        let deleted = Decision::Refuse("version 2 in ap was deleted by somebody".into());
        assert_eq!(decided(2, None, None), deleted);
    }

    proptest! {
        #[test]
        fn what_is_written_over_was_noted(version in 0u64..5, noted in prop::option::of(0u64..5), same: bool) {
            let document = json!({"a": i32::from(same)});
            let decision = decided(version, (version > 0).then_some(&document), noted);
            if let Decision::Write { over } = decision {
                prop_assert_eq!(over, version);
                prop_assert!(version == 0 || noted.is_some_and(|noted| version <= noted));
            }
        }
    }
}
