//! The catalogue's folder as it is read: which files there are, and what in it is none of the catalogue's.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::{Place, Problem, nearest, quoted};

/// The file of an environment.
pub const ENVIRONMENT_FILE: &str = "_environment.yaml";

/// No file of a catalogue is larger, and none that is larger is read.
const LARGEST: u64 = 16 * 1024;

/// Entries of one folder that are looked at.
const MOST: usize = 1000;

/// What is asked of everything in a catalogue's folder.
const READABLE: &str = "files and folders that can be read";

/// What to do when there is no catalogue.
const NAME_IT: &str = "name the catalogue's folder with --catalogue DIR";

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) environments: Vec<EnvironmentFiles>,
}

/// An environment's folder.
#[derive(Debug)]
pub(super) struct EnvironmentFiles {
    pub(super) name: String,
    pub(super) path: Arc<str>,
    /// Its own file; nothing when it is not there or could not be read, which was told.
    pub(super) own: Option<Content>,
    pub(super) regions: Vec<RegionFiles>,
    /// Whether some file of a region could not be read, which was told.
    pub(super) incomplete: bool,
}

/// A region's file.
#[derive(Debug)]
pub(super) struct RegionFiles {
    pub(super) name: String,
    pub(super) content: Content,
}

/// A file's path and what it holds.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) path: Arc<str>,
    pub(super) bytes: Vec<u8>,
}

/// Reads a catalogue's folder. What cannot be read, and what does not belong there, is in `problems`.
pub(super) fn read(folder: &Path, problems: &mut Vec<Problem>) -> Files {
    let mut files = Files::default();
    let Some(entries) = entries(folder, problems) else {
        problems.iter_mut().for_each(|problem| problem.hint = Some(NAME_IT.into()));
        return files;
    };
    let mut strangers = Vec::new();
    for entry in entries {
        match entry.metadata {
            Ok(metadata) if metadata.is_dir() => {
                files.environments.extend(environment(entry.name, &entry.path, problems));
            }
            Ok(_) => strangers.push((shown(&entry.path), entry.name)),
            Err(error) => problems.push(Problem::new(
                Place::file(&shown(&entry.path)),
                "",
                unreadable(&error),
                READABLE,
            )),
        }
    }
    for (path, name) in strangers {
        let problem = Problem::new(
            Place::file(&path),
            "",
            format!("the file {}", quoted(&name)),
            "a folder for each environment, and nothing else",
        );
        problems.push(if name.ends_with(".yaml") {
            problem.hint("move it into the folder of its environment")
        } else {
            problem
        });
    }
    if files.environments.is_empty() && problems.is_empty() {
        let found = Problem::new(
            Place::file(&shown(folder)),
            "",
            "no environment",
            format!("a folder for each environment, with {ENVIRONMENT_FILE} in it"),
        );
        problems.push(found.hint(NAME_IT));
    }
    files
}

fn environment(name: String, folder: &Path, problems: &mut Vec<Problem>) -> Option<EnvironmentFiles> {
    let entries = entries(folder, problems)?;
    let names: BTreeSet<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    let path = shown(folder);
    let mut files = EnvironmentFiles { name, path, own: None, regions: Vec::new(), incomplete: false };
    let mut own_was_meant = false;
    for entry in &entries {
        match role(entry, &names) {
            Role::Environment => {
                own_was_meant = true;
                files.own = content(entry, problems);
            }
            Role::Region(name) => match content(entry, problems) {
                Some(content) => files.regions.push(RegionFiles { name, content }),
                None => files.incomplete = true,
            },
            Role::None { found, hint, meant } => {
                own_was_meant |= meant == Some(ENVIRONMENT_FILE.to_owned());
                files.incomplete |= meant.is_some();
                let allowed = format!("{ENVIRONMENT_FILE}, and REGION.yaml for each region");
                let place = Place::file(&shown(&entry.path));
                problems.push(Problem { hint, ..Problem::new(place, "", found, allowed) });
            }
        }
    }
    if !own_was_meant {
        let found = format!("no {ENVIRONMENT_FILE}");
        let allowed = format!("{ENVIRONMENT_FILE} in the folder of each environment");
        problems.push(Problem::new(Place::file(&files.path), "", found, allowed));
    }
    Some(files)
}

