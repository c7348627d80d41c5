//! The catalogue's folder as it is read: which files there are, and what in it is none of the catalogue's.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::{Place, Problem, nearest, quoted};

/// The file of an environment.
pub const ENVIRONMENT_FILE: &str = "_environment.yaml";

/// No file of a catalogue is larger, and none that is larger is read.
const LARGEST: u64 = 64 * 1024;

/// Entries of one folder that are looked at.
const MOST: usize = 1000;

/// What is asked of everything in a catalogue's folder.
const READABLE: &str = "files and folders that can be read";

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
    let Some(entries) = entries(folder, problems) else { return files };
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
        problems.push(found.hint("name the catalogue's folder with --catalogue DIR"));
    }
    files
}

fn environment(name: String, folder: &Path, problems: &mut Vec<Problem>) -> Option<EnvironmentFiles> {
    let path = shown(folder);
    let entries = entries(folder, problems)?;
    let mut own = None;
    let mut own_is_there = false;
    let mut regions = Vec::new();
    let mut incomplete = false;
    let mut refuse = |path: &Path, found: String, hint: Option<String>| {
        let allowed = format!("{ENVIRONMENT_FILE}, and REGION.yaml for each region");
        problems.push(Problem { hint, ..Problem::new(Place::file(&shown(path)), "", found, allowed) });
    };
    let mut readable = Vec::new();
    for entry in entries {
        let name = entry.name.as_str();
        if name == ENVIRONMENT_FILE {
            own_is_there = true;
            readable.push((entry, true));
        } else if let Some(stem) = name.strip_suffix(".yml") {
            incomplete = true;
            refuse(&entry.path, "the ending .yml".into(), Some(format!("rename it to {stem}.yaml")));
        } else if let Some(hidden) = name.strip_prefix('.') {
            // Terraform reads every *.yaml.
            refuse(
                &entry.path,
                "a hidden file".into(),
                Some(format!("rename it to {hidden}, or take it away")),
            );
        } else if name.starts_with('_') {
            let near = nearest(name, [ENVIRONMENT_FILE]).map(|near| format!("did you mean {near}?"));
            refuse(&entry.path, format!("the name {}", quoted(name)), near);
        } else if name.ends_with(".yaml") {
            readable.push((entry, false));
        } else {
            let folder = entry.metadata.as_ref().is_ok_and(Metadata::is_dir);
            let found = format!("the {} {}", if folder { "folder" } else { "file" }, quoted(name));
            refuse(&entry.path, found, None);
        }
    }
    for (entry, is_own) in readable {
        match content(&entry, problems) {
            Some(content) if is_own => own = Some(content),
            Some(content) => {
                let name = entry.name.strip_suffix(".yaml").unwrap_or(&entry.name).to_owned();
                regions.push(RegionFiles { name, content });
            }
            None => incomplete |= !is_own,
        }
    }
    if !own_is_there {
        let problem = Problem::new(
            Place::file(&path),
            "",
            format!("no {ENVIRONMENT_FILE}"),
            format!("{ENVIRONMENT_FILE} in the folder of each environment"),
        );
        problems.push(problem);
    }
    Some(EnvironmentFiles { name, path, own, regions, incomplete })
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
