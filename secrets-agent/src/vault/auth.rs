//! Logging in to Vault.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustify::endpoint::Endpoint;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tracing::info;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use vaultrs::api::auth::oidc::requests::JWTLoginRequest;
use vaultrs::api::sys::requests::{UnwrapRequest, WrappingLookupRequest};
use vaultrs::api::sys::responses::WrappingLookupResponse;
use vaultrs::api::token::requests::LookupTokenSelfRequest;
use zeroize::Zeroizing;

use super::{Denial, Failure, Transport};
use crate::config::{AppRole, Auth, Jwt};

/// A token as a login or a renewal gave it.
#[derive(Debug)]
pub(crate) struct Granted {
    /// The token.
    pub token: SecretString,
    /// How long it lives; zero for one without an end.
    pub life: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// The configured way to log in.
#[derive(Debug)]
pub(crate) struct Login {
    auth: Auth,
    unwrapped: Mutex<Option<Unwrapped>>,
}

/// A secret id that was unwrapped, kept since its wrapping token worked once and never again.
#[derive(Debug)]
struct Unwrapped {
    wrapping: SecretString,
    secret_id: SecretString,
}

/// A file as it was at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(file).ok()?;
        Some(Stamp { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()) })
    }
}

#[derive(Deserialize)]
struct AuthAnswer {
    auth: AuthData,
}

#[derive(Deserialize)]
struct AuthData {
    client_token: SecretString,
    lease_duration: u64,
    renewable: bool,
}

#[derive(Deserialize)]
struct DataAnswer<T> {
    data: T,
}

/// What is needed of a token's own data. vaultrs's type insists on keys that some tokens lack.
#[derive(Deserialize)]
struct TokenData {
    ttl: u64,
    #[serde(default)]
    renewable: Option<bool>,
}

#[derive(Deserialize)]
struct SecretIdData {
    secret_id: SecretString,
}

impl Login {
    /// The way that `auth` names.
    pub(crate) fn new(auth: Auth) -> Self {
        Login { auth, unwrapped: Mutex::default() }
    }

    /// Whether the token is this agent's own, which it may then revoke when it ends.
    pub(crate) fn owns_token(&self) -> bool {
        !matches!(self.auth, Auth::Token(_))
    }

    /// What tells whether somebody put other credentials there, without reading them.
    pub(crate) fn credentials(&self) -> Vec<Option<Stamp>> {
        let files: Vec<&PathBuf> = match &self.auth {
            Auth::AppRole(role) => role
                .role_id_file
                .iter()
                .chain(&role.secret_id_file)
                .chain(&role.wrapped_secret_id_file)
                .collect(),
            Auth::Kubernetes(jwt) | Auth::Jwt(jwt) => vec![&jwt.jwt_file],
            Auth::Token(token) => vec![&token.file],
        };
        files.into_iter().map(|file| Stamp::of(file)).collect()
    }

    /// Logs in.
    ///
    /// # Errors
    /// Credentials that cannot be read, Vault's refusal of them, or no exchange at all.
    pub(crate) async fn log_in(&self, transport: &Transport) -> Result<Granted, Failure> {
        let granted = match &self.auth {
            Auth::AppRole(role) => {
                let role_id = match (&role.role_id, &role.role_id_file) {
                    (Some(role_id), _) => role_id.clone(),
                    (None, Some(file)) => read(file)?.expose_secret().to_owned(),
                    (None, None) => {
                        return Err(Failure::Credentials { reason: "no role id is configured".to_owned() });
                    }
                };
                let secret_id = self.secret_id(role, transport).await?;
                let endpoint = LoginWithApproleRequest {
                    mount: role.mount.clone(),
                    role_id,
                    secret_id: secret_id.expose_secret().to_owned(),
                };
                let hint = "check role_id, and whether the secret id was used up, has ended or was destroyed; after some refusals Vault locks the role out for a while";
                exchange(transport, endpoint, hint).await
            }
            Auth::Kubernetes(jwt) => {
                let endpoint = LoginWithKubernetesRequest {
                    mount: jwt.mount.clone().unwrap_or_else(|| "kubernetes".to_owned()),
                    role: jwt.role.clone(),
                    jwt: read(&jwt.jwt_file)?.expose_secret().to_owned(),
                };
                exchange(transport, endpoint, &hint(jwt)).await
            }
            Auth::Jwt(jwt) => {
                let endpoint = JWTLoginRequest {
                    mount: jwt.mount.clone().unwrap_or_else(|| "jwt".to_owned()),
                    role: Some(jwt.role.clone()),
                    jwt: read(&jwt.jwt_file)?.expose_secret().to_owned(),
                };
                exchange(transport, endpoint, &hint(jwt)).await
            }
            Auth::Token(file) => {
                let token = read(&file.file)?;
                look_up(transport, &token)
                    .await
                    .map(|(life, renewable)| Granted { token, life, renewable })
                    .map_err(|failure| match failure {
                        Failure::Denied { denial: Denial::Permission, .. } => Failure::LoginRefused {
                            reason: format!(
                                "the token in {} is dead, or its policies lack `read` on auth/token/lookup-self; put a living one there",
                                file.file.display()
                            ),
                        },
                        Failure::Denied { denial: Denial::InvalidToken, .. } => Failure::LoginRefused {
                            reason: format!(
                                "the token in {} is dead; put a living one there",
                                file.file.display()
                            ),
                        },
                        other => other,
                    })
            }
        }?;
        Ok(granted)
    }

