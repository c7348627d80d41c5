//! The gates of every region, looked at again and again while a promotion goes on.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::plan::gate::limits::Limits;
use crate::plan::gate::sample::Counts;
use crate::plan::gate::{Breach, Reading, Verdict, Watch};
use crate::promote::region::Region;

/// Time from one look to the next: one round of evidence.
pub(super) const ROUND: Duration = Duration::from_millis(500);

/// The gates of all regions.
pub(super) struct Watches {
    watches: RefCell<Vec<Option<Watch>>>,
    /// Since when a region could not be looked at, and why.
    blind: RefCell<Vec<Option<(Instant, String)>>>,
    /// Tells who works on a region that its gates have failed.
    halts: Vec<watch::Sender<bool>>,
}

impl Watches {
    pub(super) fn new(regions: usize) -> Self {
        Self {
            watches: RefCell::new(vec![None; regions]),
            blind: RefCell::new(vec![None; regions]),
            halts: (0..regions).map(|_| watch::Sender::new(false)).collect(),
        }
    }

    /// Watches a region from now on.
    pub(super) fn begin(&self, place: usize, watch: Watch) {
        self.watches.borrow_mut()[place] = Some(watch);
    }

    /// The region's release is ready.
    pub(super) fn ready(&self, place: usize) {
        if let Some(watch) = &mut self.watches.borrow_mut()[place] {
            watch.ready();
        }
    }

    /// Is true once the region's gates have failed.
    pub(super) fn halt(&self, place: usize) -> watch::Receiver<bool> {
        self.halts[place].subscribe()
    }

    /// Looks at all regions, now and in every round, for as long as it is polled.
    pub(super) async fn run<R: Region>(&self, regions: &[R], limits: &Limits) {
        let mut next = Instant::now();
        loop {
            self.look(regions, limits).await;
            next = (next + ROUND).max(Instant::now());
            sleep_until(next).await;
        }
    }

    /// One look at all regions.
    pub(super) async fn look<R: Region>(&self, regions: &[R], limits: &Limits) {
        let samples = join_all(regions.iter().map(|region| region.sample(limits))).await;
        let old: Vec<Counts> = {
            let watches = self.watches.borrow();
            watches.iter().map(|watch| watch.as_ref().map(Watch::old_since).unwrap_or_default()).collect()
        };
        for (place, sample) in samples.into_iter().enumerate() {
            let beside = old.iter().enumerate().filter(|(other, _)| *other != place);
            let beside = beside.fold(Counts::default(), |sum, (_, counts)| sum + *counts);
            match sample {
                Ok(sample) => {
                    self.blind.borrow_mut()[place] = None;
                    if let Some(watch) = &mut self.watches.borrow_mut()[place] {
                        watch.look(&sample, beside);
                        self.halts[place].send_if_modified(|halt| {
                            let failed = !watch.failed().is_empty();
                            std::mem::replace(halt, failed) != failed
                        });
                    }
                }
                Err(why) => {
                    let since =
                        self.blind.borrow()[place].as_ref().map_or_else(Instant::now, |(since, _)| *since);
                    self.blind.borrow_mut()[place] = Some((since, why));
                }
            }
        }
    }

    /// For how long a region could not be looked at, and why.
    pub(super) fn blind(&self, place: usize) -> Option<(Duration, String)> {
        self.blind.borrow()[place].as_ref().map(|(since, why)| (since.elapsed(), why.clone()))
    }

    /// The gates of a region that have failed.
    pub(super) fn failed(&self, place: usize) -> Vec<Breach> {
        self.watches.borrow()[place].as_ref().map(Watch::failed).unwrap_or_default()
    }

    /// What is known of a region's release, so long after it was ready.
    pub(super) fn verdict(&self, place: usize, baked: Duration) -> Verdict {
        let watch = self.watches.borrow();
        watch[place].as_ref().map_or(Verdict::Baking { samples: 0 }, |watch| watch.verdict(baked))
    }

    /// A region's gates as they stand.
    pub(super) fn readings(&self, place: usize) -> Vec<Reading> {
        self.watches.borrow()[place].as_ref().map(Watch::readings).unwrap_or_default()
    }
}
