//! A watch that reconnects, misses nothing, and keeps what was acknowledged true.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::wire::Change;
use crate::{AgentClient, Error, Version};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// The changes of every secret that the agent delivers, for one instance of the application.
///
/// It reconnects by itself for as long as it lives. After a reconnect the agent tells everything that
/// it cannot prove was seen, and what this instance had adopted is acknowledged again, since the agent
/// forgets that with the stream. Several changes of one secret that were not taken yet become one, the
/// latest. Dropping it closes the stream, and the agent then forgets this instance.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    client: AgentClient,
    instance: Uuid,
    pending: Mutex<VecDeque<Change>>,
    arrived: Notify,
    /// What this instance uses now. Held across the acknowledgement, so that one sent after a reconnect
    /// can never overtake and undo a newer one.
    in_use: Mutex<HashMap<String, Version>>,
}

impl Subscription {
    /// Starts watching in the background as a new instance of the application.
    pub fn start(client: AgentClient) -> Self {
        let shared = Arc::new(Shared {
            client,
            instance: Uuid::new_v4(),
            pending: Mutex::default(),
            arrived: Notify::new(),
            in_use: Mutex::default(),
        });
        let task = tokio::spawn(watch(Arc::clone(&shared)));
        Subscription { shared, task }
    }

    /// The UUID under which the agent knows this instance.
    pub fn instance(&self) -> Uuid {
        self.shared.instance
    }

    /// The next change. Waits for as long as it takes; `None` only if the background task was lost.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let arrived = self.shared.arrived.notified();
            if let Some(change) = self.shared.pending.lock().await.pop_front() {
                return Some(change);
            }
            if self.task.is_finished() {
                return None;
            }
            arrived.await;
        }
    }

    /// Says that this instance now uses `version` of the secret, and says it again after each reconnect.
    ///
    /// # Errors
    /// What the agent answered. Unless it was a refusal, nothing has to be done: the acknowledgement is
    /// remembered and is sent when the agent can be reached again.
    pub async fn adopted(&self, name: &str, version: Version) -> Result<(), Error> {
        let mut in_use = self.shared.in_use.lock().await;
        in_use.insert(name.to_owned(), version);
        self.shared.client.adopted(name, version, self.shared.instance).await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(shared: Arc<Shared>) {
    let mut last_event_id = None;
    let mut retry = FIRST_RETRY;
    let mut told = false;
    loop {
        match follow(&shared, &mut last_event_id, &mut retry, &mut told).await {
            Ok(()) => debug!("secrets-agent ended the watch stream"),
            Err(error) if told => debug!(%error, "watch stream lost"),
            Err(error) => {
                warn!(%error, cause = std::error::Error::source(&error).map(tracing::field::display), "watch stream lost; connecting again");
                told = true;
            }
        }
        // The last part of the wait is drawn by instance, so that many applications do not knock at once.
        let share = u32::from(shared.instance.as_bytes()[0]) + 256;
        tokio::time::sleep(retry * share / 512).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

/// Follows one stream to its end.
async fn follow(
    shared: &Shared,
    last_event_id: &mut Option<String>,
    retry: &mut Duration,
    told: &mut bool,
) -> Result<(), Error> {
    let mut stream = shared.client.watch(shared.instance, last_event_id.as_deref()).await?;
    if std::mem::take(told) {
        info!("watch stream open again");
    }
    *retry = FIRST_RETRY;
    acknowledge_again(shared, None).await?;
    while let Some((id, change)) = stream.next().await? {
        acknowledge_again(shared, Some(&change)).await?;
        let mut pending = shared.pending.lock().await;
        pending.retain(|earlier| earlier.name != change.name);
        pending.push_back(change);
        // The id is kept only once the change is queued: a stream lost in between tells it again.
        *last_event_id = Some(id);
        drop(pending);
        shared.arrived.notify_one();
    }
    Ok(())
}

/// Repeats on a new stream what is in use: everything at its start, and then each version that is told of
/// and already is in use. A restarted agent refuses (409) what it has not delivered again yet, and tells of
/// it when it has.
async fn acknowledge_again(shared: &Shared, told: Option<&Change>) -> Result<(), Error> {
    let in_use = shared.in_use.lock().await;
    for (name, version) in in_use.iter() {
        if told.is_some_and(|change| change.name != *name || change.version() != *version) {
            continue;
        }
        match shared.client.adopted(name, *version, shared.instance).await {
            Err(error) if error.status().is_some() => {
                debug!(%error, secret = name, "not acknowledged again");
            }
            other => other?,
        }
    }
    Ok(())
}
