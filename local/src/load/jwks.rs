//! Verifying tokens as an application would: with a JWKS that is kept as long as its answer allows, and not
//! fetched again before that, not even for a key that it lacks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use tokio::time::Instant;

use super::Target;
use super::tally::lock;

/// So many refusals are kept word for word.
const KEPT: usize = 5;

/// A token, with what its holder can read in it.
#[derive(Debug)]
pub(super) struct Token {
    text: String,
    pub(super) kid: String,
    /// `exp`, in seconds since the epoch.
    pub(super) ends: i64,
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
}

impl Token {
    pub(super) fn read(text: String) -> Option<Self> {
        let kid = decode_header(&text).ok()?.kid?;
        let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
        let Claims { exp: ends } = serde_json::from_slice(&claims).ok()?;
        Some(Token { text, kid, ends })
    }
}

/// An application that takes the JWKS of one target.
#[derive(Debug)]
pub(super) struct Jwks {
    pub(super) target: Arc<Target>,
    issuer: String,
    kept: tokio::sync::Mutex<Option<Kept>>,
}

struct Kept {
    until: Instant,
    keys: Arc<HashMap<String, DecodingKey>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.keys.len())
    }
}

impl Jwks {
    pub(super) fn new(target: Arc<Target>, issuer: &str) -> Self {
        Jwks { target, issuer: issuer.to_owned(), kept: tokio::sync::Mutex::default() }
    }

    /// Verifies a token as of the moment `at`; a refusal says why.
    pub(super) async fn verify(&self, token: &Token, at: Timestamp, leeway: i64) -> Result<(), String> {
        let keys = self.keys().await?;
        let key = keys.get(&token.kid).ok_or_else(|| {
            let known: Vec<&str> = keys.keys().filter_map(|kid| kid.get(..8)).collect();
            format!("the key {} is not among {}", token.kid.get(..8).unwrap_or_default(), known.join(", "))
        })?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.issuer]);
        // The end is looked at below, as of the moment asked for.
        validation.validate_exp = false;
        decode::<Claims>(&token.text, key, &validation).map_err(|error| error.to_string())?;
        let over = at.as_second() - token.ends;
        if over > leeway { Err(format!("it ended {over} s ago")) } else { Ok(()) }
    }

    async fn keys(&self) -> Result<Arc<HashMap<String, DecodingKey>>, String> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = &*kept
            && Instant::now() < kept.until
        {
            return Ok(Arc::clone(&kept.keys));
        }
        let (set, max_age) = self.target.jwks().await?;
        let keys = set
            .keys
            .iter()
            .filter_map(|jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?)));
        let keys = Arc::new(keys.collect::<HashMap<_, _>>());
        let until = Instant::now() + Duration::from_secs(max_age);
        *kept = Some(Kept { until, keys: Arc::clone(&keys) });
        Ok(keys)
    }
}

/// What the verifications came to.
#[derive(Debug, Default)]
pub struct Verdicts {
    verified: AtomicU64,
    apart: AtomicU64,
    unverifiable: AtomicU64,
    refusals: Mutex<Vec<String>>,
}

impl Verdicts {
    /// Verifications that succeeded.
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    /// Those that met a pod which was down on purpose.
    pub fn counted_apart(&self) -> u64 {
        self.apart.load(Ordering::Relaxed)
    }

    /// Verifications that failed.
    pub fn unverifiable_so_far(&self) -> u64 {
        self.unverifiable.load(Ordering::Relaxed)
    }

    /// Some of those, word for word.
    pub fn refusals(&self) -> Vec<String> {
        lock(&self.refusals).clone()
    }

    pub(super) fn count(&self) {
        self.verified.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_apart(&self) {
        self.apart.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unverifiable(&self, name: &str, why: &str) {
        self.unverifiable.fetch_add(1, Ordering::Relaxed);
        let mut refusals = lock(&self.refusals);
        if refusals.len() < KEPT {
            refusals.push(format!("a token of {name}: {why}"));
        }
    }
}
