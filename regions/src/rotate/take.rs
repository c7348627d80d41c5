//! Takes one step in one region.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::carry::Audience;
use super::fences::Fences;
use super::region::{Asking, Lock, Region, Trouble};
use crate::plan::rotation::notes::Note;
use crate::plan::rotation::recipe::{Made, Need, Source};
use crate::plan::rotation::{Destroy, Step, Write};
use crate::vault::kv::Document;
use crate::wipe::wipe;

/// A Vault tells its time in whole seconds.
const CLOCK: SignedDuration = SignedDuration::from_secs(1);

/// Makes one new thing.
type Make = dyn Fn(&Need) -> Result<Made, String>;

/// Makes what is new, and remembers it: a write that has to be tried again writes the same.
pub struct Maker {
    make: Box<Make>,
    made: RefCell<BTreeMap<Need, Rc<Made>>>,
}

impl Maker {
    /// By this generator.
    pub fn new(make: impl Fn(&Need) -> Result<Made, String> + 'static) -> Self {
        Self { make: Box::new(make), made: RefCell::default() }
    }

    fn get(&self, need: &Need) -> Result<Rc<Made>, Trouble> {
        if let Some(made) = self.made.borrow().get(need) {
            return Ok(Rc::clone(made));
        }
        let made = Rc::new((self.make)(need).map_err(Trouble::Refused)?);
        self.made.borrow_mut().insert(need.clone(), Rc::clone(&made));
        Ok(made)
    }
}

/// What steps are taken with.
pub(super) struct Taking<'a, R, A> {
    pub(super) regions: &'a [R],
    pub(super) asking: &'a Asking,
    pub(super) audience: &'a A,
    pub(super) maker: &'a Maker,
    pub(super) fences: &'a Fences,
    /// Path of the document that pods use.
    pub(super) document: String,
}

impl<R: Region, A: Audience> Taking<'_, R, A> {
    /// Takes a step, while the region's lock is held.
    pub(super) async fn take(&self, region: &R, step: &Step) -> Result<(), Trouble> {
        self.audience.taking(step);
        match step {
            Step::Write(write) => self.write(region, write).await?,
            Step::Note { note, .. } => self.note(region, note).await?,
            Step::Destroy(destroy) => self.destroy(region, destroy).await?,
        }
        self.audience.taken(step);
        Ok(())
    }

    async fn write(&self, region: &R, write: &Write) -> Result<(), Trouble> {
        let mut sources = Vec::new();
        for source in &write.recipe.sources {
            sources.push(self.read(source).await?);
        }
        let made = write.recipe.change.need().map(|need| self.maker.get(&need)).transpose()?;
        let at = region.clock().await?;
        let sources: Vec<&Value> = sources.iter().map(Document::expose).collect();
        let document = write.recipe.make(&sources, made.as_deref(), at);
        let mut document = document
            .map_err(|unfit| Trouble::Refused(format!("{}: write {}: {unfit}", region.name(), write.path)))?;
        self.keep(region).await?;
        self.fences.sent(region.name(), &write.path);
        let put = region.put(&write.path, &document, write.over).await;
        wipe(&mut document);
        put?;
        self.fences.written(region.name(), &write.path, write.over + 1);
        Ok(())
    }

    /// Keeps the lock for long enough to write. What was planned under it counts for nothing once somebody else has had
    /// it.
    async fn keep(&self, region: &R) -> Result<(), Trouble> {
        match region.lock(self.asking).await? {
            Lock::Kept => Ok(()),
            Lock::Anew => {
                self.fences.lose(region.name());
                Err(Trouble::Overtaken(format!("the lock of {}", region.name())))
            }
        }
    }

    /// Reads a version, if it still is the one that was planned with.
    async fn read(&self, source: &Source) -> Result<Document, Trouble> {
        let gone = || Trouble::Overtaken(format!("{} in {}", source.path, source.region));
        let region = self.regions.iter().find(|region| region.name() == source.region).ok_or_else(gone)?;
        let document = region.document(&source.path, source.version.version).await?.ok_or_else(gone)?;
        if document.created_time != source.version.created_time {
            return Err(gone());
        }
        Ok(document)
    }

    async fn note(&self, region: &R, note: &Note) -> Result<(), Trouble> {
        let now: Timestamp = region.clock().await?;
        let now = now.checked_add(CLOCK).unwrap_or(Timestamp::MAX);
        self.keep(region).await?;
        region.note(&self.document, &note.entries(now)).await
    }

    /// Destroys knows no check-and-set, so each version is looked at right before.
    async fn destroy(&self, region: &R, destroy: &Destroy) -> Result<(), Trouble> {
        let Some(found) = region.metadata(&destroy.path).await? else { return Ok(()) };
        let same = |version: &&secrets_agent_client::Version| {
            let state = found.versions.get(&version.version);
            state.is_some_and(|state| state.created_time == version.created_time && !state.destroyed)
        };
        let numbers: Vec<u64> = destroy.versions.iter().filter(same).map(|version| version.version).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        if destroy.path == self.document && numbers.contains(&found.version) {
            return Err(Trouble::Overtaken(destroy.path.clone()));
        }
        self.keep(region).await?;
        region.destroy(&destroy.path, &numbers).await
    }
}
