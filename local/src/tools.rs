//! The real programs that a local region is made of.
//!
//! What this machine has on its PATH is preferred. What it lacks is built once, from a pinned Go module
//! under `local/tools/`, into the cache: `${XDG_CACHE_HOME:-~/.cache}/meridian/<part>-<version>/`.

mod build;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The version of Vault that is built where none is on PATH.
pub const VAULT_VERSION: &str = "1.21.0";
/// The oldest Vault on PATH that is used: older ones lack what the tests lean on.
const VAULT_OLDEST: Version = (1, 16);
/// The oldest Go that builds what is pinned here.
const GO_OLDEST: Version = (1, 25);

type Version = (u32, u32);

/// Why a tool could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Go is not there.
    #[error("build {part}: Go {}.{} or newer is needed and `go` is not on PATH; see https://go.dev/doc/install, or put {part} itself on PATH", GO_OLDEST.0, GO_OLDEST.1)]
    NoGo {
        /// What was to be built.
        part: &'static str,
    },
    /// Go is too old.
    #[error("build {part}: Go {}.{} or newer is needed, {} is {found}; see https://go.dev/doc/install, or put {part} itself on PATH", GO_OLDEST.0, GO_OLDEST.1, .go.display())]
    OldGo {
        /// What was to be built.
        part: &'static str,
        /// The program.
        go: PathBuf,
        /// What it said.
        found: String,
    },
    /// The cache cannot be used.
    #[error("{operation} {}", .path.display())]
    Cache {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The build failed.
    #[error("build {part}: `go build` in {} ended with {status}:\n{output}", .folder.display())]
    Build {
        /// What was to be built.
        part: &'static str,
        /// Where.
        folder: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote.
        output: String,
    },
}

/// The program `vault`: the one on PATH when it is 1.16 or newer, otherwise the one in the cache, which is
/// built first where it is missing. That takes 5 to 10 minutes, once; progress goes to standard error.
///
/// # Errors
/// It has to be built and cannot be.
pub fn vault() -> Result<PathBuf, Error> {
    if let Some(found) = on_path("vault")
        && version_of(&found, "version").is_some_and(|(version, _)| version >= VAULT_OLDEST)
    {
        return Ok(found);
    }
    build::cached("vault", VAULT_VERSION, Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/vault")))
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The first version in what a program prints, and all of what it prints.
fn version_of(program: &Path, argument: &str) -> Option<(Version, String)> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some((first_version(&text)?, text.trim().to_owned()))
}

/// Major and minor of the first `1.2` in a text, which may be preceded by letters.
fn first_version(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(|word| {
        let mut numbers = word.trim_start_matches(|letter: char| letter.is_ascii_alphabetic()).split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_programs_print_them() {
        assert_eq!(first_version("Vault v1.21.0, built 2025-11-23T15:20:09Z"), Some((1, 21)));
        assert_eq!(first_version("Vault v1.9.3 (abc)"), Some((1, 9)));
        assert_eq!(first_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(first_version("no version"), None);
        assert!((1, 9) < VAULT_OLDEST && (1, 16) >= VAULT_OLDEST && (2, 0) > VAULT_OLDEST);
    }

    #[test]
    fn vault_can_be_run() {
        let (version, text) = version_of(&vault().unwrap(), "version").unwrap();
        assert!(version >= VAULT_OLDEST && text.starts_with("Vault v"), "{text}");
    }
}
