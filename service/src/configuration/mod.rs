//! Configuration: defaults, then a TOML file, then variables of the environment, then the document
//! `config` that the agent delivers.
//!
//! A variable is named `SERVICE__` and the key, its parts separated by `__`: `SERVICE__PUBLIC__LISTEN`.
//! Everything is read once at the start, but for `[oauth]` and `log.level`, which the document may
//! change at any time, within the ceilings of the start. Unknown keys are errors, and every error is told.

mod dynamic;
mod layers;
mod raw;
pub(crate) mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrets_agent_client::{AgentProvider, ConfigurationError, Delivered};
use serde::{Deserialize, Serialize};

pub use dynamic::{Ceilings, Dynamic, Oauth};

#[cfg(any(test, feature = "faults"))]
use crate::http::faults::Faults;
use layers::Layers;
use raw::Raw;

/// The checked configuration of a process.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Who this process is.
    pub identity: Identity,
    /// Where the public interface listens: TLS with an agent, plain HTTP on loopback without.
    pub public: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are served, over plain HTTP.
    pub admin: SocketAddr,
    /// The agent's Unix socket. `None` is the development mode.
    pub agent: Option<PathBuf>,
    /// The folder that says whether the region takes traffic. `None`: it always does.
    pub traffic: Option<PathBuf>,
    /// Bounds of the public interface.
    pub http: Http,
    /// The most that the document `config` may set.
    pub ceilings: Ceilings,
    /// How long an end in order takes.
    pub shutdown: Shutdown,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is played on purpose.
    #[cfg(any(test, feature = "faults"))]
    pub(crate) faults: Faults,
    layers: Layers,
}

/// Who this process is: what `/v1/region` answers.
#[derive(Debug, Clone, Serialize)]
pub struct Identity {
    /// The environment, such as `production`.
    pub environment: String,
    /// The region's name in the catalogue.
    pub region: String,
    /// The zone of the node, where it is known.
    pub zone: Option<String>,
    /// The pod's name.
    pub pod: String,
    /// The digest of the release.
    pub release: String,
}

/// Bounds of the public interface.
#[derive(Debug, Clone, Copy)]
pub struct Http {
    /// From the connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request, or the opening of its connection, to the end of its header.
    pub header_timeout: Duration,
    /// How long a connection stays open between two requests.
    pub idle_timeout: Duration,
    /// From the end of the header to the end of the body.
    pub body_timeout: Duration,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// Connections beyond this many are closed at once.
    pub max_connections: usize,
}

/// How long an end in order takes.
#[derive(Debug, Clone, Copy)]
pub struct Shutdown {
    /// New connections are served for so long after SIGTERM, until no load balancer sends any.
    pub accept_for: Duration,
    /// Then every answer closes its connection, for so long at most.
    pub drain_for: Duration,
}

