//! What a process costs: memory and processor time.

use std::fs;

use local_region::process::Process;
use serde_json::{Value, json};

use crate::Result;
use crate::statistics::summary;

/// What one process had cost at one moment.
#[derive(Debug)]
pub(crate) struct Cost {
    /// Memory in mebibytes, shared pages included.
    pub(crate) resident: f64,
    proportional: f64,
    private: f64,
    anonymous: f64,
    /// Processor time of the threads that still run, in milliseconds.
    processor: f64,
}

impl Cost {
    /// What it has cost by now.
    pub(crate) fn of(process: &Process) -> Result<Self> {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let facts = process.facts();
        Ok(Cost {
            resident: mebibytes(facts.resident()?),
            proportional: mebibytes(facts.proportional()?),
            private: mebibytes(facts.private()?),
            anonymous: mebibytes(anonymous(process.pid())?),
            processor: processor(process)?,
        })
    }
}

/// A row of costs, each kind summarised.
pub(crate) fn shown(costs: &[Cost]) -> Value {
    let rows = |pick: fn(&Cost) -> f64| summary(&costs.iter().map(pick).collect::<Vec<_>>());
    json!({
        "resident, MiB": rows(|cost| cost.resident),
        "proportional, MiB": rows(|cost| cost.proportional),
        "private, MiB": rows(|cost| cost.private),
        "of it not of a file, MiB": rows(|cost| cost.anonymous),
        "processor time until then, ms": rows(|cost| cost.processor),
    })
}

fn anonymous(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon in /proc")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// The processor time of the threads that run now, in milliseconds, as the scheduler counts it in nanoseconds:
/// `/proc/PID/stat` has hundredths of a second, of which a start takes less than one.
pub(crate) fn processor(process: &Process) -> Result<f64> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", process.pid()))? {
        // A thread may have ended since the folder was read.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanoseconds += text.split_whitespace().next().ok_or("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e6)
}
