//! What `/proc` says of a process.

use std::fs;
use std::io;
use std::time::Duration;

/// Linux reports processor time to programs in hundredths of a second, whatever the kernel's own tick.
const TICK: Duration = Duration::from_millis(10);

/// A process whose files under `/proc` can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pid: u32,
}

impl Facts {
    /// Those of the process with this id.
    pub fn of(pid: u32) -> Self {
        Facts { pid }
    }

    /// Resident memory in bytes, shared pages included (`VmRSS`).
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn resident(self) -> io::Result<u64> {
        kibibytes(&self.read("status")?, "VmRSS:")
    }

    /// Proportional memory in bytes: each shared page counts by its number of users (`Pss`).
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn proportional(self) -> io::Result<u64> {
        kibibytes(&self.read("smaps_rollup")?, "Pss:")
    }

    /// Memory in bytes that no other process shares (`Private_Clean` and `Private_Dirty`).
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn private(self) -> io::Result<u64> {
        let text = self.read("smaps_rollup")?;
        Ok(kibibytes(&text, "Private_Clean:")? + kibibytes(&text, "Private_Dirty:")?)
    }

    /// Processor time used so far, in user and system mode, in steps of 10 ms.
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn processor_time(self) -> io::Result<Duration> {
        let text = self.read("stat")?;
        // The second field is the program's name, which may hold spaces and brackets.
        let (_, fields) = text.rsplit_once(')').unwrap_or_default();
        let ticks: Option<Vec<u32>> =
            fields.split_whitespace().skip(11).take(2).map(|field| field.parse().ok()).collect();
        match ticks.as_deref() {
            Some([user, system]) => Ok(TICK * (user + system)),
            _ => Err(unreadable("stat")),
        }
    }

    /// Its environment as it was at its start, variables separated by zero bytes.
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn environment(self) -> io::Result<Vec<u8>> {
        fs::read(self.path("environ"))
    }

    /// Its arguments, separated by zero bytes.
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn command_line(self) -> io::Result<Vec<u8>> {
        fs::read(self.path("cmdline"))
    }

    /// Whether a signal has stopped it, and every thread of it: they stop one by one.
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn is_stopped(self) -> io::Result<bool> {
        for thread in fs::read_dir(self.path("task"))? {
            let text = fs::read_to_string(thread?.path().join("stat"))?;
            let (_, fields) = text.rsplit_once(')').unwrap_or_default();
            if fields.split_whitespace().next() != Some("T") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn path(self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }

    fn read(self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.path(file))
    }
}

fn kibibytes(text: &str, label: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label)).ok_or_else(|| unreadable(label))?;
    let number = line.trim().trim_end_matches(" kB").parse::<u64>().map_err(|_| unreadable(label))?;
    Ok(number * 1024)
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc does not show {what} as expected"))
}
