//! The part of the configuration that the document `config` may change while the service runs.

use std::time::Duration;

use figment::value::Value;
use secrets_agent_client::ConfigurationError;

use super::LogLevel;
use super::layers::Layers;
use super::raw::{self, Raw};
use super::values::Span;

/// What may change while the service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dynamic {
    /// How tokens are made.
    pub oauth: Oauth,
    /// The least severity that is logged.
    pub log_level: LogLevel,
}

/// How tokens are made and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oauth {
    /// The issuer identifier (RFC 8414 §2): `https://` and a host, without a path. The same in every region.
    pub issuer: String,
    /// Whom the tokens are for; the issuer unless configured.
    pub audience: String,
    /// From a token's issue to its end, in whole seconds.
    pub token_life: Duration,
    /// For how long a client may keep the JWKS, in whole seconds.
    pub jwks_max_age: Duration,
    /// How long after its end a verifier may still take a token.
    pub leeway: Duration,
    /// How far two clocks of the platform may differ.
    pub skew: Duration,
}

/// The most that [`Oauth`] may say. A rotation waits for what they allow, so the service holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Of [`Oauth::token_life`].
    pub token_life: Duration,
    /// Of [`Oauth::jwks_max_age`].
    pub jwks_max_age: Duration,
    /// Of [`Oauth::leeway`].
    pub leeway: Duration,
    /// Of [`Oauth::skew`].
    pub skew: Duration,
}

impl From<raw::Ceilings> for Ceilings {
    fn from(raw: raw::Ceilings) -> Self {
        Ceilings {
            token_life: raw.token_life.0,
            jwks_max_age: raw.jwks_max_age.0,
            leeway: raw.leeway.0,
            skew: raw.skew.0,
        }
    }
}

const TOKEN_LIFE: Duration = Duration::from_secs(10 * 60);
const JWKS_MAX_AGE: Duration = Duration::from_secs(60);
const LEEWAY: Duration = Duration::from_secs(10);
const SKEW: Duration = Duration::from_secs(10);

const ISSUER_MISSING: &str = "is missing; set it in the document kv/service/config, the same in every region";

/// Whether the error is that something is missing which the document is expected to bring.
pub(super) fn awaits_document(error: &ConfigurationError) -> bool {
    error.message == ISSUER_MISSING
}

/// Refuses what a document cannot change, and what nothing knows.
pub(super) fn refuse_static_keys(layers: &Layers) -> Result<(), Vec<ConfigurationError>> {
    const STATIC: [&str; 8] =
        ["admin", "agent", "ceilings", "http", "identity", "public", "shutdown", "traffic"];
    let mut errors = Vec::new();
    let mut refuse = |key: &str| {
        let message = "is read at start only; set it in the file or the environment, and restart";
        errors.push(layers.error(key, message.to_owned()));
    };
    for (section, value) in layers.top() {
        match (section.as_str(), value) {
            (section, Value::Dict(_, values)) if STATIC.contains(&section) => {
                values.keys().for_each(|key| refuse(&format!("{section}.{key}")));
            }
            (section, _) if STATIC.contains(&section) => refuse(section),
            ("log", Value::Dict(_, values)) if values.contains_key("format") => refuse("log.format"),
            _ => {}
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Reads and checks the dynamic part of all layers.
pub(super) fn check(
    layers: &Layers,
    ceilings: &Ceilings,
    local_issuer: Option<&str>,
) -> Result<Dynamic, Vec<ConfigurationError>> {
    let mut errors = Vec::new();
    let Some(Raw { oauth, log, .. }) = layers.extract(&mut errors) else { return Err(errors) };
    let mut refuse = |key: &str, message: String| errors.push(layers.error(key, message));

    let mut bounded = |key: &str, given: Option<Span>, default: Duration, ceiling: Duration| {
        let span = given.map_or(default.min(ceiling), |span| span.0);
        if span > ceiling {
            refuse(&format!("oauth.{key}"), format!("is above the ceiling of {ceiling:?} (ceilings.{key})"));
        }
        span
    };
    let token_life = bounded("token_life", oauth.token_life, TOKEN_LIFE, ceilings.token_life);
    let jwks_max_age = bounded("jwks_max_age", oauth.jwks_max_age, JWKS_MAX_AGE, ceilings.jwks_max_age);
    let leeway = bounded("leeway", oauth.leeway, LEEWAY, ceilings.leeway);
    let skew = bounded("skew", oauth.skew, SKEW, ceilings.skew);
    for (key, span) in [("token_life", token_life), ("jwks_max_age", jwks_max_age)] {
        if span.is_zero() || span.subsec_nanos() != 0 {
            refuse(&format!("oauth.{key}"), "expected whole seconds, at least 1s".to_owned());
        }
    }
    let issuer = match (oauth.issuer, local_issuer) {
        (Some(issuer), _) => issuer.0,
        (None, Some(local)) => local.to_owned(),
        (None, None) => {
            refuse("oauth.issuer", ISSUER_MISSING.to_owned());
            String::new()
        }
    };
    if !issuer.is_empty() && !is_issuer(&issuer, local_issuer.is_some()) {
        let message = "expected https:// and a host, without path, query and fragment (RFC 8414 section 2)";
        refuse("oauth.issuer", message.to_owned());
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let audience = oauth.audience.map_or_else(|| issuer.clone(), |audience| audience.0);
    let oauth = Oauth { issuer, audience, token_life, jwks_max_age, leeway, skew };
    Ok(Dynamic { oauth, log_level: log.level })
}

/// Without an agent, plain HTTP will do: nobody else verifies those tokens.
fn is_issuer(text: &str, development: bool) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let scheme = uri.scheme_str();
    let known = scheme == Some("https") || (development && scheme == Some("http"));
    // A URI without a path reads as one with the path `/`, so the text is looked at.
    let rest = text.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    known && uri.host().is_some_and(|host| !host.is_empty()) && !rest.contains(['/', '?', '#', '@'])
}
