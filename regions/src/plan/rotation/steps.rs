//! The steps of a rotation whose regions' standings are known.

use secrets_agent_client::Version;

use super::kind::{self, Kind, Wait};
use super::mark::{Mark, Phase};
use super::notes::Note;
use super::recipe::{Change, Recipe, Source};
use super::standing::{Course, Standing};
use super::times::{self, Times};
use super::{Observed, Plan, Progress, Refusal, Rotation, Step, Waiting};
use crate::catalogue::types::SecretKind;

pub(super) fn plan(course: &Course<'_>, regions: &[Observed]) -> Plan {
    let begun = course.most() > 0 || course.back || is_pending(course);
    let mut plan = Plan {
        rotation: Some(Rotation {
            id: course.id.clone(),
            back: course.back,
            begun,
            clients: course.clients.clone(),
        }),
        ahead: course.phases.iter().copied().skip(course.most()).collect(),
        progress: course.regions.iter().map(|region| progress(course, region)).collect(),
        ..Plan::default()
    };
    let kind = kind::of(course.request.kind);
    let mut steps = Steps {
        course,
        kind,
        left_out: regions.iter().filter(|region| course.request.without.contains(&region.region)).collect(),
        times: times::in_effect(
            course.request.ceilings,
            &course.regions.iter().map(|region| region.observed).collect::<Vec<_>>(),
        ),
        plan: &mut plan,
    };
    let times = steps.times;
    if begun {
        steps.go_on();
    } else {
        steps.begin();
    }
    plan.breaks = course.request.compromised.then(|| kind.breaks(times));
    if !plan.refused.is_empty() {
        plan.steps.clear();
    }
    plan
}

/// Whether a rotation has written anything before its first document.
fn is_pending(course: &Course<'_>) -> bool {
    let mark = Mark::new(&course.id, Phase::Publish);
    let pending = |region: &Standing<'_>, client: &String| {
        region.has(&format!("{}/{client}", super::clients::PENDING), &mark)
    };
    course.regions.iter().any(|region| course.clients.iter().any(|client| pending(region, client)))
}

/// How far a region is.
pub(super) fn progress(course: &Course<'_>, region: &Standing<'_>) -> Progress {
    let adoption = course.adoption(region).ok();
    Progress {
        region: region.name().to_owned(),
        phase: course.phase(region.stage),
        version: region.current.map(|(version, _)| version),
        adopted: adoption.map(|adoption| (adoption.adopted, adoption.total)),
        settled: region.settled(),
    }
}

struct Steps<'a, 'p> {
    course: &'a Course<'a>,
    kind: &'static dyn Kind,
    left_out: Vec<&'a Observed>,
    times: Times,
    plan: &'p mut Plan,
}

