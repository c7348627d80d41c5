//! A run of the command on a terminal, with an operator before it.

use std::time::Duration;

use local_region::terminal;
pub(crate) use local_region::terminal::shares;
use tokio::process::Command;

/// No run in these tests takes longer to say the next thing.
const SOON: Duration = Duration::from_secs(60);

/// A run on a terminal.
pub(crate) struct Terminal(terminal::Terminal);

impl Terminal {
    pub(crate) fn start(command: Command) -> Self {
        Self(terminal::Terminal::start(command).unwrap())
    }

    /// Waits until it has shown a text for the so many-th time.
    pub(crate) async fn shows(&self, text: &str, times: usize) {
        self.0.shows(text, times, SOON).await.unwrap();
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.0.types(line).unwrap();
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.0.pid().unwrap()).unwrap()
    }

    /// Waits for its end: its exit code, and what it has shown.
    pub(crate) async fn end(self) -> (Option<i32>, String) {
        let (status, screen) = self.0.end(SOON).await.unwrap();
        (status.code(), screen)
    }
}
