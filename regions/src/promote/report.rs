//! What a promotion tells: to people as it goes, to programs as one JSON document at the end.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::carry::{Fate, Outcome};
use super::screen;
use super::targets::Environment;
use super::times::Times;
use crate::confirm::{LOOK_FIRST, confirm};
use crate::output::coloured;
use crate::plan::Plan;
use crate::plan::diff::{Change, ChangeKind};
use crate::plan::gate::{Breach, Reading};
use crate::plan::promotion::{End, Standing};
use crate::plan::readiness::Pods;
use crate::plan::record::Release;
use crate::plan::vault::MOUNT;
use crate::vault::secrets::PROBE;

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
    /// What concerns no single region: why it was refused, or ended early.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What to run next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Where its time went, once every region runs the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
    /// Whether regions go back, by hand, to what they ran.
    #[serde(skip)]
    pub is_back: bool,
    /// When it began.
    #[serde(skip)]
    pub begun: Instant,
    /// How long somebody was waited for who was asked whether to go on.
    #[serde(skip)]
    pub asked: Duration,
}

/// How a promotion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every region runs the release, and every gate has passed.
    Done,
    /// Every region ran it already, and nothing was written.
    NoChange,
    /// Only the plan was asked for.
    Planned,
    /// Something speaks against it, and nothing was written.
    Refused,
    /// The command line, the catalogue, the kubeconfig or Helm is not in order, and nothing was written.
    Misconfigured,
    /// It failed, and every region runs what it ran before.
    Undone,
    /// It is not over.
    Incomplete,
    /// Another run is at work.
    Locked,
}

impl Ending {
    /// The exit code of the command, as in the table of exit codes.
    pub fn code(self) -> u8 {
        match self {
            Self::Done | Self::NoChange | Self::Planned => 0,
            Self::Refused => 1,
            Self::Misconfigured => 2,
            Self::Undone => 3,
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
    /// What ran there before, and runs there again where the promotion is undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former: Option<Release>,
    /// The API server's version, once it was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<String>,
    /// What differed before.
    pub changes: Vec<Change>,
    /// What nobody looks at there, for want of an identity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// Its pods at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// Its gates, as they stood last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Reading>,
    /// The gates that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breaches: Vec<Breach>,
    /// Why it failed or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why an own transaction failed there, the last one that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// Seconds from the first write of this run to where the region stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_s: Option<f64>,
}

/// What a promotion leaves out in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// Whether its Vault has what the release needs: no Vault is asked.
    Secrets,
    /// Own transactions with tokens: the secret of the client that they are made as is not known.
    Tokens,
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
    /// The release is applied, and the promotion is over.
    Applied,
    /// The release is ready, and its gates have not passed.
    Baking,
    /// The release is ready, its gates have passed, and the promotion is not over.
    Passed,
    /// The release is not, or only partly, applied or ready.
    Failed,
    /// It runs what it ran before.
    Undone,
    /// It cannot go back to what it ran before.
    Stuck,
}

impl RegionState {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::NoChange => "no change",
            Self::Planned => "planned",
            Self::Applied => "applied",
            Self::Baking => "baking",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Undone => "undone",
            Self::Stuck => "cannot go back",
        }
    }
}

impl Report {
    /// Of a promotion that has not begun.
    pub fn new(environment: &Environment) -> Self {
        let targets =
            environment.waves.iter().flat_map(|wave| wave.targets.iter().map(move |target| (wave, target)));
        let regions = targets.map(|(wave, target)| RegionReport::new(&target.region, &wave.name));
        Self {
            environment: environment.name.clone(),
            release: None,
            outcome: Ending::Misconfigured,
            regions: regions.collect(),
            errors: Vec::new(),
            next: None,
            times: None,
            is_back: false,
            begun: Instant::now(),
            asked: Duration::ZERO,
        }
    }

