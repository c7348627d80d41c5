//! The bake of a wave: its gates, its pods, and those of every wave before, for a least time and a least number of
//! answers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::watches::GLANCE;
use super::{Carry, Ends};
use crate::execute::ended;
use crate::plan::gate::text::percent;
use crate::plan::gate::{Breach, Verdict};
use crate::plan::object::Object;
use crate::plan::promotion::Standing;
use crate::plan::readiness::{self, Judge};
use crate::plan::record::{Record, State};
use crate::promote::region::Region;

/// For how long a region need not be seen while its release bakes.
const BLIND: Duration = Duration::from_secs(30);

impl<R: Region> Carry<'_, R> {
    /// Bakes these regions until each has passed, or any region that runs the release is not good.
    pub(super) async fn bake(&self, places: &[usize]) {
        let since = Instant::now();
        let names: Vec<&str> = places.iter().map(|place| self.name(*place)).collect();
        let (time, samples) = (self.job.gates.time, self.job.gates.samples);
        self.progress.note(&format!(
            "  bakes for {} s and {samples} answers: {}",
            time.as_secs(),
            names.join(", ")
        ));
        let running: Vec<usize> = self.with(|one| matches!(one, Standing::Baking | Standing::Passed));
        running.iter().for_each(|place| self.watches.ready(*place));
        let waits: RefCell<BTreeMap<usize, String>> = RefCell::default();
        let looks = (0..self.job.regions.len()).map(async |place| {
            let mut judges = if running.contains(&place) { self.judges(place) } else { Vec::new() };
            let pods = async || {
                let looked = timeout(GLANCE, self.pods(place, &mut judges, since.elapsed())).await;
                // What cannot be asked is told by the watches.
                let _ = match looked.unwrap_or(Ok(None)) {
                    Ok(Some(why)) => waits.borrow_mut().insert(place, why),
                    Ok(None) => waits.borrow_mut().remove(&place),
                    Err(why) => {
                        self.stands(place, Standing::Bad(why));
                        None
                    }
                };
            };
            self.watches.rounds(place, &self.job.regions[place], &self.job.gates, pods).await;
        });
        let judged = self.judged(places, &running, since, &waits);
        tokio::select! {
            biased;
            () = judged => {}
            _ = join_all(looks) => {}
        }
    }

    /// Judges these regions, and all that run the release, until each has passed or one is not good.
    async fn judged(
        &self,
        places: &[usize],
        running: &[usize],
        since: Instant,
        waits: &RefCell<BTreeMap<usize, String>>,
    ) {
        let lines: BTreeMap<usize, _> =
            places.iter().map(|place| (*place, self.progress.region(self.name(*place)))).collect();
        let mut open: Vec<usize> = places.to_vec();
        while !open.is_empty() && !*self.stop.borrow() {
            let mut stop = self.stop.clone();
            tokio::select! {
                () = self.watches.looked() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            running.iter().for_each(|place| self.judge(*place));
            if running.iter().any(|place| matches!(self.fates.borrow()[*place].standing, Standing::Bad(_))) {
                return;
            }
            let mut passed = Vec::new();
            for place in &open {
                // What was not seen until its end has not baked for so long.
                let baked = self.watches.seen(*place).saturating_duration_since(since);
                let why = waits.borrow().get(place).cloned();
                match self.watches.verdict(*place, baked) {
                    Verdict::Passed { .. } if why.is_none() => passed.push(*place),
                    Verdict::Failed(breaches) => {
                        self.breached(*place, breaches);
                        return;
                    }
                    Verdict::Passed { .. } if baked >= self.job.gates.patience() => {
                        let why = why.unwrap_or_default();
                        let why = format!("its pods were ready, and are not at the end of the bake: {why}");
                        self.stands(*place, Standing::Bad(why));
                        return;
                    }
                    Verdict::Passed { samples } | Verdict::Baking { samples } => {
                        if let Some(line) = lines.get(place) {
                            line.say(&self.shown(*place, since.elapsed(), samples, why.as_deref()));
                        }
                    }
                }
            }
            for place in passed {
                if self.pass(place).await {
                    open.retain(|other| *other != place);
                }
            }
            if self.ends.borrow().is_some() {
                return;
            }
        }
    }

    /// Whether a gate of a region has failed, or nothing of it can be seen any more.
    fn judge(&self, place: usize) {
        if self.breaches(place) {
            return;
        }
        if let Some((blind, why)) = self.watches.blind(place).filter(|(blind, _)| *blind >= BLIND) {
            let why = format!("nothing was seen of it for {} s: {why}", blind.as_secs());
            self.stands(place, Standing::Bad(why));
        }
    }

    /// Whether gates of a region have failed, which is noted then.
    pub(super) fn breaches(&self, place: usize) -> bool {
        let breaches = self.watches.failed(place);
        let any = !breaches.is_empty();
        if any {
            self.breached(place, breaches);
        }
        any
    }

    /// A region whose gates have failed.
    fn breached(&self, place: usize, breaches: Vec<Breach>) {
        let why = breaches.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let readings = self.watches.readings(place);
        self.note(place, |fate| (fate.breaches, fate.readings) = (breaches, readings));
        self.stands(place, Standing::Bad(why));
    }

    /// What is seen of a region's pods: why they are not ready just now.
    ///
    /// # Errors
    /// Why they will not be.
    async fn pods(
        &self,
        place: usize,
        judges: &mut [(Judge, Object)],
        now: Duration,
    ) -> Result<Option<String>, String> {
        let mut waits = None;
        for (judge, deployment) in judges {
            let Ok(view) = self.job.regions[place].view(&deployment.id).await else { continue };
            match judge.judge(&view, now) {
                readiness::Verdict::Ready(pods) => self.note(place, |fate| fate.pods = Some(pods)),
                readiness::Verdict::Waiting(_, why) => waits = Some(why),
                readiness::Verdict::Failed(problems) => {
                    return Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
                }
            }
        }
        Ok(waits)
    }

    fn judges(&self, place: usize) -> Vec<(Judge, Object)> {
        let objects = self.job.work[place].iter().flat_map(|work| &work.objects);
        let deployments = objects.filter(|object| object.id.kind == "Deployment");
        deployments.map(|object| (Judge::new(self.job.limits.patience, 0), object.clone())).collect()
    }

    /// Writes that a region's gates have passed; whether it could.
    async fn pass(&self, place: usize) -> bool {
        let readings = self.watches.readings(place);
        self.note(place, |fate| fate.readings = readings);
        match self
            .write(place, |record| Record {
                passed: Some(jiff::Timestamp::now()),
                ..ended(record, State::Baking, None)
            })
            .await
        {
            Ok(()) => {
                self.progress.note(&format!("  {}: every gate passed", self.name(place)));
                self.stands(place, Standing::Passed);
            }
            // It is tried again in the next round; a region that stays away is seen to be.
            Err(Ends::HeldBack(why)) => {
                self.progress.note(&format!("  {}: {why}", self.name(place)));
                return false;
            }
            Err(Ends::Unable(why)) => self.stands(place, Standing::Bad(why)),
            Err(ends) => self.ends(ends),
        }
        true
    }

    fn shown(&self, place: usize, baked: Duration, samples: u64, waits: Option<&str>) -> String {
        let needed = &self.job.gates;
        let mut text = format!(
            "bakes {}/{} s, {samples}/{} answers",
            baked.as_secs(),
            needed.time.as_secs(),
            needed.samples
        );
        for reading in self.watches.readings(place).iter().filter(|reading| reading.bad > 0) {
            text += &format!(", {} {}", reading.gate.short(), percent(reading.share()));
        }
        if let Some(why) = waits {
            text += &format!(", {why}");
        }
        if let Some((_, why)) = self.watches.blind(place) {
            text += &format!(", not seen now: {why}");
        }
        text
    }

    /// The places of regions that stand so.
    pub(super) fn with(&self, wanted: impl Fn(&Standing) -> bool) -> Vec<usize> {
        let fates = self.fates.borrow();
        fates.iter().enumerate().filter(|(_, fate)| wanted(&fate.standing)).map(|(place, _)| place).collect()
    }
}
