//! The documents that a service takes from Vault, as the demo and the benchmark write the first ones. Keys and secrets
//! are made here, in memory.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rcgen::KeyPair;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::pki::{Ca, Issued};

/// No key or secret could be made: the system gave no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("make a key or a secret: the system gave no random numbers")]
pub struct Error;

/// The one issuer of every region.
pub const ISSUER: &str = "https://tokens.meridian.test";
/// The client that the load is.
pub const CLIENT: &str = "probe";

/// A signing key, and how far it is.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// Its RFC 7638 thumbprint.
    pub kid: String,
    /// How far it is.
    pub state: KeyState,
    private_pem: SecretString,
    public_jwk: Value,
    since: Timestamp,
}

/// How far a signing key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It verifies.
    Published,
    /// It signs.
    Active,
    /// It verifies what it signed until that has ended.
    Retiring,
}

impl SigningKey {
    /// A new P-256 key under its RFC 7638 thumbprint.
    ///
    /// # Errors
    /// The system gave no random numbers.
    pub fn make(state: KeyState) -> Result<Self, Error> {
        let pair = KeyPair::generate().map_err(|_| Error)?;
        let point = pair.public_key_raw();
        let coordinate = |range| point.get(range).map(|bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes));
        let (x, y) = coordinate(1..33).zip(coordinate(33..65)).ok_or(Error)?;
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Ok(SigningKey {
            kid: URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes())),
            state,
            private_pem: pair.serialize_pem().into(),
            public_jwk: json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}),
            since: Timestamp::now(),
        })
    }
}

/// `signing-keys`.
pub fn signing_keys(rotation: &Rotation, keys: &[&SigningKey]) -> Value {
    let entry = |key: &&SigningKey| {
        let state = match key.state {
            KeyState::Published => "published",
            KeyState::Active => "active",
            KeyState::Retiring => "retiring",
        };
        let mut entry = json!({"state": state, "public_jwk": key.public_jwk, "since": key.since});
        if key.state != KeyState::Retiring {
            entry["private_pem"] = key.private_pem.expose_secret().into();
        }
        (key.kid.clone(), entry)
    };
    let keys: Map<String, Value> = keys.iter().map(entry).collect();
    json!({"rotation": rotation.key(), "keys": keys})
}

/// A client's secret: 256 random bits.
///
/// # Errors
/// The system gave no random numbers.
pub fn client_secret() -> Result<SecretString, Error> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| Error)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

/// `clients`: the secrets that are good, each with its end.
pub fn clients(rotation: &Rotation, secrets: &[(&SecretString, Option<Timestamp>)]) -> Value {
    let entry = |(secret, not_after): &(&SecretString, Option<Timestamp>)| {
        let hash = digest::digest(&digest::SHA256, secret.expose_secret().as_bytes());
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        json!({"sha256": hex, "not_after": not_after})
    };
    let secrets: Vec<Value> = secrets.iter().map(entry).collect();
    json!({"rotation": rotation.key(), "clients": {CLIENT: {"secrets": secrets, "scopes": ["read", "write"]}}})
}

/// `config`: what every region must agree on, and how long tokens live.
pub fn config(rotation: &Rotation, token_life: u64) -> Value {
    let oauth = json!({
        "issuer": ISSUER,
        "token_life": format!("{token_life}s"),
        "jwks_max_age": "1s",
        "leeway": "1s",
        "skew": "1s",
    });
    json!({"rotation": rotation.key(), "oauth": oauth})
}

/// `tls`: the certificate of the public interface.
pub fn tls(rotation: &Rotation, ca: &Ca, issued: &Issued) -> Value {
    json!({
        "rotation": rotation.key(),
        "certificate_pem": format!("{}{}", issued.certificate_pem, ca.pem()),
        "private_key_pem": issued.key_pem.expose_secret(),
    })
}

/// A document as a person writes it: of no rotation, so that nobody has to end one that brought it.
#[must_use]
pub fn unmarked(mut document: Value) -> Value {
    if let Some(document) = document.as_object_mut() {
        document.remove("rotation");
    }
    document
}

/// Which rotation a version belongs to, and how far that is.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// The rotation.
    pub id: &'static str,
    /// Its phase.
    pub phase: &'static str,
}

impl Rotation {
    /// A phase of a rotation.
    pub fn new(id: &'static str, phase: &'static str) -> Self {
        Rotation { id, phase }
    }

    fn key(self) -> Value {
        json!({self.id: {self.phase: ""}})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retiring_key_carries_no_private_part_and_the_others_do() {
        let old = SigningKey::make(KeyState::Retiring).unwrap();
        let new = SigningKey::make(KeyState::Active).unwrap();
        let document = signing_keys(&Rotation::new("signing-keys-1", "activate"), &[&old, &new]);
        assert_eq!(document["keys"][&old.kid]["state"], "retiring");
        assert!(document["keys"][&old.kid].get("private_pem").is_none());
        assert!(document["keys"][&new.kid]["private_pem"].as_str().unwrap().contains("PRIVATE KEY"));
        assert_eq!(document["rotation"], json!({"signing-keys-1": {"activate": ""}}));
    }

    #[test]
    fn clients_are_registered_by_hash_alone() {
        let secret = client_secret().unwrap();
        let document = clients(&Rotation::new("clients-1", "publish"), &[(&secret, None)]);
        assert!(!document.to_string().contains(secret.expose_secret()));
        assert_eq!(document["clients"][CLIENT]["secrets"][0]["sha256"].as_str().unwrap().len(), 64);
    }
}
