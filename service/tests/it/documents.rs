//! Secret documents, made as an operator's tools would make them and not by the code under test.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use local_region::pki::Ca;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

pub(crate) const ISSUER: &str = "https://tokens.example";

/// A signing key.
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) pem: String,
    pub(crate) jwk: Value,
}

impl Key {
    pub(crate) fn new() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        let encode = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)});
        let read: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let kid = read.thumbprint(ThumbprintHash::SHA256).unwrap();
        Key { kid, pem: pair.serialize_pem(), jwk }
    }

    pub(crate) fn entry(&self, state: &str) -> Value {
        let mut entry = json!({"state": state, "public_jwk": self.jwk, "since": "2026-01-01T00:00:00Z"});
        if state != "retiring" {
            entry["private_pem"] = json!(self.pem);
        }
        entry
    }
}

pub(crate) fn keyset(keys: &[(&Key, &str)]) -> Value {
    let entries: Map<String, Value> =
        keys.iter().map(|(key, state)| (key.kid.clone(), key.entry(state))).collect();
    json!({"keys": entries})
}

/// The client `probe` with these secrets, each with its end.
pub(crate) fn clients(secrets: &[(&str, Option<jiff::Timestamp>)]) -> Value {
    let hashed: Vec<Value> = secrets
        .iter()
        .map(|(secret, end)| json!({"sha256": sha256(secret), "not_after": end.map(|end| end.to_string())}))
        .collect();
    json!({"clients": {"probe": {"secrets": hashed, "scopes": ["read", "write"]}}})
}

pub(crate) fn sha256(secret: &str) -> String {
    let hash = digest::digest(&digest::SHA256, secret.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn tls(ca: &Ca) -> Value {
    let issued = ca.issue(&["localhost", "127.0.0.1"]).unwrap();
    json!({"certificate_pem": issued.certificate_pem, "private_key_pem": issued.key_pem.expose_secret()})
}

pub(crate) fn config() -> Value {
    json!({"oauth": {"issuer": ISSUER, "audience": "https://api.example", "token_life": "60s", "jwks_max_age": "1s"}})
}
