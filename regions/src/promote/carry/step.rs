//! One step in regions: apply a release, put the former one back, write that it is over.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::begin::lines;
use super::{Carry, Ends};
use crate::execute::{Contents, Failure, Limits, Orders, ended, execute};
use crate::plan::diff::Change;
use crate::plan::manifest;
use crate::plan::promotion::Standing;
use crate::plan::record::{Intent, Record, State, Wanted};
use crate::plan::{Stored, plan};
use crate::promote::region::Region;
use crate::promote::report::chain;

/// How often an undo is tried, and the pause before it is tried again: an API server that is away for a moment must
/// not leave a bad release where it is.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(3);

/// Why a record could not be read, or is not there.
enum Missing {
    Former,
    Unable(String),
}

impl<R: Region> Carry<'_, R> {
    /// Applies the release in these regions and waits until it is ready, with its gates watched from the first pod on.
    /// Once it is seen not to be good in any region, nothing more of it is written anywhere.
    pub(super) async fn promote(&self, places: &[usize]) {
        let wave = places.first().map(|place| self.wave(*place)).unwrap_or_default();
        self.progress.note(&format!("wave {wave}"));
        self.with(|one| *one == Standing::Passed).into_iter().for_each(|place| self.watches.again(place));
        let all =
            stream::iter(places).for_each_concurrent(self.job.parallel, |place| self.promote_one(*place));
        let judged = async {
            loop {
                self.watches.looked().await;
                for place in self.with(|one| matches!(one, Standing::Baking | Standing::Passed)) {
                    self.fails(place);
                }
            }
        };
        tokio::select! {
            biased;
            () = all => {}
            () = self.watches.run(self.job.regions, &self.job.gates) => {}
            () = judged => {}
        }
    }

    async fn promote_one(&self, place: usize) {
        let halt = self.watches.halt(place);
        // What has failed while this region waited for its turn, here or elsewhere, is not begun.
        if *halt.borrow() {
            self.fails(place);
            return;
        }
        let name = self.name(place);
        let line = self.progress.region(name);
        line.say("looking");
        let (plan, _) = match self.planned(place).await {
            Ok(planned) => planned,
            Err(none) => return self.refused(place, none.why()),
        };
        let Some(work) = &self.job.work[place] else { return };
        let alike = |one: &Change, other: &Change| {
            (&one.object, one.kind, &one.fields) == (&other.object, other.kind, &other.fields)
        };
        let same = plan.changes.len() == work.shown.len()
            && plan.changes.iter().zip(&work.shown).all(|(one, other)| alike(one, other));
        if !same {
            self.progress.note(&format!(
                "  {name}: the region changed since the plan was shown; the release is the same"
            ));
        }
        if *halt.borrow() {
            self.fails(place);
            return;
        }
        self.first_write.set(self.first_write.get().or(Some(Instant::now())));
        self.watches.begins(place);
        let orders = Orders { stop: self.stop.clone(), halt };
        let region = &self.job.regions[place];
        // Another run that takes the region over ends this one in the middle of it.
        self.note(place, |fate| fate.wrote = true);
        let outcome = execute(region, &plan, &work.contents, self.job.limits, orders, &line).await;
        drop(line);
        self.note(place, |fate| {
            fate.wrote = outcome.wrote;
            fate.waits.starting += outcome.awaited;
        });
        match outcome.result {
            Ok(pods) => {
                self.note(place, |fate| fate.pods = Some(pods));
                self.progress.note(&format!("  {name}: applied, {}/{} pods ready", pods.ready, pods.desired));
                self.stands(place, Standing::Baking);
            }
            Err(failure) if failure.is_overtaken() => {
                self.ends(Ends::Lost(format!("{name}: {}", chain(&failure))));
            }
            Err(Failure::Stopped) => self.stands(place, Standing::Begun),
            Err(Failure::Halted) if self.fails(place) => {}
            // It failed elsewhere. What came of it here goes with the rest.
            Err(Failure::Halted) if outcome.wrote => self.stands(place, Standing::Begun),
            Err(Failure::Halted) => {}
            Err(failure) if outcome.wrote => {
                self.stands(place, Standing::Bad(chain(&failure)));
                self.failed(place);
            }
            Err(failure) => self.refused(place, format!("{name}: {}", chain(&failure))),
        }
    }

    /// A region in which nothing of this run was written: what another run left there goes all the same.
    fn refused(&self, place: usize, why: String) {
        let begun = matches!(self.fates.borrow()[place].standing, Standing::Begun | Standing::Baking);
        self.stands(place, if begun { Standing::Bad(why) } else { Standing::Refused(why) });
        self.failed(place);
    }

    /// Says why a region has failed, and ends the promotion everywhere.
    fn failed(&self, place: usize) {
        let fates = self.fates.borrow();
        let why = fates[place].standing.why().unwrap_or_default();
        self.progress.note(&format!("  {}: failed: {why}", self.name(place)));
        self.watches.halt_all();
    }

    /// Whether gates of a region have failed, which ends the promotion everywhere then.
    fn fails(&self, place: usize) -> bool {
        let fails = self.breaches(place);
        if fails {
            self.failed(place);
        }
        fails
    }

    /// Puts the former release back in these regions.
    pub(super) async fn undo(&self, places: &[usize]) {
        let names: Vec<&str> = places.iter().map(|place| self.name(*place)).collect();
        self.progress.note(&format!("back to the former release: {}", names.join(", ")));
        let undo = |place: &usize| self.undo_one(*place);
        stream::iter(places).for_each_concurrent(self.job.parallel, undo).await;
    }

    async fn undo_one(&self, place: usize) {
        let reason = self.reason();
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.undo_once(place, &reason).await {
                Ok(()) => {
                    self.progress.note(&format!("  {}: the former release runs again", self.name(place)));
                    return self.stands(place, Standing::Undone);
                }
                Err(Ends::HeldBack(why)) => last = why,
                Err(Ends::Unable(why)) => {
                    last = why;
                    break;
                }
                Err(ends) => return self.ends(ends),
            }
            let mut stop = self.stop.clone();
            tokio::select! {
                () = sleep(PAUSE) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.progress.note(&format!("  {}: cannot go back: {last}", self.name(place)));
        self.stands(place, Standing::Stuck(last));
    }

    /// One try. [`Ends::HeldBack`] may come to another end when it is tried again.
    async fn undo_once(&self, place: usize, why: &str) -> Result<(), Ends> {
        let region = &self.job.regions[place];
        let again = |error: &dyn std::fmt::Display| Ends::HeldBack(error.to_string());
        let records = region.records().await.map_err(|error| again(&error))?;
        let own = match records.first() {
            Some(stored) if stored.record.promotion.as_deref() == Some(self.promotion.borrow().as_str()) => {
                stored
            }
            // Nothing of the promotion is there.
            _ => return Ok(()),
        };
        let (former, values, manifest) = match self.former(place, &records, &own.record).await {
            Ok(former) => former,
            Err(Missing::Unable(why)) => return Err(Ends::HeldBack(why)),
            Err(Missing::Former) => {
                let nothing = "nothing ran there before, so there is nothing to go back to; look at it, then promote a release \
                               that is good";
                if own.record.state != State::Failed {
                    self.write(place, |record| ended(record, State::Failed, Some(why.to_owned()))).await?;
                }
                return Err(Ends::Unable(nothing.into()));
            }
        };
        let mut objects = manifest::parse(&manifest).map_err(|error| Ends::Unable(error.to_string()))?;
        objects.iter_mut().for_each(|object| object.mark(&former.release.digest));
        let wanted = Wanted {
            release: former.release.clone(),
            values_sha256: former.values_sha256.clone(),
            manifest_sha256: former.manifest_sha256.clone(),
            provenance: former.provenance.clone(),
            intent: Intent::Undo { number: own.record.number, why: why.to_owned() },
        };
        let snapshot = region.observe(objects, wanted).await.map_err(|errors| again(&lines(&errors)))?;
        let plan = plan(&snapshot, Timestamp::now()).map_err(|conflicts| {
            Ends::Unable(format!("others own fields that it would change: {}", lines(&conflicts)))
        })?;
        let never = watch::Sender::new(false);
        let orders = Orders { stop: self.stop.clone(), halt: never.subscribe() };
        let line = self.progress.region(region.name());
        let limits = Limits { ready: self.job.limits.ready, ..self.job.limits };
        let contents = Contents { values, manifest };
        let outcome = execute(region, &plan, &contents, limits, orders, &line).await;
        match outcome.result {
            Ok(pods) => {
                self.note(place, |fate| fate.pods = Some(pods));
                Ok(())
            }
            Err(failure) if failure.is_overtaken() => {
                Err(Ends::Lost(format!("{}: {}", region.name(), chain(&failure))))
            }
            Err(failure @ (Failure::NotReady(_) | Failure::TimedOut { .. })) => {
                Err(Ends::Unable(chain(&failure)))
            }
            Err(failure) => Err(again(&chain(&failure))),
        }
    }

    /// The record of what ran before, with what it keeps.
    async fn former(
        &self,
        place: usize,
        records: &[Stored],
        own: &Record,
    ) -> Result<(Record, std::collections::BTreeMap<String, String>, String), Missing> {
        let number = own.former.ok_or(Missing::Former)?;
        let former = records.iter().find(|stored| stored.record.number == number).ok_or(Missing::Former)?;
        let kept = self.job.regions[place].kept(number).await;
        let (values, manifest) = kept.map_err(|error| Missing::Unable(error.to_string()))?;
        Ok((former.record.clone(), values, manifest))
    }

    /// Why the promotion failed, in one line, with the region where it did.
    fn reason(&self) -> String {
        let fates = self.fates.borrow();
        let failed = fates.iter().enumerate().find_map(|(place, fate)| {
            let why = matches!(fate.standing, Standing::Bad(_) | Standing::Refused(_))
                .then(|| fate.standing.why())??;
            Some(format!("{}: {why}", self.name(place)))
        });
        failed.unwrap_or_else(|| "its promotion failed".into())
    }

    /// Writes that the promotion is over in these regions.
    pub(super) async fn finish(&self, places: &[usize]) {
        for place in places {
            match self.write(*place, |record| ended(record, State::Applied, None)).await {
                Ok(()) => self.stands(*place, Standing::Done),
                // All gates have passed: it is a matter of writing so, and no reason to go back.
                Err(Ends::Unable(why) | Ends::HeldBack(why)) => {
                    return self.ends(Ends::HeldBack(why));
                }
                Err(ends) => return self.ends(ends),
            }
        }
    }

    /// Writes the next state of a region's newest record.
    pub(super) async fn write(&self, place: usize, next: impl FnOnce(&Record) -> Record) -> Result<(), Ends> {
        let region = &self.job.regions[place];
        let failed = |error: crate::cluster::error::ClusterError| {
            let conflict = error.cause.status().is_some_and(|status| status.code == 409);
            let text = error.to_string();
            match error.cause.is_transient() {
                _ if conflict || error.cause.is_fenced() => Ends::Lost(text),
                true => Ends::HeldBack(text),
                false => Ends::Unable(text),
            }
        };
        let records = region.records().await.map_err(failed)?;
        let Some(stored) = records.first() else {
            return Err(Ends::Unable("its release record is not there any more".into()));
        };
        region.update_record(&next(&stored.record), &stored.resource_version).await.map_err(failed)?;
        Ok(())
    }
}
