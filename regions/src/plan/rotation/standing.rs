//! How far a rotation is in each region.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use secrets_agent_client::Version;

use super::adoption::{Adoption, Wanted, adoption};
use super::facts::{Content, Facts, State, Stored};
use super::mark::{Mark, Phase};
use super::recipe::{Recipe, Source};
use super::{Destroy, Held, Observed, Request, Step, Waiting, Write, kind};

/// One rotation, and the regions that take part in it.
pub(super) struct Course<'a> {
    /// What is asked for.
    pub request: &'a Request,
    /// Its id.
    pub id: String,
    /// Whether it is being taken back.
    pub back: bool,
    /// Its phases, in order.
    pub phases: &'static [Phase],
    /// The regions, in the order of waves. Those that are left out are not among them.
    pub regions: Vec<Standing<'a>>,
    /// Clients whose secrets change.
    pub clients: BTreeSet<String>,
}

/// One region's part of it.
pub(super) struct Standing<'a> {
    /// What was seen there.
    pub observed: &'a Observed,
    /// What its Vault holds.
    pub held: &'a Held,
    /// The current version of the document, where it can be read.
    pub current: Option<(Version, &'a Facts)>,
    /// How many phases it has behind it.
    pub stage: usize,
    /// Whether its document has to be written again, at the stage that is told here, before it counts.
    pub mend: Option<usize>,
}

impl<'a> Course<'a> {
    /// Whether this rotation wrote a version.
    pub(super) fn wrote(&self, facts: &Facts) -> bool {
        facts.mark.as_ref().is_some_and(|mark| mark.id == self.id)
    }

    /// Whether some region has let go of what was there before. Then there is no way back.
    pub(super) fn retired(&self) -> bool {
        let kind = kind::of(self.request.kind);
        self.regions.iter().any(|region| kind.has_let_go(region, self))
    }

    /// Whether something may have been done that no Vault knows any more. Who writes over the rotation's document may hide
    /// that the Vault below it was restored: its version is the newest again.
    pub(super) fn forgotten(&self) -> bool {
        let mut regions = self.regions.iter();
        regions.any(|region| region.has_forgotten(&self.id, self) || region.is_written_over(self))
    }

    /// Whether a region's Vault is said to have been restored.
    pub(super) fn is_restored(&self, region: &Standing<'_>) -> bool {
        self.request.restored.contains(region.name())
    }

    /// The document of a phase, wherever it is.
    ///
    /// # Errors
    /// It is nowhere any more.
    pub(super) fn marked(&self, phase: Phase) -> Result<Source, String> {
        let mark = Mark::new(&self.id, phase);
        let of_region = |region: &Standing<'_>| Some(region.source(region.stored().marked(&mark)?.0));
        // A current one first: it is what the other regions use. What is to be overwritten comes after what is not.
        let current = || self.regions.iter().filter(|region| region.mark() == Some(&mark));
        let stays = |region: &&Standing<'_>| !self.request.overwrite.contains(region.name());
        let first = current().find(stays).or_else(|| current().next());
        first
            .and_then(of_region)
            .or_else(|| self.regions.iter().find_map(of_region))
            .ok_or_else(|| format!("the document of the phase {phase} is gone from every region"))
    }

    /// The document of a phase that is put over another in a region. Where each region's comes from its own, and may be
    /// another than the others', it is the region's.
    ///
    /// # Errors
    /// It is nowhere any more.
    pub(super) fn marked_for(&self, region: &Standing<'_>, phase: Phase) -> Result<Source, String> {
        if !self.differs(phase) {
            return self.marked(phase);
        }
        let own = region.stored().marked(&Mark::new(&self.id, phase));
        let (version, _) =
            own.ok_or_else(|| format!("the document of the phase {phase} is gone from {}", region.name()))?;
        Ok(region.source(version))
    }

    /// What a region withdraws from: its own document. Where what another wrote there is to be written over, or a snapshot
    /// brought back what was there before, it is the rotation's, as long as nothing in use is lost by it: what another
    /// rotation added would stay for ever, and what a snapshot does not have may be in use.
    pub(super) fn withdrawn(&self, region: &Standing<'_>, version: Version) -> Source {
        let own = region.source(version);
        let is_others = region.current.is_some_and(|(_, facts)| !self.wrote(facts));
        let is_replaced = self.request.overwrite.contains(region.name()) || self.is_restored(region);
        if !is_others || !is_replaced {
            return own;
        }
        let forward = kind::of(self.request.kind).forward();
        let mut sources = forward.iter().filter_map(|phase| self.marked(*phase).ok());
        sources.find(|source| self.lost(region, source).is_empty()).unwrap_or(own)
    }

