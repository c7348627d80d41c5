//! The JSON that the agent speaks, on its Unix socket and on its TCP port.
//!
//! No type here holds a secret value, but for the body of `GET /v1/secrets/{name}`, which the agent
//! writes and [`AgentClient::get`](crate::AgentClient::get) reads without passing through one of them.
//! Times are RFC 3339; what is absent is `null`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Version;

/// `GET /v1/secrets`: what the agent holds, without values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretList {
    /// One entry for each configured secret, in the order of the agent's configuration.
    pub secrets: Vec<SecretSummary>,
}

/// One secret in [`SecretList`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSummary {
    /// The secret's name, the last part of its path in Vault.
    pub name: String,
    /// Whether it can be served, and how sure the agent is of it.
    pub state: SecretState,
    /// The current version's number.
    pub version: Option<u64>,
    /// When Vault wrote the current version.
    pub created_time: Option<Timestamp>,
    /// The rotation that wrote the current version; `null` when it was written by hand.
    pub rotation_id: Option<String>,
    /// The version before, while it stays readable.
    pub previous: Option<Version>,
    /// Seconds since Vault last confirmed the current version.
    pub age_s: Option<u64>,
    /// Why the secret is not fresh.
    pub error: Option<String>,
}

/// Whether a secret can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretState {
    /// Vault confirmed it at the last attempt.
    Fresh,
    /// The last good version is served; the last attempt failed, and `error` says why.
    Stale,
    /// No version was ever delivered.
    Missing,
}

/// An event of `GET /v1/watch`: a version was delivered and can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The secret's name.
    pub name: String,
    /// Its KV v2 version number.
    pub version: u64,
    /// When Vault wrote that version.
    pub created_time: Timestamp,
    /// The rotation that wrote it; `null` when it was written by hand.
    pub rotation_id: Option<String>,
}

impl Change {
    /// The identity of the version that was delivered.
    pub fn version(&self) -> Version {
        Version { version: self.version, created_time: self.created_time }
    }
}

/// The body of `PUT /v1/secrets/{name}/adopted`: this instance now uses this version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopted {
    /// The version's number.
    pub version: u64,
    /// When Vault wrote it.
    pub created_time: Timestamp,
    /// The instance of the application, a UUID per process start, whose watch stream is open.
    pub instance: Uuid,
}

impl Adopted {
    /// The identity of the version that is in use.
    pub fn version(&self) -> Version {
        Version { version: self.version, created_time: self.created_time }
    }
}

/// The body of `POST /v1/nudge`: a hint that a secret changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nudge {
    /// The secret's name.
    pub name: String,
    /// The version that the sender saw in Vault, if it knows.
    #[serde(default)]
    pub version: Option<u64>,
}

/// `GET /v1/status`, on the TCP port: who uses what. No values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// When this agent process started.
    pub agent_start: Timestamp,
    /// The instances of the application whose watch stream is open.
    pub instances: Vec<Instance>,
    /// How the agent stands with Vault.
    pub vault: VaultStatus,
    /// One entry for each configured secret, in the order of the agent's configuration.
    pub secrets: Vec<SecretStatus>,
}

/// An instance of the application: one start of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its UUID.
    pub id: Uuid,
    /// When its watch stream was opened.
    pub start: Timestamp,
}

/// How the agent stands with Vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultStatus {
    /// The outcome of the last exchange.
    pub state: VaultState,
    /// When Vault last answered as it should.
    pub last_contact: Option<Timestamp>,
    /// Why `state` is not `ok`.
    pub error: Option<String>,
}

/// The outcome of the agent's last exchange with Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VaultState {
    /// Nothing was tried yet.
    Unknown,
    /// Vault answered as it should.
    Ok,
    /// Vault could not be reached, or did not answer in time.
    Unreachable,
    /// Vault's certificate could not be verified with the configured CA.
    Untrusted,
    /// Vault is sealed, not initialised, or a standby without a leader.
    Unavailable,
    /// Vault, or a proxy before it, asked for fewer requests (429).
    Throttled,
    /// The token may not read what it is asked to read; it is alive.
    Denied,
    /// No token could be had: Vault refused the login.
    LoginRefused,
    /// Vault failed (5xx), or answered what is no Vault answer.
    Faulty,
}

/// One secret in [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretStatus {
    /// The secret's name.
    pub name: String,
    /// The delivered version's number.
    pub version: Option<u64>,
    /// When Vault wrote it.
    pub created_time: Option<Timestamp>,
    /// The rotation that wrote it; `null` when it was written by hand.
    pub rotation_id: Option<String>,
    /// When the agent delivered it to the application.
    pub delivered: Option<Timestamp>,
    /// What each instance said that it uses.
    pub adopted: Vec<Adopted>,
    /// Seconds since Vault last confirmed it.
    pub age_s: Option<u64>,
    /// Why it is not fresh.
    pub error: Option<String>,
}

/// An error answer of either interface (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What went wrong, in few words.
    pub title: String,
    /// What it was about, and what to do next.
    pub detail: String,
}
