//! Carries a promotion out over all regions: what is next says the planner, from what came of each step.

mod bake;
mod begin;
mod left;
mod step;
mod watches;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::lock::{self, Hold, Holder, LockError};
use super::region::Region;
use crate::execute::{Contents, Limits};
use crate::output::Progress;
use crate::plan::diff::Change;
use crate::plan::gate::limits::Limits as Gates;
use crate::plan::gate::{Breach, Reading};
use crate::plan::object::Object;
use crate::plan::promotion::{End, Next, Standing, next};
use crate::plan::readiness::Pods;
use crate::plan::record::Wanted;
use crate::promote::times::Waits;

use watches::Watches;

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Aim {
    /// Every region is to run a release.
    Release,
    /// These regions are to run again what ran there once.
    Back {
        /// Whether they are all that the environment has.
        all: bool,
    },
    /// What a run left that was killed or cancelled is to be finished.
    Settle,
}

/// What a region is to run.
#[derive(Debug, Clone)]
pub struct Work {
    /// The release's objects.
    pub objects: Vec<Object>,
    /// What it is, and for what.
    pub wanted: Wanted,
    /// What its record keeps.
    pub contents: Contents,
    /// What differed when it was shown.
    pub shown: Vec<Change>,
}

/// A promotion.
pub struct Job<'a, R> {
    /// The environment's regions.
    pub regions: &'a [R],
    /// Waves: their names, and the places of their regions.
    pub waves: Vec<(String, Vec<usize>)>,
    /// What each region is to run; nothing where a run is only settled.
    pub work: Vec<Option<Work>>,
    /// What for.
    pub aim: Aim,
    /// The name of this promotion, where none goes on.
    pub promotion: String,
    /// Bounds of a wait for readiness.
    pub limits: Limits,
    /// What a bake asks for.
    pub gates: Gates,
    /// Regions of a wave that are worked on at the same time.
    pub parallel: usize,
    /// Who holds the Leases.
    pub holder: Holder,
    /// Whether this may begin a wave now; why not.
    pub may_begin: &'a dyn Fn() -> Result<(), String>,
}

/// What became of a region.
#[derive(Debug, Clone, PartialEq)]
pub struct Fate {
    /// How it stands.
    pub standing: Standing,
    /// Whether the release was, or may have been, written there, at least in part.
    pub wrote: bool,
    /// Its pods, as they were seen last.
    pub pods: Option<Pods>,
    /// Its gates, as they stood last.
    pub readings: Vec<Reading>,
    /// The gates that failed.
    pub breaches: Vec<Breach>,
    /// Why it had to go, once it has gone.
    pub why: Option<String>,
    /// Seconds from the first write of this run to where it stands.
    pub after_s: Option<f64>,
    /// How long this run waited for it.
    pub waits: Waits,
}

impl Fate {
    /// That of a region in which nothing was done yet.
    fn new() -> Self {
        Self {
            standing: Standing::Untouched,
            wrote: false,
            pods: None,
            readings: Vec::new(),
            breaches: Vec::new(),
            why: None,
            after_s: None,
            waits: Waits::default(),
        }
    }
}

/// What became of a promotion.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It came to its end.
    Ended(End, Vec<Fate>),
    /// Nothing was open that could be settled.
    Nothing,
    /// Another run is at work; what this one had written before, if anything, the other has taken over.
    Locked(String, Vec<Fate>),
    /// The regions could not be asked; nothing was written.
    Unable(String),
}

/// A promotion under way.
struct Carry<'a, R> {
    job: &'a Job<'a, R>,
    /// Its name: that of the run that this one goes on with, or its own.
    promotion: RefCell<String>,
    progress: &'a Progress,
    stop: watch::Receiver<bool>,
    fates: RefCell<Vec<Fate>>,
    watches: Watches,
    /// What came of promotions that have ended in this run.
    over: RefCell<Vec<(End, Vec<Fate>)>>,
    /// Promotions of others that were gone on with after it.
    ended: RefCell<BTreeSet<String>>,
    first_write: Cell<Option<Instant>>,
    /// Why nothing more is begun, or another run has taken over.
    ends: RefCell<Option<Ends>>,
}

/// What ends a run between two steps.
#[derive(Debug, Clone)]
enum Ends {
    /// A wave may not begin now.
    HeldBack(String),
    /// Another run has taken a region over.
    Lost(String),
    /// A region cannot be asked, and nothing was written.
    Unable(String),
    /// Nothing is open.
    Nothing,
}

