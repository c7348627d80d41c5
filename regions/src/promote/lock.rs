//! The Leases of all regions of an environment, taken in the order of names, so that two runs never wait for each
//! other, and kept for as long as the run writes.
//!
//! A Lease that another process holds is taken over only when that process is known to have ended, or has not renewed
//! it for its whole life by this process's own clock. Nothing depends on clocks for safety: what a holder writes
//! carries the Lease's transitions, and regions refuse what comes from an earlier one.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::region::Region;
use crate::cluster::error::ClusterError;
use crate::cluster::leases::Lease;
use crate::who;

/// Pause between two looks at a Lease that another holds.
const LOOK: Duration = Duration::from_millis(250);

/// How often it is tried to write a Lease while no answer comes.
const TRIES: u32 = 5;

/// How often a Lease is renewed in its life.
const RENEWED: u32 = 4;

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

/// Takes a region's Lease. Waits for a holder that may have been killed, not for one that works. `told` is given whom
/// it waits for.
///
/// # Errors
/// Another run works there, or the region cannot be asked.
pub async fn take<R: Region>(region: &R, holder: &Holder, told: impl Fn(&str)) -> Result<Hold, LockError> {
    let mut seen: Option<(Lease, Instant)> = None;
    let mut left = TRIES;
    loop {
        let found = region.lease().await?;
        if found.holder == holder.name && left < TRIES {
            // The answer of an earlier try was lost, and it is held.
            return Ok(Hold { fence: found.transitions, lease: RefCell::new(found) });
        }
        let free = found.holder.is_empty() || found.holder == holder.name || who::is_gone(&found.holder);
        if !free {
            let (first, since) = seen.get_or_insert_with(|| (found.clone(), Instant::now()));
            if first.version != found.version {
                return Err(LockError::Held { region: region.name().to_owned(), by: found.holder });
            }
            // Its own life is not in what was read, and this run's is as long where they agree.
            if since.elapsed() < holder.life {
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

/// Renews Leases for as long as it is polled; ends with the region whose Lease another holds.
pub async fn keep<R: Region>(regions: &[(&R, &Hold)], holder: &Holder) -> String {
    loop {
        sleep(holder.life / RENEWED).await;
        let renewals = regions.iter().map(|(region, hold)| renew(*region, hold, holder));
        for ((region, _), held) in regions.iter().zip(futures_util::future::join_all(renewals).await) {
            if !held {
                return region.name().to_owned();
            }
        }
    }
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
