//! A program on a terminal of its own, with somebody before it: what asks for Enter, or shows a thing once and to
//! people only.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::wait::{NotInTime, wait_until};

/// Why a program on a terminal did not do what was awaited.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No terminal could be had, or the program not be started.
    #[error("start a program on a terminal")]
    System(#[from] io::Error),
    /// It did not show a text in time.
    #[error(transparent)]
    NotShown(#[from] NotInTime),
    /// It did not end in time.
    #[error("it has not ended after {} s; its terminal shows:\n{screen}", .within.as_secs())]
    Hangs {
        /// The bound.
        within: Duration,
        /// What it has shown.
        screen: String,
    },
}

/// A running program, killed when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    read: Option<oneshot::Receiver<()>>,
    child: Child,
}

impl Terminal {
    /// Starts a command with its standard input, output and error on a terminal.
    ///
    /// # Errors
    /// No terminal can be had, or the program not be started.
    pub fn start(mut command: Command) -> Result<Self, Error> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .map_err(io::Error::from)?;
        grantpt(&master).and_then(|()| unlockpt(&master)).map_err(io::Error::from)?;
        let name = ptsname(&master, Vec::new()).map_err(io::Error::from)?;
        let name = OsStr::from_bytes(name.as_bytes()).to_owned();
        let flags = i32::try_from(OFlags::NOCTTY.bits()).map_err(io::Error::other)?;
        let open =
            || OpenOptions::new().read(true).write(true).custom_flags(flags).open(&name).map(Stdio::from);
        command.stdin(open()?).stdout(open()?).stderr(open()?).env("TERM", "xterm").kill_on_drop(true);
        let child = command.spawn()?;
        // The program holds the only ends of the terminal, so that its end is the terminal's.
        drop(command);
        let keyboard = File::from(master);
        let mut shown = keyboard.try_clone()?;
        let screen = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&screen);
        let (ended, read) = oneshot::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = shown.read(&mut bytes) {
                lock(&kept).push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            let _ = ended.send(());
        });
        Ok(Self { keyboard, screen, read: Some(read), child })
    }

    /// All that it has shown; of a line that was drawn again and again, what it said last.
    pub fn screen(&self) -> String {
        let shown = lock(&self.screen);
        let lines = shown.split('\n').map(|line| line.rsplit("\r\u{1b}[2K").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Waits until it has shown a text for the so many-th time.
    ///
    /// # Errors
    /// It has not in time; what it has shown instead is in the error.
    pub async fn shows(&self, text: &str, times: usize, within: Duration) -> Result<(), Error> {
        let shown = wait_until(format!("{text:?} on the terminal"), within, async || {
            let screen = self.screen();
            if screen.matches(text).count() >= times { Ok(()) } else { Err(screen) }
        });
        Ok(shown.await?)
    }

    /// Types a line.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn types(&mut self, line: &str) -> Result<(), Error> {
        Ok(self.keyboard.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Its process id; nothing once it has been waited for.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end: how it ended, and what it has shown.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn end(mut self, within: Duration) -> Result<(ExitStatus, String), Error> {
        let Ok(status) = timeout(within, self.child.wait()).await else {
            return Err(Error::Hangs { within, screen: self.screen() });
        };
        // What it wrote last may still be on its way; a child of its own may keep the terminal open.
        if let Some(read) = self.read.take() {
            let _ = timeout(within, read).await;
        }
        Ok((status?, self.screen()))
    }
}

/// The shares of a Vault's key that a bootstrap has shown: lines with a number and the base64 of 33 bytes.
pub fn shares(screen: &str) -> Vec<String> {
    let lines = screen.lines().filter_map(|line| {
        let (number, share) = line.trim().split_once("  ")?;
        (number.parse::<u8>().is_ok() && share.len() == 44).then(|| share.to_owned())
    });
    lines.collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_program_is_asked_on_its_terminal_and_answers_there() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "test -t 0 && test -t 1 && printf 'name? ' && read name && echo hello $name; exit 3",
        ]);
        let mut terminal = Terminal::start(command).unwrap();
        terminal.shows("name?", 1, SOON).await.unwrap();
        terminal.types("ada").unwrap();
        let (status, screen) = terminal.end(SOON).await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(screen.contains("hello ada"), "{screen}");
    }

    #[tokio::test]
    async fn what_is_not_shown_and_what_does_not_end_is_told_with_the_screen() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; exec cat"]);
        let terminal = Terminal::start(command).unwrap();
        let short = Duration::from_millis(300);
        let error = terminal.shows("done", 1, short).await.unwrap_err().to_string();
        assert!(error.contains("\"done\" on the terminal; last seen: ready"), "{error}");
        let error = terminal.end(short).await.unwrap_err().to_string();
        assert!(error.starts_with("it has not ended after 0 s") && error.contains("ready"), "{error}");
    }

    #[test]
    fn shares_are_told_from_other_lines() {
        let share = "A".repeat(44);
        let screen = format!("eu  copy 1/4\n   1  {share}\n  2  short\n  10  {share}\n");
        assert_eq!(shares(&screen), [share.clone(), share]);
    }
}