/// Carries a promotion out. The Leases of all regions are held for as long as it takes, each from when it was taken.
pub async fn carry<R: Region>(job: &Job<'_, R>, stop: watch::Receiver<bool>, progress: &Progress) -> Outcome {
    let holds: RefCell<BTreeMap<usize, Rc<Hold>>> = RefCell::default();
    let carry = Carry::new(job, stop, progress);
    let (taken, kept) = mpsc::unbounded_channel();
    let work = async {
        let taken = |place, hold: Hold| {
            let hold = Rc::new(hold);
            holds.borrow_mut().insert(place, Rc::clone(&hold));
            // Whoever keeps them is polled for as long as this is.
            let _ = taken.send((place, hold));
        };
        match lock_all(job, progress, taken).await {
            Ok(()) => carry.run().await,
            Err(LockError::Cluster(error)) => Outcome::Unable(error.to_string()),
            Err(error) => Outcome::Locked(error.to_string(), Vec::new()),
        }
    };
    let outcome = tokio::select! {
        biased;
        outcome = work => outcome,
        region = keep(job, kept) => {
            let why = format!(
                "{region}: another run of regions has taken this region over; see what it does with `regions status`"
            );
            Outcome::Locked(why, carry.fates())
        }
    };
    for (place, hold) in holds.take() {
        lock::give_back(&job.regions[place], &hold, &job.holder).await;
    }
    outcome
}

/// Renews Leases from when they come; ends with the region whose Lease another holds.
async fn keep<R: Region>(job: &Job<'_, R>, mut come: mpsc::UnboundedReceiver<(usize, Rc<Hold>)>) -> String {
    let mut kept = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((place, hold)) = come.recv() => kept.push(lock::keep_one(&job.regions[place], hold, &job.holder)),
            Some(lost) = kept.next() => return lost,
        }
    }
}

async fn lock_all<R: Region>(
    job: &Job<'_, R>,
    progress: &Progress,
    taken: impl Fn(usize, Hold),
) -> Result<(), LockError> {
    let mut order: Vec<usize> = (0..job.regions.len()).collect();
    order.sort_by_key(|place| job.regions[*place].name().to_owned());
    let mut seen = lock::look(job.regions).await;
    for place in order {
        let region = &job.regions[place];
        // The Lease lies in the namespace.
        if region.namespace_fence().await?.is_none() {
            region.create_namespace().await?;
        }
        let line = progress.region(region.name());
        let hold = lock::take_seen(region, &job.holder, seen[place].take(), |by| {
            line.say(&format!("waits to see whether {by} is still at work there"));
        });
        let hold = hold.await?;
        region.set_fence(hold.fence);
        taken(place, hold);
    }
    Ok(())
}

impl<'a, R: Region> Carry<'a, R> {
    fn new(job: &'a Job<'a, R>, stop: watch::Receiver<bool>, progress: &'a Progress) -> Self {
        Self {
            job,
            promotion: RefCell::new(job.promotion.clone()),
            progress,
            stop,
            fates: RefCell::new(vec![Fate::new(); job.regions.len()]),
            watches: Watches::new(job.regions.len()),
            over: RefCell::default(),
            ended: RefCell::default(),
            first_write: Cell::new(None),
            ends: RefCell::new(None),
        }
    }

    async fn run(&self) -> Outcome {
        self.begin().await;
        let waves: Vec<Vec<usize>> = self.job.waves.iter().map(|(_, places)| places.clone()).collect();
        loop {
            let ended = self.ends.borrow().clone();
            match ended {
                Some(Ends::Lost(why)) => return Outcome::Locked(why, self.fates()),
                Some(Ends::Unable(why)) => return Outcome::Unable(why),
                Some(Ends::Nothing) => return Outcome::Nothing,
                Some(Ends::HeldBack(why)) => {
                    self.progress.note(&why);
                    return self.outcome(End::Incomplete);
                }
                None => {}
            }
            let standing: Vec<Standing> =
                self.fates.borrow().iter().map(|fate| fate.standing.clone()).collect();
            // Not in the head of the match: there it would be held while the step lasts, and nobody could send.
            let stop = *self.stop.borrow();
            match next(&waves, &standing, stop) {
                Next::Promote(places) => match (self.job.may_begin)() {
                    Ok(()) => self.promote(&places).await,
                    Err(why) => self.ends(Ends::HeldBack(why)),
                },
                Next::Bake(places) => {
                    let since = Instant::now();
                    self.bake(&places).await;
                    let baked = since.elapsed();
                    places.iter().for_each(|place| self.note(*place, |fate| fate.waits.baking += baked));
                }
                Next::Undo(places) => self.undo(&places).await,
                Next::Finish(places) => self.finish(&places).await,
                Next::End(end) => {
                    if self.is_all(end).await {
                        return self.outcome(end);
                    }
                }
            }
        }
    }

    /// Notes something of a region's fate.
    fn note(&self, place: usize, change: impl FnOnce(&mut Fate)) {
        if let Some(fate) = self.fates.borrow_mut().get_mut(place) {
            change(fate);
        }
    }

    fn stands(&self, place: usize, standing: Standing) {
        let after = self.first_write.get().map(|since| since.elapsed().as_secs_f64());
        self.note(place, |fate| {
            if let Standing::Bad(why) = &standing {
                fate.why = Some(why.clone());
            }
            (fate.standing, fate.after_s) = (standing, after);
        });
    }

    fn name(&self, place: usize) -> &str {
        self.job.regions[place].name()
    }

    fn wave(&self, place: usize) -> &str {
        let wave = self.job.waves.iter().find(|(_, places)| places.contains(&place));
        wave.map_or("", |(name, _)| name.as_str())
    }
}
