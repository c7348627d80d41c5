//! The catalogue: environments, the regions of each, and everything that is derived from them.
//!
//! A region is one file, which Terraform and Helm read too. [`Catalogue::load`] reads and checks all of it, and
//! gives either a catalogue in which nothing is wrong or everything that is.

mod draft;
mod files;
mod modeline;
pub mod problem;
pub mod region;
mod rules;
mod scalar;
pub mod schema;
mod shape;
pub mod text;
mod tree;
pub mod types;

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use draft::{Draft, impossible};
use files::{Content, Files};
use problem::{Invalid, Problem, nearest};
use region::Region;
use rules::EnvironmentDraft;
use text::WaveName;
use types::EnvironmentFile;

pub use files::ENVIRONMENT_FILE;

/// A catalogue in which nothing is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Catalogue {
    environments: Vec<Environment>,
}

/// An environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Environment {
    /// Its name: its folder's.
    pub name: String,
    /// Its file, as a path that starts with the catalogue's folder as it was given.
    pub file: String,
    /// What its file says.
    pub settings: EnvironmentFile,
    /// Its regions, by name.
    pub regions: Vec<Region>,
    #[serde(skip)]
    text: String,
    #[serde(skip)]
    said: Map<String, Value>,
}

/// Regions that are promoted to at the same time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Wave<'a> {
    /// Its name.
    pub name: &'a WaveName,
    /// Its regions, by name; at least one.
    pub regions: Vec<&'a Region>,
}

/// A name that is not in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} {name}{place}{}; there {} {}", .near.as_ref().map(|near| format!(" (did you mean {near}?)")).unwrap_or_default(), if .known.len() == 1 { "is" } else { "are" }, .known.join(", "))]
pub struct Unknown {
    what: &'static str,
    name: String,
    place: String,
    near: Option<String>,
    known: Vec<String>,
}

impl Catalogue {
    /// Reads and checks a catalogue's folder, without any network.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(folder: &Path) -> Result<Self, Invalid> {
        let mut problems = Vec::new();
        let files = files::read(folder, &mut problems);
        check(files, &Path::is_file, problems)
    }

    /// The environments in the order of promotion.
    pub fn environments(&self) -> &[Environment] {
        &self.environments
    }

    /// An environment by its name.
    ///
    /// # Errors
    /// When there is none; the error names those that there are.
    pub fn environment(&self, name: &str) -> Result<&Environment, Unknown> {
        find(&self.environments, name, "environment", "", |environment| &environment.name)
    }

    /// That no environment has a region of this name.
    pub fn no_region(&self, name: &str) -> Unknown {
        let regions = self.environments.iter().flat_map(|environment| &environment.regions);
        let known = regions.map(|region| format!("{}/{}", region.environment, region.name)).collect();
        Unknown { what: "region", name: name.into(), place: String::new(), near: None, known }
    }

    /// The environment that a release is promoted to next, if any.
    pub fn after(&self, environment: &Environment) -> Option<&Environment> {
        self.environments.iter().find(|other| other.settings.order > environment.settings.order)
    }

    /// The environment that a release must have been promoted to before, if any.
    pub fn before(&self, environment: &Environment) -> Option<&Environment> {
        self.environments.iter().rev().find(|other| other.settings.order < environment.settings.order)
    }
}

impl Environment {
    /// A region by its name.
    ///
    /// # Errors
    /// When there is none; the error names those that there are.
    pub fn region(&self, name: &str) -> Result<&Region, Unknown> {
        find(&self.regions, name, "region", &format!(" in {}", self.name), |region| &region.name)
    }

    /// Its waves in the order in which they are promoted to.
    pub fn waves(&self) -> Vec<Wave<'_>> {
        let regions = |name: &WaveName| self.regions.iter().filter(|region| region.wave == *name).collect();
        self.settings.waves.iter().map(|name| Wave { name, regions: regions(name) }).collect()
    }

    /// The Workload Identity pool of its project.
    pub fn workload_identity_pool(&self) -> String {
        format!("{}.svc.id.goog", self.settings.project)
    }

    /// What its file says, as values.
    pub fn said(&self) -> &Map<String, Value> {
        &self.said
    }

    /// What its file says, as it stands.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn find<'a, T>(
    all: &'a [T],
    name: &str,
    what: &'static str,
    place: &str,
    name_of: impl Fn(&T) -> &String,
) -> Result<&'a T, Unknown> {
    all.iter().find(|one| name_of(one) == name).ok_or_else(|| {
        let known: Vec<String> = all.iter().map(|one| name_of(one).clone()).collect();
        let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
        Unknown { what, name: name.into(), place: place.into(), near, known }
    })
}

/// Checks what was read. `is_file` tells whether there is a file at a path.
fn check(
    files: Files,
    is_file: &dyn Fn(&Path) -> bool,
    mut problems: Vec<Problem>,
) -> Result<Catalogue, Invalid> {
    let mut drafts = Vec::new();
    for environment in files.environments {
        let mut read = |content: &Content, schema| Draft::read(content, schema, is_file, &mut problems);
        let own = environment.own.as_ref().and_then(|content| read(content, &schema::ENVIRONMENT));
        let regions = environment.regions.into_iter().map(|region| {
            let own = read(&region.content, &schema::REGION);
            (region.name, region.content.path, own)
        });
        drafts.push(EnvironmentDraft {
            regions: regions.collect(),
            name: environment.name,
            path: environment.path,
            own,
            incomplete: environment.incomplete,
        });
    }
    rules::check(&drafts, &mut problems);
    if !problems.is_empty() {
        return Err(Invalid::new(problems));
    }
    let mut environments: Vec<Environment> =
        drafts.iter().filter_map(|draft| finish(draft, &mut problems)).collect();
    if !problems.is_empty() {
        return Err(Invalid::new(problems));
    }
    environments.sort_by_key(|environment| environment.settings.order);
    Ok(Catalogue { environments })
}

/// An environment in which nothing is wrong, as types.
fn finish(draft: &EnvironmentDraft, problems: &mut Vec<Problem>) -> Option<Environment> {
    let own = draft.own.as_ref()?;
    let regions = draft.drafted().filter_map(|drafted| {
        let region = drafted.region();
        if region.is_none() {
            problems.push(impossible(&drafted.own.file, "a region without what it needs"));
        }
        region
    });
    let regions = regions.collect();
    Some(Environment {
        name: draft.name.clone(),
        file: own.file.to_string(),
        settings: own.whole(problems)?,
        regions,
        text: own.text.clone(),
        said: own.said().clone(),
    })
}