impl Steps<'_, '_> {
    /// Before anything is written, everything has to be in sight.
    fn begin(&mut self) {
        for region in &self.course.regions {
            if let Err(why) = &region.observed.view {
                let without = format!("--without {}", region.name());
                let ways = [("go on without it, where it is out of traffic", without.as_str())];
                let why = format!("{}: its watcher cannot be asked: {why}", region.name());
                let refusal = self.course.request.refuse(why, &ways);
                self.plan.refused.push(Refusal { may_pass: true, ..refusal });
            }
            // What a snapshot brought back is not begun from.
            if let Some((version, facts)) = region.current.filter(|_| !self.course.is_restored(region))
                && let Some(why) = self.kind.unfit(&facts.content, self.course)
            {
                let why = format!("{}: version {}: {why}", region.name(), version.version);
                self.plan.refused.push(self.course.request.refuse(why, &[]));
            }
        }
        if self.course.request.input.is_none() && self.course.request.generator.is_none() {
            let why = "nothing makes a new one (the catalogue names no generator): give it on standard input";
            self.plan
                .refused
                .push(self.course.request.refuse(why, &[("as JSON", "--from-stdin < FILE.json")]));
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        if self.mend() {
            return;
        }
        self.note();
        let stage = self.course.least();
        if !self.may_leave(stage) {
            return;
        }
        match self.course.phases.get(stage) {
            Some(next) => self.enter(*next, stage),
            None => self.finish(),
        }
    }

    /// Writes the rotation's document over what is not its own. Whether there was anything to do.
    fn mend(&mut self) -> bool {
        for region in &self.course.regions {
            let Some(stage) = region.mend else { continue };
            let Some(phase) = self.course.phase(stage) else { continue };
            self.note_restored(region);
            let before = self.course.phases.iter().take(stage);
            let errands = before.map(|phase| self.kind.errands(*phase, region, self.course));
            match errands.collect::<Result<Vec<_>, _>>() {
                Ok(errands) => self.plan.steps.extend(errands.into_iter().flatten()),
                Err(why) => self.refuse(why),
            }
            match self.course.marked_for(region, phase) {
                Ok(source) => {
                    let mark = Mark::new(&self.course.id, phase);
                    self.write(region, Recipe { sources: vec![source], change: Change::Same, mark });
                }
                Err(why) => self.refuse(why),
            }
        }
        self.course.regions.iter().any(|region| region.mend.is_some())
    }

    /// Notes that what the rotation had done in a region is not known, before anything is written there: a later run is
    /// not told any more that its Vault was restored.
    fn note_restored(&mut self, region: &Standing<'_>) {
        let id = &self.course.id;
        if self.course.is_restored(region) && region.held.notes.restored.as_ref() != Some(id) {
            let (region, note) = (region.name().to_owned(), Note::Restored(id.clone()));
            self.plan.steps.push(Step::Note { region, note });
        }
    }

    /// Notes what every later run has to know.
    fn note(&mut self) {
        for region in &self.course.regions {
            let mut notes = Vec::new();
            let members = &self.course.request.members;
            if !members.is_subset(&region.held.notes.members) {
                notes.push(Note::Members(members.union(&region.held.notes.members).cloned().collect()));
            }
            if self.course.request.kind != SecretKind::Value {
                let ceilings = times::to_note(self.course.request.ceilings, region.observed);
                notes.extend(ceilings.map(|(times, former)| Note::Ceilings(times, former)));
            }
            if let Some((version, _)) = region.current
                && self.course.phase(region.stage).is_some_and(kind::needs_adoption)
                && !region.is_noted()
                && self.course.adoption(region).is_ok_and(|adoption| adoption.complete())
            {
                notes.push(Note::Barrier(version, region.settled()));
            }
            let name = region.name();
            self.plan
                .steps
                .extend(notes.into_iter().map(|note| Step::Note { region: name.to_owned(), note }));
        }
    }

    /// Whether every region has left a stage behind, or may leave it now. What has to come first is waited for.
    fn may_leave(&mut self, stage: usize) -> bool {
        let Some(phase) = self.course.phase(stage) else { return true };
        if !kind::needs_adoption(phase) {
            return true;
        }
        let wait = match self.course.request.compromised {
            true => Wait::NONE,
            false => self.kind.wait(phase, self.course, self.times, self.course.request),
        };
        let mut may = true;
        for region in self.course.regions.iter().filter(|region| region.stage == stage) {
            if !self.is_adopted(region, phase) {
                may = false;
                continue;
            }
            // The note of it is among the steps.
            let Some(since) = region.settled() else {
                may = false;
                continue;
            };
            let left = region.left(since, wait.long);
            if !left.is_zero() {
                may = false;
                let region = region.name().to_owned();
                self.plan.waits.push(Waiting::Time { region, phase, left, why: wait.why });
            }
        }
        // Until it took no traffic any more, a region that is left out gave its clients what it has.
        if self.course.most() == stage {
            for region in self.left_out.iter().filter(|region| region.out_for < wait.long) {
                may = false;
                let (region, left) = (region.region.clone(), wait.long.saturating_sub(region.out_for));
                self.plan.waits.push(Waiting::Time { region, phase, left, why: wait.why });
            }
        }
        may
    }

    /// Whether every pod of a region uses its document now; otherwise that is waited for.
    fn is_adopted(&mut self, region: &Standing<'_>, phase: Phase) -> bool {
        let awaited = self.course.awaited(region, phase);
        let adopted = awaited.is_none();
        self.plan.waits.extend(awaited);
        adopted
    }

    /// Waits for the regions that are left out. Whether there are any.
    fn lacks_regions(&mut self) -> bool {
        let left_out = self.left_out.iter().map(|region| Waiting::Region { region: region.region.clone() });
        self.plan.waits.extend(left_out);
        !self.left_out.is_empty()
    }

    /// Writes the next phase's document in the regions that are least far, wave by wave.
    fn enter(&mut self, next: Phase, stage: usize) {
        let course = self.course;
        let there = course.regions.iter().any(|region| region.reached(&course.id, next));
        let whole = kind::takes_away(next) || (!there && self.kind.is_blind(next, course));
        if whole && !course.request.compromised && self.lacks_regions() {
            return;
        }
        let to_enter: Vec<&Standing<'_>> =
            course.regions.iter().filter(|region| region.stage == stage).collect();
        let of_its_own = kind::of_its_own(course.request.kind, next);
        if next != Phase::Withdraw {
            let wave = to_enter.iter().map(|region| region.observed.wave).min().unwrap_or(0);
            let before = course.regions.iter().filter(|region| {
                region.observed.wave < wave && region.stage == stage + 1 && kind::needs_adoption(next)
            });
            let mut adopted = true;
            for region in before {
                adopted &= self.is_adopted(region, next);
            }
            if !adopted {
                return;
            }
            let mut to_enter = to_enter.into_iter().filter(|region| region.observed.wave == wave);
            if there || of_its_own {
                to_enter.for_each(|region| self.enter_region(region, next, there && !of_its_own));
            } else {
                self.enter_first(to_enter.next(), next, stage);
            }
            return;
        }
        to_enter.into_iter().for_each(|region| self.enter_region(region, next, false));
    }

    /// Writes the first document of a phase: in the first region, or where that was restored, in one that was not.
    fn enter_first(&mut self, first: Option<&Standing<'_>>, next: Phase, stage: usize) {
        let course = self.course;
        let others = course.regions.iter().filter(|region| region.stage == stage);
        match first.into_iter().chain(others).find(|region| !course.is_restored(region)) {
            Some(region) => self.enter_region(region, next, false),
            None => self.refuse(
                "no region has what its pods use: restore a newer snapshot, or write the document by hand until its \
                 version passes that of the pods"
                    .into(),
            ),
        }
    }

    fn enter_region(&mut self, region: &Standing<'_>, next: Phase, copy: bool) {
        let course = self.course;
        let copied = match copy.then(|| self.copied(region, next)).transpose() {
            Ok(copied) => copied,
            Err(refusal) => return self.plan.refused.push(refusal),
        };
        self.note_restored(region);
        match self.kind.errands(next, region, course) {
            Ok(errands) if errands.is_empty() => {}
            Ok(errands) => return self.plan.steps.extend(errands),
            Err(why) => return self.refuse(why),
        }
        match copied.map_or_else(|| self.kind.recipe(next, region, course), Ok) {
            Ok(recipe) => self.write(region, recipe),
            Err(why) => self.refuse(why),
        }
    }

    /// The document of a phase as another region has it.
    fn copied(&self, region: &Standing<'_>, next: Phase) -> Result<Recipe, Refusal> {
        let source = self.course.marked(next).map_err(|why| self.course.request.refuse(why, &[]))?;
        self.loses_nothing(region, next, &source)?;
        let mark = Mark::new(&self.course.id, next);
        Ok(Recipe { sources: vec![source], change: Change::Same, mark })
    }

    /// A document that is copied must have what the region's own has, unless the phase is there to take it away.
    fn loses_nothing(&self, region: &Standing<'_>, next: Phase, source: &Source) -> Result<(), Refusal> {
        if !matches!(next, Phase::Publish | Phase::Hand | Phase::Return) {
            return Ok(());
        }
        let lost = self.course.lost(region, source);
        if lost.is_empty() {
            return Ok(());
        }
        let why = format!(
            "{}: its document has what that of {} has not, and it may be in use: {}; put it into every region first",
            region.name(),
            source.region,
            lost.join(", ")
        );
        Err(Refusal { why, ways: vec![self.course.request.settling()], may_pass: false })
    }

    fn write(&mut self, region: &Standing<'_>, recipe: Recipe) {
        self.plan.steps.push(region.write(region.held.path.clone(), recipe));
    }

    /// Destroys what nobody uses any more, and notes that it is over.
    fn finish(&mut self) {
        if self.lacks_regions() {
            return;
        }
        let left = self.course.regions.iter().filter_map(|region| Some((region, region.current?.0)));
        let left = left.filter(|(region, version)| {
            let ended = region.held.notes.ended.as_ref().filter(|ended| ended.id == self.course.id);
            ended.is_none_or(|ended| ended.version != version.version)
        });
        let left: Vec<(&Standing<'_>, Version)> = left.collect();
        let fences: Vec<Step> = left.iter().flat_map(|(region, _)| self.fences(region)).collect();
        if !fences.is_empty() {
            self.plan.steps.extend(fences);
            return;
        }
        for (region, version) in left {
            let document = region.destroy(&region.held.path, region.stored().former());
            let mut goes: Vec<Step> = document.into_iter().collect();
            goes.extend(self.kind.leftovers(region, self.course));
            if goes.is_empty() {
                let note = Note::Ended(self.course.id.clone(), version.version);
                goes.push(Step::Note { region: region.name().to_owned(), note });
            }
            self.plan.steps.extend(goes);
        }
    }

    /// Writes what the rotation leaves in a region once more, where somebody else may have sent a write that has not
    /// arrived yet: after the end nobody would look for it.
    fn fences(&self, region: &Standing<'_>) -> Vec<Step> {
        let stays = [region.held.path.clone()].into_iter().chain(self.kind.stays(self.course));
        let again = stays.filter(|path| !region.is_fenced(path)).filter_map(|path| {
            let (version, facts) = region.held.stored.get(&path)?.readable()?;
            let mark = facts.mark.clone().filter(|mark| mark.id == self.course.id)?;
            let sources = vec![region.source_of(&path, version)];
            Some(region.write(path, Recipe { sources, change: Change::Again, mark }))
        });
        again.collect()
    }

    fn refuse(&mut self, why: String) {
        let refusal: Refusal = self.course.request.refuse(why, &[]);
        if !self.plan.refused.contains(&refusal) {
            self.plan.refused.push(refusal);
        }
    }
}
