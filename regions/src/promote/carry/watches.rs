//! The gates of every region, looked at again and again while a promotion goes on. Each region has rounds of its own: one
//! that is slow to answer, or does not, holds up the judgement of no other.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::plan::gate::limits::Limits;
use crate::plan::gate::sample::Counts;
use crate::plan::gate::{Breach, Reading, Verdict, Watch};
use crate::promote::region::Region;

/// Time from one look to the next: one round of evidence.
pub(super) const ROUND: Duration = Duration::from_millis(500);

/// Bound of one look. A region that takes longer is not seen in that round.
pub(super) const GLANCE: Duration = Duration::from_secs(5);

/// The gates of all regions.
pub(super) struct Watches {
    watches: RefCell<Vec<Option<Watch>>>,
    sight: RefCell<Vec<Sight>>,
    /// Tells who works on a region that nothing more is to be written of the release there.
    halts: Vec<watch::Sender<bool>>,
    /// Some region was looked at.
    looked: Notify,
}

/// How well a region is seen.
#[derive(Debug, Clone)]
struct Sight {
    /// When it was seen last, or began to be watched.
    last: Instant,
    /// When the first look began of those that showed nothing since, and why the last of them did not.
    blind: Option<(Instant, String)>,
}

impl Watches {
    pub(super) fn new(regions: usize) -> Self {
        Self {
            watches: RefCell::new(vec![None; regions]),
            sight: RefCell::new(vec![Sight { last: Instant::now(), blind: None }; regions]),
            halts: (0..regions).map(|_| watch::Sender::new(false)).collect(),
            looked: Notify::new(),
        }
    }

    /// Watches a region from now on.
    pub(super) fn begin(&self, place: usize, watch: Watch) {
        self.watches.borrow_mut()[place] = Some(watch);
        self.sight.borrow_mut()[place] = Sight { last: Instant::now(), blind: None };
    }

    /// The release is about to be written to the region.
    pub(super) fn begins(&self, place: usize) {
        self.with(place, Watch::begins);
    }

    /// The region's release is ready.
    pub(super) fn ready(&self, place: usize) {
        self.with(place, Watch::ready);
    }

    /// The region has passed, and others get the release.
    pub(super) fn again(&self, place: usize) {
        self.with(place, Watch::again);
    }

    fn with(&self, place: usize, change: impl FnOnce(&mut Watch)) {
        if let Some(watch) = &mut self.watches.borrow_mut()[place] {
            change(watch);
        }
    }

    /// Is true once nothing more of the release is to be written in the region.
    pub(super) fn halt(&self, place: usize) -> watch::Receiver<bool> {
        self.halts[place].subscribe()
    }

    /// The promotion has failed: nothing more of it is to be written anywhere.
    pub(super) fn halt_all(&self) {
        for halt in &self.halts {
            halt.send_replace(true);
        }
    }

    /// Looks at all regions, each in rounds of its own, for as long as it is polled.
    pub(super) async fn run<R: Region>(&self, regions: &[R], limits: &Limits) {
        let rounds = |(place, region)| self.rounds(place, region, limits, async || {});
        join_all(regions.iter().enumerate().map(rounds)).await;
    }

    /// Looks at a region in every round, and does `beside` meanwhile, for as long as it is polled.
    pub(super) async fn rounds<R: Region>(
        &self,
        place: usize,
        region: &R,
        limits: &Limits,
        mut beside: impl AsyncFnMut(),
    ) {
        let mut next = Instant::now();
        loop {
            futures_util::future::join(self.look(place, region, limits), beside()).await;
            self.looked.notify_one();
            next = (next + ROUND).max(Instant::now());
            sleep_until(next).await;
        }
    }

    /// Waits until some region was looked at, a round at most: time passes where nothing is seen as well.
    pub(super) async fn looked(&self) {
        let _ = timeout(ROUND, self.looked.notified()).await;
    }

    /// One look at a region.
    async fn look<R: Region>(&self, place: usize, region: &R, limits: &Limits) {
        let began = Instant::now();
        let sample = timeout(GLANCE, region.sample(limits)).await;
        let sample = sample.unwrap_or_else(|_| Err(format!("no answer for {} s", GLANCE.as_secs())));
        let sight = &mut self.sight.borrow_mut()[place];
        let sample = match sample {
            Ok(sample) => sample,
            Err(why) => {
                let since = sight.blind.as_ref().map_or(began, |(since, _)| *since);
                return sight.blind = Some((since, why));
            }
        };
        *sight = Sight { last: Instant::now(), blind: None };
        let mut watches = self.watches.borrow_mut();
        let others = watches.iter().enumerate().filter(|(other, _)| *other != place);
        let beside = others.filter_map(|(_, watch)| Some(watch.as_ref()?.old_since()));
        let beside = beside.fold(Counts::default(), |sum, counts| sum + counts);
        if let Some(watch) = &mut watches[place] {
            watch.look(&sample, beside);
            if !watch.failed().is_empty() {
                self.halts[place].send_if_modified(|halt| !std::mem::replace(halt, true));
            }
        }
    }

    /// When a region was seen last.
    pub(super) fn seen(&self, place: usize) -> Instant {
        self.sight.borrow()[place].last
    }

    /// For how long a region has not been seen, and why; nothing where the last look saw it.
    pub(super) fn blind(&self, place: usize) -> Option<(Duration, String)> {
        self.sight.borrow()[place].blind.as_ref().map(|(since, why)| (since.elapsed(), why.clone()))
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
