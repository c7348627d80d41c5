//! What a schema of one value cannot say: relations between values, files and environments.

mod across;
mod environment;
mod region;

use std::sync::Arc;

use super::draft::Draft;
use super::problem::Problem;
use super::region::Drafted;

/// An environment on its way.
#[derive(Debug)]
pub(super) struct EnvironmentDraft {
    pub(super) name: String,
    /// Its folder.
    pub(super) path: Arc<str>,
    /// Its own file; nothing when it could not be read, which was told.
    pub(super) own: Option<Draft>,
    /// Its regions by name; nothing for one that could not be read, which was told.
    pub(super) regions: Vec<(String, Arc<str>, Option<Draft>)>,
    /// Whether a region may be there that could not be read, which was told.
    pub(super) incomplete: bool,
}

impl EnvironmentDraft {
    /// Its regions that could be read.
    pub(super) fn drafted(&self) -> impl Iterator<Item = Drafted<'_>> {
        self.regions.iter().filter_map(|(name, _, own)| {
            let own = own.as_ref()?;
            Some(Drafted { name, environment: &self.name, own, shared: self.own.as_ref() })
        })
    }
}

/// Checks all rules.
pub(super) fn check(environments: &[EnvironmentDraft], problems: &mut Vec<Problem>) {
    for environment in environments {
        environment::check(environment, problems);
        for (name, file, own) in &environment.regions {
            region::check_name(environment, name, file, problems);
            if let Some(own) = own {
                region::check_length(own, problems);
            }
        }
        for drafted in environment.drafted() {
            region::check(&drafted, problems);
        }
        across::within(environment, problems);
    }
    across::between(environments, problems);
}
