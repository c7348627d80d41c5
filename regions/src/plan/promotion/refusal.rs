//! What speaks against a promotion as a whole before any region is touched, and what to do about it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::plan::record::{Record, State};

/// A time in which nothing is promoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// Why.
    pub why: String,
}

/// What a region of the environment before shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Before {
    /// Its name.
    pub region: String,
    /// Its records, newest first, or why they cannot be read.
    pub records: Result<Vec<Record>, String>,
}

/// A credential that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Where it is for.
    pub region: String,
    /// What it is, such as `the token of context eu`.
    pub what: String,
    /// Its end.
    pub ends: Timestamp,
}

/// Why nothing is promoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The environment is frozen.
    Frozen {
        /// Which.
        environment: String,
        /// The freeze.
        freeze: Freeze,
    },
    /// The environment before has not run the release healthily.
    Unproven {
        /// The environment before.
        environment: String,
        /// Its region.
        region: String,
        /// How the release stands there; nothing where it was never there.
        found: Option<State>,
        /// The release.
        release: String,
    },
    /// It is not known what the environment before has run.
    Unknown {
        /// The environment before.
        environment: String,
        /// Why.
        why: String,
    },
    /// A credential ends before the promotion may.
    Ends {
        /// The credential.
        credential: Credential,
        /// Until when it would be needed.
        needed: Timestamp,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frozen { environment, freeze } => write!(
                f,
                "{environment} is frozen until {}: {}; wait, or promote all the same with --override-freeze \"why\"",
                freeze.until, freeze.why
            ),
            Self::Unproven { environment, region, found, release } => {
                let how = match found {
                    None => "has not run it".to_owned(),
                    Some(State::Applied) => "has it by a rollback alone, which bakes nothing".to_owned(),
                    Some(state) => format!("has it in the state {}, not applied", state.as_str()),
                };
                write!(
                    f,
                    "{environment} comes before, and its region {region} {how}; promote it there first: \
                     regions promote --env {environment} --release {release}, or all the same with --unproven \"why\""
                )
            }
            Self::Unknown { environment, why } => write!(
                f,
                "it is not known whether {environment}, which comes before, has run the release healthily: {why}; promote all the same \
                 with --unproven \"why\""
            ),
            Self::Ends { credential: Credential { region, what, ends }, needed } => write!(
                f,
                "{region}: {what} ends at {ends}, and is needed until {needed}, for a wave and its undo; get a new one, then \
                 run again"
            ),
        }
    }
}

/// The freeze that holds at this moment.
pub fn frozen(environment: &str, freezes: &[Freeze], now: Timestamp) -> Option<Refusal> {
    let holds = |freeze: &&Freeze| freeze.from <= now && now < freeze.until;
    let freeze = freezes.iter().filter(holds).max_by_key(|freeze| freeze.until)?;
    Some(Refusal::Frozen { environment: environment.to_owned(), freeze: freeze.clone() })
}

/// What keeps a release from coming after the environment before: each region there has run it, with its gates
/// passed, whatever it runs by now.
pub fn unproven(environment: &str, regions: &[Before], digest: &str, release: &str) -> Vec<Refusal> {
    let refusal = |before: &Before| {
        let environment = environment.to_owned();
        let records = match &before.records {
            Ok(records) => records,
            Err(why) => return Some(Refusal::Unknown { environment, why: why.clone() }),
        };
        let mut own = records.iter().filter(|record| record.release.digest == digest).peekable();
        let newest = own.peek().map(|record| record.state);
        let proven = own.any(|record| is_proven(records, record));
        let (region, release) = (before.region.clone(), release.to_owned());
        (!proven).then_some(Refusal::Unproven { environment, region, found: newest, release })
    };
    regions.iter().filter_map(refusal).collect()
}

/// Whether a release has baked and passed. A rollback bakes nothing: it proves what the record did that it restored.
fn is_proven(records: &[Record], record: &Record) -> bool {
    let restored = |number| records.iter().find(|other| other.number == number && number < record.number);
    record.state == State::Applied
        && record.restores.is_none_or(|number| restored(number).is_some_and(|one| is_proven(records, one)))
}

