//! The Leases of all regions of an environment, taken in the order of names, so that two runs never wait for each
//! other, and kept for as long as the run writes.
//!
//! A Lease that another process holds is taken over only when that process is known to have ended, or has not renewed
//! it for its whole life by this process's own clock. Nothing depends on clocks for safety: what a holder writes
//! carries the Lease's transitions, and regions refuse what comes from an earlier one.

use std::cell::RefCell;
use std::ops::Deref;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout};

use super::region::Region;
use crate::cluster::error::ClusterError;
use crate::cluster::leases::Lease;
use crate::who;

/// Pause between two looks at a Lease that another holds.
const LOOK: Duration = Duration::from_millis(250);

/// Bound of the first look at a Lease.
const GLANCE: Duration = Duration::from_secs(2);

/// How often it is tried to write a Lease while no answer comes.
const TRIES: u32 = 5;

/// How often a Lease is renewed in its life.
const RENEWED: u32 = 4;

/// The longest life of a Lease that is waited for: what `--lease` allows.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Why the Leases are not held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds one.
    #[error("{region}: {} is at work there (Lease meridian/regions); let it end, then run again", who::person(.by))]
    Held {
        /// The region.
        region: String,
        /// Who.
        by: String,
    },
    /// A region cannot be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// A region's Lease, while this run holds it.
#[derive(Debug)]
pub struct Hold {
    lease: RefCell<Lease>,
    /// What all that is written under it carries.
    pub fence: u64,
}

/// Who holds Leases here, and for how long without renewing them.
#[derive(Debug, Clone)]
pub struct Holder {
    /// This run.
    pub name: String,
    /// The life of a Lease.
    pub life: Duration,
}

impl Holder {
    fn seconds(&self) -> u32 {
        u32::try_from(self.life.as_secs()).unwrap_or(u32::MAX).max(1)
    }
}

/// A Lease as it was seen first, and when.
pub type Seen = Option<(Lease, Instant)>;

/// Looks at the Leases of all regions at once, so that those of runs that were killed end together and not one after the
/// other. Nothing is known of a region that does not answer soon.
pub async fn look<R: Region>(regions: &[R]) -> Vec<Seen> {
    let looked = regions.iter().map(|region| timeout(GLANCE, region.lease()));
    let looked = join_all(looked).await.into_iter();
    looked.map(|lease| Some((lease.ok()?.ok()?, Instant::now()))).collect()
}

/// Takes a region's Lease. Waits for a holder that may have been killed, not for one that works. `told` is given whom
/// it waits for.
///
/// # Errors
/// Another run works there, or the region cannot be asked.
pub async fn take<R: Region>(region: &R, holder: &Holder, told: impl Fn(&str)) -> Result<Hold, LockError> {
    take_seen(region, holder, None, told).await
}

/// Takes a region's Lease that was looked at before.
///
/// # Errors
/// As [`take`].
pub async fn take_seen<R: Region>(
    region: &R,
    holder: &Holder,
    mut seen: Seen,
    told: impl Fn(&str),
) -> Result<Hold, LockError> {
    let mut left = TRIES;
    loop {
        let found = region.lease().await?;
        if found.holder == holder.name && left < TRIES {
            // The answer of an earlier try was lost, and it is held.
            return Ok(Hold { fence: found.transitions, lease: RefCell::new(found) });
        }
        let free = found.holder.is_empty() || found.holder == holder.name || who::is_gone(&found.holder);
        if !free {
            // It may have been free when it was looked at before.
            seen = seen.filter(|(first, _)| !first.holder.is_empty());
            let (first, since) = seen.get_or_insert_with(|| (found.clone(), Instant::now()));
            if first.version != found.version {
                return Err(LockError::Held { region: region.name().to_owned(), by: found.holder });
            }
            // Its holder may renew it less often than this run would.
            if since.elapsed() < holder.life.max(promised(&found)) {
                told(who::person(&found.holder));
                sleep(LOOK).await;
                continue;
            }
        }
        // A Lease that was deleted counts from 0 again; what the namespace carries does not.
        let fenced = region.namespace_fence().await?.unwrap_or(0);
        let over = Lease { transitions: found.transitions.max(fenced), ..found };
        // Each run has a fence of its own: whoever asks under the same name twice is two runs.
        let over = Lease { holder: String::new(), ..over };
        match region.write_lease(&over, &holder.name, holder.seconds()).await {
            Ok(lease) => {
                let fence = lease.transitions;
                return Ok(Hold { lease: RefCell::new(lease), fence });
            }
            // Somebody was quicker: it is looked at again.
            Err(error) if is_conflict(&error) => seen = None,
            Err(error) if error.cause.is_transient() && left > 1 => {
                left -= 1;
                sleep(LOOK).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Renews Leases for as long as it is polled, each by itself: a region that does not answer costs no other its Lease. Ends
/// with the region whose Lease another holds.
pub async fn keep<R: Region>(regions: &[(&R, &Hold)], holder: &Holder) -> String {
    let mut each: FuturesUnordered<_> =
        regions.iter().map(|(region, hold)| keep_one(*region, *hold, holder)).collect();
    match each.next().await {
        Some(lost) => lost,
        None => std::future::pending().await,
    }
}

/// Renews one for as long as it is polled, and ends with its region once another holds it.
pub async fn keep_one<R: Region>(region: &R, hold: impl Deref<Target = Hold>, holder: &Holder) -> String {
    loop {
        sleep(holder.life / RENEWED).await;
        if !renew(region, &hold, holder).await {
            return region.name().to_owned();
        }
    }
}

/// For how long its holder said that it would not need to renew it, within bounds.
fn promised(lease: &Lease) -> Duration {
    Duration::from_secs(lease.seconds.into()).min(LONGEST)
}

/// Renews one; whether it is held, as far as is known.
async fn renew<R: Region>(region: &R, hold: &Hold, holder: &Holder) -> bool {
    let over = hold.lease.borrow().clone();
    match region.write_lease(&over, &holder.name, holder.seconds()).await {
        Ok(lease) => {
            *hold.lease.borrow_mut() = lease;
            true
        }
        // While nobody answers nobody can take it either.
        Err(_) => match region.lease().await {
            Ok(now) if now.holder == holder.name && now.transitions == hold.fence => {
                *hold.lease.borrow_mut() = now;
                true
            }
            Ok(_) => false,
            Err(_) => true,
        },
    }
}

/// Gives a Lease back. If that fails it ends by itself.
pub async fn give_back<R: Region>(region: &R, hold: &Hold, holder: &Holder) {
    let over = hold.lease.borrow().clone();
    let _ = region.write_lease(&over, "", holder.seconds()).await;
}

fn is_conflict(error: &ClusterError) -> bool {
    error.cause.status().is_some_and(|status| status.code == 409)
}
