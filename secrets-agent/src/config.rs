//! What the agent is configured with: a TOML file, then the environment.

mod effective;
mod load;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use load::{Loaded, Refused};

use crate::units::{Size, Time};

/// Where the file is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/meridian/secrets-agent.toml";
/// What each environment variable begins with; `__` separates the parts of a key, as in
/// `AGENT__VAULT__ADDRESS`.
pub const ENVIRONMENT: &str = "AGENT__";

/// The whole configuration.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whom this agent serves.
    #[serde(default)]
    pub pod: Pod,
    /// Where Vault is.
    pub vault: Vault,
    /// How to log in. Exactly one of its tables.
    pub auth: Auth,
    /// What to read.
    #[serde(default)]
    pub kv: Kv,
    /// The Unix socket.
    #[serde(default)]
    pub socket: Socket,
    /// The TCP port.
    #[serde(default)]
    pub admin: Admin,
    /// The lowest versions that may be delivered.
    #[serde(default)]
    pub floor: Floor,
    /// Files for applications that do not speak the socket.
    pub files: Option<Files>,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

/// Whom this agent serves; in Kubernetes set from the downward API.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pod {
    /// The pod's name, as `/v1/status` shows it.
    pub name: String,
    /// The pod's uid. It also seeds the jitter, so that replicas spread.
    pub uid: String,
}

impl Default for Pod {
    fn default() -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Pod { name, uid: uuid::Uuid::new_v4().to_string() }
    }
}

/// Where Vault is and who vouches for it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// Its address, `https://host:port`.
    pub address: String,
    /// The PEM file of the authorities that may vouch for Vault. System roots never do. Read again when
    /// it changes.
    pub ca_file: PathBuf,
    /// A namespace of Vault Enterprise.
    pub namespace: Option<String>,
    /// How long one call may take.
    #[serde(default = "default_timeout")]
    pub timeout: Time,
    /// The longest wait between tries while Vault cannot be used.
    #[serde(default = "default_longest_retry")]
    pub longest_retry: Time,
}

fn default_timeout() -> Time {
    Time(Duration::from_secs(5))
}

fn default_longest_retry() -> Time {
    Time(Duration::from_secs(10))
}

/// How to log in: exactly one of these tables.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Auth {
    /// AppRole, with a secret id from a file or response-wrapped.
    AppRole(AppRole),
    /// A projected service-account token, checked by Vault against its cluster.
    Kubernetes(Jwt),
    /// A signed token, checked by Vault against its issuer's keys.
    Jwt(Jwt),
    /// A token that somebody else keeps in a file.
    Token(TokenFile),
}

/// [`Auth::AppRole`].
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AppRole {
    /// Where the method is mounted.
    #[serde(default = "default_approle_mount")]
    pub mount: String,
    /// The role id, which is no secret.
    pub role_id: Option<String>,
    /// The file that holds the role id instead, read again at each login.
    pub role_id_file: Option<PathBuf>,
    /// The file that holds the secret id, read again at each login.
    pub secret_id_file: Option<PathBuf>,
    /// The file that holds a response-wrapping token of a secret id. Each is used once; another that is put
    /// there is used at the next login.
    pub wrapped_secret_id_file: Option<PathBuf>,
    /// The role's name, from which the path is known at which a wrapped secret id must have been made.
    pub role: Option<String>,
}

fn default_approle_mount() -> String {
    "approle".to_owned()
}

/// [`Auth::Kubernetes`] and [`Auth::Jwt`].
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Where the method is mounted; by default under its own name.
    pub mount: Option<String>,
    /// The role to log in to.
    pub role: String,
    /// The file that holds the token, read again at each login, since it is replaced as it ages.
    pub jwt_file: PathBuf,
}

/// [`Auth::Token`].
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// The file that holds the token, read again when the token is dead.
    pub file: PathBuf,
}

/// What to read.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kv {
    /// The KV v2 mount.
    pub mount: String,
    /// The folder in it.
    pub path: String,
    /// The secrets in that folder.
    pub secrets: Vec<String>,
    /// How often each is read without a nudge.
    pub poll: Time,
    /// The shortest time between two reads of one secret, however many nudges come.
    pub spacing: Time,
    /// The largest document that is taken.
    pub max_size: Size,
}

impl Default for Kv {
    fn default() -> Self {
        Kv {
            mount: "kv".to_owned(),
            path: "service".to_owned(),
            secrets: ["config", "clients", "signing-keys", "tls"].map(str::to_owned).to_vec(),
            poll: Time(Duration::from_secs(300)),
            spacing: Time(Duration::from_millis(100)),
            max_size: Size(1 << 20),
        }
    }
}

/// The Unix socket.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Socket {
    /// Its path. Its mode is 0660.
    pub path: PathBuf,
    /// The uids that may call; the agent's own when empty.
    pub allow_uids: BTreeSet<u32>,
}

impl Default for Socket {
    fn default() -> Self {
        Socket { path: "/run/meridian/agent.sock".into(), allow_uids: BTreeSet::new() }
    }
}

/// The TCP port, which carries no values.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { listen: SocketAddr::from(([0, 0, 0, 0], 9091)) }
    }
}

/// The lowest versions that may be delivered.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// A mounted folder with one file for each secret: `{"version": 7, "created_time": "…"}`.
    pub dir: Option<PathBuf>,
}

/// Files for applications that do not speak the socket.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The folder, of which the agent owns all. It is replaced as a whole at each change.
    pub dir: PathBuf,
    /// Whether the folder must be on a memory-backed filesystem.
    #[serde(default = "yes")]
    pub require_memory: bool,
    /// The most that all files together may hold.
    #[serde(default = "default_files_size")]
    pub max_size: Size,
    /// The files.
    pub file: Vec<OneFile>,
    /// An address on loopback that is called after each change.
    pub notify: Option<String>,
}

fn yes() -> bool {
    true
}

fn default_files_size() -> Size {
    Size(4 << 20)
}

/// One file of [`Files`].
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OneFile {
    /// Its name in the folder.
    pub name: String,
    /// The secret that it shows.
    pub secret: String,
    /// How.
    pub format: FileFormat,
    /// With `raw`: the key of the document whose text is the whole file.
    pub key: Option<String>,
}

/// How a file shows a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// The text of one key.
    Raw,
    /// The whole document.
    Json,
    /// A line `KEY=value` for each key whose value is text, a number or a boolean.
    Dotenv,
}

/// Logging, to standard error.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// One JSON object a line, or text for people.
    pub format: LogFormat,
}

/// A level of logging.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures that need somebody.
    Error,
    /// What is not as it should be.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// Each exchange.
    Debug,
    /// Everything.
    Trace,
}

/// A form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For machines.
    #[default]
    Json,
    /// For people.
    Text,
}
