//! What a rotation came to, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::carry::Ended;
use super::stage::PhaseReport;
use crate::ending::Ending;
use crate::plan::rotation::mark::Phase;
use crate::plan::rotation::recipe::Change;
use crate::plan::rotation::{Plan, Progress, Refusal, Rotation, Step, Waiting};
use crate::who;

/// Pods that are named where many do not use a document.
const NAMED: usize = 5;

/// A region in the report.
#[derive(Debug, Clone, Serialize)]
pub struct RegionReport {
    /// The region.
    pub region: String,
    /// The phase that it has.
    pub phase: Option<Phase>,
    /// Its current version.
    pub version: Option<u64>,
    /// Pods that use it.
    pub adopted: Option<usize>,
    /// Pods that count.
    pub total: Option<usize>,
}

/// What a rotation came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The environment.
    pub environment: String,
    /// The secret.
    pub secret: String,
    /// The rotation, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
    /// How it ended.
    pub outcome: Ending,
    /// What was done, or would be, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// What is waited for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<String>,
    /// Phases that are still to come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<Phase>,
    /// How long each phase took in this run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseReport>,
    /// How far each region is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionReport>,
    /// What breaks, where the waits are skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaks: Option<String>,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<String>,
}

impl Report {
    pub(super) fn new(environment: &str, secret: &str) -> Self {
        Self {
            environment: environment.into(),
            secret: secret.into(),
            rotation: None,
            outcome: Ending::Misconfigured,
            steps: Vec::new(),
            waits: Vec::new(),
            ahead: Vec::new(),
            phases: Vec::new(),
            regions: Vec::new(),
            breaks: None,
            errors: Vec::new(),
            ways: Vec::new(),
        }
    }

    /// Takes what was planned last.
    pub(super) fn plan(&mut self, plan: &Plan) {
        self.rotation = plan.rotation.as_ref().map(|rotation| rotation.id.clone());
        self.ahead.clone_from(&plan.ahead);
        self.breaks.clone_from(&plan.breaks);
        self.regions = plan.progress.iter().map(region).collect();
        self.waits = plan.waits.iter().map(|own| format!("{}: {}", own.region(), waiting(own))).collect();
    }

    /// Takes how a run ended. `wrote` says whether it had written anything.
    pub(super) fn end(&mut self, ended: Ended, wrote: bool) {
        let early = if wrote { Ending::Incomplete } else { Ending::Refused };
        self.outcome = match ended {
            Ended::Done if wrote => Ending::Done,
            Ended::Done => Ending::NoChange,
            Ended::Planned(plan) => {
                self.plan(&plan);
                self.steps =
                    plan.steps.iter().map(|own| format!("{}: {}", own.region(), step(own))).collect();
                if plan.is_empty() { Ending::NoChange } else { Ending::Planned }
            }
            Ended::Refused(refused) => {
                self.refuse(refused);
                early
            }
            Ended::Stopped(why) => {
                self.errors.push(why);
                early
            }
            Ended::Stuck(waits) => {
                self.errors = waits.iter().map(|own| format!("{}: {}", own.region(), waiting(own))).collect();
                Ending::Incomplete
            }
            Ended::Locked { by } => {
                let by = who::person(&by);
                self.errors
                    .push(format!("{by} rotates {} right now; let it end, and look again", self.secret));
                Ending::Locked
            }
            Ended::Signalled => {
                self.errors.push("stopped by a signal".into());
                early
            }
        };
    }

    fn refuse(&mut self, refused: Vec<Refusal>) {
        for Refusal { why, ways, .. } in refused {
            self.errors.push(why);
            for way in ways {
                if !self.ways.contains(&way) {
                    self.ways.push(way);
                }
            }
        }
    }

