//! What is shown while a rotation goes on: a line for each region, and how long each phase took.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::carry::Audience;
use super::report;
use crate::confirm::confirm;
use crate::output::{Line, Progress};
use crate::plan::rotation::mark::{Mark, Phase};
use crate::plan::rotation::notes::Note;
use crate::plan::rotation::{Plan, Rotation, Step, Waiting};

/// How long a phase took.
#[derive(Debug, Clone, Serialize)]
pub struct PhaseReport {
    /// The phase.
    pub phase: Phase,
    /// Seconds from its first document to the last.
    pub written_s: f64,
    /// Seconds from its first document until every pod of every region used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted_s: Option<f64>,
    /// Seconds from its first document until the next phase, or the end.
    pub took_s: f64,
}

struct Lap {
    phase: Phase,
    began: Instant,
    written: Instant,
    adopted: Option<Instant>,
}

/// What is shown, and what was seen.
pub(super) struct Stage {
    progress: Progress,
    lines: BTreeMap<String, Line>,
    /// Whether nobody needs to be asked before something breaks.
    yes: bool,
    laps: RefCell<Vec<Lap>>,
    pub(super) rotation: RefCell<Option<Rotation>>,
    pub(super) last: RefCell<Option<Plan>>,
}

impl Stage {
    pub(super) fn new<'a>(regions: impl Iterator<Item = &'a str>, yes: bool) -> Self {
        let progress = Progress::new();
        let lines = regions.map(|region| (region.to_owned(), progress.region(region))).collect();
        let (rotation, last) = (RefCell::default(), RefCell::default());
        Self { progress, lines, yes, laps: RefCell::default(), rotation, last }
    }

    pub(super) fn note(&self, text: &str) {
        self.progress.note(text);
    }

    pub(super) fn say(&self, region: &str, text: &str) {
        if let Some(line) = self.lines.get(region) {
            line.say(text);
        }
    }

    /// How long each phase took, as far as this run saw it.
    pub(super) fn phases(&self) -> Vec<PhaseReport> {
        let laps = self.laps.borrow();
        let ends = laps.iter().skip(1).map(|lap| lap.began).chain([Instant::now()]);
        let since = |lap: &Lap, moment: Instant| rounded(moment.duration_since(lap.began));
        laps.iter()
            .zip(ends)
            .map(|(lap, end)| PhaseReport {
                phase: lap.phase,
                written_s: since(lap, lap.written),
                adopted_s: lap.adopted.map(|adopted| since(lap, adopted)),
                took_s: since(lap, end),
            })
            .collect()
    }
}

fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

impl Audience for Stage {
    async fn planned(&self, plan: &Plan) -> Result<(), String> {
        self.rotation.borrow_mut().clone_from(&plan.rotation);
        if let Some(rotation) = &plan.rotation {
            self.note(&report::heading(rotation));
        }
        let Some(breaks) = &plan.breaks else { return Ok(()) };
        self.note(&format!("the waits are skipped: {breaks}"));
        if self.yes {
            return Ok(());
        }
        let unasked = "nobody can be asked here whether the waits may be skipped; add --yes";
        confirm("Skip the waits?", unasked).await
    }

    fn taking(&self, step: &Step) {
        if let Step::Write(write) = step
            && let Some(phase) = write.recipe.mark.phase()
            && write.path.starts_with("service/")
        {
            let mut laps = self.laps.borrow_mut();
            if laps.last().is_none_or(|lap| lap.phase != phase) {
                let now = Instant::now();
                laps.push(Lap { phase, began: now, written: now, adopted: None });
            }
        }
        self.say(step.region(), &report::step(step));
    }

    fn taken(&self, step: &Step) {
        let mut laps = self.laps.borrow_mut();
        let Some(lap) = laps.last_mut() else { return };
        match step {
            Step::Write(_) => lap.written = Instant::now(),
            Step::Note { note: Note::Barrier(..), .. } => lap.adopted = Some(Instant::now()),
            _ => {}
        }
    }

    fn waiting(&self, plan: &Plan) {
        for progress in &plan.progress {
            let Some(line) = self.lines.get(&progress.region) else { continue };
            let waits = plan.waits.iter().find(|waiting| waiting.region() == progress.region);
            let state = report::state(progress);
            let (moving, still) = match waits {
                Some(Waiting::Time { left, why, .. }) => {
                    let end = Timestamp::now().checked_add(*left).unwrap_or(Timestamp::MAX);
                    // To ten seconds, so that it stays the same while it is waited for.
                    let end = end.as_second() - end.as_second().rem_euclid(10) + 10;
                    let end = Timestamp::from_second(end).unwrap_or(Timestamp::MAX);
                    (
                        format!("{state}, {} s left {why}", left.as_secs()),
                        format!("{state}, waits to {end} at most {why}"),
                    )
                }
                Some(waiting) => {
                    let text = format!("{state}, {}", report::waiting(waiting));
                    (text.clone(), text)
                }
                None => (state.clone(), state),
            };
            line.say_either(&moving, &still);
        }
        self.last.replace(Some(plan.clone()));
    }
}

/// A phase's mark in words.
pub(super) fn marked(mark: &Mark) -> String {
    format!("{} of {}", mark.phase, mark.id)
}