    async fn secret_id(&self, role: &AppRole, transport: &Transport) -> Result<SecretString, Failure> {
        let (file, name) = match (&role.secret_id_file, &role.wrapped_secret_id_file, &role.role) {
            (Some(file), ..) => return read(file),
            (None, Some(file), Some(name)) => (file, name),
            _ => return Err(Failure::Credentials { reason: "no secret id is configured".to_owned() }),
        };
        let mut unwrapped = self.unwrapped.lock().await;
        let wrapping = match (read(file), &*unwrapped) {
            (Ok(wrapping), Some(held)) if wrapping.expose_secret() == held.wrapping.expose_secret() => {
                return Ok(held.secret_id.clone());
            }
            // Whoever put the wrapping token there may take it away once it was used.
            (Err(_), Some(held)) => return Ok(held.secret_id.clone()),
            (wrapping, _) => wrapping?,
        };
        let expected = format!("auth/{}/role/{name}/secret-id", role.mount);
        let secret_id = unwrap(transport, &wrapping, &expected, file).await?;
        info!(file = %file.display(), "unwrapped the secret id");
        Ok(unwrapped.insert(Unwrapped { wrapping, secret_id }).secret_id.clone())
    }
}

fn hint(jwt: &Jwt) -> String {
    format!(
        "check the role {} and the token in {}: its audience, its subject, its end",
        jwt.role,
        jwt.jwt_file.display()
    )
}

/// Unwraps a secret id after checking where it was made: a token that was swapped for another would
/// otherwise give somebody else's secret id.
async fn unwrap(
    transport: &Transport,
    wrapping: &SecretString,
    expected: &str,
    file: &Path,
) -> Result<SecretString, Failure> {
    let file = file.display();
    let used = |failure| match failure {
        Failure::Refused { status: 400, .. }
        | Failure::Denied { denial: Denial::Permission | Denial::InvalidToken, .. } => {
            Failure::LoginRefused {
                reason: format!(
                    "the wrapping token in {file} was used already, has ended, or is none. If this agent did not use it, somebody else has its secret id: destroy that, and put a new wrapping token there"
                ),
            }
        }
        other => other,
    };
    let lookup = WrappingLookupRequest { token: wrapping.expose_secret().to_owned() };
    let answer = transport.call(lookup, None).await.map_err(used)?;
    let made: DataAnswer<WrappingLookupResponse> = parse("look up the wrapping token", &answer.body)?;
    if made.data.creation_path != expected {
        let found = made.data.creation_path;
        let reason = format!(
            "the wrapping token in {file} was made at {found}, not at {expected}: it is not the one that was meant for this agent, and was not used"
        );
        return Err(Failure::LoginRefused { reason });
    }
    let answer = transport.call(UnwrapRequest { token: None }, Some(wrapping)).await.map_err(used)?;
    let data: DataAnswer<SecretIdData> = parse("unwrap the secret id", &answer.body)?;
    Ok(data.data.secret_id)
}

/// Makes a login call; a refusal becomes one of the login, with where to look.
async fn exchange(transport: &Transport, endpoint: impl Endpoint, hint: &str) -> Result<Granted, Failure> {
    let answer = transport.call(endpoint, None).await.map_err(|failure| match failure {
        Failure::Refused { said, .. } => Failure::LoginRefused { reason: format!("{said}; {hint}") },
        Failure::Denied { denial: Denial::Permission | Denial::InvalidToken, .. } => {
            Failure::LoginRefused { reason: format!("permission denied; {hint}") }
        }
        other => other,
    })?;
    if answer.status == http::StatusCode::NOT_FOUND {
        return Err(Failure::LoginRefused {
            reason: "no auth method is mounted there; check auth's mount".to_owned(),
        });
    }
    granted("log in", &answer.body)
}

/// Reads the token out of the answer of a login or a renewal.
///
/// # Errors
/// It is no such answer.
pub(super) fn granted(call: &str, body: &[u8]) -> Result<Granted, Failure> {
    let AuthAnswer { auth } = parse(call, body)?;
    let life = Duration::from_secs(auth.lease_duration);
    Ok(Granted { token: auth.client_token, life, renewable: auth.renewable })
}

/// How long a token lives and whether it can be renewed.
///
/// # Errors
/// [`Failure::Denied`], which tells a dead token from one that may not ask.
pub(super) async fn look_up(
    transport: &Transport,
    token: &SecretString,
) -> Result<(Duration, bool), Failure> {
    let answer = transport.call(LookupTokenSelfRequest {}, Some(token)).await?;
    let DataAnswer::<TokenData> { data } = parse("look up the token", &answer.body)?;
    Ok((Duration::from_secs(data.ttl), data.renewable.unwrap_or(false)))
}

fn parse<'a, T: Deserialize<'a>>(call: &str, body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::Garbage {
        call: call.to_owned(),
        reason: format!("it cannot be read at line {}, column {}", error.line(), error.column()),
    })
}

/// Reads a credential from its file, without the line end that editors leave.
fn read(file: &Path) -> Result<SecretString, Failure> {
    let unfit = |reason: String| Failure::Credentials { reason: format!("{}: {reason}", file.display()) };
    let content = Zeroizing::new(std::fs::read(file).map_err(|error| unfit(error.to_string()))?);
    let text = std::str::from_utf8(&content).map_err(|_| unfit("it is no text".to_owned()))?.trim();
    if text.is_empty() || text.len() > 64 << 10 || text.contains(char::is_whitespace) {
        return Err(unfit("expected one credential and nothing else".to_owned()));
    }
    Ok(text.to_owned().into())
}