    /// Whether regions have documents of a phase that are not the same.
    pub(super) fn differs(&self, phase: Phase) -> bool {
        let kind = self.request.kind;
        kind::of_its_own(kind, phase) && !kind::of(kind).alike()
    }

    /// What is known of a version of the document.
    pub(super) fn at(&self, source: &Source) -> Option<&Facts> {
        let region = self.regions.iter().find(|region| region.name() == source.region)?;
        let mut history = region.stored().history();
        history.find(|(version, _)| *version == source.version).map(|(_, facts)| facts)
    }

    /// What a region's document has that is in use, and another has not.
    pub(super) fn lost(&self, region: &Standing<'_>, instead: &Source) -> Vec<String> {
        match (region.current, self.at(instead)) {
            (Some((_, there)), Some(instead)) => kind::of(self.request.kind).lost(there, instead, self),
            _ => Vec::new(),
        }
    }

    /// The keys that pods show of a version of the document.
    pub(super) fn kids(&self, source: &Source) -> Option<BTreeSet<String>> {
        kind::of(self.request.kind).kids(&self.at(source)?.content)
    }

    /// The phase that a stage was reached by.
    pub(super) fn phase(&self, stage: usize) -> Option<Phase> {
        self.phases.get(stage.checked_sub(1)?).copied()
    }

    /// How far the region is that is least far.
    pub(super) fn least(&self) -> usize {
        self.regions.iter().map(|region| region.stage).min().unwrap_or(0)
    }

    /// How far the region is that is farthest.
    pub(super) fn most(&self) -> usize {
        self.regions.iter().map(|region| region.stage).max().unwrap_or(0)
    }

    /// What is waited for until every pod of a region uses its document; nothing where every one does.
    pub(super) fn awaited(&self, region: &Standing<'_>, phase: Phase) -> Option<Waiting> {
        let name = region.name().to_owned();
        match self.adoption(region) {
            Ok(adoption) if adoption.complete() => None,
            Ok(adoption) => Some(Waiting::Pods { region: name, phase, missing: adoption.missing }),
            Err(why) => Some(Waiting::Watcher { region: name, why }),
        }
    }

    /// How far the pods of a region are with its document; why that cannot be told.
    pub(super) fn adoption(&self, region: &Standing<'_>) -> Result<Adoption, String> {
        let view = region.observed.view.as_ref().map_err(Clone::clone)?;
        let (version, facts) = region.current.ok_or("its document cannot be read")?;
        let kids = kind::of(self.request.kind).kids(&facts.content);
        Ok(adoption(view, Wanted { secret: &self.request.secret, version, kids: kids.as_ref() }))
    }
}

