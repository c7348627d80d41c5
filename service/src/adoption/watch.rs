//! The loop that follows the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrets_agent_client::{AgentClient, Delivered, Error, Subscription, Version};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, info, warn};

use super::documents::{Document, Documents, Outcome};
use crate::state::State;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// A rejected document is looked at again this often, since time alone can heal one: a certificate that
/// is not valid yet.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Follows the agent for as long as the process lives. It reconnects by itself; the last good state
/// stays in use meanwhile, whatever happens here.
pub async fn watch(state: Arc<State>, agent: AgentClient) {
    loop {
        let following = tokio::spawn(follow(Arc::clone(&state), agent.clone()));
        // Only a defect ends it. A service that silently follows nobody would stop every rotation.
        let _ = following.await;
        error!("following secrets-agent ended unexpectedly; starting again");
        sleep(LAST_RETRY).await;
    }
}

async fn follow(state: Arc<State>, agent: AgentClient) {
    let mut subscription = Subscription::start(agent.clone());
    info!(instance = %subscription.instance(), "following secrets-agent");
    Adoption::new(state, agent).follow(&mut subscription).await;
}

struct Adoption {
    state: Arc<State>,
    agent: AgentClient,
    documents: Documents,
    /// Told of and not fetched yet.
    wanted: BTreeSet<Document>,
    /// In use, and the agent does not know it yet.
    unacknowledged: BTreeMap<Document, Version>,
    rejected: BTreeSet<Document>,
    retry: Duration,
    /// Whether the present trouble with the agent was told.
    told: bool,
}

impl Adoption {
    fn new(state: Arc<State>, agent: AgentClient) -> Self {
        let adoption = Adoption {
            state,
            agent,
            documents: Documents::default(),
            wanted: BTreeSet::new(),
            unacknowledged: BTreeMap::new(),
            rejected: BTreeSet::new(),
            retry: FIRST_RETRY,
            told: false,
        };
        adoption.say_what_is_missing();
        adoption
    }

    /// Follows one subscription until it ends.
    async fn follow(&mut self, subscription: &mut Subscription) {
        let mut next_try = Instant::now();
        let mut look_again = Instant::now() + LOOK_AGAIN;
        loop {
            let behind = !self.wanted.is_empty() || !self.unacknowledged.is_empty();
            tokio::select! {
                change = subscription.next() => {
                    let Some(change) = change else { return };
                    match Document::named(&change.name) {
                        Some(document) => self.wanted.insert(document),
                        None => continue,
                    };
                }
                () = sleep_until(next_try), if behind => {}
                () = sleep_until(look_again), if !self.rejected.is_empty() => {
                    self.wanted.extend(&self.rejected);
                    look_again = Instant::now() + LOOK_AGAIN;
                }
            }
            let fetched = self.fetch_wanted().await;
            let acknowledged = self.acknowledge(subscription).await;
            if fetched && acknowledged {
                self.retry = FIRST_RETRY;
            } else {
                next_try = Instant::now() + self.retry;
                self.retry = (self.retry * 2).min(LAST_RETRY);
            }
        }
    }

    /// Fetches and checks what was told of; `false` if something could not be fetched.
    async fn fetch_wanted(&mut self) -> bool {
        let mut complete = true;
        for document in std::mem::take(&mut self.wanted) {
            match self.agent.get(document.name()).await {
                Ok(delivered) => {
                    self.told = false;
                    self.take(document, &delivered);
                }
                Err(error) => {
                    self.tell(document, &error);
                    self.wanted.insert(document);
                    complete = false;
                }
            }
        }
        complete
    }

    /// Checks a document and puts it to use, or keeps the last good one and says so.
    fn take(&mut self, document: Document, delivered: &Delivered) {
        let name = document.name();
        let version = delivered.version();
        match self.documents.take(document, delivered, &self.state.configuration, Timestamp::now()) {
            Outcome::Known => {
                // Told again after a reconnect: the agent may have forgotten that it is in use.
                self.heal(document);
                if self.state.snapshot().is_some() {
                    self.unacknowledged.insert(document, version);
                }
            }
            Outcome::Taken => {
                let Delivered { rotation_id, .. } = delivered;
                self.heal(document);
                let first = self.state.snapshot().is_none();
                match self.documents.parts() {
                    Some(parts) => {
                        self.state.adopt(parts);
                        if first {
                            self.acknowledge_all();
                            info!("every document is valid; ready");
                        } else {
                            self.unacknowledged.insert(document, version);
                        }
                        self.state.metrics.adopted(name, version);
                        info!(document = name, %version, rotation_id, "in use");
                    }
                    None => {
                        self.say_what_is_missing();
                        info!(document = name, %version, rotation_id, "valid; waiting for the others");
                    }
                }
            }
            Outcome::Rejected(message) => {
                self.rejected.insert(document);
                if self.state.concern(name, message.clone()) {
                    self.state.metrics.rejected(name);
                    error!(document = name, %version, rotation_id = delivered.rotation_id, message, "rejected; the last good version stays in use");
                }
            }
        }
    }

    fn heal(&mut self, document: Document) {
        self.rejected.remove(&document);
        self.state.settle(document.name());
        self.state.metrics.accepted_document(document.name());
    }

    fn acknowledge_all(&mut self) {
        if self.state.snapshot().is_some() {
            self.unacknowledged.extend(self.documents.versions());
            for (document, version) in self.documents.versions() {
                self.state.metrics.adopted(document.name(), version);
            }
        }
    }

    /// Says what is in use; `false` if the agent does not know all of it yet.
    async fn acknowledge(&mut self, subscription: &Subscription) -> bool {
        for (document, version) in std::mem::take(&mut self.unacknowledged) {
            if let Err(error) = subscription.adopted(document.name(), version).await {
                debug!(document = document.name(), %version, %error, "not acknowledged yet");
                self.unacknowledged.insert(document, version);
            }
        }
        self.unacknowledged.is_empty()
    }

    fn say_what_is_missing(&self) {
        let missing = self.documents.missing();
        if !missing.is_empty() {
            self.state
                .wait_for(format!("waiting for the first valid {} from secrets-agent", missing.join(", ")));
        }
    }

    /// Tells of trouble with the agent once, until it is over.
    fn tell(&mut self, document: Document, error: &Error) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        if std::mem::replace(&mut self.told, true) {
            debug!(document = document.name(), %error, cause, "not fetched yet");
        } else {
            warn!(document = document.name(), %error, cause, "a document cannot be fetched; trying again");
        }
    }
}
