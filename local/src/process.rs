//! Child processes that end with their parent, however that one ends.
//!
//! Each child leads its own process group, takes nothing of the parent's environment, writes its output
//! to a file, and is killed when the parent dies (`PR_SET_PDEATHSIG`) or the [`Process`] is dropped. It is
//! signalled by an id that cannot have passed to another process meanwhile.

mod facts;
mod spawner;

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::wait::{NotInTime, wait_until};

pub use facts::Facts;
pub use rustix::process::Signal;

/// For how long a child that was told to stand still is waited for.
const PAUSES: Duration = Duration::from_secs(10);

/// Why a child could not be started or spoken to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started.
    #[error("start {name} ({})", .program.display())]
    Start {
        /// The child's name.
        name: String,
        /// The program's file.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The log file could not be opened.
    #[error("open {} for the output of {name}", .log.display())]
    Log {
        /// The child's name.
        name: String,
        /// The log's file.
        log: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A signal could not be sent.
    #[error("signal {name} (pid {pid})")]
    Signal {
        /// The child's name.
        name: String,
        /// Its process id.
        pid: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It does not stop.
    #[error(transparent)]
    Running(#[from] NotInTime),
    /// What was asked for needs a living child.
    #[error("{name} (pid {pid}) has ended: {status}; its log ends with:\n{tail}")]
    Ended {
        /// The child's name.
        name: String,
        /// Its process id.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        tail: String,
    },
}

/// A program that is about to be started.
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    log: Option<PathBuf>,
}

impl Program {
    /// A program's file, and the name under which errors speak of it.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Program {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            log: None,
        }
    }

    /// Adds an argument. Never a secret: every user of the machine can read it.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds a variable to the environment, which is empty otherwise.
    #[must_use]
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working folder.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Appends standard output and error to this file. Without it they are dropped.
    #[must_use]
    pub fn log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// Runs it inside a network namespace, such as `/run/netns/NAME`. That needs root.
    #[must_use]
    pub fn within(mut self, network: &Path) -> Self {
        // Not `ip netns exec`, which mounts another /sys and hides the cgroups.
        let mut arguments: Vec<OsString> = vec![format!("--net={}", network.display()).into(), "--".into()];
        arguments.push(self.program.into());
        arguments.append(&mut self.arguments);
        (self.program, self.arguments) = (PathBuf::from("/usr/bin/nsenter"), arguments);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// The program or its log file cannot be opened.
    pub fn start(&self) -> Result<Process, Error> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let (out, err) = self.output()?;
        command.stdout(out).stderr(err);
        let started = Instant::now();
        let child = spawner::spawn(command).map_err(|source| Error::Start {
            name: self.name.clone(),
            program: self.program.clone(),
            source,
        })?;
        let pid = child.id();
        let (exited, exit) = watch::channel(None);
        let state = Arc::new(Mutex::new(State { reaped: false }));
        reap(child, Arc::clone(&state), exited);
        Ok(Process { name: self.name.clone(), pid, started, log: self.log.clone(), state, exit })
    }

    fn output(&self) -> Result<(Stdio, Stdio), Error> {
        let Some(log) = &self.log else { return Ok((Stdio::null(), Stdio::null())) };
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(log)?;
            Ok((file.try_clone()?.into(), file.into()))
        };
        open().map_err(|source| Error::Log { name: self.name.clone(), log: log.clone(), source })
    }
}

/// A running child, or one that has ended. Dropping it kills the child's whole process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    started: Instant,
    log: Option<PathBuf>,
    state: Arc<Mutex<State>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

/// Held while a signal is sent and while the child is reaped, so that no signal goes to a pid that is free.
#[derive(Debug)]
struct State {
    reaped: bool,
}

