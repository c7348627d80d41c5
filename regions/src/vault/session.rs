//! A program that runs on and on with an identity of its own: it logs in, renews its token while that lives, and logs
//! in again when it has ended. It never gives up, and never storms a Vault that says no.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustify::enums::RequestMethod;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use zeroize::Zeroize as _;

use super::client::{Authorities, Vault, credential};
use super::error::VaultError;
use crate::wipe::wipe;

/// Between two tries: doubled after each that failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What a program is told whom its Vault denies something.
const DENIED: &str = "see what its role and policy allow (regions vault apply)";

/// How a program logs in.
#[derive(Debug, Clone)]
pub enum Login {
    /// By the projected token of a ServiceAccount, or another JWT. The file is read at each login.
    Jwt {
        /// Where the auth method is mounted, such as `kubernetes`.
        mount: String,
        /// The role.
        role: String,
        /// The JWT's file.
        file: PathBuf,
    },
    /// By AppRole. Both files are read at each login.
    AppRole {
        /// File with the role id.
        role_id: PathBuf,
        /// File with the secret id.
        secret_id: PathBuf,
    },
    /// By a token that somebody else keeps in a file.
    Token {
        /// The file.
        file: PathBuf,
    },
}

/// Where the Vault is and as whom it is called.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its address.
    pub address: String,
    /// The authorities that vouch for it; read at each login.
    pub ca_file: PathBuf,
    /// How to log in.
    pub login: Login,
}

/// Why there is no living token.
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    /// The first login is still to come.
    #[error("it has not logged in yet")]
    NotYet,
    /// The last login failed.
    #[error(transparent)]
    Refused(#[from] VaultError),
}

/// A Vault with a living token, as far as is known.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    now: Mutex<Result<Arc<Vault>, Arc<NoToken>>>,
    /// Told when a token turned out to be dead.
    dead: watch::Sender<u64>,
}

impl Session {
    /// A session that has not begun.
    pub fn new(settings: Settings) -> Self {
        let now = Mutex::new(Err(Arc::new(NoToken::NotYet)));
        Self { settings, now, dead: watch::channel(0).0 }
    }

    /// The Vault.
    ///
    /// # Errors
    /// Why there is no living token.
    pub fn vault(&self) -> Result<Arc<Vault>, Arc<NoToken>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that a token was refused: it is asked for anew.
    pub fn refused(&self) {
        self.dead.send_modify(|count| *count += 1);
    }

    /// Keeps the session, for as long as the program runs.
    pub async fn keep(&self) {
        let mut dead = self.dead.subscribe();
        let mut pause = RETRY.0;
        loop {
            dead.borrow_and_update();
            match self.log_in().await {
                Ok((vault, life)) => {
                    let vault = Arc::new(vault);
                    self.set(Ok(Arc::clone(&vault)));
                    let began = Instant::now();
                    tokio::select! {
                        () = renewed(&vault, life) => {}
                        _ = dead.changed() => {}
                    }
                    // One that is refused at once is asked for no faster than one that cannot be had.
                    if began.elapsed() > RETRY.1 {
                        pause = RETRY.0;
                    }
                }
                Err(error) => self.set(Err(Arc::new(error.into()))),
            }
            sleep(pause.mul_f64(jitter())).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// Gives the token back.
    pub async fn end(&self) {
        if let Ok(vault) = self.vault()
            && !matches!(self.settings.login, Login::Token { .. })
        {
            vault.log_out().await;
        }
    }

    fn set(&self, now: Result<Arc<Vault>, Arc<NoToken>>) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    async fn log_in(&self) -> Result<(Vault, Option<Duration>), VaultError> {
        let Settings { address, ca_file, login } = &self.settings;
        let authorities = Authorities::read(ca_file)?;
        let mut vault = Vault::new(address, None, &authorities, DENIED)?;
        let (path, mut body) = match login {
            Login::Token { file } => {
                vault.set_token(&credential(file)?);
                return Ok((vault, None));
            }
            Login::Jwt { mount, role, file } => {
                (format!("auth/{mount}/login"), json!({"role": role, "jwt": credential(file)?.as_str()}))
            }
            Login::AppRole { role_id, secret_id } => (
                "auth/approle/login".to_owned(),
                json!({"role_id": credential(role_id)?.as_str(), "secret_id": credential(secret_id)?.as_str()}),
            ),
        };
        let answer = vault.write(RequestMethod::POST, &path, &body).await;
        wipe(&mut body);
        let mut answer = answer?;
        let lacks = || VaultError::lacks(&format!("POST {path}"), address, "token");
        let mut token = answer["auth"]["client_token"].as_str().map(str::to_owned).ok_or_else(lacks)?;
        vault.set_token(&token);
        token.zeroize();
        let life = life(&answer);
        wipe(&mut answer);
        Ok((vault, life))
    }
}

/// How long a token lives; nothing where it has no end, or cannot be renewed.
fn life(answer: &Value) -> Option<Duration> {
    let seconds = answer["auth"]["lease_duration"].as_u64().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}

/// Renews a token for as long as that can be done.
async fn renewed(vault: &Vault, life: Option<Duration>) {
    let Some(life) = life else { return std::future::pending().await };
    let mut end = Instant::now() + life;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left < life.mul_f64(0.05) {
            return;
        }
        sleep(left.mul_f64(0.6)).await;
        if let Ok(Some(renewed)) = vault.renew().await {
            // Towards the end of what a token may live in all it is renewed for less and less.
            end = Instant::now() + renewed;
        }
    }
}

/// Between a half and one, so that many do not come at the same moment.
fn jitter() -> f64 {
    0.5 + fastrand::f64() / 2.0
}