/// Credentials that end before a wave, and the undo of all that was touched, may be over.
pub fn ending(credentials: &[Credential], now: Timestamp, needed: SignedDuration) -> Vec<Refusal> {
    let needed = now.checked_add(needed).unwrap_or(Timestamp::MAX);
    let early = credentials.iter().filter(|credential| credential.ends < needed);
    early.map(|credential| Refusal::Ends { credential: credential.clone(), needed }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::record::samples;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn record(digest: &str, state: State) -> Record {
        samples::record(1, samples::release(digest, "1.0.0"), state)
    }

    #[test]
    fn a_freeze_holds_from_its_begin_until_just_before_its_end() {
        let freeze = |from, until| Freeze { from: at(from), until: at(until), why: "holidays".into() };
        let freezes = [
            freeze("2026-12-18T18:00:00Z", "2027-01-04T06:00:00Z"),
            freeze("2026-12-20T00:00:00Z", "2026-12-21T00:00:00Z"),
        ];
        let holds = |now| frozen("production", &freezes, at(now));
        assert_eq!(holds("2026-12-18T17:59:59Z"), None);
        assert_eq!(holds("2027-01-04T06:00:00Z"), None);
        let said = holds("2026-12-20T12:00:00Z").unwrap().to_string();
        assert!(said.contains("frozen until 2027-01-04T06:00:00Z: holidays"), "{said}");
        assert!(said.contains("--override-freeze"), "{said}");
        assert!(holds("2026-12-18T18:00:00Z").is_some());
    }

    #[test]
    fn a_release_comes_only_after_it_was_applied_in_every_region_before() {
        let before = |region: &str, records| Before { region: region.into(), records };
        let unproven = |regions: &[Before]| unproven("qa", regions, "sha256:a", "a.tgz");
        let good =
            before("one", Ok(vec![record("sha256:b", State::Baking), record("sha256:a", State::Applied)]));
        assert_eq!(unproven(std::slice::from_ref(&good)), []);
        // What was promoted again since, and failed then, was healthy all the same.
        let again =
            before("one", Ok(vec![record("sha256:a", State::Undone), record("sha256:a", State::Applied)]));
        assert_eq!(unproven(&[again]), []);
        // A rollback proves no more than what it restored.
        let back = |to, state| {
            let back = Record { number: 3, restores: Some(to), ..record("sha256:a", State::Applied) };
            before("one", Ok(vec![back, Record { number: 2, ..record("sha256:a", state) }]))
        };
        assert_eq!(unproven(&[back(2, State::Applied)]), []);
        for records in [back(2, State::Undone), back(2, State::Failed), back(1, State::Undone)] {
            let said: Vec<String> = unproven(&[records]).iter().map(ToString::to_string).collect();
            assert!(said.len() == 1 && said[0].contains("region one has it by a rollback alone"), "{said:?}");
        }
        let baking = before("two", Ok(vec![record("sha256:a", State::Baking)]));
        let said: Vec<String> =
            unproven(&[good, baking, before("three", Ok(Vec::new())), before("four", Err("away".into()))])
                .iter()
                .map(ToString::to_string)
                .collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("region two has it in the state baking, not applied"), "{said:?}");
        assert!(said[1].contains("region three has not run it"), "{said:?}");
        assert!(said[1].contains("regions promote --env qa --release a.tgz"), "{said:?}");
        assert!(said[2].contains("not known whether qa") && said[2].contains("away"), "{said:?}");
    }

    #[test]
    fn credentials_outlive_a_wave_and_its_undo() {
        let credential = |ends| Credential { region: "eu".into(), what: "the token".into(), ends: at(ends) };
        let credentials = [credential("2026-12-01T01:00:00Z"), credential("2026-12-01T00:59:59Z")];
        let found = ending(&credentials, at("2026-12-01T00:00:00Z"), SignedDuration::from_hours(1));
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().contains("ends at 2026-12-01T00:59:59Z"), "{}", found[0]);
    }
}
