//! What comes before the first step: every region is stamped, and it is read how each stands.

use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{Aim, Carry, Ends};
use crate::cluster::error::ClusterError;
use crate::execute::{AWAY, LOOK};
use crate::plan::gate::Watch;
use crate::plan::object::ObjectRef;
use crate::plan::promotion::{Standing, standing};
use crate::plan::record::{Intent, Run, Wanted};
use crate::plan::{Plan, Stored, plan};
use crate::promote::region::Region;

impl<R: Region> Carry<'_, R> {
    /// Stamps all regions, and finds out how each stands.
    pub(super) async fn begin(&self) {
        let records = match try_join_all(self.job.regions.iter().map(stamped)).await {
            Ok(records) => records,
            Err(error) => {
                let status = error.cause.status().map(|status| status.code);
                let text = error.to_string();
                return self.ends(if status == Some(409) { Ends::Lost(text) } else { Ends::Unable(text) });
            }
        };
        match self.job.aim {
            Aim::Settle => self.settle(&records),
            // Whether a promotion has passed everywhere is not known from some of its regions.
            Aim::Back { all: false } => self.looked_at(&records).await,
            Aim::Release | Aim::Back { all: true } => self.release(records).await,
        }
    }

    fn settle(&self, records: &[Vec<Stored>]) {
        match standing::settle(records) {
            Some((promotion, standings)) => self.take_up(promotion, standings),
            None => self.ends(Ends::Nothing),
        }
    }

    /// Goes on with a promotion in which regions stand like this.
    pub(super) fn take_up(&self, promotion: String, standings: Vec<Standing>) {
        *self.promotion.borrow_mut() = promotion;
        for (place, standing) in standings.into_iter().enumerate() {
            self.stands(place, standing);
        }
    }

    /// The records of every region.
    pub(super) async fn records(&self) -> Result<Vec<Vec<Stored>>, ClusterError> {
        let regions = self.job.regions.iter();
        try_join_all(regions.map(|region| patiently(async || region.records().await, is_away))).await
    }

    async fn release(&self, mut records: Vec<Vec<Stored>>) {
        while self.open(&records).is_none() && self.finish_others(&records).await {
            if self.ends.borrow().is_some() {
                return;
            }
            records = match self.records().await {
                Ok(records) => records,
                Err(error) => return self.ends(Ends::Unable(error.to_string())),
            };
        }
        self.looked_at(&records).await;
    }

    /// The promotion of this release that is open, and is gone on with.
    fn open(&self, records: &[Vec<Stored>]) -> Option<String> {
        let wanted = records.iter().zip(&self.job.work);
        let wanted = wanted.filter_map(|(records, work)| Some((records.as_slice(), &work.as_ref()?.wanted)));
        standing::open(wanted)
    }

    /// Finds out how each region stands. A region that does not say ends the run: nothing was written yet, and what
    /// another run left there is not to be taken back for a call that was lost.
    async fn looked_at(&self, records: &[Vec<Stored>]) {
        if let Some(open) = self.open(records) {
            *self.promotion.borrow_mut() = open;
        }
        let promotion = self.promotion.borrow().clone();
        let failed = standing::failed(records.iter().map(Vec::as_slice), &promotion);
        let planned = join_all((0..self.job.regions.len()).map(|place| self.planned(place))).await;
        for ((place, records), planned) in records.iter().enumerate().zip(planned) {
            let standing = match planned {
                Ok((plan, wanted)) => standing::of(records, &wanted, &promotion, plan.writes(), failed),
                Err(NoPlan::Away(why)) => return self.ends(Ends::Unable(why)),
                Err(NoPlan::Refused(why)) => standing::refused(records, &promotion, why),
            };
            self.stands(place, standing);
        }
        let samples = self.job.regions.iter().map(|region| region.sample(&self.job.gates));
        for (place, sample) in join_all(samples).await.into_iter().enumerate() {
            // A region that gets its first release has no watcher yet.
            let (before, own) = (sample.unwrap_or_default(), self.job.work[place].as_ref());
            let digest = own.map(|work| work.wanted.release.digest.as_str()).unwrap_or_default();
            let (gates, regions) = (&self.job.gates, self.job.regions.len());
            let has_begun = {
                let fates = self.fates.borrow();
                !matches!(fates[place].standing, Standing::Untouched | Standing::Refused(_))
            };
            self.watches.begin(place, Watch::new(gates, digest, regions, &before, has_begun));
        }
    }

    /// What is to be done in a region, as it is now.
    pub(super) async fn planned(&self, place: usize) -> Result<(Plan, Wanted), NoPlan> {
        let region = &self.job.regions[place];
        let none = || NoPlan::Refused(format!("{}: nothing is known of what it should run", region.name()));
        let work = self.job.work[place].as_ref().ok_or_else(none)?;
        let mut wanted = work.wanted.clone();
        if let Intent::Run(run) = wanted.intent {
            let promotion = Some(self.promotion.borrow().clone());
            wanted.intent = Intent::Run(Run { promotion, bakes: true, ..run });
        }
        let away = |errors: &Vec<ClusterError>| errors.iter().any(is_away);
        let observe = async || region.observe(work.objects.clone(), wanted.clone()).await;
        let snapshot = patiently(observe, away).await.map_err(|errors| {
            let why = lines(&errors);
            if away(&errors) { NoPlan::Away(why) } else { NoPlan::Refused(why) }
        })?;
        let plan = plan(&snapshot, Timestamp::now()).map_err(|conflicts| {
            NoPlan::Refused(format!(
                "{}: others own fields that the release would change: {}",
                region.name(),
                lines(&conflicts)
            ))
        })?;
        Ok((plan, wanted))
    }

    /// Ends the run between two steps.
    pub(super) fn ends(&self, ends: Ends) {
        *self.ends.borrow_mut() = Some(ends);
    }
}

/// Why there is no plan for a region.
pub(super) enum NoPlan {
    /// It does not answer.
    Away(String),
    /// Something speaks against it.
    Refused(String),
}

impl NoPlan {
    /// Why, in words.
    pub(super) fn why(self) -> String {
        match self {
            Self::Away(why) | Self::Refused(why) => why,
        }
    }
}

fn is_away(error: &ClusterError) -> bool {
    error.cause.is_transient()
}

/// Makes a call again while its region is away for a moment: it may be made twice.
async fn patiently<T, E>(call: impl AsyncFn() -> Result<T, E>, away: impl Fn(&E) -> bool) -> Result<T, E> {
    let since = Instant::now();
    loop {
        match call().await {
            Err(error) if away(&error) && since.elapsed() < AWAY => sleep(LOOK).await,
            answer => return answer,
        }
    }
}

/// Stamps all that a region's records name, and gives the records as they are then.
async fn stamped<R: Region>(region: &R) -> Result<Vec<Stored>, ClusterError> {
    patiently(async || stamp(region).await, is_away).await
}

async fn stamp<R: Region>(region: &R) -> Result<Vec<Stored>, ClusterError> {
    let mut objects: Vec<ObjectRef> = Vec::new();
    for id in region.records().await?.iter().flat_map(|stored| &stored.record.objects) {
        if !objects.iter().any(|known| known.same_object(id)) {
            objects.push(id.clone());
        }
    }
    region.stamp(&objects).await?;
    region.records().await
}

pub(super) fn lines(items: &[impl std::fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
