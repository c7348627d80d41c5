//! Keeping one secret as Vault has it: a slow poll, at once on a nudge, and patience when Vault cannot be
//! asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use secrets_agent_client::Version;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::config::Kv;
use crate::floor::Floors;
use crate::jitter::Jitter;
use crate::metrics::{Metrics, OfFetch, OfSecret};
use crate::schedule;
use crate::store::{Delivery, Document, Store};
use crate::vault::{Failure, Fetched, KvReader, Retired, Tokens};

/// How often a version that a nudge promised and that did not come is looked for again, at growing distance:
/// a standby of Vault may lag behind the server that took the write.
const LOOKS_FOR_PROMISED: u32 = 6;
/// The longest distance between two of them.
const LONGEST_PROMISED: Duration = Duration::from_secs(2);

/// What makes the keeper of one secret look now. Nudges that come while it looks cause one more look.
#[derive(Debug, Default)]
pub(crate) struct Nudges {
    notify: Notify,
    promised: AtomicU64,
}

impl Nudges {
    /// Takes a nudge, with the version that its sender saw.
    pub(crate) fn nudge(&self, version: Option<u64>) {
        if let Some(version) = version {
            self.promised.fetch_max(version, Ordering::Relaxed);
        }
        self.notify.notify_one();
    }
}

/// The keeper of one secret.
pub(crate) struct Keeper {
    /// The secret's name.
    pub name: String,
    /// What makes it look.
    pub nudges: Arc<Nudges>,
    /// How it reads.
    pub reader: Arc<KvReader>,
    /// How it may.
    pub tokens: Arc<Tokens>,
    /// Where what it reads goes.
    pub store: Arc<Store>,
    /// Under which it delivers nothing.
    pub floors: Arc<Floors>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Chance.
    pub jitter: Jitter,
    /// How often it looks.
    pub kv: Kv,
    /// The longest wait between tries while Vault cannot be used.
    pub longest_retry: Duration,
    /// Whether it was said that versions' ends may not be asked for.
    pub told_of_metadata: AtomicBool,
}

/// What one look came to.
enum Look {
    /// Vault answered; the version that it holds, if it can be told.
    Answered(Option<u64>),
    /// Vault could not be used.
    Failed(Failure),
    /// There is no token. When the next login may be tried is for [`Tokens`] to say, for all secrets at once.
    NoToken,
}

impl Keeper {
    /// Keeps the secret for as long as the agent runs.
    pub(crate) async fn run(self) {
        let mut failures = 0;
        let mut looks_for_promised = 0;
        let mut empty = 0;
        loop {
            let looked = Instant::now();
            match self.look().await {
                Look::Answered(version) => {
                    failures = 0;
                    let behind =
                        version < Some(self.nudges.promised.load(Ordering::Relaxed)) && version.is_some();
                    looks_for_promised = if behind { looks_for_promised + 1 } else { 0 };
                    let pause = if behind && looks_for_promised <= LOOKS_FOR_PROMISED {
                        (self.kv.spacing.0 * 2_u32.pow(looks_for_promised - 1)).min(LONGEST_PROMISED)
                    } else {
                        // The promise was kept or was none; either way it is not waited for any longer.
                        self.nudges.promised.store(0, Ordering::Relaxed);
                        looks_for_promised = 0;
                        self.pause(&mut empty)
                    };
                    let _ = tokio::time::timeout(pause, self.nudges.notify.notified()).await;
                    tokio::time::sleep_until(looked + self.kv.spacing.0).await;
                }
                // A nudge is kept until there is a token: it can do nothing before.
                Look::NoToken => self.tokens.wait().await,
                Look::Failed(failure) => {
                    failures += 1;
                    let failed = Instant::now();
                    let retry = schedule::retry_in(
                        failures,
                        self.longest_retry,
                        failure.retry_after(),
                        self.jitter.draw(),
                    );
                    debug!(secret = self.name, failures, retry_ms = retry.as_millis(), "trying again later");
                    let nudged = tokio::time::timeout(retry, self.nudges.notify.notified()).await.is_ok();
                    if nudged {
                        let wait = schedule::nudged_retry_in(retry, failure.retry_after());
                        tokio::time::sleep_until(failed + wait).await;
                    }
                }
            }
        }
    }

    /// The pause after Vault answered: the poll's, unless there is nothing to serve yet. A secret that is
    /// about to be written for the first time is then looked for as a Vault that is away is, since an
    /// application waits for it.
    fn pause(&self, empty: &mut u32) -> Duration {
        if self.store.get(&self.name, None).is_some() {
            *empty = 0;
            return self.kv.poll.0.mul_f64(0.8 + 0.4 * self.jitter.draw());
        }
        *empty += 1;
        schedule::retry_in(*empty, self.longest_retry, None, self.jitter.draw())
    }

