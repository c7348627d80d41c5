//! Carries a rotation out: looks, plans, does what the plan says can be done now, and looks again, until nothing is
//! left. It decides nothing. A run that ends anywhere is run again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::fences::Fences;
use super::observe::{AT_ONCE, Observer};
use super::region::{Asking, Lock, Region, Trouble};
use super::take::{Maker, Taking};
use crate::plan::rotation::facts::Salt;
use crate::plan::rotation::{Observed, Plan, Refusal, Request, Step, Waiting, plan};

/// How patiently a rotation goes on.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long pods may take to use a document.
    pub adoption: Duration,
    /// How long a pod may reject it: time alone heals some rejections.
    pub rejection: Duration,
    /// How long a region may not answer before anything was written.
    pub first: Duration,
    /// How long a region may not answer once something was written.
    pub away: Duration,
    /// How long another may hold a region's lock.
    pub lock: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            adoption: seconds(300),
            rejection: seconds(20),
            first: seconds(5),
            away: seconds(60),
            lock: seconds(30),
        }
    }
}

/// Between two looks at pods that are waited for: as short as the first at first.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Between two looks at watchers while time passes, so that they know who waits.
const PRESENCE: Duration = Duration::from_secs(3);

/// Between two looks at everything, whatever is waited for.
const WHOLE: Duration = Duration::from_secs(15);

/// After something did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// How often in a row steps may come to nothing, since others write the same.
const OVERTAKEN: u32 = 20;

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// Everything is done.
    Done,
    /// Something stands in the way.
    Refused(Vec<Refusal>),
    /// Something did not come about in time. Running again goes on.
    Stopped(String),
    /// Pods do not use a document, or a region is away.
    Stuck(Vec<Waiting>),
    /// Another is at it.
    Locked {
        /// Who.
        by: String,
    },
    /// A signal asked for an end.
    Signalled,
    /// Only the plan was asked for.
    Planned(Plan),
}

/// What is told while a rotation goes on.
#[expect(async_fn_in_trait, reason = "the futures stay on the thread that made them")]
pub trait Audience {
    /// What was planned, before anything of it is done. Whether to go on.
    ///
    /// # Errors
    /// Why not.
    async fn planned(&self, plan: &Plan) -> Result<(), String>;

    /// A step is about to be taken.
    fn taking(&self, step: &Step);

    /// A step has been taken.
    fn taken(&self, step: &Step);

    /// What is waited for.
    fn waiting(&self, plan: &Plan);
}

/// What is asked for, by whom, and how patiently.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What.
    pub request: Request,
    /// By whom.
    pub asking: Asking,
    /// How patiently.
    pub patience: Patience,
}

/// A rotation, the regions that it is about, and who asks.
pub struct Rotator<'a, R, A> {
    request: Request,
    regions: &'a [R],
    asking: Asking,
    patience: Patience,
    audience: &'a A,
    stop: watch::Receiver<bool>,
    observer: Observer,
    maker: Maker,
    fences: Fences,
    /// Whether anything was written.
    wrote: bool,
    waited: BTreeMap<(String, bool), Instant>,
}

