//! The real command, run to its end as a whole program.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_region::process::Program;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::Result;
use crate::statistics::summary;

/// No run takes longer, or it hangs.
const HANGS: Duration = Duration::from_secs(300);

/// The command `regions`, and what counts its cost.
pub(super) struct Command {
    pub(super) regions: PathBuf,
    pub(super) measured: PathBuf,
    /// For its output, and as its home.
    pub(super) folder: PathBuf,
}

/// What one run has cost.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Spent {
    took_ms: f64,
    user_ms: f64,
    system_ms: f64,
    peak_kib: f64,
}

impl Spent {
    /// From its start to its end, in milliseconds.
    pub(super) fn took(&self) -> f64 {
        self.took_ms
    }

    /// Processor time in milliseconds.
    pub(super) fn processor(&self) -> f64 {
        self.user_ms + self.system_ms
    }

    /// The most memory that it had at once, in mebibytes.
    pub(super) fn peak(&self) -> f64 {
        self.peak_kib / 1024.0
    }
}

/// A row of runs, each kind of cost summarised.
pub(super) fn shown(runs: &[Spent]) -> Value {
    let row = |pick: fn(&Spent) -> f64| summary(&runs.iter().map(pick).collect::<Vec<_>>());
    json!({
        "took, ms": row(Spent::took),
        "processor, ms": row(Spent::processor),
        "peak, MiB": row(Spent::peak),
    })
}

impl Command {
    /// Runs it with a catalogue; gives its cost, and what it printed as JSON.
    ///
    /// # Errors
    /// It ended with another exit code than this.
    pub(super) async fn run(
        &self,
        catalogue: &Path,
        arguments: &[&str],
        code: i32,
    ) -> Result<(Spent, Value)> {
        let [cost, out, log] = ["cost", "out", "log"].map(|file| self.folder.join(file));
        let _ = fs::remove_file(&log);
        let process = Program::new(format!("regions {}", arguments.join(" ")), &self.measured)
            .argument(&cost)
            .argument(&out)
            .argument(&self.regions)
            .argument("--catalogue")
            .argument(catalogue)
            .arguments(["--output", "json"])
            .arguments(arguments)
            .variable("HOME", &self.folder)
            .variable("USER", "bench")
            .folder(&self.folder)
            .log(&log)
            .start()?;
        let ended = timeout(HANGS, process.ended()).await;
        let status = ended.map_err(|_| format!("{} takes longer than {HANGS:?}", process.name()))?;
        let printed = fs::read_to_string(&out)?;
        if status.code() != Some(code) {
            let (name, tail) = (process.name(), process.log_tail(20));
            return Err(format!("{name}: {status}, and not {code}\n{tail}\n{printed}").into());
        }
        Ok((serde_json::from_str(&fs::read_to_string(&cost)?)?, serde_json::from_str(&printed)?))
    }
}
