//! Memory that is not swapped, not dumped, and wiped when it is let go.
#![allow(
    unsafe_code,
    reason = "mapping and locking memory has no safe interface; the invariants stand at each use"
)]

use std::fmt;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use zeroize::Zeroize;

static NOT_LOCKED: AtomicU64 = AtomicU64::new(0);

/// How many values could not be locked into memory since the start, because of the memory-lock limit.
pub fn not_locked() -> u64 {
    NOT_LOCKED.load(Ordering::Relaxed)
}

/// Turns core dumps off for this process, and with them the attaching of debuggers by the same user.
///
/// # Errors
/// The system refused; the process goes on with whatever was refused left as it was.
pub fn forbid_core_dumps() -> std::io::Result<()> {
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Bytes in a mapping of their own, locked into memory where the limit allows, left out of core dumps, and
/// wiped before the mapping goes.
pub struct LockedBytes {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and is never written after `new`.
unsafe impl Send for LockedBytes {}
// SAFETY: as above; shared reads of memory that does not change are sound.
unsafe impl Sync for LockedBytes {}

impl LockedBytes {
    /// Copies `bytes` into memory of their own.
    ///
    /// # Errors
    /// The system has no memory left to map.
    pub fn new(bytes: &[u8]) -> std::io::Result<Self> {
        let len = bytes.len().max(1);
        // SAFETY: a fresh private anonymous mapping aliases nothing.
        let start = unsafe {
            mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
        };
        // SAFETY: the range was mapped above, is `len` bytes long, and locking and advice leave it readable.
        unsafe {
            if mm::mlock(start, len).is_err() {
                NOT_LOCKED.fetch_add(1, Ordering::Relaxed);
            }
            // A kernel without this advice still has core dumps forbidden for the whole process.
            let _ = mm::madvise(start, len, Advice::LinuxDontDump);
        }
        let start = NonNull::new(start.cast::<u8>()).ok_or(std::io::ErrorKind::OutOfMemory)?;
        // SAFETY: source and destination are valid for `bytes.len()` bytes and do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), bytes.len()) };
        Ok(LockedBytes { start, len: bytes.len() })
    }
}

impl Deref for LockedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping holds `len` initialised bytes for as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for LockedBytes {
    fn drop(&mut self) {
        // SAFETY: nothing else refers to the mapping; it is wiped, then unmapped, which also unlocks it.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len).zeroize();
            let _ = mm::munmap(self.start.as_ptr().cast(), self.len.max(1));
        }
    }
}

impl fmt::Debug for LockedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockedBytes({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_was_given_and_prints_nothing_of_it() {
        for content in [&b""[..], b"canary", &[7; 10_000]] {
            let locked = LockedBytes::new(content).unwrap();
            assert_eq!(&*locked, content);
            assert_eq!(format!("{locked:?}"), format!("LockedBytes({} bytes)", content.len()));
        }
    }

    #[test]
    fn the_kernel_counts_it_as_locked() {
        let locked_kib = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let failures = not_locked();
        let held = LockedBytes::new(&[1; 64 << 10]).unwrap();
        assert!(locked_kib() >= 64 || not_locked() > failures);
        drop(held);
    }
}