    /// It, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let _ = writeln!(text, "  {step}");
        }
        for wait in &self.waits {
            let _ = writeln!(text, "  {wait}");
        }
        if self.outcome == Ending::Planned && !self.ahead.is_empty() {
            let ahead: Vec<&str> = self.ahead.iter().map(|phase| phase.as_str()).collect();
            let _ = writeln!(text, "then: {}", ahead.join(", "));
        }
        for PhaseReport { phase, written_s, adopted_s, took_s } in &self.phases {
            let adopted = adopted_s.map(|adopted| format!(", used by every pod after {adopted:.1} s"));
            let adopted = adopted.unwrap_or_default();
            let _ = writeln!(text, "{phase:9} written in {written_s:.1} s{adopted}, {took_s:.1} s in all");
        }
        let name = self.rotation.as_deref().unwrap_or(&self.secret);
        let _ = match self.outcome {
            Ending::Done => writeln!(text, "{name}: done"),
            Ending::NoChange => writeln!(text, "{}: nothing to do", self.secret),
            Ending::Planned => writeln!(text, "{name}: planned; nothing was changed"),
            Ending::Refused => writeln!(text, "{}: refused; nothing was changed", self.secret),
            Ending::Misconfigured => writeln!(text, "{}: nothing was changed", self.secret),
            Ending::Incomplete => writeln!(text, "{name}: incomplete; run it again"),
            Ending::Locked => writeln!(text, "{}: locked by another", self.secret),
        };
        for error in &self.errors {
            let _ = writeln!(text, "{error}");
        }
        for way in &self.ways {
            let _ = writeln!(text, "   {way}");
        }
        text
    }
}

fn region(progress: &Progress) -> RegionReport {
    RegionReport {
        region: progress.region.clone(),
        phase: progress.phase,
        version: progress.version.map(|version| version.version),
        adopted: progress.adopted.map(|(adopted, _)| adopted),
        total: progress.adopted.map(|(_, total)| total),
    }
}

/// A rotation in a line.
pub(super) fn heading(rotation: &Rotation) -> String {
    let Rotation { id, back, begun, clients } = rotation;
    let what = match (back, begun) {
        (true, _) => "is taken back",
        (false, true) => "goes on",
        (false, false) => "begins",
    };
    let clients = match clients.len() {
        0 => String::new(),
        1..=NAMED => format!(": {}", clients.iter().cloned().collect::<Vec<_>>().join(", ")),
        count => format!(": {count} clients"),
    };
    format!("{id} {what}{clients}")
}

/// How far a region is, in a few words.
pub(super) fn state(progress: &Progress) -> String {
    let phase = progress.phase.map_or("before the first phase", Phase::as_str);
    let version =
        progress.version.map(|version| format!(" (version {})", version.version)).unwrap_or_default();
    let pods =
        progress.adopted.map(|(adopted, total)| format!(", {adopted}/{total} pods")).unwrap_or_default();
    format!("{phase}{version}{pods}")
}

/// A step in a few words.
pub(super) fn step(step: &Step) -> String {
    match step {
        Step::Write(write) => {
            let from = write.recipe.sources.first().filter(|source| source.region != write.region);
            let from = from.map(|source| format!(" as in {}", source.region)).unwrap_or_default();
            let made = match write.recipe.change {
                Change::Publish | Change::Value | Change::Pending { .. } => ", newly made",
                Change::Again => ", once more",
                _ => "",
            };
            let mark = super::stage::marked(&write.recipe.mark);
            format!("write {}: {mark}{from}{made}", write.path)
        }
        Step::Note { note, .. } => format!("note {}", note.what()),
        Step::Destroy(destroy) => {
            let numbers: Vec<String> =
                destroy.versions.iter().map(|version| version.version.to_string()).collect();
            format!("destroy {}: version {}", destroy.path, numbers.join(", "))
        }
    }
}

/// What is waited for, in a few words.
pub(super) fn waiting(waiting: &Waiting) -> String {
    match waiting {
        Waiting::Watcher { why, .. } => format!("its watcher cannot be asked: {why}"),
        Waiting::Pods { missing, .. } => {
            let named: Vec<String> = missing.iter().take(NAMED).map(ToString::to_string).collect();
            let more = missing.len().saturating_sub(NAMED);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            format!("{}{more}", named.join("; "))
        }
        Waiting::Time { left, why, .. } => format!("{} s {why}", left.as_secs()),
        Waiting::Region { .. } => {
            "it is left out, and has to catch up before what was there before is taken away elsewhere; run it again \
             when the region is back"
                .into()
        }
    }
}