/// The least severity that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures of the service itself.
    Error,
    /// What an operator should look at.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// One line for each request.
    Debug,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Configuration {
    /// Reads the file, if one is named, and the environment.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn read(file: Option<&Path>) -> Result<Self, Vec<ConfigurationError>> {
        Self::check(Layers::read(file)?)
    }

    /// The part that may change, as the layers of the start have it.
    ///
    /// # Errors
    /// Everything that is wrong; `oauth.issuer` may be missing here and come with the document.
    pub fn dynamic(&self) -> Result<Dynamic, Vec<ConfigurationError>> {
        dynamic::check(&self.layers, &self.ceilings, self.local_issuer().as_deref())
    }

    /// The part that may change, with the document `config` over the layers of the start.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place: the document's path and version, the file, or
    /// the variable.
    pub fn dynamic_with(&self, document: &Delivered) -> Result<Dynamic, Vec<ConfigurationError>> {
        let layers = self.layers.with(&AgentProvider::new(document))?;
        dynamic::refuse_static_keys(&layers)?;
        dynamic::check(&layers, &self.ceilings, self.local_issuer().as_deref())
    }

    /// Without an agent, the issuer is wherever the process listens.
    fn local_issuer(&self) -> Option<String> {
        self.agent.is_none().then(|| format!("http://{}", self.public))
    }

    fn check(layers: Layers) -> Result<Self, Vec<ConfigurationError>> {
        let mut errors = Vec::new();
        let Some(raw) = layers.extract::<Raw>(&mut errors) else { return Err(errors) };
        let mut refuse = |key: &str, message: &str| errors.push(layers.error(key, message.to_owned()));

        let agent = raw.agent.socket;
        if agent.as_ref().is_some_and(|socket| !socket.is_absolute()) {
            refuse("agent.socket", "expected an absolute path such as /run/meridian/agent.sock");
        }
        let listen = |address: raw::Address, port, development| {
            let anywhere = SocketAddr::from(([0, 0, 0, 0], port));
            let here = SocketAddr::from(([127, 0, 0, 1], development));
            address.listen.map_or(if agent.is_some() { anywhere } else { here }, |listen| listen.0)
        };
        let (public, admin) = (listen(raw.public, 8443, 8080), listen(raw.admin, 9090, 9090));
        if agent.is_none() && !public.ip().is_loopback() {
            refuse(
                "public.listen",
                "without agent.socket there is no certificate, so only a loopback address is served",
            );
        }
        if public == admin && public.port() != 0 {
            refuse("admin.listen", "is the same as public.listen");
        }
        let identity = identity(raw.identity, agent.is_some(), &mut refuse);
        for (key, span) in [
            ("http.handshake_timeout", raw.http.handshake_timeout),
            ("http.header_timeout", raw.http.header_timeout),
            ("http.idle_timeout", raw.http.idle_timeout),
            ("http.body_timeout", raw.http.body_timeout),
            ("ceilings.token_life", raw.ceilings.token_life),
            ("ceilings.jwks_max_age", raw.ceilings.jwks_max_age),
        ] {
            if span.0.is_zero() {
                refuse(key, "expected more than zero");
            }
        }
        if !(64..=1 << 20).contains(&raw.http.body_limit.0) {
            refuse("http.body_limit", "expected 64 to 1048576 bytes");
        }
        if raw.http.max_connections.0 == 0 {
            refuse("http.max_connections", "expected at least 1");
        }
        for (key, span) in [("accept_for", raw.shutdown.accept_for), ("drain_for", raw.shutdown.drain_for)] {
            if span.0 > Duration::from_secs(600) {
                refuse(&format!("shutdown.{key}"), "expected at most 10m");
            }
        }
        let configuration = Configuration {
            identity,
            public,
            admin,
            agent,
            traffic: raw.traffic.dir,
            http: Http {
                handshake_timeout: raw.http.handshake_timeout.0,
                header_timeout: raw.http.header_timeout.0,
                idle_timeout: raw.http.idle_timeout.0,
                body_timeout: raw.http.body_timeout.0,
                body_limit: usize::try_from(raw.http.body_limit.0).unwrap_or(usize::MAX),
                max_connections: usize::try_from(raw.http.max_connections.0).unwrap_or(usize::MAX),
            },
            ceilings: raw.ceilings.into(),
            shutdown: Shutdown { accept_for: raw.shutdown.accept_for.0, drain_for: raw.shutdown.drain_for.0 },
            log_format: raw.log.format,
            #[cfg(any(test, feature = "faults"))]
            faults: raw.faults,
            layers,
        };
        // What the document will lie over is checked now, while somebody is looking.
        for error in configuration.dynamic().err().into_iter().flatten() {
            if !dynamic::awaits_document(&error) && !errors.contains(&error) {
                errors.push(error);
            }
        }
        if errors.is_empty() { Ok(configuration) } else { Err(errors) }
    }
}

fn identity(raw: raw::Identity, required: bool, refuse: &mut impl FnMut(&str, &str)) -> Identity {
    let mut name = |key: &str, given: Option<values::Text>, development: &str| {
        if given.is_none() && required {
            refuse(&format!("identity.{key}"), "is missing; it is required with agent.socket");
        }
        given.map_or_else(|| development.to_owned(), |text| text.0)
    };
    Identity {
        environment: name("environment", raw.environment, "development"),
        region: name("region", raw.region, "local"),
        zone: raw.zone.and_then(|zone| zone.0),
        pod: name("pod", raw.pod, "local"),
        release: name("release", raw.release, "unreleased"),
    }
}

#[cfg(test)]
mod tests;
