//! What `drain` and `restore` tell.

use std::fmt::Write as _;

use serde::Serialize;

use super::Way;
use crate::ending::Ending;
use crate::promote::targets::Environment;

/// The whole of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The environment.
    pub environment: String,
    /// The region.
    pub region: String,
    /// What was asked for.
    pub verb: &'static str,
    /// How it ended.
    pub outcome: Ending,
    /// Answers a second before the region was drained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// Answers a second at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<f64>,
    /// What is still asked for there, where clients remain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<Remaining>,
    /// What speaks for it or against it, in no single line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why it was refused, or ended early.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What to run next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Whether anything was written.
    pub wrote: bool,
}

/// Clients that remain, as far as the pods count them.
#[derive(Debug, Serialize)]
pub struct Remaining {
    /// The pod that they ask.
    pub pod: String,
    /// The path that they ask for.
    pub path: String,
    /// Requests a second.
    pub per_second: f64,
}

impl Report {
    /// Of what has not begun.
    pub(super) fn new(environment: &Environment, region: &str, way: Way) -> Self {
        Self {
            environment: environment.name.clone(),
            region: region.to_owned(),
            verb: if way == Way::Out { "drain" } else { "restore" },
            outcome: Ending::Misconfigured,
            before: None,
            now: None,
            remaining: Vec::new(),
            notes: Vec::new(),
            errors: Vec::new(),
            next: None,
            wrote: false,
        }
    }

    /// It ends here, and nothing was written.
    pub(super) fn refuse(&mut self, why: impl Into<String>) {
        self.outcome = Ending::Refused;
        self.errors.push(why.into());
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let named = format!("{}/{}", self.environment, self.region);
        for note in self.notes.iter().chain(&self.errors) {
            let _ = writeln!(text, "{note}");
        }
        for Remaining { pod, path, per_second } in &self.remaining {
            let _ = writeln!(text, "  {pod} is still asked for {path}, {per_second:.1} times a second");
        }
        let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
        let _ = match (self.outcome, self.verb) {
            (Ending::Done, "drain") => writeln!(
                text,
                "{named} is drained: {} answers a second, {} before",
                rate(self.now),
                rate(self.before)
            ),
            (Ending::NoChange, "drain") => writeln!(text, "no change: {named} is drained already"),
            (Ending::Done, _) => writeln!(text, "{named} takes traffic again"),
            (Ending::NoChange, _) => writeln!(text, "no change: {named} takes traffic already"),
            (Ending::Planned, _) => writeln!(text, "dry run: nothing was written"),
            (Ending::Incomplete, "drain") if !self.remaining.is_empty() => writeln!(
                text,
                "{named} is drained, and clients remain; it still serves them. They ask it by its own name, or keep \
                 connections and answers of DNS"
            ),
            (Ending::Incomplete, verb) => writeln!(text, "the {verb} of {named} is incomplete"),
            _ => writeln!(text, "nothing was changed in {named}"),
        };
        if let Some(next) = &self.next {
            let _ = writeln!(text, "next: {next}");
        }
        text
    }
}
