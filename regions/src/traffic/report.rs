//! What `drain` and `restore` tell.

use std::fmt::Write as _;

use serde::Serialize;

use super::held::Cut;
use super::{Args, Way};
use crate::confirm::{LOOK_FIRST, confirm};
use crate::ending::Ending;
use crate::output::Progress;

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
    /// What it goes by: who carries on, or with whom the region was compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
    /// What speaks for it or against it, in no single line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why it was refused, or ended early.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What to run next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Whether it was written.
    pub wrote: Wrote,
}

/// Whether something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrote {
    /// Nothing was.
    No,
    /// It was sent, and no answer said what became of it.
    Unknown,
    /// It was.
    Yes,
}

impl Wrote {
    /// Whether it was.
    pub(super) fn is_yes(self) -> bool {
        self == Self::Yes
    }
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
    pub(super) fn new(environment: &str, region: &str, way: Way) -> Self {
        Self {
            environment: environment.to_owned(),
            region: region.to_owned(),
            verb: if way == Way::Out { "drain" } else { "restore" },
            outcome: Ending::Misconfigured,
            before: None,
            now: None,
            remaining: Vec::new(),
            plan: Vec::new(),
            notes: Vec::new(),
            errors: Vec::new(),
            next: None,
            wrote: Wrote::No,
        }
    }

    /// It ends here, and nothing was written.
    pub(super) fn refuse(&mut self, why: impl Into<String>) {
        self.outcome = Ending::Refused;
        self.errors.push(why.into());
    }

    /// Whether it goes on to the first write: not where the plan alone was asked for, or somebody who is asked says no.
    /// Nobody is asked where there is no `question`, or `--yes`.
    pub(super) async fn begins(&mut self, args: &Args, question: Option<&str>, progress: &Progress) -> bool {
        if args.dry_run {
            self.outcome = Ending::Planned;
            return false;
        }
        self.notes.iter().chain(&self.plan).for_each(|line| progress.note(line));
        if let Some(question) = question.filter(|_| !args.yes)
            && let Err(why) = confirm(question, LOOK_FIRST).await
        {
            self.refuse(why);
            return false;
        }
        true
    }

    /// It ends here, wherever it is.
    pub(super) fn cut(&mut self, cut: &Cut) {
        match cut {
            Cut::Stopped => {
                self.outcome = if self.wrote == Wrote::No { Ending::Refused } else { Ending::Incomplete };
                self.errors.push("stopped by a signal".into());
            }
            Cut::Taken(region) => {
                self.outcome = Ending::Locked;
                self.errors
                    .push(format!("{region}: another run of regions has taken its Lease over; run again"));
            }
        }
        self.next = (self.wrote != Wrote::No).then(|| self.again());
    }

    /// The command that goes on with it.
    pub(super) fn again(&self) -> String {
        format!("regions {} {}/{}", self.verb, self.environment, self.region)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let named = format!("{}/{}", self.environment, self.region);
        let plan = if self.outcome == Ending::Planned { self.plan.as_slice() } else { &[] };
        for note in self.notes.iter().chain(plan).chain(&self.errors) {
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
            (_, verb) if self.wrote == Wrote::Yes => {
                writeln!(text, "the {verb} of {named} was written, and not seen to its end")
            }
            (_, verb) if self.wrote == Wrote::Unknown => {
                writeln!(text, "it is not known whether the {verb} of {named} was written")
            }
            (Ending::Incomplete, verb) => writeln!(text, "the {verb} of {named} is incomplete"),
            _ => writeln!(text, "nothing was changed in {named}"),
        };
        if let Some(next) = &self.next {
            let _ = writeln!(text, "next: {next}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(wrote: Wrote) -> Report {
        Report { outcome: Ending::Incomplete, wrote, ..Report::new("production", "eu", Way::Out) }
    }

    #[test]
    fn a_run_that_is_stopped_before_it_wrote_changed_nothing() {
        let mut report = drain(Wrote::No);
        report.cut(&Cut::Stopped);
        assert_eq!(report.outcome, Ending::Refused);
        assert_eq!(report.text(), "stopped by a signal\nnothing was changed in production/eu\n");
    }

    #[test]
    fn a_run_that_is_stopped_while_it_writes_does_not_know() {
        let mut report = drain(Wrote::Unknown);
        report.cut(&Cut::Stopped);
        assert_eq!(report.outcome, Ending::Incomplete);
        let text = report.text();
        assert!(text.contains("it is not known whether the drain of production/eu was written"), "{text}");
        assert!(text.ends_with("next: regions drain production/eu\n"), "{text}");
    }

    #[test]
    fn a_run_that_loses_its_lease_after_it_wrote_says_that_it_wrote() {
        let mut report = drain(Wrote::Yes);
        report.cut(&Cut::Taken("us".into()));
        assert_eq!(report.outcome, Ending::Locked);
        let text = report.text();
        assert!(text.contains("the drain of production/eu was written, and not seen to its end"), "{text}");
        assert!(text.ends_with("next: regions drain production/eu\n"), "{text}");
    }
}
