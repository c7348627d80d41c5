//! Authorization server metadata (RFC 8414) and the JWKS (RFC 7517).

use serde::Serialize;

use super::jwk::PublicJwk;

/// The document under `/.well-known/oauth-authorization-server`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Metadata {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    /// Required by the RFC; there is no authorization endpoint, so it is empty.
    response_types_supported: Vec<String>,
    grant_types_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Vec<String>,
}

impl Metadata {
    /// The metadata of this issuer.
    pub fn of(issuer: &str) -> Self {
        let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
        Metadata {
            issuer: issuer.to_owned(),
            token_endpoint: format!("{issuer}/oauth2/token"),
            jwks_uri: format!("{issuer}/.well-known/jwks.json"),
            response_types_supported: Vec::new(),
            grant_types_supported: list(&["client_credentials"]),
            token_endpoint_auth_methods_supported: list(&["client_secret_basic", "client_secret_post"]),
        }
    }
}

/// The document under `/.well-known/jwks.json`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Jwks<'a> {
    /// Every key that verifies tokens.
    #[schema(inline = false)]
    pub keys: &'a [PublicJwk],
}
