//! What comes before the first step: every region is stamped, and it is read how each stands.

use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{Aim, Carry, Ends};
use crate::cluster::error::ClusterError;
use crate::execute::{AWAY, LOOK};
use crate::plan::gate::Watch;
use crate::plan::gate::sample::Sample;
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
                *self.ends.borrow_mut() =
                    Some(if status == Some(409) { Ends::Lost(text) } else { Ends::Unable(text) });
                return;
            }
        };
        match self.job.aim {
            Aim::Settle => self.settle(&records),
            Aim::Release => self.release(&records).await,
        }
    }

    fn settle(&self, records: &[Vec<Stored>]) {
        let records: Vec<&[Stored]> = records.iter().map(Vec::as_slice).collect();
        let Some((promotion, standings)) = standing::settle(&records) else {
            *self.ends.borrow_mut() = Some(Ends::Nothing);
            return;
        };
        *self.promotion.borrow_mut() = promotion;
        for (place, standing) in standings.into_iter().enumerate() {
            self.stands(place, standing);
        }
    }

    async fn release(&self, records: &[Vec<Stored>]) {
        let wanted = || {
            records
                .iter()
                .zip(&self.job.work)
                .filter_map(|(records, work)| Some((records.as_slice(), &work.as_ref()?.wanted)))
        };
        if let Some(open) = standing::open(wanted()) {
            *self.promotion.borrow_mut() = open;
        }
        let promotion = self.promotion.borrow().clone();
        let failed = standing::failed(records.iter().map(Vec::as_slice), &promotion);
        let planned = join_all((0..self.job.regions.len()).map(|place| self.planned(place))).await;
        for ((place, records), planned) in records.iter().enumerate().zip(planned) {
            let standing = match planned {
                Ok((plan, wanted)) => standing::of(records, &wanted, &promotion, plan.writes(), failed),
                Err(why) => Standing::Refused(why),
            };
            self.stands(place, standing);
        }
        let samples = self.job.regions.iter().map(|region| region.sample(&self.job.gates));
        for (place, sample) in join_all(samples).await.into_iter().enumerate() {
            // A region that gets its first release has no watcher yet.
            let (before, own) = (sample.unwrap_or_default(), self.job.work[place].as_ref());
            let digest = own.map(|work| work.wanted.release.digest.as_str()).unwrap_or_default();
            let regions = self.job.regions.len();
            self.watches.begin(place, Watch::new(&self.job.gates, digest, regions, &Sample { ..before }));
        }
    }

    /// What is to be done in a region, as it is now.
    pub(super) async fn planned(&self, place: usize) -> Result<(Plan, Wanted), String> {
        let region = &self.job.regions[place];
        let none = || format!("{}: nothing is known of what it should run", region.name());
        let work = self.job.work[place].as_ref().ok_or_else(none)?;
        let mut wanted = work.wanted.clone();
        if let Intent::Run(run) = wanted.intent {
            let promotion = Some(self.promotion.borrow().clone());
            wanted.intent = Intent::Run(Run { promotion, bakes: true, ..run });
        }
        let snapshot = region.observe(work.objects.clone(), wanted.clone()).await;
        let snapshot = snapshot.map_err(|errors| lines(&errors))?;
        let plan = plan(&snapshot, Timestamp::now()).map_err(|conflicts| {
            format!(
                "{}: others own fields that the release would change: {}",
                region.name(),
                lines(&conflicts)
            )
        })?;
        Ok((plan, wanted))
    }
}

/// Stamps all that a region's records name, and gives the records as they are then. A region that is away for a moment
/// is waited for: nothing was written yet, and everything may be done twice.
async fn stamped<R: Region>(region: &R) -> Result<Vec<Stored>, ClusterError> {
    let since = Instant::now();
    loop {
        match stamp(region).await {
            Err(error) if error.cause.is_transient() && since.elapsed() < AWAY => sleep(LOOK).await,
            answer => return answer,
        }
    }
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
