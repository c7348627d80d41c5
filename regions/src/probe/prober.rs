//! Own transactions through a region's LoadBalancer, at a steady rate, for as long as somebody wants to know.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use zeroize::Zeroizing;

use super::door::Door;
use super::token::{Keys, Verified};
use crate::plan::gate::sample::Own;

/// Transactions that are under way at the same time at most: a region that hangs must not fill memory.
const UNDER_WAY: usize = 256;

/// What a region's transactions are made with.
#[derive(Clone)]
pub struct Transactions {
    /// Where.
    pub door: Door,
    /// The region that must answer.
    pub region: String,
    /// The issuer of its tokens.
    pub issuer: String,
    /// The secret of the client `probe`; without it no token is asked for.
    pub secret: Option<Arc<Zeroizing<String>>>,
    /// What an answer may take, the way there and back left out.
    pub limit: Duration,
}

/// Transactions under way. They end when this is dropped.
#[derive(Debug)]
pub struct Prober {
    tally: Arc<Mutex<Tally>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Tally {
    own: Own,
    last: Option<String>,
}

impl Prober {
    /// Begins so many transactions a second.
    pub fn begin(transactions: Transactions, rate: f64) -> Self {
        let tally = Arc::<Mutex<Tally>>::default();
        let task = tokio::spawn(run(transactions, rate, Arc::clone(&tally)));
        Self { tally, task }
    }

    /// What came of them since this was asked the last time.
    pub fn take(&self) -> Own {
        std::mem::take(&mut lock(&self.tally).own)
    }

    /// Why one failed, the last one that did.
    pub fn last_failure(&self) -> Option<String> {
        lock(&self.tally).last.clone()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(transactions: Transactions, rate: f64, tally: Arc<Mutex<Tally>>) {
    let way = transactions.door.way().await.unwrap_or_default();
    let keys = Arc::<RwLock<Option<Keys>>>::default();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate.max(0.01)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    for number in 0_u64.. {
        ticks.tick().await;
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= UNDER_WAY {
            continue;
        }
        let (transactions, tally, keys) = (transactions.clone(), Arc::clone(&tally), Arc::clone(&keys));
        under_way.spawn(async move {
            let outcome = one(&transactions, number, &keys).await;
            let mut tally = lock(&tally);
            tally.own.made += 1;
            match outcome {
                Ok(took) if took.saturating_sub(way) > transactions.limit => tally.own.slow += 1,
                Ok(_) => {}
                Err(why) => {
                    tally.own.failed += 1;
                    tally.last = Some(why);
                }
            }
        });
    }
}

/// Asks who serves, or for a token, in turn.
async fn one(
    transactions: &Transactions,
    number: u64,
    keys: &RwLock<Option<Keys>>,
) -> Result<Duration, String> {
    let Transactions { door, region, issuer, secret, .. } = transactions;
    let Some(secret) = secret.as_ref().filter(|_| number.is_multiple_of(2)) else {
        let answered = door.server().await?;
        if answered.value.region != *region {
            return Err(format!("{} was answered by the region {}", door.host(), answered.value.region));
        }
        return Ok(answered.took);
    };
    let known = keys.read().unwrap_or_else(PoisonError::into_inner).clone();
    let known = match known {
        Some(known) => known,
        None => renew(door, keys).await?,
    };
    let answered = door.token(secret, issuer, &known).await?;
    if let Verified::UnknownKey(_) = answered.value {
        let newer = renew(door, keys).await?;
        if let Verified::UnknownKey(kid) = door.token(secret, issuer, &newer).await?.value {
            return Err(format!("the keys that {} publishes do not have {kid}, which signs", door.host()));
        }
    }
    Ok(answered.took)
}

async fn renew(door: &Door, keys: &RwLock<Option<Keys>>) -> Result<Keys, String> {
    let newer = door.keys().await?.value;
    *keys.write().unwrap_or_else(PoisonError::into_inner) = Some(newer.clone());
    Ok(newer)
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
