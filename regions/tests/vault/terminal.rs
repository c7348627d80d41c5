//! A run of the command on a terminal, with an operator before it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local_region::wait::wait_until;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::process::{Child, Command};

/// No run in these tests takes longer to say the next thing.
const SOON: Duration = Duration::from_secs(60);

/// A run on a terminal.
pub(crate) struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    /// Starts a command with its standard input, output and error on a terminal of its own.
    pub(crate) fn start(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let name = std::ffi::OsStr::from_bytes(name.as_bytes()).to_owned();
        let open = || {
            let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
            Stdio::from(OpenOptions::new().read(true).write(true).custom_flags(flags).open(&name).unwrap())
        };
        command.stdin(open()).stdout(open()).stderr(open()).env("TERM", "xterm");
        let child = command.spawn().unwrap();
        // The command holds the only ends of the terminal, so that its end is the terminal's.
        drop(command);
        let keyboard = File::from(master);
        let mut shown = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = shown.read(&mut bytes) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { keyboard, screen, child }
    }

    /// All that it has shown; of a line that was drawn again and again, what it said last.
    pub(crate) fn screen(&self) -> String {
        let shown = self.screen.lock().unwrap();
        let lines = shown.split('\n').map(|line| line.rsplit("\r\u{1b}[2K").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Waits until it has shown a text for the so many-th time.
    pub(crate) async fn shows(&self, text: &str, times: usize) {
        let shown = wait_until(format!("{text:?} on the terminal"), SOON, async || {
            let screen = self.screen();
            if screen.matches(text).count() >= times { Ok(()) } else { Err(screen) }
        });
        shown.await.unwrap();
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id().unwrap()).unwrap()
    }

    /// Waits for its end: its exit code, and what it has shown.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        let status = tokio::time::timeout(SOON, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("it hangs: {}", self.screen()))
            .unwrap();
        // What it wrote last may still be on its way through the terminal.
        let settled = wait_until("the screen to stand still", SOON, async || {
            let before = self.screen();
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.screen() == before { Ok(()) } else { Err(format!("{:?}", begun.elapsed())) }
        });
        settled.await.unwrap();
        (status.code(), self.screen())
    }
}

/// The shares that a bootstrap shows: the lines with a number and a base64 text of 33 bytes.
pub(crate) fn shares(screen: &str) -> Vec<String> {
    let lines = screen.lines().filter_map(|line| {
        let (number, share) = line.trim().split_once("  ")?;
        (number.parse::<u8>().is_ok() && share.len() == 44).then(|| share.to_owned())
    });
    lines.collect()
}
