//! Clocks that are wrong: every process of a region reads another time of day than the machine has.
//!
//! Linux has one clock for all, so what differs is the code by which a process reads it. Timers and the time since
//! the start of the machine stay right, as they do where a clock is set wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::background;
use super::vdso::Vdso;
use crate::platform::{Error, Plan, network, processes};

/// The hidden verb of the process that keeps clocks wrong.
const VERB: &str = "hold-clock";

/// Between two looks for processes that are new.
const LOOK: Duration = Duration::from_millis(50);

/// Tries until no thread of a process is just reading the clock.
const TRIES: u32 = 20;

/// A thread that is asked to stop has done so at the next of its turns.
const STOPS: Duration = Duration::from_millis(1);

/// Looks until all threads have stopped.
const LOOKS: u32 = 500;

/// Lets every process of a region, and those that it will have, read a time that is so many seconds later, until it
/// is told 0. A process that has just been started may read the right time for a moment.
///
/// # Errors
/// The machine is not of the kind whose code is known, or the system refused.
pub async fn skew(plan: &Plan, seconds: i64) -> Result<(), Error> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Rights("clocks of other processes can be changed on x86-64 only"));
    }
    let router = network::router(&plan.environment);
    background::end(&router, &[VERB, &plan.environment, &plan.name]).await?;
    if seconds == 0 {
        return Ok(());
    }
    let nodes = plan.namespaces();
    change(&nodes, seconds, &mut BTreeMap::new())?;
    let seconds = seconds.to_string();
    let mut arguments = vec![VERB, &plan.environment, &plan.name, "--", &seconds];
    arguments.extend(nodes.iter().map(String::as_str));
    background::start(&router, &arguments)
}

/// Keeps the clocks of nodes wrong, which are network namespaces, until the process is told to end, and then puts
/// them right.
///
/// # Errors
/// The system refused.
pub async fn hold(nodes: &[String], seconds: i64) -> Result<(), Error> {
    let system = |source| Error::System { operation: "wait for the end".into(), source };
    let mut ends = signal(SignalKind::terminate()).map_err(system)?;
    let mut known = BTreeMap::new();
    loop {
        change(nodes, seconds, &mut known)?;
        tokio::select! {
            _ = ends.recv() => break,
            () = sleep(LOOK) => {}
        }
    }
    change(nodes, 0, &mut BTreeMap::new())
}

/// Changes the clock of every process that is not known yet. Known are processes by id, with the program that they
/// ran: another program begins with the right time.
fn change(nodes: &[String], seconds: i64, known: &mut BTreeMap<u32, PathBuf>) -> Result<(), Error> {
    let now = processes(nodes)?;
    known.retain(|pid, _| now.contains(pid));
    for pid in now {
        let process = Path::new("/proc").join(pid.to_string());
        // What has ended meanwhile, or is a process of the kernel, reads no clock.
        let Ok(program) = fs::read_link(process.join("exe")) else { continue };
        if known.get(&pid) == Some(&program) {
            continue;
        }
        match one(pid, &process, seconds) {
            Ok(()) => drop(known.insert(pid, program)),
            Err(_) if !process.exists() => {}
            Err(source) => {
                let operation = format!("change the clock of {} (process {pid})", program.display());
                return Err(Error::System { operation, source });
            }
        }
    }
    Ok(())
}

fn one(pid: u32, process: &Path, seconds: i64) -> io::Result<()> {
    let Some(vdso) = Vdso::of(process)? else { return Ok(()) };
    if vdso.is_replaced()? {
        return vdso.set(seconds);
    }
    let id =
        i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no process id"))?;
    // A process that a test has paused stays so.
    let paused = state(process)? == 'T';
    for _ in 0..TRIES {
        kill_process(id, Signal::STOP)?;
        let replaced = match stopped(process, &vdso) {
            Ok(true) => vdso.replace(seconds).map(|()| true),
            other => other,
        };
        if !paused {
            kill_process(id, Signal::CONT)?;
        }
        if replaced? {
            return Ok(());
        }
    }
    Err(io::Error::other("one of its threads reads the clock all the time, or does not stop"))
}

/// Waits until every thread has stopped; whether none is then within the code that is replaced.
#[expect(
    clippy::disallowed_methods,
    reason = "a named condition within half a second: the process stands still meanwhile"
)]
fn stopped(process: &Path, vdso: &Vdso) -> io::Result<bool> {
    for _ in 0..LOOKS {
        if let Some(counters) = counters(process)? {
            return Ok(!counters.into_iter().any(|counter| vdso.holds(counter)));
        }
        std::thread::sleep(STOPS);
    }
    Ok(false)
}

/// The program counters of all threads; nothing while one of them runs. `/proc/PID/task/TID/syscall` ends with that
/// of a thread that does not run (proc_pid_syscall(5)).
fn counters(process: &Path) -> io::Result<Option<Vec<u64>>> {
    let mut counters = Vec::new();
    for thread in fs::read_dir(process.join("task"))? {
        let said = fs::read_to_string(thread?.path().join("syscall"))?;
        let counter = said.split_whitespace().last().and_then(|word| word.strip_prefix("0x"));
        let Some(counter) = counter.and_then(|digits| u64::from_str_radix(digits, 16).ok()) else {
            return Ok(None);
        };
        counters.push(counter);
    }
    Ok(Some(counters))
}

/// The letter of a process's state, which comes after its name in brackets.
fn state(process: &Path) -> io::Result<char> {
    let stat = fs::read_to_string(process.join("stat"))?;
    let after = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    after.ok_or_else(|| io::Error::other("its state cannot be told"))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use jiff::Timestamp;

    use super::*;

    /// A shell that says the time when it is asked, with no other process.
    struct Clock {
        child: Child,
        out: BufReader<ChildStdout>,
    }

    impl Clock {
        fn start() -> Self {
            let script = "while read -r _; do printf '%(%s)T\\n' -1; done";
            let mut command = Command::new("bash");
            command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let out = BufReader::new(child.stdout.take().unwrap());
            Self { child, out }
        }

        /// How many seconds it is before this process's clock.
        fn ahead(&mut self) -> i64 {
            self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            let mut line = String::new();
            self.out.read_line(&mut line).unwrap();
            line.trim().parse::<i64>().unwrap() - Timestamp::now().as_second()
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn one_process_reads_another_time_and_then_the_right_one_again() {
        let mut clock = Clock::start();
        assert!((-1..=0).contains(&clock.ahead()));
        let process = PathBuf::from(format!("/proc/{}", clock.child.id()));
        for seconds in [3600, -90, 0] {
            one(clock.child.id(), &process, seconds).unwrap();
            let ahead = clock.ahead() - seconds;
            assert!((-1..=0).contains(&ahead), "{ahead} beside {seconds}");
        }
        clock.child.kill().unwrap();
        clock.child.wait().unwrap();
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_paused_process_stays_paused() {
        let mut clock = Clock::start();
        assert!((-1..=0).contains(&clock.ahead()));
        let (id, process) = (clock.child.id(), PathBuf::from(format!("/proc/{}", clock.child.id())));
        kill_process(Pid::from_child(&clock.child), Signal::STOP).unwrap();
        while state(&process).unwrap() != 'T' {
            std::thread::yield_now();
        }
        one(id, &process, 60).unwrap();
        assert_eq!(state(&process).unwrap(), 'T');
        kill_process(Pid::from_child(&clock.child), Signal::CONT).unwrap();
        assert!((59..=60).contains(&clock.ahead()));
        clock.child.kill().unwrap();
        clock.child.wait().unwrap();
    }
}
