//! Who runs a command: a person on a machine, and the process there.
//!
//! Whoever holds a lock or is at work is known by this. A process that was killed on this very machine is told from one
//! that works, so that the command can be given again at once; of any other machine nothing is known.

use std::fmt;
use std::fs;
use std::path::Path;

/// Between what is for people and what is for this program.
const SEPARATOR: char = '#';

/// A process on a machine that runs since one boot, in a namespace of process ids.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    boot: String,
    namespace: String,
    pid: String,
    started: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.boot, self.namespace, self.pid, self.started)
    }
}

impl Process {
    /// The process with this id on this machine, if there is one.
    fn here(pid: &str) -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
        // The name in parentheses may hold anything; the start is the twentieth field after it.
        let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.to_owned();
        let boot = boot.trim().split('-').next().unwrap_or_default().to_owned();
        Some(Self { boot, namespace: digits(&namespace.to_string_lossy()), pid: pid.to_owned(), started })
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::to_owned);
        let process = Self {
            boot: parts.next()?,
            namespace: parts.next()?,
            pid: parts.next()?,
            started: parts.next()?,
        };
        parts.next().is_none().then_some(process)
    }
}

/// Who runs this process.
pub(crate) fn own() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match Process::here("self").map(|own| Process { pid: std::process::id().to_string(), ..own }) {
        Some(process) => format!("{user}@{machine}{SEPARATOR}{process}"),
        None => format!("{user}@{machine}"),
    }
}

/// What people are told.
pub(crate) fn person(who: &str) -> &str {
    who.split(SEPARATOR).next().unwrap_or(who)
}

/// Whether it is this very process, and not another one of the same person.
pub(crate) fn is_own(who: &str) -> bool {
    who.contains(SEPARATOR) && who == own()
}

/// Whether it is a process of this machine that has ended.
pub(crate) fn is_gone(who: &str) -> bool {
    let Some(process) = who.split_once(SEPARATOR).and_then(|(_, process)| Process::read(process)) else {
        return false;
    };
    let Some(own) = Process::here("self") else { return false };
    let here =
        (process.boot.as_str(), process.namespace.as_str()) == (own.boot.as_str(), own.namespace.as_str());
    here && Process::here(&process.pid).is_none_or(|living| living.started != process.started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_not_gone_and_one_of_another_machine_is_not_known_to_be() {
        let who = own();
        assert!(!is_gone(&who), "{who}");
        assert!(!person(&who).contains(SEPARATOR));
        let (name, process) = who.split_once(SEPARATOR).unwrap();
        let process = Process::read(process).unwrap();
        let other = |change: fn(&mut Process)| {
            let mut other = process.clone();
            change(&mut other);
            format!("{name}{SEPARATOR}{other}")
        };
        assert!(is_gone(&other(|process| process.started = "1".into())), "another process got its id");
        assert!(!is_gone(&other(|process| process.boot = "0".into())), "another machine");
        assert!(!is_gone(&other(|process| process.namespace = "0".into())), "another container");
        for nobody in ["ada", "ada#", "ada#1.2.3", "ada#1.2.3.4.5"] {
            assert!(!is_gone(nobody), "{nobody}");
        }
    }

    #[test]
    fn a_process_that_ended_is_gone() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let process = Process::here(&child.id().to_string()).unwrap();
        let who = format!("ada@here{SEPARATOR}{process}");
        assert!(!is_gone(&who));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_gone(&who));
    }
}
