//! The lowest version of each secret that may be delivered, as the watcher of the region has seen it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use secrets_agent_client::Version;

/// The mounted folder that holds the floors. It is read at each use: mounted ConfigMaps are replaced whole,
/// so a file is always one or the other version.
#[derive(Debug)]
pub(crate) struct Floors {
    folder: Option<PathBuf>,
}

impl Floors {
    /// The floors in `folder`; without one there are none.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Floors { folder }
    }

    /// The floor of a secret, if there is one.
    ///
    /// # Errors
    /// The floor is there and cannot be read. Nothing may be delivered then, since what is above it is not known.
    pub(crate) fn of(&self, name: &str) -> Result<Option<Version>, String> {
        let Some(folder) = &self.folder else { return Ok(None) };
        read(&folder.join(name))
    }
}

fn read(file: &Path) -> Result<Option<Version>, String> {
    match std::fs::read(file) {
        Ok(content) => serde_json::from_slice(&content).map(Some).map_err(|error| {
            format!("{}: expected {{\"version\": N, \"created_time\": \"…\"}} ({error})", file.display())
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_floor_is_none_and_a_broken_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let floors = Floors::new(Some(folder.path().to_owned()));
        assert_eq!(floors.of("config"), Ok(None));
        std::fs::write(
            folder.path().join("config"),
            r#"{"version":7,"created_time":"2026-01-01T00:00:00Z"}"#,
        )
        .unwrap();
        assert_eq!(floors.of("config").unwrap().unwrap().version, 7);
        for broken in ["", "7", r#"{"version":7}"#, r#"{"version":-1,"created_time":"2026-01-01T00:00:00Z"}"#]
        {
            std::fs::write(folder.path().join("config"), broken).unwrap();
            assert!(floors.of("config").unwrap_err().contains("config: expected"), "{broken}");
        }
        assert_eq!(Floors::new(None).of("config"), Ok(None));
    }
}
