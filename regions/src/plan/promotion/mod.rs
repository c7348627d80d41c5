//! What a promotion does next, from how each region stands.
//!
//! A region is promoted to only when every region of the waves before has passed its gates; once anything has failed,
//! nothing is promoted to any more, and what was touched goes back, newest wave first.

pub mod capacity;
pub mod refusal;
pub mod standing;

use serde::Serialize;

/// How a region stands in a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing of the promotion was written there.
    Untouched,
    /// It ran the release already, and has passed its gates in another promotion.
    Runs,
    /// The promotion began there, and the release is not ready.
    Begun,
    /// The release is ready, and its gates have not passed.
    Baking,
    /// Its gates have passed; the promotion is not over.
    Passed,
    /// The promotion is over there, and the release stays.
    Done,
    /// The release is not good, or is not to stay, and must go; why.
    Bad(String),
    /// Something spoke against it before anything was written; why.
    Refused(String),
    /// The former release runs again.
    Undone,
    /// It cannot go back; why.
    Stuck(String),
}

/// What is done next, in which regions, by their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Apply the release, and wait until it is ready.
    Promote(Vec<usize>),
    /// Watch the gates.
    Bake(Vec<usize>),
    /// Put the former release back.
    Undo(Vec<usize>),
    /// Write that the promotion is over.
    Finish(Vec<usize>),
    /// It is over.
    End(End),
}

/// How a promotion ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Every region runs the release, and all gates have passed.
    Done,
    /// Every region ran it already.
    NoChange,
    /// It failed, and every region runs what it ran before.
    Undone,
    /// It failed before any region was touched.
    Refused,
    /// It is not over.
    Incomplete,
}

/// Decides what is done next. `waves` has the places of regions in `standing`, in the order of waves; with `stop`,
/// nothing more is begun.
pub fn next(waves: &[Vec<usize>], standing: &[Standing], stop: bool) -> Next {
    if stop {
        return Next::End(End::Incomplete);
    }
    let are = |wave: &[usize], wanted: &dyn Fn(&Standing) -> bool| -> Vec<usize> {
        wave.iter().copied().filter(|place| standing.get(*place).is_some_and(wanted)).collect()
    };
    if standing.iter().any(Standing::is_failure) {
        for wave in waves.iter().rev() {
            let touched = are(wave, &Standing::must_go);
            if !touched.is_empty() {
                return Next::Undo(touched);
            }
        }
        let is = |wanted: fn(&Standing) -> bool| standing.iter().any(wanted);
        return Next::End(if is(|one| matches!(one, Standing::Stuck(_) | Standing::Done)) {
            End::Incomplete
        } else if is(|one| *one == Standing::Undone) {
            End::Undone
        } else {
            End::Refused
        });
    }
    for wave in waves {
        let waiting = are(wave, &|one| matches!(one, Standing::Untouched | Standing::Begun));
        if !waiting.is_empty() {
            return Next::Promote(waiting);
        }
        let baking = are(wave, &|one| *one == Standing::Baking);
        if !baking.is_empty() {
            return Next::Bake(baking);
        }
    }
    let passed: Vec<usize> =
        waves.iter().flat_map(|wave| are(wave, &|one| *one == Standing::Passed)).collect();
    if !passed.is_empty() {
        return Next::Finish(passed);
    }
    let unchanged = standing.iter().all(|one| *one == Standing::Runs);
    Next::End(if unchanged { End::NoChange } else { End::Done })
}

impl Standing {
    /// Whether it makes the promotion fail.
    fn is_failure(&self) -> bool {
        matches!(self, Self::Bad(_) | Self::Refused(_) | Self::Undone | Self::Stuck(_))
    }

    /// Whether something of a promotion that failed is there and must go.
    fn must_go(&self) -> bool {
        matches!(self, Self::Begun | Self::Baking | Self::Passed | Self::Bad(_))
    }

    /// Why it failed there.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Bad(why) | Self::Refused(why) | Self::Stuck(why) => Some(why),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
