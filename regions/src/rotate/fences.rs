//! What no late write can come over. A request may arrive long after whoever sent it was killed, and then finds the
//! version that it was to be written over still there if nobody has written since. It was sent under the region's lock:
//! so what this run has written is safe from it, unless somebody else has had the lock after that.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// The versions that are safe, by path, of each region.
#[derive(Debug, Default)]
pub(super) struct Fences(RefCell<BTreeMap<String, BTreeMap<String, u64>>>);

impl Fences {
    /// Those of a region.
    pub(super) fn of(&self, region: &str) -> BTreeMap<String, u64> {
        self.0.borrow().get(region).cloned().unwrap_or_default()
    }

    /// Somebody else may have had the lock.
    pub(super) fn lose(&self, region: &str) {
        self.0.borrow_mut().remove(region);
    }

    /// A write is sent: until its answer comes nobody knows when it arrives.
    pub(super) fn sent(&self, region: &str, path: &str) {
        if let Some(fences) = self.0.borrow_mut().get_mut(region) {
            fences.remove(path);
        }
    }

    /// This version was written.
    pub(super) fn written(&self, region: &str, path: &str, version: u64) {
        self.0.borrow_mut().entry(region.to_owned()).or_default().insert(path.to_owned(), version);
    }
}
