//! Processes of a region that stand still.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::platform::{Error, Plan, processes};

/// Looks that find no further process, until all stand still.
const QUIET: u32 = 2;

/// Looks at most; a region that makes processes faster than they are stopped does not exist here.
const LOOKS: u32 = 100;

/// Some of a region's processes.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Only those of a node, from 1.
    pub node: Option<u8>,
    /// Only those whose program's file has this name, such as `kube-apiserver` or `vault`.
    pub program: Option<String>,
}

/// Stops them (SIGSTOP): connections are taken by the kernel, and nothing answers. Gives how many stand still.
///
/// # Errors
/// The system refused.
pub fn freeze(plan: &Plan, which: &Which) -> Result<usize, Error> {
    let (mut stopped, mut quiet) = (BTreeSet::new(), 0);
    for _ in 0..LOOKS {
        let found = found(plan, which)?;
        let before = stopped.len();
        for pid in found {
            if stopped.insert(pid) {
                send(pid, Signal::STOP);
            }
        }
        quiet = if stopped.len() == before { quiet + 1 } else { 0 };
        if quiet == QUIET {
            break;
        }
    }
    Ok(stopped.len())
}

/// Lets them go on (SIGCONT). Gives how many there are.
///
/// # Errors
/// The system refused.
pub fn thaw(plan: &Plan, which: &Which) -> Result<usize, Error> {
    let found = found(plan, which)?;
    for pid in &found {
        send(*pid, Signal::CONT);
    }
    Ok(found.len())
}

/// Kills one of them (SIGKILL). Whether there was one.
///
/// # Errors
/// The system refused.
pub fn kill_one(plan: &Plan, which: &Which) -> Result<bool, Error> {
    let found = found(plan, which)?.into_iter().next();
    if let Some(pid) = found {
        send(pid, Signal::KILL);
    }
    Ok(found.is_some())
}

/// A process that has ended meanwhile needs no signal.
fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Those that are meant, by process id.
pub(super) fn found(plan: &Plan, which: &Which) -> Result<Vec<u32>, Error> {
    let nodes: Vec<String> = match which.node {
        Some(node) => vec![plan.namespace(node)],
        None => plan.namespaces(),
    };
    let mut found = processes(&nodes)?;
    if let Some(program) = &which.program {
        found.retain(|pid| {
            file(*pid).is_some_and(|file| file.file_name().is_some_and(|name| name == program.as_str()))
        });
    }
    Ok(found)
}

/// The file of a process's program, as its own file system has it.
fn file(pid: u32) -> Option<PathBuf> {
    fs::read_link(Path::new("/proc").join(pid.to_string()).join("exe")).ok()
}
