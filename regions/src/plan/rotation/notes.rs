//! What a rotation keeps beside a secret, in its `custom_metadata`: whether a phase has come to every pod, and when;
//! which rotation ended; and how long tokens could live.
//!
//! `custom_metadata` knows no check-and-set, and a write of it may come late. So each note says what it is about, and
//! counts for nothing else: a note that comes late is passed over, and is written again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use secrets_agent_client::Version;
use serde_json::{Map, Value};

use crate::plan::vault::members;

use super::times::{Former, Times};

const BARRIER: &str = "barrier";
const ENDED: &str = "ended";
const CEILINGS: &str = "ceilings";
const FORMER: &str = "ceilings-former";
const RESTORED: &str = "restored";

/// That every pod of the region uses a version, since this moment of the Vault's clock at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The version.
    pub version: Version,
    /// The moment.
    pub at: Timestamp,
}

/// The rotation that ended last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// Number of the version with which it did.
    pub version: u64,
    /// When, by the Vault's clock.
    pub at: Timestamp,
}

/// Everything that stands beside a secret.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notes {
    /// The last barrier.
    pub barrier: Option<Barrier>,
    /// The rotation that ended last.
    pub ended: Option<Ended>,
    /// The ceilings that the region was last known to have.
    pub ceilings: Option<Times>,
    /// Higher ones that it had before.
    pub former: Option<Former>,
    /// Names of regions.
    pub members: BTreeSet<String>,
    /// The rotation during which the Vault was restored from a snapshot: what it had done here is not known.
    pub restored: Option<String>,
}

impl Notes {
    /// From `custom_metadata`. What cannot be read counts as not there.
    pub fn read(custom: &Map<String, Value>) -> Self {
        let words = |key: &str| -> Vec<&str> {
            custom.get(key).and_then(Value::as_str).map(|text| text.split(' ').collect()).unwrap_or_default()
        };
        let barrier = match words(BARRIER)[..] {
            [version, created, at] => barrier(version, created, at),
            _ => None,
        };
        let ended = match words(ENDED)[..] {
            [id, version, at] => match (version.parse(), at.parse()) {
                (Ok(version), Ok(at)) => Some(Ended { id: id.to_owned(), version, at }),
                _ => None,
            },
            _ => None,
        };
        let former = words(FORMER);
        let former = former.split_last().and_then(|(until, times)| {
            Some(Former { times: Times::read(times)?, until: until.parse().ok()? })
        });
        Self {
            barrier,
            ended,
            ceilings: Times::read(&words(CEILINGS)),
            former,
            members: members::read(&Value::Object(custom.clone())),
            restored: custom.get(RESTORED).and_then(Value::as_str).map(str::to_owned),
        }
    }
}

fn barrier(version: &str, created: &str, at: &str) -> Option<Barrier> {
    let version = Version { version: version.parse().ok()?, created_time: created.parse().ok()? };
    Some(Barrier { version, at: at.parse().ok()? })
}

/// Something that is noted.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// Every pod of the region uses this version; since when, where that is not now: what says the same was there
    /// before.
    Barrier(Version, Option<Timestamp>),
    /// A rotation has ended, with the version of this number.
    Ended(String, u64),
    /// The region's ceilings, and those that it had before.
    Ceilings(Times, Option<Former>),
    /// Names of regions.
    Members(BTreeSet<String>),
    /// That the Vault was restored while a rotation was under way.
    Restored(String),
}

impl Note {
    /// What `custom_metadata` is merged with, at this moment of the Vault's clock.
    pub fn entries(&self, now: Timestamp) -> Map<String, Value> {
        let entry = |key: &str, text: String| Map::from_iter([(key.to_owned(), Value::String(text))]);
        match self {
            Self::Barrier(Version { version, created_time }, since) => {
                entry(BARRIER, format!("{version} {created_time} {}", since.unwrap_or(now)))
            }
            Self::Ended(id, version) => {
                let mut entries = entry(ENDED, format!("{id} {version} {now}"));
                entries.insert(RESTORED.into(), Value::Null);
                entries
            }
            Self::Ceilings(times, former) => {
                let mut entries = entry(CEILINGS, times.to_string());
                let former = former.map(|Former { times, until }| format!("{times} {until}"));
                entries.insert(FORMER.into(), former.map_or(Value::Null, Value::String));
                entries
            }
            Self::Members(names) => members::write(names),
            Self::Restored(id) => entry(RESTORED, id.clone()),
        }
    }

    /// In a word, for people.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Barrier(..) => "that every pod uses it",
            Self::Ended(..) => "that the rotation has ended",
            Self::Ceilings(..) => "the ceilings of its tokens",
            Self::Members(_) => "the names of all regions",
            Self::Restored(_) => "that its Vault was restored",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_noted_is_read_again() {
        let now = at("2026-11-25T19:46:00Z");
        let version = Version { version: 12, created_time: at("2026-11-25T19:45:00.123456789Z") };
        let times = Times::all(Duration::from_secs(3));
        let former = Former { times: Times::all(Duration::from_secs(9)), until: at("2026-11-25T20:00:00Z") };
        let members = ["eu".to_owned(), "us".to_owned()].into();
        let mut custom = Map::new();
        for note in
            [Note::Members(members), Note::Ceilings(times, Some(former)), Note::Barrier(version, None)]
        {
            custom.extend(note.entries(now));
        }
        let notes = Notes::read(&custom);
        assert_eq!(notes.barrier, Some(Barrier { version, at: now }));
        assert_eq!((notes.ceilings, notes.former), (Some(times), Some(former)));
        assert_eq!(notes.members, ["eu".to_owned(), "us".to_owned()].into());
        assert_eq!(notes.ended, None);
        custom.extend(Note::Ended("r-1".into(), 12).entries(now));
        custom.retain(|_, value| !value.is_null());
        let notes = Notes::read(&custom);
        assert_eq!(notes.ended, Some(Ended { id: "r-1".into(), version: 12, at: now }));
        assert!(custom.values().all(|value| value.as_str().unwrap().len() <= 512));
    }

    #[test]
    fn what_a_person_wrote_there_is_passed_over() {
        for custom in [
            json!({"barrier": "soon", "ended": "x", "ceilings": "1h", "ceilings-former": ""}),
            json!({"barrier": "1 2026-11-25 now", "ended": "a b c", "ceilings": 1, "ceilings-former": "a b c d e"}),
        ] {
            assert_eq!(Notes::read(custom.as_object().unwrap()), Notes::default());
        }
    }
}