/// What an entry of an environment's folder is.
enum Role {
    /// The environment's own file.
    Environment,
    /// The file of a region of this name.
    Region(String),
    /// Nothing that belongs there; perhaps another name was meant.
    None { found: String, hint: Option<String>, meant: Option<String> },
}

fn role(entry: &Entry, names: &BTreeSet<String>) -> Role {
    let name = entry.name.as_str();
    if name == ENVIRONMENT_FILE {
        return Role::Environment;
    }
    let (found, meant) = if let Some(stem) = name.strip_suffix(".yml") {
        ("the ending .yml".into(), Some(format!("{}.yaml", stem.trim_start_matches('.'))))
    } else if name.starts_with('.') {
        // Terraform reads every *.yaml, hidden or not.
        ("a hidden file".into(), Some(name.trim_start_matches('.').to_owned()))
    } else if name.starts_with('_') {
        (format!("the name {}", quoted(name)), nearest(name, [ENVIRONMENT_FILE]).map(str::to_owned))
    } else if let Some(stem) = name.strip_suffix(".yaml") {
        return Role::Region(stem.into());
    } else {
        let folder = entry.metadata.as_ref().is_ok_and(Metadata::is_dir);
        (format!("the {} {}", if folder { "folder" } else { "file" }, quoted(name)), None)
    };
    // A file that is there under its right name, too, is not missing.
    let (there, meant): (Vec<_>, Vec<_>) = meant.into_iter().partition(|meant| names.contains(meant));
    let hint = match (there.first(), meant.first()) {
        (Some(there), _) => Some(format!("{there} is there, too: take one of them away")),
        (None, Some(meant)) => Some(format!("rename it to {meant}")),
        (None, None) => None,
    };
    Role::None { found, hint, meant: meant.into_iter().next() }
}

/// An entry of a folder.
struct Entry {
    name: String,
    path: PathBuf,
    /// Of what a link leads to.
    metadata: io::Result<Metadata>,
}

/// The entries of a folder by name, without hidden ones that are no YAML.
fn entries(folder: &Path, problems: &mut Vec<Problem>) -> Option<Vec<Entry>> {
    let names: io::Result<Vec<_>> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).take(MOST + 1).collect());
    let names = match names {
        Ok(names) if names.len() <= MOST => names,
        Ok(_) => {
            let allowed = format!("at most {MOST}");
            let problem =
                Problem::new(Place::file(&shown(folder)), "", format!("more than {MOST} entries"), allowed);
            problems.push(problem.hint("is it the catalogue's folder?"));
            return None;
        }
        Err(error) => {
            problems.push(Problem::new(Place::file(&shown(folder)), "", unreadable(&error), READABLE));
            return None;
        }
    };
    let mut entries = Vec::new();
    for name in names {
        let path = folder.join(&name);
        let Ok(name) = name.into_string() else {
            let allowed = "names of small letters, digits and hyphens";
            problems.push(Problem::new(Place::file(&shown(&path)), "", "a name that is not UTF-8", allowed));
            continue;
        };
        if !name.starts_with('.') || name.ends_with(".yaml") || name.ends_with(".yml") {
            entries.push(Entry { metadata: fs::metadata(&path), name, path });
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Some(entries)
}

/// Reads a file, if it is one and not too large.
fn content(entry: &Entry, problems: &mut Vec<Problem>) -> Option<Content> {
    let path = shown(&entry.path);
    let mut refuse = |found: String, allowed: &str| {
        problems.push(Problem::new(Place::file(&path), "", found, allowed));
        None
    };
    let metadata = match &entry.metadata {
        Ok(metadata) => metadata,
        Err(error) => return refuse(unreadable(error), READABLE),
    };
    // A pipe would never end.
    if !metadata.is_file() {
        return refuse(
            if metadata.is_dir() { "a folder" } else { "something that is no file" }.into(),
            "a file",
        );
    }
    let mut bytes = Vec::new();
    let read = File::open(&entry.path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => refuse(unreadable(&error), READABLE),
        Ok(_) if bytes.len() as u64 > LARGEST => {
            refuse(format!("more than {} KiB", LARGEST / 1024), "a small file of YAML")
        }
        Ok(_) => Some(Content { path, bytes }),
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("what cannot be read: {error}")
}

fn shown(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}