    /// It ends before anything was written.
    pub fn refuse(&mut self, why: &str) {
        self.outcome = Ending::Refused;
        self.errors.push(why.to_owned());
    }

    /// Whether somebody who is asked lets it go on; otherwise it is refused. The wait for him is not the tool's own time.
    pub(super) async fn confirmed(&mut self, question: &str) -> bool {
        let since = Instant::now();
        let confirmed = confirm(question, LOOK_FIRST).await;
        self.asked += since.elapsed();
        confirmed.inspect_err(|why| self.refuse(why)).is_ok()
    }

    /// Takes over what became of it.
    pub fn conclude(&mut self, outcome: Outcome) {
        let fates = match outcome {
            Outcome::Ended(end, fates) => {
                self.outcome = match end {
                    End::Done => Ending::Done,
                    End::NoChange => Ending::NoChange,
                    End::Undone => Ending::Undone,
                    End::Refused => Ending::Refused,
                    End::Incomplete => Ending::Incomplete,
                };
                fates
            }
            Outcome::Nothing => {
                self.outcome = Ending::NoChange;
                return;
            }
            Outcome::Locked(why, fates) => {
                self.outcome = Ending::Locked;
                self.errors.push(why);
                fates
            }
            Outcome::Unable(why) => return self.refuse(&why),
        };
        if self.outcome == Ending::Done {
            // Back they all go at once, whatever their waves.
            let waits = self.regions.iter().zip(&fates).map(|(own, fate)| {
                let wave = if self.is_back { "" } else { own.wave.as_str() };
                (wave, fate.waits)
            });
            self.times = Some(Times::of(self.begun.elapsed().saturating_sub(self.asked), waits));
        }
        for (own, fate) in self.regions.iter_mut().zip(fates) {
            own.take(fate);
        }
    }

