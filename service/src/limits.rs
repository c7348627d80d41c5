//! Limits that the system puts on the process: no core dumps, and enough open files.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use tracing::warn;

/// Turns core dumps off, and with them the reading of this process's memory by others of its user: it
/// holds private keys.
pub fn turn_core_dumps_off() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = setrlimit(Resource::Core, none).and(dumpable) {
        warn!(%error, "core dumps cannot be turned off; a crash may write private keys to disk");
    }
}

/// Files that are open beside connections, with room to spare.
const OTHER_FILES: u64 = 64;

/// Raises the number of files that may be open to what the system allows, and says if that is too few
/// for `connections`.
pub fn allow_connections(connections: usize) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!(%error, "the limit of open files cannot be raised");
    }
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    if let Some(allowed) = getrlimit(Resource::Nofile).current.filter(|allowed| *allowed < wanted) {
        warn!(allowed, wanted, "the system allows fewer open files than http.max_connections needs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_what_is_allowed() {
        allow_connections(1);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
