//! A `keyset`: signing keys. A token that is signed in any region verifies in every region, at every moment.
//!
//! A new key is published everywhere, and signs only once no JWKS without it can be cached any more. The old one is
//! kept until no token of it can be left.

use std::collections::BTreeSet;

use secrets_agent_client::Version;

use super::Request;
use super::facts::{Content, Facts, State};
use super::kind::{Kind, Wait};
use super::mark::{Mark, Phase};
use super::recipe::{Change, Recipe, Source};
use super::standing::{Course, Standing};
use super::times::Times;

#[derive(Debug)]
pub(super) struct Keyset;

impl Kind for Keyset {
    fn forward(&self) -> &'static [Phase] {
        &[Phase::Publish, Phase::Activate, Phase::Retire]
    }

    fn back(&self) -> &'static [Phase] {
        &[Phase::Withdraw, Phase::Return, Phase::Remove]
    }

    fn alike(&self) -> bool {
        true
    }

    fn unfit(&self, content: &Content, _: &Course<'_>) -> Option<String> {
        let published = in_state(content, State::Published)?;
        Some(format!(
            "the key {published} is published in it, and no rotation did that; take it out of the document, or make \
             it the active one by hand"
        ))
    }

    fn recipe(&self, phase: Phase, region: &Standing<'_>, course: &Course<'_>) -> Result<Recipe, String> {
        let mark = Mark::new(&course.id, phase);
        let (version, _) = region.current.ok_or("it has no current version")?;
        let mut sources = vec![region.source(version)];
        let change = match phase {
            Phase::Publish => Change::Publish,
            Phase::Activate => Change::Activate,
            Phase::Retire => Change::Retire,
            // A region has let go of the old key already: there is no way back any more, and this is the way on.
            Phase::Return if course.retired() => {
                sources = vec![course.marked(Phase::Activate)?];
                Change::Same
            }
            Phase::Remove if course.retired() => Change::Retire,
            // Nothing of it has come to any region but the intention to take it back.
            Phase::Return | Phase::Remove if !published(course) => Change::Same,
            Phase::Return => {
                let Pair { old, new } = pair(course)?;
                sources = vec![with_both(&new, region, version, course), private(&old, course)?];
                Change::Reactivate { old, new }
            }
            Phase::Remove => Change::Remove { new: pair(course)?.new },
            Phase::Withdraw => {
                sources = vec![course.withdrawn(region, version)];
                Change::Same
            }
            _ => Change::Same,
        };
        Ok(Recipe { sources, change, mark })
    }

    fn is_blind(&self, phase: Phase, course: &Course<'_>) -> bool {
        phase == Phase::Return && !course.retired() && !published(course)
    }

    fn wait(&self, phase: Phase, course: &Course<'_>, times: Times, _: &Request) -> Wait {
        let token = Wait {
            long: times.token(),
            why: "until no token of the former key is left (token life + leeway + skew)",
        };
        match phase {
            Phase::Publish => Wait {
                long: times.jwks(),
                why: "until nobody holds a JWKS without the new key (max-age + skew)",
            },
            Phase::Activate => token,
            Phase::Return if signed(course) => token,
            _ => Wait::NONE,
        }
    }

    fn lost(&self, there: &Facts, instead: &Facts, course: &Course<'_>) -> Vec<String> {
        let (Content::Keys(there), Content::Keys(instead)) = (&there.content, &instead.content) else {
            return vec!["a document that cannot be read".into()];
        };
        // A key that is only published has signed nothing, and never has where no version knows it in another state.
        let has_signed = |kid: &str| course.regions.iter().any(|region| region.may_have_used(kid, course));
        let used = there.iter().filter(|(kid, key)| key.state != State::Published || has_signed(kid));
        let lost = used.filter(|(kid, _)| !instead.contains_key(*kid));
        lost.map(|(kid, key)| format!("the key {kid} ({})", key.state.as_str())).collect()
    }

    fn kids(&self, content: &Content) -> Option<BTreeSet<String>> {
        match content {
            Content::Keys(keys) => Some(keys.keys().cloned().collect()),
            _ => None,
        }
    }

    fn breaks(&self, times: Times) -> String {
        format!(
            "tokens of the former key stop verifying before they end (up to {} s from now), and tokens of the new one \
             do not verify for whoever still holds a JWKS without it (up to {} s)",
            times.token().as_secs(),
            times.jwks().as_secs()
        )
    }
}

