//! The Leases that a drain or a restore holds, and what may end it before its own end.

use std::pin::Pin;

use tokio::sync::watch;

use crate::promote::live::Live;
use crate::promote::lock::{Hold, Holder, LockError, give_back, keep, take};

/// Leases of regions, by their names in the order in which they were taken.
pub(super) struct Held<'a> {
    holder: Holder,
    holds: Vec<(&'a str, &'a Live, Hold)>,
}

/// What ends a run before its own end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cut {
    /// A signal.
    Stopped,
    /// Another run has taken the Lease of this region over.
    Taken(String),
}

impl<'a> Held<'a> {
    /// None yet.
    pub(super) fn none(holder: Holder) -> Self {
        Self { holder, holds: Vec::new() }
    }

    /// Takes one more. `told` is given whom it waits for.
    ///
    /// # Errors
    /// Another run works there, or the region cannot be asked.
    pub(super) async fn take(
        &mut self,
        region: &'a str,
        live: &'a Live,
        told: impl Fn(&str),
    ) -> Result<(), LockError> {
        let hold = take(live, &self.holder, told).await?;
        self.holds.push((region, live, hold));
        Ok(())
    }

    /// What is written under a region's Lease carries this; nothing where it is not held.
    pub(super) fn fence(&self, region: &str) -> Option<u64> {
        self.holds.iter().find(|(name, ..)| *name == region).map(|(.., hold)| hold.fence)
    }

    /// Renews them until one is lost, or somebody asks to stop.
    pub(super) async fn cut(&self, stop: &watch::Receiver<bool>) -> Cut {
        let held: Vec<_> = self.holds.iter().map(|(_, live, hold)| (*live, hold)).collect();
        tokio::select! {
            region = keep(&held, &self.holder) => Cut::Taken(region),
            () = stopped(stop) => Cut::Stopped,
        }
    }

    /// Gives all of them back.
    pub(super) async fn give_back(&self) {
        for (_, live, hold) in &self.holds {
            give_back(*live, hold, &self.holder).await;
        }
    }
}

/// Until somebody asks to stop.
pub(super) async fn stopped(stop: &watch::Receiver<bool>) {
    let mut stop = stop.clone();
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Does what may end anywhere, until it is cut.
///
/// # Errors
/// It was cut.
pub(super) async fn until<T>(
    cut: &mut Pin<&mut impl Future<Output = Cut>>,
    work: impl Future<Output = T>,
) -> Result<T, Cut> {
    tokio::select! {
        done = work => Ok(done),
        cut = cut => Err(cut),
    }
}

/// Does what must be seen to its end, and says whether it was cut meanwhile.
pub(super) async fn whole<T>(
    cut: &mut Pin<&mut impl Future<Output = Cut>>,
    work: impl Future<Output = T>,
) -> (T, Option<Cut>) {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => (done, None),
        cut = cut => (work.await, Some(cut)),
    }
}
