//! Progress for people: a line per region that changes on a terminal, plain lines anywhere else.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where progress goes. Always standard error: standard output is for results.
#[derive(Debug)]
pub struct Progress {
    bars: Option<MultiProgress>,
}

/// One region's progress.
#[derive(Debug)]
pub struct Line {
    region: String,
    bar: Option<ProgressBar>,
    last: Mutex<String>,
}

impl Progress {
    /// Progress that moves on a terminal.
    pub fn new() -> Self {
        Self { bars: std::io::stderr().is_terminal().then(MultiProgress::new) }
    }

    /// A region's line.
    pub fn region(&self, region: &str) -> Line {
        let bar = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template("  {prefix:.bold} {spinner} {wide_msg}");
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(region.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Line { region: region.to_owned(), bar, last: Mutex::default() }
    }

    /// A line that stays.
    pub fn note(&self, text: &str) {
        // Nobody may be reading any more; that is no reason to stop.
        let write = || drop(writeln!(std::io::stderr(), "{text}"));
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    /// Says what is going on; the same text twice is said once.
    pub fn say(&self, text: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == text {
            return;
        }
        text.clone_into(&mut last);
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => drop(writeln!(std::io::stderr(), "  {}: {text}", self.region)),
        }
    }
}

impl Line {
    /// Says what is going on in two forms: one that may change all the time, for a line that moves, and one that does
    /// not, for lines that stay.
    pub fn say_either(&self, moving: &str, still: &str) {
        self.say(if self.bar.is_some() { moving } else { still });
    }

    /// Takes the line away until it says something again: somebody is asked, or shown, something.
    pub fn hide(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message("");
            bar.disable_steady_tick();
            bar.finish_and_clear();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line of a diff, in colour where standard output is a terminal that shows it.
pub fn coloured(line: &str) -> String {
    match line.as_bytes().first() {
        Some(b'+') => style(line).green().to_string(),
        Some(b'-') => style(line).red().to_string(),
        Some(b'@') => style(line).cyan().to_string(),
        _ => line.to_owned(),
    }
}