impl<'a> Standing<'a> {
    pub(super) fn name(&self) -> &'a str {
        &self.observed.region
    }

    /// The document, all versions.
    pub(super) fn stored(&self) -> &'a Stored {
        self.held.document()
    }

    pub(super) fn source(&self, version: Version) -> Source {
        self.source_of(&self.held.path, version)
    }

    pub(super) fn source_of(&self, path: &str, version: Version) -> Source {
        Source { region: self.name().to_owned(), path: path.to_owned(), version }
    }

    /// The mark of the current document.
    pub(super) fn mark(&self) -> Option<&'a Mark> {
        self.current.and_then(|(_, facts)| facts.mark.as_ref())
    }

    /// The first version that a rotation wrote here, and what was here before, as far as they can be read.
    pub(super) fn came(&self, course: &Course<'_>) -> Option<(Version, Option<(Version, &'a Facts)>)> {
        let wrote = self.stored().history().filter(|(_, facts)| course.wrote(facts));
        let (first, _) = wrote.last()?;
        let mut history = self.stored().history();
        let before = history.find(|(version, facts)| version.version < first.version && !course.wrote(facts));
        Some((first, before))
    }

    /// Whether somebody else has written a version since a rotation came here.
    pub(super) fn is_written_over(&self, course: &Course<'_>) -> bool {
        let Some((first, _)) = self.came(course) else { return false };
        let mut history = self.stored().history();
        history.any(|(version, facts)| version.version > first.version && !course.wrote(facts))
    }

    /// Whether the region's Vault was restored while a rotation was under way: said so now, or noted by a run before.
    fn has_forgotten(&self, id: &str, course: &Course<'_>) -> bool {
        (course.is_restored(self) && id == course.id) || self.held.notes.restored.as_deref() == Some(id)
    }

    /// Whether a key may sign, or have signed, by what is known of the region: a Vault that was restored may have forgotten it
    /// of a key that the rotation put there.
    pub(super) fn may_have_used(&self, kid: &str, course: &Course<'_>) -> bool {
        let is_of = |mark: &Mark| self.has_forgotten(&mark.id, course);
        self.stored().history().any(|(_, facts)| match &facts.content {
            Content::Keys(keys) => keys
                .get(kid)
                .is_some_and(|key| key.state != State::Published || facts.mark.as_ref().is_some_and(is_of)),
            _ => false,
        })
    }

    /// Whether any version of the document that can be read has a key.
    pub(super) fn holds(&self, kid: &str) -> bool {
        let mut history = self.stored().history();
        history.any(|(_, facts)| matches!(&facts.content, Content::Keys(keys) if keys.contains_key(kid)))
    }

    /// Whether any version of the document is one that a rotation wrote.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.stored().history().any(|(_, facts)| facts.mark.as_ref().is_some_and(|mark| mark.id == id))
    }

    /// Whether the current version at a path has a mark.
    pub(super) fn has(&self, path: &str, mark: &Mark) -> bool {
        let current = self.held.stored.get(path).and_then(Stored::readable);
        current.is_some_and(|(_, facts)| facts.mark.as_ref() == Some(mark))
    }

    /// Whether a rotation has written a phase's document here.
    pub(super) fn reached(&self, id: &str, phase: Phase) -> bool {
        self.stored().marked(&Mark::new(id, phase)).is_some()
    }

    /// Since when every pod was seen to use the current document, or a version below it that says the same.
    pub(super) fn settled(&self) -> Option<Timestamp> {
        let barrier = self.held.notes.barrier?;
        let (current, facts) = self.current?;
        let stored = self.stored();
        let noted = barrier.version.version;
        let is_same = |number| {
            let own = stored.versions.get(&number).and_then(|kept| kept.facts.as_ref());
            own.is_some_and(|own| own.mark == facts.mark && own.body == facts.body)
        };
        let is_there = stored.version(noted) == Some(barrier.version);
        (is_there && (noted..=current.version).all(is_same)).then_some(barrier.at)
    }

    /// Whether it is noted of the current version itself that every pod uses it.
    pub(super) fn is_noted(&self) -> bool {
        let barrier = self.held.notes.barrier.zip(self.current);
        barrier.is_some_and(|(barrier, (version, _))| barrier.version == version)
    }

    /// Whether nothing can come over the current version at a path that somebody else has sent before.
    pub(super) fn is_fenced(&self, path: &str) -> bool {
        let current = self.held.stored.get(path).map(|stored| stored.current);
        current.is_some() && self.observed.fenced.get(path).copied() == current
    }

    /// How much of a wait is left, by the region's own Vault.
    pub(super) fn left(&self, since: Timestamp, long: Duration) -> Duration {
        let end = since.checked_add(long).unwrap_or(Timestamp::MAX);
        Duration::try_from(end.duration_since(self.held.now)).unwrap_or_default()
    }

    /// Writes the next version at a path.
    pub(super) fn write(&self, path: String, recipe: Recipe) -> Step {
        let over = self.held.stored.get(&path).map_or(0, |stored| stored.current);
        Step::Write(Write { region: self.name().to_owned(), path, over, recipe })
    }

    /// Destroys versions, if there are any.
    pub(super) fn destroy(&self, path: &str, versions: Vec<Version>) -> Option<Step> {
        let (region, path) = (self.name().to_owned(), path.to_owned());
        (!versions.is_empty()).then_some(Step::Destroy(Destroy { region, path, versions }))
    }
}
