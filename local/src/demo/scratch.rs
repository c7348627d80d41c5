//! The folder of one run: sockets, configuration, Vaults.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = "meridian-demo-";
/// Locked while its demo lives.
const LOCK: &str = "lock";

/// A folder for its owner alone, removed at the end. It lies under the system's folder for temporary files,
/// since a socket's path may have 107 bytes, and that of a checkout may be long.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes the folder, and removes those of demos that were killed before they could.
    pub(crate) fn make() -> io::Result<Self> {
        let parent = std::env::temp_dir();
        for entry in fs::read_dir(&parent)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_abandoned(&entry.path()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // Locked before it has its name, so that nobody ever finds it unlocked meanwhile.
        let draft = folder.path().join("draft");
        let lock = File::create(&draft)?;
        lock.lock()?;
        fs::rename(draft, folder.path().join(LOCK))?;
        Ok(Scratch { folder, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Whether nobody holds the folder's lock. One without a lock is just being made, or is not ours.
fn is_abandoned(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_kept_while_its_demo_lives_and_removed_by_the_next_when_it_was_killed() {
        let living = Scratch::make().unwrap();
        let Scratch { folder: killed, _lock: lock } = Scratch::make().unwrap();
        let killed = killed.keep();
        drop(lock);
        let next = Scratch::make().unwrap();
        assert!(living.path().is_dir() && next.path().is_dir());
        assert!(!killed.exists());
    }
}