impl<'a, R: Region, A: Audience> Rotator<'a, R, A> {
    /// A run. `regions` are those of the catalogue, in the order of waves.
    pub fn new(
        Asked { request, asking, patience }: Asked,
        regions: &'a [R],
        maker: Maker,
        salt: Salt,
        audience: &'a A,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            request,
            regions,
            asking,
            patience,
            audience,
            stop,
            observer: Observer::new(salt),
            maker,
            fences: Fences::default(),
            wrote: false,
            waited: BTreeMap::new(),
        }
    }

    /// Whether anything was written.
    pub fn wrote(&self) -> bool {
        self.wrote
    }

    /// What would be done now.
    pub async fn planned(&mut self) -> Plan {
        let observed = self.look().await;
        plan(&self.request, &observed)
    }

    /// Goes on until nothing is left, or it cannot.
    pub async fn run(&mut self) -> Ended {
        let mut confirmed = false;
        let mut away: Option<Instant> = None;
        let mut overtaken = 0;
        loop {
            if *self.stop.borrow() {
                return Ended::Signalled;
            }
            let observed = self.look().await;
            if !confirmed && let Some(by) = self.other(&observed) {
                return Ended::Locked { by };
            }
            let plan = plan(&self.request, &observed);
            if plan.refused.iter().any(|refusal| !refusal.may_pass) {
                return Ended::Refused(plan.refused);
            }
            if !plan.refused.is_empty() {
                let since = *away.get_or_insert_with(Instant::now);
                let bound = if self.wrote { self.patience.away } else { self.patience.first };
                if since.elapsed() > bound {
                    return Ended::Refused(plan.refused);
                }
                self.pause(AGAIN).await;
                continue;
            }
            away = None;
            if plan.is_empty() {
                return Ended::Done;
            }
            if !confirmed {
                if let Err(why) = self.audience.planned(&plan).await {
                    return Ended::Stopped(why);
                }
                confirmed = true;
            }
            if plan.steps.is_empty() {
                if let Some(ended) = self.wait(observed, plan).await {
                    return ended;
                }
                continue;
            }
            // Everything is looked at again once the locks are held: so many views need not be kept twice.
            drop(observed);
            match self.take(&plan).await {
                Ok(()) => overtaken = 0,
                Err(Trouble::Locked { by }) => return Ended::Locked { by },
                Err(Trouble::Refused(why)) => return Ended::Stopped(why),
                Err(trouble) if overtaken >= OVERTAKEN => return Ended::Stopped(trouble.to_string()),
                Err(Trouble::Overtaken(_)) => overtaken += 1,
                Err(Trouble::Away(_)) => {
                    overtaken += 1;
                    self.pause(AGAIN).await;
                }
            }
        }
    }

    async fn look(&self) -> Vec<Observed> {
        self.observer.look(self.regions, &self.request, &self.asking, &self.fences).await
    }

    /// Who else rotates this secret, and came first. The first region that answers decides for all.
    fn other(&self, observed: &[Observed]) -> Option<String> {
        let views = observed.iter().filter_map(|region| Some((&region.region, region.view.as_ref().ok()?)));
        let (_, first) = views.min_by_key(|(region, _)| *region)?;
        let same = first.operators.iter().find(|operator| operator.secret == self.request.secret)?;
        (same.run != self.asking.run).then(|| same.who.clone())
    }

    /// Takes the steps that are planned, of a bounded number of regions at a time: a lock lasts for seconds, and what
    /// is locked first must not have lost it when the last one is.
    async fn take(&mut self, planned: &Plan) -> Result<(), Trouble> {
        let names: BTreeSet<&str> = planned.steps.iter().map(Step::region).collect();
        // In the order of names, so that two who lock never wait for each other.
        let mut regions: Vec<&R> =
            self.regions.iter().filter(|region| names.contains(region.name())).collect();
        regions.sort_by_key(|region| region.name());
        let mut taken = Ok(());
        for some in regions.chunks(AT_ONCE) {
            taken = worse(taken, self.take_of(some).await);
            if matches!(taken, Err(Trouble::Locked { .. } | Trouble::Refused(_))) {
                break;
            }
        }
        taken
    }

    /// Takes the steps of these regions once their locks are held.
    async fn take_of(&mut self, regions: &[&'a R]) -> Result<(), Trouble> {
        let mut held = Vec::new();
        let mut taken = Ok(());
        for region in regions {
            match self.lock(region).await {
                Ok(()) => held.push(*region),
                // What can be locked is gone on with; the others are looked at again.
                Err(Trouble::Away(why)) => taken = Err(Trouble::Away(why)),
                Err(trouble) => {
                    taken = Err(trouble);
                    break;
                }
            }
        }
        if !matches!(taken, Err(Trouble::Locked { .. } | Trouble::Refused(_))) && !held.is_empty() {
            taken = self.take_locked(&held).await.and(taken);
        }
        stream::iter(held).for_each_concurrent(AT_ONCE, R::unlock).await;
        taken
    }

    /// Looks and plans again, now that nobody else writes, and takes those steps.
    async fn take_locked(&mut self, held: &[&R]) -> Result<(), Trouble> {
        let observed = self.look().await;
        let plan = plan(&self.request, &observed);
        if !plan.refused.is_empty() {
            return Ok(());
        }
        let taking = Taking {
            regions: self.regions,
            asking: &self.asking,
            audience: self.audience,
            maker: &self.maker,
            fences: &self.fences,
            document: format!("service/{}", self.request.secret),
        };
        let by_region = held.iter().map(|region| {
            let own: Vec<&Step> = plan.steps.iter().filter(|step| step.region() == region.name()).collect();
            (*region, own)
        });
        let mut result = Ok(());
        let mut wrote = false;
        let stop = &self.stop;
        let taking = &taking;
        let mut all = stream::iter(by_region)
            .map(async |(region, steps)| {
                for step in steps {
                    if *stop.borrow() {
                        return (false, Ok(()));
                    }
                    if let Err(trouble) = taking.take(region, step).await {
                        return (true, Err(trouble));
                    }
                }
                (true, Ok(()))
            })
            .buffer_unordered(AT_ONCE);
        while let Some((began, taken)) = all.next().await {
            wrote |= began;
            result = worse(result, taken);
        }
        drop(all);
        self.wrote |= wrote;
        result
    }

    async fn lock(&self, region: &R) -> Result<(), Trouble> {
        let since = Instant::now();
        loop {
            match region.lock(&self.asking).await {
                Err(Trouble::Locked { .. }) if since.elapsed() < self.patience.lock => {
                    sleep(AGAIN).await;
                    if *self.stop.borrow() {
                        return Err(Trouble::Away("stopped by a signal".into()));
                    }
                }
                Ok(Lock::Anew) => {
                    self.fences.lose(region.name());
                    return Ok(());
                }
                locked => return locked.map(|_| ()),
            }
        }
    }

    /// Waits for what the plan waits for, and looks at the pods meanwhile. Says how the run ends, where it does.
    async fn wait(&mut self, mut observed: Vec<Observed>, mut plan: Plan) -> Option<Ended> {
        let began = Instant::now();
        let mut pause = LOOKS.0;
        loop {
            if let Some(ended) = self.given_up(&plan) {
                return Some(ended);
            }
            self.audience.waiting(&plan);
            let left = plan.waits.iter().filter_map(|waiting| match waiting {
                Waiting::Time { left, .. } => Some(*left),
                _ => None,
            });
            // The longest counts: nothing can be done before every region's time is over.
            let left = left.max().map(|left| left.saturating_sub(began.elapsed()));
            let pods = plan.waits.iter().any(|waiting| !matches!(waiting, Waiting::Time { .. }));
            if !pods && left.is_none_or(|left| left.is_zero()) {
                return None;
            }
            let next = if pods { pause } else { PRESENCE.min(left.unwrap_or(PRESENCE)) };
            self.pause(next).await;
            pause = (pause * 2).min(LOOKS.1);
            if *self.stop.borrow() {
                return Some(Ended::Signalled);
            }
            if began.elapsed() >= WHOLE {
                return None;
            }
            self.look_again(&mut observed, pods, &plan).await;
            plan = self::plan(&self.request, &observed);
            if !plan.steps.is_empty() || !plan.refused.is_empty() || plan.is_empty() {
                return None;
            }
        }
    }

    /// Asks the watchers again: those whose pods are waited for, or all.
    async fn look_again(&self, observed: &mut [Observed], pods: bool, plan: &Plan) {
        let waited: BTreeSet<&str> = plan
            .waits
            .iter()
            .filter(|waiting| !pods || !matches!(waiting, Waiting::Time { .. }))
            .map(Waiting::region)
            .collect();
        let regions = self.regions.iter().zip(observed.iter_mut());
        let asked = regions.filter(|(region, _)| waited.contains(region.name()));
        let asked = asked.filter(|(region, _)| !self.request.without.contains(region.name()));
        stream::iter(asked)
            .for_each_concurrent(AT_ONCE, async |(region, seen)| {
                seen.view = region.view(&self.asking).await.map_err(|trouble| trouble.to_string());
            })
            .await;
    }

    /// Whether what is waited for has taken too long.
    fn given_up(&mut self, plan: &Plan) -> Option<Ended> {
        if plan.waits.iter().all(|waiting| matches!(waiting, Waiting::Region { .. })) {
            return Some(Ended::Stuck(plan.waits.clone()));
        }
        let rejected = |waiting: &Waiting| match waiting {
            Waiting::Pods { missing, .. } => missing.iter().any(|missing| missing.rejected),
            _ => false,
        };
        let awaited = |waiting: &&Waiting| matches!(waiting, Waiting::Pods { .. } | Waiting::Watcher { .. });
        let now: Vec<&Waiting> = plan.waits.iter().filter(awaited).collect();
        let keys: BTreeSet<(String, bool)> = now
            .iter()
            .flat_map(|waiting| {
                let region = waiting.region().to_owned();
                [Some((region.clone(), false)), rejected(waiting).then_some((region, true))]
            })
            .flatten()
            .collect();
        self.waited.retain(|key, _| keys.contains(key));
        let mut given_up = false;
        for key in keys {
            let bound = if key.1 { self.patience.rejection } else { self.patience.adoption };
            let since = *self.waited.entry(key).or_insert_with(Instant::now);
            given_up |= since.elapsed() > bound;
        }
        given_up.then(|| Ended::Stuck(now.into_iter().cloned().collect()))
    }

    async fn pause(&self, long: Duration) {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = sleep(long) => {}
        }
    }
}

/// What ends a run before what is tried again.
fn worse(one: Result<(), Trouble>, other: Result<(), Trouble>) -> Result<(), Trouble> {
    let weight = |result: &Result<(), Trouble>| match result {
        Ok(()) => 0,
        Err(Trouble::Away(_)) => 1,
        Err(Trouble::Overtaken(_)) => 2,
        Err(Trouble::Locked { .. }) => 3,
        Err(Trouble::Refused(_)) => 4,
    };
    if weight(&other) > weight(&one) { other } else { one }
}