    async fn look(&self) -> Look {
        let mut token = match self.tokens.get().await {
            Ok(token) => token,
            Err(failure) => return self.no_token(&failure),
        };
        let mut fetched = self.reader.read(&self.name, token.secret()).await;
        if let Err(Failure::Denied { denial, .. }) = fetched {
            match self.tokens.is_dead(&token, denial).await {
                Ok(true) => {
                    // If a token that was just had is refused too, it is no matter of the token.
                    token = match self.tokens.get().await {
                        Ok(token) => token,
                        Err(failure) => return self.no_token(&failure),
                    };
                    fetched = self.reader.read(&self.name, token.secret()).await;
                }
                Ok(false) => {}
                Err(failure) => fetched = Err(failure),
            }
        }
        match fetched {
            Ok(fetched) => {
                let version = self.take(fetched);
                if let Some(previous) = self.store.previous(&self.name) {
                    self.check_previous(previous, token.secret()).await;
                }
                Look::Answered(version)
            }
            Err(failure) => {
                self.failed(&failure);
                Look::Failed(failure)
            }
        }
    }

    fn no_token(&self, failure: &Failure) -> Look {
        self.failed(failure);
        Look::NoToken
    }

    /// Takes what Vault holds, and gives its number.
    fn take(&self, fetched: Fetched) -> Option<u64> {
        self.store.vault_answered();
        let (version, rotation_id, data) = match fetched {
            Fetched::Document { version, rotation_id, data } => (version, rotation_id, data),
            Fetched::Unusable(reason) => {
                self.refuse("unusable", &reason);
                return None;
            }
        };
        match self.floors.of(&self.name) {
            Ok(Some(floor)) if version < floor => {
                self.store.note_step_back(&self.name);
                self.refuse("older", &self.too_old(version, floor, "the region has seen"));
                return Some(version.version);
            }
            Err(reason) => {
                self.refuse(
                    "unusable",
                    &format!("the floor cannot be read, so nothing is delivered: {reason}"),
                );
                return Some(version.version);
            }
            Ok(_) => {}
        }
        let troubled = self.store.error(&self.name).is_some();
        match self.store.deliver(&self.name, Document { version, rotation_id: rotation_id.clone(), data }) {
            Delivery::New => {
                self.count("delivered");
                info!(secret = self.name, version = version.version, created_time = %version.created_time, rotation_id, "delivered");
            }
            Delivery::Unchanged => {
                self.count("unchanged");
                if troubled {
                    info!(secret = self.name, version = version.version, "confirmed again");
                }
            }
            Delivery::Older => {
                let held = self.store.get(&self.name, None).map_or(version, |held| held.version);
                self.refuse("older", &self.too_old(version, held, "is in use"));
            }
        }
        Some(version.version)
    }

    fn too_old(&self, found: Version, known: Version, how: &str) -> String {
        let path = self.reader.path(&self.name);
        format!(
            "{path}: Vault holds {found}, which is older than {known} that {how}; was Vault restored? The last good version stays. Write the secret again until its version passes {}",
            known.version
        )
    }

    /// Keeps the last good version, and says why once for each new reason.
    fn refuse(&self, outcome: &'static str, reason: &str) {
        self.count(outcome);
        if self.store.fail(&self.name, reason) {
            error!(secret = self.name, reason, "what Vault holds is not delivered");
        }
    }

    /// Notes the failure, and says it once for each new reason.
    fn failed(&self, failure: &Failure) {
        self.count("failed");
        let reason = failure.to_string();
        self.store.vault_failed(failure.state(), &reason);
        if self.store.fail(&self.name, &reason) {
            warn!(secret = self.name, reason, "Vault cannot be used; what was delivered is served on");
        }
    }

    /// Lets go of the previous version when Vault no longer has it.
    async fn check_previous(&self, previous: Version, token: &secrecy::SecretString) {
        match self.reader.retired(&self.name, previous, token).await {
            Ok(Retired::Yes) => {
                self.store.retire(&self.name, previous);
                info!(secret = self.name, version = previous.version, "retired: wiped");
            }
            Ok(Retired::No) => {}
            // It is asked again at the next look; until then the version stays readable.
            Err(failure @ Failure::Denied { .. }) => {
                if !self.told_of_metadata.swap(true, Ordering::Relaxed) {
                    let path = self.reader.metadata_path(&self.name);
                    warn!(secret = self.name, %failure, "a former version stays readable until the next comes, since whether it is destroyed may not be asked; give the role `read` on {path}");
                }
            }
            Err(failure) => {
                debug!(secret = self.name, %failure, "whether the previous version is retired is not known");
            }
        }
    }

    fn count(&self, outcome: &'static str) {
        self.metrics.fetches.get_or_create(&OfFetch { secret: self.name.clone(), outcome }).inc();
    }

    /// Counts a nudge of this secret.
    pub(crate) fn count_nudge(metrics: &Metrics, secret: &str) {
        metrics.nudges.get_or_create(&OfSecret { secret: secret.to_owned() }).inc();
    }
}
