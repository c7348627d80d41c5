//! A `value`: one document that is replaced whole.

use secrets_agent_client::Version;

use super::Request;
use super::kind::{Kind, Wait};
use super::mark::{Mark, Phase};
use super::recipe::{Change, Recipe};
use super::standing::{Course, Standing};
use super::times::Times;

#[derive(Debug)]
pub(super) struct Value;

/// What a region goes back to: what it had before the rotation came to it, and not what somebody wrote over that since.
/// Where that is gone, somebody has written it again.
fn former(region: &Standing<'_>, course: &Course<'_>) -> Option<Version> {
    let before = region.came(course).and_then(|(_, before)| before);
    let former = before.or_else(|| region.stored().history().find(|(_, facts)| !course.wrote(facts)));
    former.map(|(version, _)| version)
}

impl Kind for Value {
    fn forward(&self) -> &'static [Phase] {
        &[Phase::Write]
    }

    fn back(&self) -> &'static [Phase] {
        &[Phase::Return]
    }

    fn alike(&self) -> bool {
        false
    }

    fn recipe(&self, phase: Phase, region: &Standing<'_>, course: &Course<'_>) -> Result<Recipe, String> {
        let mark = Mark::new(&course.id, phase);
        if phase == Phase::Write {
            let change = if course.request.generates() { Change::Value } else { Change::Replace };
            let sources = region.current.map(|(version, _)| region.source(version)).into_iter().collect();
            return Ok(Recipe { sources, change, mark });
        }
        // Where nothing is left to go back to, what is there stays, if that is what is asked for.
        let stays = region.current.filter(|_| course.request.overwrite.contains(region.name()));
        let to = former(region, course).or(stays.map(|(version, _)| version)).ok_or_else(|| {
            format!("{}: no former version of it is left to go back to; write it again", region.name())
        })?;
        Ok(Recipe { sources: vec![region.source(to)], change: Change::Same, mark })
    }

    fn has_let_go(&self, region: &Standing<'_>, course: &Course<'_>) -> bool {
        region.came(course).is_some() && former(region, course).is_none()
    }

    fn wait(&self, phase: Phase, _: &Course<'_>, times: Times, request: &Request) -> Wait {
        if phase != Phase::Write {
            return Wait::NONE;
        }
        Wait {
            long: request.grace.unwrap_or(times.leeway + times.skew),
            why: "before the former version is destroyed (grace)",
        }
    }

    fn breaks(&self, _: Times) -> String {
        "whatever still uses the former value when the last pod has taken the new one fails at once".into()
    }
}
