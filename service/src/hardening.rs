//! What keeps private keys inside the process.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tracing::warn;

/// Turns core dumps off, and with them the reading of this process's memory by others of its user.
pub fn turn_core_dumps_off() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = setrlimit(Resource::Core, none).and(dumpable) {
        warn!(%error, "core dumps cannot be turned off; a crash may write private keys to disk");
    }
}
