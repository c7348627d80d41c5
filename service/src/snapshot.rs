//! Everything that a request needs, made once and swapped as a whole.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderValue;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;

use crate::configuration::{Dynamic, Identity};
use crate::documents::{Clients, SigningKeys, Tls};
use crate::oauth::jwt::Signer;
use crate::oauth::metadata::{Jwks, Metadata};

/// The checked documents that make a [`Snapshot`].
#[derive(Debug, Clone)]
pub struct Parts {
    /// The configuration that may change.
    pub dynamic: Dynamic,
    /// Who may ask for tokens.
    pub clients: Clients,
    /// The keys that sign and verify.
    pub keys: SigningKeys,
    /// The public listener's certificate; `None` in the development mode alone.
    pub tls: Option<Tls>,
}

/// Everything that a request needs. A request takes one and sees no other.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts the snapshots of this process, from 1.
    pub generation: u64,
    /// The configuration that may change.
    pub dynamic: Dynamic,
    /// Who may ask for tokens.
    pub clients: Clients,
    /// What signs them.
    pub signer: Signer,
    /// The ids of the keys that verify.
    pub kids: Vec<String>,
    /// Counts the tokens that the signer's key signed.
    pub issued: Counter,
    /// The public listener's certificate.
    pub tls: Option<Tls>,
    /// The answer of `/v1/region`.
    pub region: Bytes,
    /// The answer of `/.well-known/jwks.json`.
    pub jwks: Rendered,
    /// The answer of `/.well-known/oauth-authorization-server`.
    pub metadata: Rendered,
}

/// An answer that clients may keep, as bytes.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The body.
    pub body: Bytes,
    /// A strong entity tag of the body, quotes included.
    pub etag: HeaderValue,
    /// `public, max-age=…`.
    pub cache_control: HeaderValue,
}

/// Who served a request.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Region<'a> {
    /// The environment, such as `production`.
    environment: &'a str,
    /// The region's name in the catalogue.
    region: &'a str,
    /// The zone of the node, where it is known.
    zone: Option<&'a str>,
    /// The pod's name.
    pod: &'a str,
    /// The digest of the release.
    release: &'a str,
    /// Counts the configurations that this process has used, from 1.
    generation: u64,
}

impl Snapshot {
    /// The snapshot of these parts. `issued` counts the tokens of the parts' active key.
    pub fn new(generation: u64, identity: &Identity, parts: Parts, issued: Counter) -> Self {
        let Identity { environment, region, zone, pod, release } = identity;
        let region = Region { environment, region, zone: zone.as_deref(), pod, release, generation };
        let max_age = parts.dynamic.oauth.jwks_max_age.as_secs();
        Snapshot {
            generation,
            region: json(&region),
            jwks: Rendered::new(json(&Jwks { keys: &parts.keys.verifying }), max_age),
            metadata: Rendered::new(json(&Metadata::of(&parts.dynamic.oauth.issuer)), max_age),
            kids: parts.keys.verifying.into_iter().map(|key| key.kid).collect(),
            signer: Signer::new(parts.keys.active),
            issued,
            tls: parts.tls,
            clients: parts.clients,
            dynamic: parts.dynamic,
        }
    }
}

impl Rendered {
    /// A body that may be kept for `max_age` seconds.
    pub fn new(body: Bytes, max_age: u64) -> Self {
        let hash = digest::digest(&digest::SHA256, &body);
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
        let header =
            |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-store"));
        Rendered { body, etag: header(etag), cache_control: header(format!("public, max-age={max_age}")) }
    }
}

fn json(value: &impl Serialize) -> Bytes {
    // Structures of strings and numbers always have a JSON form.
    serde_json::to_vec(value).unwrap_or_default().into()
}
