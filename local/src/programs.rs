//! The programs of this workspace, as they were built beside the one that asks.

use std::io;
use std::path::{Path, PathBuf};

/// Why a program of the workspace could not be found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not built.
    #[error("find the program {name}: {} does not exist; run `cargo build --workspace` (with the same profile) first", .path.display())]
    Missing {
        /// The program's name.
        name: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// The folder of the running program cannot be told.
    #[error("find the program {name}: this program's own folder is unknown")]
    Nowhere {
        /// The program's name.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The file of a program of this workspace, such as `secrets-agent`: beside the running program, or one
/// folder above where that is a test. A test whose intermediate files are kept elsewhere (Cargo's `build.build-dir`)
/// finds it in the folder `target` of this checkout.
///
/// # Errors
/// It was not built.
pub fn program(name: &str) -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(|source| Error::Nowhere { name: name.to_owned(), source })?;
    let folder = own.parent().unwrap_or(&own);
    let mut path = folder.join(name);
    if folder.ends_with("deps") || folder.ends_with("examples") {
        let profile = folder.parent().unwrap_or(folder);
        path = profile.join(name);
        if let (false, Some(profile)) = (path.is_file(), profile.file_name()) {
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
            path = target.join(profile).join(name);
        }
    }
    if path.is_file() { Ok(path) } else { Err(Error::Missing { name: name.to_owned(), path }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_built_is_named_with_what_to_do() {
        let error = program("no-such-program").unwrap_err().to_string();
        assert!(error.contains("no-such-program does not exist; run `cargo build --workspace`"), "{error}");
        assert!(!error.contains("/deps/"), "{error}");
    }
}
