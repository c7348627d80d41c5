//! The one token that the agent holds: had when it is needed, renewed while it lives, had again only when
//! it is really dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use tracing::{info, warn};
use vaultrs::api::token::requests::{RenewTokenSelfRequest, RevokeTokenSelfRequest};

use super::auth::{Granted, Stamp, granted, look_up};
use super::{Denial, Failure, Login, Transport};
use crate::jitter::Jitter;
use crate::metrics::Metrics;
use crate::schedule;

/// How long the last call at the agent's own end may take.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often is looked whether somebody put other credentials there, while logins fail.
const LOOK_FOR_CREDENTIALS: Duration = Duration::from_millis(500);

/// The keeper of the agent's token.
#[derive(Debug)]
pub(crate) struct Tokens {
    transport: Arc<Transport>,
    login: Login,
    longest_retry: Duration,
    jitter: Jitter,
    metrics: Arc<Metrics>,
    held: Mutex<Held>,
    changed: Notify,
    last_id: AtomicU64,
}

#[derive(Debug, Default)]
struct Held {
    token: Option<Token>,
    /// The last token was let go without proof that it was dead.
    doubted: bool,
    /// The role's tokens may not look themselves up, so that a plain 403 never says that one is dead.
    mute: bool,
    failed: Option<FailedLogin>,
}

/// While logins fail: what the last one came to.
#[derive(Debug)]
struct FailedLogin {
    /// How often in a row.
    times: u32,
    why: Failure,
    /// No other is tried before, unless other credentials are there.
    until: Instant,
    credentials: Vec<Option<Stamp>>,
}

/// A token that was alive when it was handed out.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    id: u64,
    secret: SecretString,
    /// When this life of it began, by its login or its last renewal.
    since: Instant,
    ends: Option<Instant>,
    renewable: bool,
}

impl Token {
    /// What goes with a request.
    pub(crate) fn secret(&self) -> &SecretString {
        &self.secret
    }