    /// How it ended, for people: what failed and why, how far each region came, and what to run next.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        if matches!(self.outcome, Ending::Undone) {
            return screen::undone(self);
        }
        for error in self.errors.iter().chain(self.regions.iter().filter_map(|region| region.error.as_ref()))
        {
            let _ = writeln!(text, "{error}");
        }
        if !matches!(self.outcome, Ending::Done | Ending::NoChange | Ending::Planned) {
            for region in &self.regions {
                if let Some(why) = &region.last_failure {
                    let _ = writeln!(text, "{}: the last own transaction that failed: {why}", region.region);
                }
            }
        }
        let release = self.release.as_ref().map_or("the release", |release| release.version.as_str());
        let environment = &self.environment;
        let _ = match self.outcome {
            Ending::Done if self.is_back => {
                writeln!(text, "{environment} runs {release} again in {}", self.names())
            }
            Ending::NoChange if self.is_back => {
                writeln!(text, "no change: {environment} runs {release} already in {}", self.names())
            }
            Ending::Done => writeln!(text, "{environment} runs {release} in every region; every gate passed"),
            Ending::NoChange if self.release.is_none() => {
                writeln!(text, "no change: no promotion of {environment} is left open")
            }
            Ending::NoChange => {
                writeln!(text, "no change: {environment} already runs {release} in every region")
            }
            Ending::Planned => writeln!(text, "dry run: nothing was written"),
            Ending::Refused | Ending::Misconfigured => writeln!(text, "nothing was changed in {environment}"),
            Ending::Locked | Ending::Incomplete | Ending::Undone => {
                writeln!(text, "{environment} is incomplete:{}", self.states())
            }
        };
        if let Some(times) = self.times {
            let _ = writeln!(text, "{times}");
        }
        if let Some(next) = &self.next {
            let _ = writeln!(text, "next: {next}");
        }
        text
    }

    fn names(&self) -> String {
        self.regions.iter().map(|region| region.region.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn states(&self) -> String {
        let regions = self.regions.iter();
        let states = regions
            .map(|region| format!(" {} (wave {}) {}", region.region, region.wave, region.state.as_str()));
        states.collect::<Vec<_>>().join(",")
    }
}

impl RegionReport {
    /// Of a region in which nothing was done yet.
    pub(super) fn new(region: &str, wave: &str) -> Self {
        Self {
            region: region.to_owned(),
            wave: wave.to_owned(),
            state: RegionState::Untouched,
            former: None,
            kubernetes: None,
            changes: Vec::new(),
            skipped: Vec::new(),
            pods: None,
            gates: Vec::new(),
            breaches: Vec::new(),
            error: None,
            last_failure: None,
            after_s: None,
        }
    }

    fn take(&mut self, fate: Fate) {
        self.state = match &fate.standing {
            Standing::Untouched if fate.wrote => RegionState::Failed,
            Standing::Untouched | Standing::Refused(_) => RegionState::Untouched,
            Standing::Runs => RegionState::NoChange,
            Standing::Begun | Standing::Bad(_) => RegionState::Failed,
            Standing::Baking => RegionState::Baking,
            Standing::Passed => RegionState::Passed,
            Standing::Done => RegionState::Applied,
            Standing::Undone => RegionState::Undone,
            Standing::Stuck(_) => RegionState::Stuck,
        };
        let stuck = matches!(fate.standing, Standing::Stuck(_));
        let why = match (&fate.why, fate.standing.why()) {
            (Some(why), Some(stays)) if stuck => Some(format!("{why}; it cannot go back: {stays}")),
            (_, Some(why)) => Some(why.to_owned()),
            (why, None) => why.clone(),
        };
        self.error = why.map(|why| named(&self.region, &why));
        self.pods = fate.pods;
        (self.gates, self.breaches, self.after_s) = (fate.readings, fate.breaches, fate.after_s);
    }
}

/// A text that begins with a region's name.
fn named(region: &str, text: &str) -> String {
    if text.starts_with(&format!("{region}: ")) { text.to_owned() } else { format!("{region}: {text}") }
}

/// What is left out, for people: once where no Vault is asked, by region where a Vault lacks something.
pub(super) fn left_out(regions: &[RegionReport]) -> String {
    let lacks = |what| regions.iter().filter(move |region| region.skipped.contains(&what));
    let mut text = String::new();
    if lacks(Skipped::Secrets).next().is_some() {
        text.push_str(
            "Vault is not asked whether it has what the release needs: give --vault-ca with --vault-jwt-file or \
             --vault-token\n",
        );
        if lacks(Skipped::Tokens).next().is_some() {
            text.push_str("no client of its own is known, so no tokens are asked for while it bakes\n");
        }
        return text;
    }
    for RegionReport { region, .. } in lacks(Skipped::Tokens) {
        let _ = writeln!(
            text,
            "{region}: its Vault has no secret at {MOUNT}/{PROBE}, so no tokens are asked for while it bakes"
        );
    }
    text
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
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str, skipped: &[Skipped]) -> RegionReport {
        let (state, skipped) = (RegionState::Planned, skipped.to_vec());
        RegionReport { state, skipped, ..RegionReport::new(name, "first") }
    }

    #[test]
    fn what_no_vault_is_asked_is_said_once() {
        let both = [Skipped::Secrets, Skipped::Tokens];
        let text = left_out(&[region("eu", &both), region("us", &both)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].starts_with("Vault is not asked") && lines[0].contains("--vault-jwt-file"),
            "{text}"
        );
        assert_eq!(lines[1], "no client of its own is known, so no tokens are asked for while it bakes");
    }

    #[test]
    fn what_bakes_nowhere_lacks_no_tokens() {
        let text = left_out(&[region("eu", &[Skipped::Secrets])]);
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn a_vault_without_the_probes_secret_is_named_by_its_region() {
        let text = left_out(&[region("eu", &[]), region("us", &[Skipped::Tokens])]);
        assert_eq!(
            text,
            "us: its Vault has no secret at kv/client/probe, so no tokens are asked for while it bakes\n"
        );
    }
}
