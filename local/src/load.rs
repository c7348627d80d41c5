//! An open-loop load: requests are due at fixed moments, whatever became of those before.
//!
//! Latency counts from the moment at which a request was due, so that a service that stalls cannot hide it
//! by slowing its clients down. Nothing is repeated.

mod connections;
mod jwks;
mod tally;
mod target;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub use jwks::Verdicts;
pub use tally::{Apart, Figures, Kind, Latency, Tally};
pub use target::{Target, token_request};

use jwks::{Jwks, Token};

/// A request whose answer comes later than this after it was due has failed, where nothing else is said.
pub const LATE: Duration = Duration::from_secs(1);
/// How far beyond its end a token is still taken: the leeway of the configuration.
const LEEWAY: i64 = 1;
/// A token is verified a second time so long after its end, within the leeway.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// A token as it was issued.
#[derive(Debug, Clone)]
pub struct Issue {
    /// The index of the target that issued it.
    pub target: usize,
    /// Before the request was sent.
    pub sent: Timestamp,
    /// After its answer was read.
    pub received: Timestamp,
    /// The key that signed it.
    pub kid: String,
    /// How long it lives, as the answer says.
    pub life: u64,
}

/// The load on all targets.
#[derive(Debug)]
pub struct Load {
    /// Who is asked.
    pub targets: Vec<Arc<Target>>,
    /// What became of the tokens.
    pub verdicts: Verdicts,
    jwks: Vec<Jwks>,
    secret: RwLock<SecretString>,
    issues: Mutex<Vec<Issue>>,
    due: AtomicU64,
}

impl Load {
    /// A load that asks for tokens of `issuer` with this secret.
    pub fn new(targets: Vec<Target>, issuer: &str, secret: SecretString) -> Arc<Self> {
        let targets: Vec<Arc<Target>> = targets.into_iter().map(Arc::new).collect();
        Arc::new(Load {
            jwks: targets.iter().map(|target| Jwks::new(Arc::clone(target), issuer)).collect(),
            targets,
            verdicts: Verdicts::default(),
            secret: RwLock::new(secret),
            issues: Mutex::default(),
            due: AtomicU64::new(0),
        })
    }

    /// Asks for tokens with this secret from now on.
    pub fn use_secret(&self, secret: SecretString) {
        *self.secret.write().unwrap_or_else(PoisonError::into_inner) = secret;
    }

    /// The secret that is in use.
    pub fn secret(&self) -> SecretString {
        self.secret.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests have come due.
    pub fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// Every token issued so far.
    pub fn issues(&self) -> Vec<Issue> {
        tally::lock(&self.issues).clone()
    }

    /// Sends `rate` requests a second until `stop` says so, and then waits for what is under way, and for
    /// the last tokens to be verified a second time.
    pub async fn run(self: Arc<Self>, rate: u32, mut stop: watch::Receiver<bool>) {
        let started = Instant::now();
        let gap = Duration::from_secs(1) / rate;
        let mut tasks = JoinSet::new();
        for number in 0_u32.. {
            let due = started + gap * number;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep_until(due) => {}
            }
            self.due.fetch_add(1, Ordering::Relaxed);
            tasks.spawn(Arc::clone(&self).one(number as usize, due));
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
    }

    /// The request of one moment: to the targets in turn, three for the region and then two for a token.
    async fn one(self: Arc<Self>, number: usize, due: Instant) {
        let target = number % self.targets.len();
        match number / self.targets.len() % 5 {
            0..3 => self.targets[target].region(due).await,
            _ => self.token(target, due).await,
        }
    }

    async fn token(self: Arc<Self>, target: usize, due: Instant) {
        let secret = self.secret();
        let sent = Timestamp::now();
        let Some((token, life)) = self.targets[target].token(&secret, due).await else { return };
        let received = Timestamp::now();
        let Some(token) = Token::read(token) else {
            self.verdicts.unverifiable(
                &self.targets[target].name,
                "the token has no header and claims that can be read",
            );
            return;
        };
        tally::lock(&self.issues).push(Issue { target, sent, received, kid: token.kid.clone(), life });
        // At once, and again when it is about to be taken no more.
        self.verify(target, &token, Timestamp::now()).await;
        let end = Timestamp::from_second(token.ends).unwrap_or(received);
        let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
        sleep_until(Instant::now() + left + SECOND_LOOK).await;
        // A late timer of this program must not turn a good token into a bad one.
        self.verify(target, &token, end).await;
    }

    /// Verifies with the JWKS of a target of another region, as an application there would; of the same where there
    /// is one region alone.
    async fn verify(&self, target: usize, token: &Token, at: Timestamp) {
        let Target { name, region, .. } = &*self.targets[target];
        let alone = self.jwks.iter().all(|jwks| jwks.target.region == *region);
        let other = |jwks: &&Jwks| (alone || jwks.target.region != *region) && !jwks.target.is_apart();
        let others: Vec<&Jwks> = self.jwks.iter().filter(other).collect();
        let Some(verifier) = others.get(self.verdicts.verified() as usize % others.len().max(1)) else {
            return self.verdicts.unverifiable(name, "nobody of another region is there to ask for its JWKS");
        };
        match verifier.verify(token, at, LEEWAY).await {
            Ok(()) => self.verdicts.count(),
            // The JWKS was asked of a pod that was being killed; that request is counted apart.
            Err(_) if verifier.target.is_apart() => self.verdicts.count_apart(),
            Err(why) => {
                self.verdicts
                    .unverifiable(name, &format!("with the JWKS of {}: {why}", verifier.target.name));
            }
        }
    }
}
