//! What a person sees while the demo runs: a line for each event, and a live line under them.

use std::borrow::Cow;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Lines with the seconds since the start, on standard error; on a terminal with a live line below.
#[derive(Debug)]
pub(crate) struct Timeline {
    started: Instant,
    live: Option<ProgressBar>,
    colours: bool,
}

impl Timeline {
    pub(crate) fn start() -> Self {
        let terminal = stderr().is_terminal();
        let live = terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg:.dim}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Timeline {
            started: Instant::now(),
            live,
            colours: terminal && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A heading.
    pub(crate) fn chapter(&self, title: &str) {
        self.print("");
        self.print(&self.paint("1", title));
    }

    /// An event: what it is about, and what happened.
    pub(crate) fn say(&self, about: &str, happened: &str) {
        self.line(" ", about, happened);
    }

    /// A check that held, or did not.
    pub(crate) fn check(&self, held: bool, what: &str) {
        let sign = if held { self.paint("32", "✓") } else { self.paint("1;31", "✗") };
        self.line(&sign, "check", what);
    }

    /// Something that must not be overlooked.
    pub(crate) fn alarm(&self, what: &str) {
        let sign = self.paint("1;31", "!");
        self.line(&sign, "", what);
    }

    /// What the live line says now.
    pub(crate) fn live(&self, state: String) {
        if let Some(live) = &self.live {
            live.set_message(state);
        }
    }

    /// Takes the live line away.
    pub(crate) fn close(&self) {
        if let Some(live) = &self.live {
            live.finish_and_clear();
        }
    }

    fn line(&self, sign: &str, about: &str, happened: &str) {
        let seconds = format!("{:5.1} s", self.elapsed().as_secs_f64());
        self.print(&format!("{} {sign} {about:<13} {happened}", self.paint("2", &seconds)));
    }

    fn print(&self, line: &str) {
        match &self.live {
            Some(live) => live.println(line),
            None => eprintln!("{line}"),
        }
    }

    fn paint<'a>(&self, code: &str, text: &'a str) -> Cow<'a, str> {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m").into() } else { text.into() }
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.close();
    }
}