impl Process {
    /// The name given to [`Program::new`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, and the id of its process group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The moment just before the child was made.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The file that its output goes to.
    pub fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// The last lines of its log, or a word on why there are none.
    pub fn log_tail(&self, lines: usize) -> String {
        let Some(log) = &self.log else { return "(no log was asked for)".to_owned() };
        match fs::read(log) {
            Err(error) => format!("({}: {error})", log.display()),
            Ok(bytes) if bytes.is_empty() => format!("({} is empty)", log.display()),
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let all: Vec<&str> = text.lines().collect();
                all[all.len().saturating_sub(lines)..].join("\n")
            }
        }
    }

    /// How it ended, or `None` while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits until it has ended. Cancel-safe.
    pub async fn ended(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let status = exit.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        status.unwrap_or_default()
    }

    /// Gives an error when it has ended.
    ///
    /// # Errors
    /// [`Error::Ended`], with the last lines of its log.
    pub fn check_running(&self) -> Result<(), Error> {
        match self.status() {
            None => Ok(()),
            Some(status) => {
                let (name, pid, tail) = (self.name.clone(), self.pid, self.log_tail(20));
                Err(Error::Ended { name, pid, status, tail })
            }
        }
    }

    /// Sends a signal to the child alone. `Ok` too when it has ended meanwhile.
    ///
    /// # Errors
    /// The system refused.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        let state = lock(&self.state);
        if state.reaped {
            return Ok(());
        }
        let sent = raw(self.pid).map_or(Ok(()), |pid| kill_process(pid, signal));
        sent.map_err(|source| Error::Signal { name: self.name.clone(), pid: self.pid, source: source.into() })
    }

    /// Stops it (SIGSTOP), and comes back when every thread of it stands still: the system takes the signal before
    /// that, and what is asked meanwhile is still answered. `Ok` too when it has ended meanwhile.
    ///
    /// # Errors
    /// The system refused, or it does not stop within 10 s.
    pub async fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        let what = format!("{} (pid {}) to stand still", self.name, self.pid);
        let still = async || {
            // One that has ended has nothing to read under /proc, and answers nothing either.
            self.exit.borrow().is_some() || self.facts().is_stopped().is_ok_and(|stopped| stopped)
        };
        Ok(wait_until(what, PAUSES, still).await?)
    }

    /// Ends a [`Process::pause`].
    ///
    /// # Errors
    /// The system refused.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end (SIGTERM), waits for as long as `grace`, then kills its process group.
    pub async fn stop(&self, grace: Duration) -> ExitStatus {
        // A stopped process would not see the request; continuing one that runs does nothing.
        let asked = self.signal(Signal::TERM).and_then(|()| self.signal(Signal::CONT));
        if asked.is_ok()
            && let Ok(status) = timeout(grace, self.ended()).await
        {
            return status;
        }
        self.kill().await
    }

    /// Kills its process group (SIGKILL) and waits for its end.
    pub async fn kill(&self) -> ExitStatus {
        self.kill_group();
        self.ended().await
    }

    /// What `/proc` says of it.
    pub fn facts(&self) -> Facts {
        Facts::of(self.pid)
    }

    fn kill_group(&self) {
        let state = lock(&self.state);
        if !state.reaped
            && let Some(pid) = raw(self.pid)
        {
            // It can only fail when the group is gone, which is what was wanted.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
        // The files of a killed process may be removed only when it is gone: wait for the reaper, which
        // needs no runtime. SIGKILL takes a few milliseconds, and is waited for no longer than 5 s.
        let end = Instant::now() + Duration::from_secs(5);
        while self.exit.borrow().is_none() && Instant::now() < end {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn raw(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Waits for the child's end in a thread of its own, ends what it left in its group, and tells its status.
fn reap(mut child: std::process::Child, state: Arc<Mutex<State>>, exited: watch::Sender<Option<ExitStatus>>) {
    std::thread::spawn(move || {
        let group = raw(child.id());
        // The child stays a zombie, and its id its own, until it is waited for below.
        while let Some(pid) = group {
            let left = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            if !matches!(left, Err(rustix::io::Errno::INTR)) {
                break;
            }
        }
        let mut state = lock(&state);
        if let Some(pid) = group {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let status = child.wait().unwrap_or_default();
        state.reaped = true;
        drop(state);
        exited.send_replace(Some(status));
    });
}

#[cfg(test)]
mod tests;