fn in_state(content: &Content, state: State) -> Option<String> {
    let Content::Keys(keys) = content else { return None };
    keys.iter().find(|(_, key)| key.state == state).map(|(kid, _)| kid.clone())
}

/// Whether the new key is, or was, in any region's document.
fn published(course: &Course<'_>) -> bool {
    let told = [Phase::Publish, Phase::Activate, Phase::Return]
        .into_iter()
        .any(|phase| course.marked(phase).is_ok());
    told || told_by(course, Phase::Withdraw, State::Published).is_some()
}

/// The key that signed before the rotation, and the one that it made.
struct Pair {
    old: String,
    new: String,
}

/// Both, by the version in which the new one was published. Where that one is gone, what came of it on the way back
/// still tells.
fn pair(course: &Course<'_>) -> Result<Pair, String> {
    told_by(course, Phase::Publish, State::Published)
        .or_else(|| told_by(course, Phase::Return, State::Retiring))
        .or_else(|| told_by(course, Phase::Withdraw, State::Published))
        .ok_or_else(|| {
            "the version in which the new key was published is gone from every region, so it cannot be taken back"
                .to_owned()
        })
}

/// Both, by a version of a phase in which the old one signs and the new one is in a state. One in which that is the only key
/// in it comes first: what somebody put beside it is in later ones.
fn told_by(course: &Course<'_>, phase: Phase, new: State) -> Option<Pair> {
    let mark = Mark::new(&course.id, phase);
    let told = |only: bool| {
        let mut versions = course.regions.iter().flat_map(|region| region.stored().history());
        versions.find_map(|(_, facts)| {
            facts.mark.as_ref().filter(|own| **own == mark)?;
            if only && count(&facts.content, new) > 1 {
                return None;
            }
            Some(Pair { old: in_state(&facts.content, State::Active)?, new: in_state(&facts.content, new)? })
        })
    };
    told(true).or_else(|| told(false))
}

/// How many keys are in a state.
fn count(content: &Content, state: State) -> usize {
    match content {
        Content::Keys(keys) => keys.values().filter(|key| key.state == state).count(),
        _ => 0,
    }
}

/// A document that has the new key, wherever one is: a key that may have signed is kept.
fn with_both(new: &str, region: &Standing<'_>, version: Version, course: &Course<'_>) -> Source {
    let has = |other: &&Standing<'_>| {
        other.current.is_some_and(|(_, facts)| match &facts.content {
            Content::Keys(keys) => keys.contains_key(new),
            _ => false,
        })
    };
    let found = course.regions.iter().find(has);
    let found = found.and_then(|other| other.current.map(|(version, _)| other.source(version)));
    found.unwrap_or_else(|| region.source(version))
}

/// A version with the private part of a key.
fn private(kid: &str, course: &Course<'_>) -> Result<Source, String> {
    let holds = |facts: &Facts| match &facts.content {
        Content::Keys(keys) => keys.get(kid).is_some_and(|key| key.private),
        _ => false,
    };
    let found = course.regions.iter().find_map(|region| {
        let (version, _) = region.stored().history().find(|(_, facts)| holds(facts))?;
        Some(region.source(version))
    });
    found.ok_or_else(|| format!("the private part of the key {kid} is gone from every region"))
}

/// Whether the new key may have signed anything: wherever the rotation went on from publishing it.
fn signed(course: &Course<'_>) -> bool {
    // What cannot be told counts as so.
    let Ok(Pair { new, .. }) = pair(course) else { return true };
    if course.forgotten() {
        return true;
    }
    course.regions.iter().any(|region| {
        let mut own = region.stored().history().filter(|(_, facts)| course.wrote(facts));
        own.any(|(_, facts)| in_state(&facts.content, State::Active).is_some_and(|active| active == new))
    })
}