    fn remaining(&self) -> Duration {
        self.ends.map(|end| end.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    fn has_ended(&self) -> bool {
        self.ends.is_some_and(|end| end <= Instant::now())
    }
}

impl Tokens {
    /// A keeper that holds nothing yet.
    pub(crate) fn new(
        transport: Arc<Transport>,
        login: Login,
        longest_retry: Duration,
        jitter: Jitter,
        metrics: Arc<Metrics>,
    ) -> Self {
        Tokens {
            transport,
            login,
            longest_retry,
            jitter,
            metrics,
            held: Mutex::default(),
            changed: Notify::new(),
            last_id: AtomicU64::new(0),
        }
    }

    /// The token, logging in if there is none that lives. However many ask at once, one login is made; and
    /// while logins fail, the next is made only when its wait is over.
    ///
    /// # Errors
    /// Why there is no token. [`Tokens::wait`] comes back when it is worth to ask again.
    pub(crate) async fn get(&self) -> Result<Token, Failure> {
        let mut held = self.held.lock().await;
        if let Some(token) = held.token.as_ref().filter(|token| !token.has_ended()) {
            return Ok(token.clone());
        }
        held.token = None;
        if let Some(failed) = &held.failed
            && !self.may_try_again(failed)
        {
            return Err(failed.why.clone());
        }
        let asked = Instant::now();
        let credentials = self.login.credentials();
        match self.login.log_in(&self.transport).await {
            Ok(granted) => {
                self.metrics.logins.inc();
                held.failed = None;
                let ends = (!granted.life.is_zero()).then(|| asked + granted.life);
                let id = self.last_id.fetch_add(1, Ordering::Relaxed);
                let Granted { token: secret, life, renewable } = granted;
                let token = Token { id, secret, since: asked, ends, renewable };
                info!(life_s = life.as_secs(), renewable, "logged in to Vault");
                if std::mem::take(&mut held.doubted) {
                    held.mute = self.may_not_look_up(&token).await;
                }
                held.token = Some(token.clone());
                self.changed.notify_one();
                Ok(token)
            }
            Err(failure) => {
                self.metrics.login_failures.inc();
                let times = held.failed.as_ref().map_or(1, |failed| failed.times.saturating_add(1));
                let (longest, draw) = (self.longest_retry, self.jitter.draw());
                let wait = match &failure {
                    Failure::LoginRefused { .. } => schedule::refused_login_in(times, longest, draw),
                    other => schedule::retry_in(times, longest, other.retry_after(), draw),
                };
                let until = Instant::now() + wait;
                held.failed = Some(FailedLogin { times, why: failure.clone(), until, credentials });
                Err(failure)
            }
        }
    }

    /// Waits until another login may be tried.
    pub(crate) async fn wait(&self) {
        loop {
            let left = match &self.held.lock().await.failed {
                Some(failed) if !self.may_try_again(failed) => {
                    failed.until.saturating_duration_since(Instant::now())
                }
                _ => return,
            };
            tokio::time::sleep(left.min(LOOK_FOR_CREDENTIALS)).await;
        }
    }

    /// Other credentials are worth a try at once, but not against Vault's wish to be left alone.
    fn may_try_again(&self, failed: &FailedLogin) -> bool {
        failed.until <= Instant::now()
            || (failed.why.retry_after().is_none() && failed.credentials != self.login.credentials())
    }

    /// Called after a 403: finds out whether the token is dead, and lets go of it if so.
    ///
    /// # Errors
    /// It could not be found out; the token is kept.
    pub(crate) async fn is_dead(&self, token: &Token, denial: Denial) -> Result<bool, Failure> {
        if denial == Denial::Permission {
            return match look_up(&self.transport, &token.secret).await {
                Ok(_) => Ok(false),
                Err(Failure::Denied { denial: Denial::InvalidToken, .. }) => {
                    self.let_go(token, false).await;
                    Ok(true)
                }
                // A Vault before 1.17 says this of a dead token; any Vault says it of a living one whose
                // policies lack the lookup. One login finds out which.
                Err(Failure::Denied { denial: Denial::Permission, .. }) => {
                    if self.held.lock().await.mute {
                        return Ok(false);
                    }
                    self.let_go(token, true).await;
                    Ok(true)
                }
                Err(failure) => Err(failure),
            };
        }
        if denial == Denial::InvalidToken {
            self.let_go(token, false).await;
        }
        Ok(denial == Denial::InvalidToken)
    }

    async fn let_go(&self, token: &Token, doubted: bool) {
        let mut held = self.held.lock().await;
        if held.token.as_ref().is_some_and(|current| current.id == token.id) {
            info!(doubted, "the Vault token is dead; logging in again");
            held.token = None;
            held.doubted = doubted;
        }
    }

    /// Whether a token that was just had may not look itself up.
    async fn may_not_look_up(&self, token: &Token) -> bool {
        let denied = matches!(look_up(&self.transport, &token.secret).await, Err(Failure::Denied { denial, .. }) if denial != Denial::NotVault);
        if denied {
            warn!(
                "the role's tokens may not read auth/token/lookup-self, so a revoked one may count as denied until its life is over; give the role the default policy, or `read` on that path"
            );
        }
        denied
    }

    /// Renews the token for as long as the agent runs. One that ended while Vault was away is had again as soon as
    /// Vault is back, since nobody else may ask for long. `told` hears that Vault is away, and that it is back.
    pub(crate) async fn keep(&self, told: impl Fn(Result<(), &Failure>)) {
        let mut failures = 0;
        let mut away = false;
        let mut keep_away = Duration::ZERO;
        loop {
            let token = self.held.lock().await.token.clone();
            let wait = token.as_ref().and_then(|token| {
                let planned = schedule::renew_in(token.remaining(), token.renewable, self.jitter.draw())?;
                // After a failure the wait is short, so that several tries fit into what remains.
                let retry = schedule::retry_in(failures, self.longest_retry, None, self.jitter.draw());
                Some(if failures > 0 { planned.min(retry).max(keep_away) } else { planned })
            });
            let (Some(token), Some(wait)) = (token, wait) else {
                if away {
                    match self.get().await {
                        Ok(_) => {
                            (failures, away) = (0, false);
                            told(Ok(()));
                        }
                        Err(failure) => {
                            told(Err(&failure));
                            self.wait().await;
                        }
                    }
                    continue;
                }
                // Nothing that could be renewed: until a login gives something.
                self.changed.notified().await;
                failures = 0;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {
                    (failures, away) = (0, false);
                    continue;
                }
            }
            match self.renew(&token).await {
                Ok(()) => {
                    failures = 0;
                    if std::mem::take(&mut away) {
                        told(Ok(()));
                    }
                }
                Err(failure) => {
                    failures += 1;
                    keep_away = failure.retry_after().unwrap_or_default();
                    self.metrics.renewal_failures.inc();
                    warn!(%failure, remaining_s = token.remaining().as_secs(), "the Vault token was not renewed");
                    match failure {
                        Failure::Denied { denial: Denial::InvalidToken, .. } => {
                            self.let_go(&token, false).await;
                        }
                        Failure::Denied { denial: Denial::Permission, .. } | Failure::Refused { .. } => {
                            self.no_longer_renewable(&token).await;
                        }
                        failure => {
                            away = true;
                            told(Err(&failure));
                        }
                    }
                }
            }
        }
    }

    async fn renew(&self, token: &Token) -> Result<(), Failure> {
        let asked = Instant::now();
        let answer =
            self.transport.call(RenewTokenSelfRequest { increment: None }, Some(&token.secret)).await?;
        let renewed = granted("renew the token", &answer.body)?;
        self.metrics.renewals.inc();
        let mut held = self.held.lock().await;
        if let Some(current) = held.token.as_mut().filter(|current| current.id == token.id) {
            let ends = asked + renewed.life;
            // Near its maximum a token's end no longer moves on as time does. Renewing it then would only
            // become more and more frequent; it is used to its end, and a login follows.
            let passed = asked.saturating_duration_since(current.since);
            let moved = current.ends.is_none_or(|before| ends > before + passed / 4);
            current.renewable = renewed.renewable && moved;
            current.since = asked;
            current.ends = (!renewed.life.is_zero()).then_some(ends);
        }
        Ok(())
    }

    /// Keeps a token to its end without asking for more of it. If it is dead already, the next 403 shows.
    async fn no_longer_renewable(&self, token: &Token) {
        let mut held = self.held.lock().await;
        if let Some(current) = held.token.as_mut().filter(|current| current.id == token.id) {
            current.renewable = false;
        }
    }

    /// Revokes the token at the agent's end, if it is the agent's own, within half a second.
    pub(crate) async fn revoke(&self) {
        let token = self.held.lock().await.token.take();
        if let Some(token) = token.filter(|token| self.login.owns_token() && !token.has_ended()) {
            let farewell = self.transport.call(RevokeTokenSelfRequest {}, Some(&token.secret));
            match tokio::time::timeout(FAREWELL, farewell).await {
                Ok(Ok(_)) => info!("revoked the Vault token"),
                Ok(Err(_)) | Err(_) => info!("the Vault token was not revoked and ends by itself"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::units::Time;

    /// A keeper whose logins fail before anything is sent, since there is no authority to trust.
    fn tokens(file: std::path::PathBuf) -> Tokens {
        let second = Time(Duration::from_secs(1));
        let vault = config::Vault {
            address: "https://localhost:1".to_owned(),
            ca_file: "/nowhere".into(),
            namespace: None,
            timeout: second,
            longest_retry: second,
        };
        let login = Login::new(config::Auth::Token(config::TokenFile { file }));
        let transport = Arc::new(Transport::new(&vault, 1 << 20));
        Tokens::new(transport, login, second.0, Jitter::new("pod"), Arc::new(Metrics::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_login_is_not_tried_again_before_its_wait_is_over_or_other_credentials_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "one").unwrap();
        let tokens = tokens(file.clone());
        for _ in 0..5 {
            assert!(matches!(tokens.get().await, Err(Failure::Untrusted { .. })));
        }
        assert_eq!(tokens.metrics.login_failures.get(), 1);
        std::fs::write(folder.path().join("next"), "two").unwrap();
        std::fs::rename(folder.path().join("next"), &file).unwrap();
        for _ in 0..5 {
            let _ = tokens.get().await;
        }
        assert_eq!(tokens.metrics.login_failures.get(), 2, "other credentials are tried at once, and once");
        tokens.wait().await;
        let _ = tokens.get().await;
        assert_eq!(tokens.metrics.login_failures.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn other_credentials_do_not_overrule_what_vault_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "one").unwrap();
        let tokens = tokens(file);
        let asked = Duration::from_secs(3);
        let failed = |retry_after| FailedLogin {
            times: 1,
            why: Failure::Throttled { call: "log in".to_owned(), retry_after },
            until: Instant::now() + asked,
            credentials: vec![None],
        };
        assert!(tokens.may_try_again(&failed(None)), "other credentials are there");
        let failed = failed(Some(asked));
        assert!(!tokens.may_try_again(&failed));
        tokio::time::advance(asked).await;
        assert!(tokens.may_try_again(&failed));
    }
}
