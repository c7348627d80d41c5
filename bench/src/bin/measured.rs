//! Runs a program to its end and writes what it has cost as a whole: `measured COST OUT PROGRAM [ARGUMENT…]`.
//!
//! Linux counts the memory of whoever makes a process into that process's peak, since the two are one until the program
//! is executed. So a benchmark that holds hundreds of simulated regions cannot start what it measures by itself: this
//! program, which holds nothing, stands between.

#![allow(unsafe_code)] // `wait4` is the only way to learn a child's own peak, and nothing safe offers it.

use std::error::Error;
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

/// Open files, as most machines allow a process: what needs more has to ask for it.
const FILES: u64 = 1024;

/// As `env` and `time` end when what they were to run could not be run.
const NOT_RUN: u8 = 125;

fn main() -> ExitCode {
    match run() {
        Ok(status) => {
            ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_RUN))
        }
        Err(error) => {
            eprintln!("measured: {error}");
            ExitCode::from(NOT_RUN)
        }
    }
}

fn run() -> Result<ExitStatus, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(cost), Some(out), Some(program)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: measured COST OUT PROGRAM [ARGUMENT…]".into());
    };
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(maximum.map_or(FILES, |maximum| maximum.min(FILES)));
    setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
    let out = File::create(out)?;
    let began = Instant::now();
    let child = Command::new(program).args(arguments).stdout(out).spawn()?;
    let (status, usage) = end(&child)?;
    let took = began.elapsed();
    let milliseconds = |time: libc::timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
    let written = json!({
        "took_ms": took.as_secs_f64() * 1e3,
        "user_ms": milliseconds(usage.ru_utime),
        "system_ms": milliseconds(usage.ru_stime),
        "peak_kib": usage.ru_maxrss,
    });
    fs::write(cost, written.to_string())?;
    Ok(status)
}

/// Waits for a child. It must not be waited for again.
fn end(child: &Child) -> Result<(ExitStatus, libc::rusage), Box<dyn Error>> {
    let pid = libc::pid_t::try_from(child.id())?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to writable memory of the right type that outlives the call, and the child has
        // not been waited for.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if waited == pid {
            // SAFETY: every field is a number, for which zero is a value, and the call has filled them.
            return Ok((ExitStatus::from_raw(status), unsafe { usage.assume_init() }));
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error.into());
        }
    }
}
