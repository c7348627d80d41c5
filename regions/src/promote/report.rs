//! What a promotion tells: to people as it goes, to programs as one JSON document at the end.

use std::fmt::Write as _;

use serde::Serialize;

use crate::output::coloured;
use crate::plan::Plan;
use crate::plan::diff::{Change, ChangeKind};
use crate::plan::readiness::Pods;
use crate::plan::record::Release;

/// The whole promotion.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The environment.
    pub environment: String,
    /// The release; absent when it could not be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// How it ended.
    pub outcome: Ending,
    /// Every region, in the order of waves.
    pub regions: Vec<RegionReport>,
    /// Why it ended early, when that concerns no single region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to run next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How a promotion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every region runs the release and is ready.
    Done,
    /// Every region ran it already, and nothing was written.
    NoChange,
    /// Only the plan was asked for.
    Planned,
    /// Something speaks against it, and nothing was written.
    Refused,
    /// The command line, the catalogue, the kubeconfig or Helm is not in order, and nothing was written.
    Misconfigured,
    /// Some regions do not run it.
    Incomplete,
    /// Another promotion is at work.
    Locked,
}

impl Ending {
    /// The exit code of the command, as in the table of exit codes. A failed promotion is not undone yet, so
    /// 3 is never given.
    pub fn code(self) -> u8 {
        match self {
            Self::Done | Self::NoChange | Self::Planned => 0,
            Self::Refused => 1,
            Self::Misconfigured => 2,
            Self::Incomplete => 4,
            Self::Locked => 5,
        }
    }
}

/// One region.
#[derive(Debug, Serialize)]
pub struct RegionReport {
    /// Its name.
    pub region: String,
    /// Its wave.
    pub wave: String,
    /// How far it came.
    pub state: RegionState,
    /// The API server's version, once it was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<String>,
    /// What differed before.
    pub changes: Vec<Change>,
    /// Its pods at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// Why it failed or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far a region came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionState {
    /// Nothing was written, since it could not be or an earlier wave failed.
    Untouched,
    /// It runs the release already.
    NoChange,
    /// It would be changed.
    Planned,
    /// The release is applied and ready.
    Applied,
    /// The release is not, or only partly, applied or ready.
    Failed,
}

impl Report {
    /// How it ended, for people: what failed and why, how far each region came, and what to run next.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for error in self.error.iter().chain(self.regions.iter().filter_map(|region| region.error.as_ref())) {
            let _ = writeln!(text, "{error}");
        }
        let release = self.release.as_ref().map_or("the release", |release| release.version.as_str());
        let environment = &self.environment;
        let _ = match self.outcome {
            Ending::Done => writeln!(text, "{environment} runs {release} in every region"),
            Ending::NoChange => {
                writeln!(text, "no change: {environment} already runs {release} in every region")
            }
            Ending::Planned => writeln!(text, "dry run: nothing was written"),
            Ending::Refused | Ending::Misconfigured => writeln!(text, "nothing was changed in {environment}"),
            Ending::Locked | Ending::Incomplete => {
                writeln!(text, "{environment} is incomplete:{}", self.states())
            }
        };
        if let Some(next) = &self.next {
            let _ = writeln!(text, "next: {next}");
        }
        text
    }

    fn states(&self) -> String {
        let state = |region: &RegionReport| match region.state {
            RegionState::Untouched => "untouched",
            RegionState::NoChange => "no change",
            RegionState::Planned => "planned",
            RegionState::Applied => "applied",
            RegionState::Failed => "failed",
        };
        let regions = self.regions.iter();
        let states =
            regions.map(|region| format!(" {} (wave {}) {}", region.region, region.wave, state(region)));
        states.collect::<Vec<_>>().join(",")
    }
}

/// A region's plan for people: one line, then the diff.
pub(super) fn describe(region: &str, kubernetes: &str, plan: &Plan) -> String {
    let count = |kind| plan.changes.iter().filter(|change| change.kind == kind).count();
    let mut text = format!("  {region}  Kubernetes {kubernetes}  ");
    if plan.writes() {
        let _ = write!(
            text,
            "{} to create, {} to change, {} to prune",
            count(ChangeKind::Create),
            count(ChangeKind::Change),
            count(ChangeKind::Prune)
        );
        let kept = count(ChangeKind::Bookkeeping);
        if kept > 0 {
            let _ = write!(text, ", {kept} to mark");
        }
        if plan.changes.is_empty() {
            text.push_str(": only the release record and readiness are left to do");
        }
    } else {
        text.push_str("no change");
    }
    text.push('\n');
    for change in &plan.changes {
        for line in change.text.lines() {
            let _ = writeln!(text, "    {}", coloured(line));
        }
    }
    text
}

/// An error with its causes, in one text.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}
