//! Processes that keep a fault up after the command that made it has ended: this program itself, in the
//! environment's own network, with which they end at the latest.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::platform::{Error, network, run};
use crate::wait::wait_until;

/// How long one of them may take to end.
const ENDS: Duration = Duration::from_secs(10);

/// Starts `local-region` with these arguments in an environment's network.
pub(super) fn start(router: &str, arguments: &[&str]) -> Result<(), Error> {
    let system = |source| Error::System { operation: format!("start {}", arguments.join(" ")), source };
    let own =
        crate::programs::program("local-region").map_err(|error| system(std::io::Error::other(error)))?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", network::file(router).display())).arg("--").arg(own).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().map(drop).map_err(system)
}

/// Asks the processes of an environment's network to end whose arguments begin so, and waits until they have.
pub(super) async fn end(router: &str, arguments: &[&str]) -> Result<(), Error> {
    let found = || -> Result<Vec<Pid>, Error> {
        let pids = run("ip", &["netns", "pids", router])?;
        Ok(pids
            .split_whitespace()
            .filter(|pid| begins(pid, arguments))
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .collect())
    };
    for pid in found()? {
        // One that has ended meanwhile needs no signal.
        let _ = kill_process(pid, Signal::TERM);
    }
    let what = format!("{} to end", arguments.join(" "));
    let ended = wait_until(&what, ENDS, async || found().is_ok_and(|found| found.is_empty()));
    ended.await.map_err(|waited| Error::Refused { command: what.clone(), said: waited.to_string() })
}

/// Whether a process was started with arguments that begin so. Its first is the program.
fn begins(pid: &str, arguments: &[&str]) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).skip(1);
    arguments.iter().all(|argument| words.next() == Some(argument.as_bytes()))
}
