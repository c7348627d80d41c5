//! The configuration as it is written, before its values are checked against each other.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::values::{Known, Listen, Number, Span, Text};
use super::{LogFormat, LogLevel};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) identity: Identity,
    pub(super) public: Address,
    pub(super) admin: Address,
    pub(super) agent: Agent,
    pub(super) traffic: Traffic,
    pub(super) http: Http,
    pub(super) oauth: Oauth,
    pub(super) ceilings: Ceilings,
    pub(super) shutdown: Shutdown,
    pub(super) log: Log,
    #[cfg(any(test, feature = "faults"))]
    pub(super) faults: crate::http::faults::Faults,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) environment: Option<Text>,
    pub(super) region: Option<Text>,
    pub(super) zone: Option<Known>,
    pub(super) pod: Option<Text>,
    pub(super) release: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Address {
    pub(super) listen: Option<Listen>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Agent {
    pub(super) socket: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Traffic {
    pub(super) dir: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Http {
    pub(super) handshake_timeout: Span,
    pub(super) header_timeout: Span,
    pub(super) idle_timeout: Span,
    pub(super) body_timeout: Span,
    pub(super) body_limit: Number,
    pub(super) max_connections: Number,
}

impl Default for Http {
    fn default() -> Self {
        Http {
            handshake_timeout: Span(Duration::from_secs(5)),
            header_timeout: Span(Duration::from_secs(10)),
            // Longer than common clients keep a connection (90 s), so that the client closes it and not we.
            idle_timeout: Span(Duration::from_secs(120)),
            body_timeout: Span(Duration::from_secs(5)),
            body_limit: Number(16 << 10),
            // An idle TLS connection takes 21 kB, so that these fit into 180 MB.
            max_connections: Number(8_000),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Oauth {
    pub(super) issuer: Option<Text>,
    pub(super) audience: Option<Text>,
    pub(super) token_life: Option<Span>,
    pub(super) jwks_max_age: Option<Span>,
    pub(super) leeway: Option<Span>,
    pub(super) skew: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ceilings {
    pub(super) token_life: Span,
    pub(super) jwks_max_age: Span,
    pub(super) leeway: Span,
    pub(super) skew: Span,
}

impl Default for Ceilings {
    fn default() -> Self {
        Ceilings {
            token_life: Span(Duration::from_secs(60 * 60)),
            jwks_max_age: Span(Duration::from_secs(5 * 60)),
            leeway: Span(Duration::from_secs(30)),
            skew: Span(Duration::from_secs(30)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Shutdown {
    pub(super) accept_for: Span,
    pub(super) drain_for: Span,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown { accept_for: Span(Duration::from_secs(8)), drain_for: Span(Duration::from_secs(4)) }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: LogLevel,
    pub(super) format: LogFormat,
}
