//! One thread that makes every child, and that lives as long as this process.
#![allow(unsafe_code)] // `pre_exec` is the only way to ask for a signal at the parent's death.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

type Job = (Command, SyncSender<io::Result<Child>>);

/// Makes a child that leads its own process group and is killed when this process ends.
///
/// Linux sends the death signal when the *thread* that made the child ends, and the threads of tests and
/// of async runtimes come and go: hence a thread for this alone.
///
/// # Errors
/// What the system said.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, taken) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in taken {
                // The asker waits for the answer, so there is somebody to take it.
                let _ = answer.send(make(&mut command));
            }
        });
        jobs
    });
    let gone = || io::Error::other("the thread that starts children has ended");
    let (answer, made) = sync_channel(1);
    spawner.send((command, answer)).map_err(|_| gone())?;
    made.recv().map_err(|_| gone())?
}

fn make(command: &mut Command) -> io::Result<Child> {
    let parent = getpid();
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed. It
    // makes two system calls, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have ended before the request was made; then nobody would send the signal.
            if getppid() != Some(parent) {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
            }
            Ok(())
        });
    }
    command.spawn()
}
