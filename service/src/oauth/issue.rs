//! What a token request comes to, apart from HTTP.

use http::HeaderMap;
use jiff::Timestamp;
use serde::Serialize;

use super::credentials;
use super::form::Form;
use super::refusal::Refusal;
use crate::snapshot::Snapshot;

/// The answer of the token endpoint (RFC 6749 §5.1).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Issued {
    /// A JWT of RFC 9068.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds until the token ends.
    expires_in: u64,
    /// The scopes granted; absent when the client has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
}

/// Issues a token to the client that the request proves, as of one snapshot and one moment.
///
/// # Errors
/// Why not. Nothing of the request is in it.
pub fn issue(
    snapshot: &Snapshot,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Issued, Refusal> {
    let mut form = Form::read(body)?;
    let credentials = credentials::presented(headers, &mut form)?;
    match form.grant_type.as_deref() {
        None => return Err(Refusal::InvalidRequest("grant_type is missing")),
        Some("client_credentials") => {}
        Some(_) => return Err(Refusal::UnsupportedGrantType),
    }
    let client = snapshot
        .clients
        .authenticate(&credentials.id, &credentials.secret, now)
        .ok_or(Refusal::InvalidClient)?;
    let oauth = &snapshot.dynamic.oauth;
    if form.resource.is_some_and(|resource| resource != oauth.audience) {
        return Err(Refusal::InvalidTarget);
    }
    let scopes = client.scopes.grant(form.scope.as_deref()).map_err(|_| Refusal::InvalidScope)?;
    let access_token =
        snapshot.signer.token(oauth, &credentials.id, &scopes, now).map_err(|_| Refusal::ServerError)?;
    snapshot.issued.inc();
    Ok(Issued {
        access_token,
        token_type: "Bearer",
        expires_in: oauth.token_life.as_secs(),
        scope: scopes.as_str().to_owned(),
    })
}
