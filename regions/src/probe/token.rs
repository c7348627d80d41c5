//! Verifies a token as a client's server would: by a region's published keys.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};

/// By how much clocks may differ, in seconds.
const LEEWAY: u64 = 60;

/// The keys that verify tokens.
pub type Keys = JwkSet;

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// It is good.
    Good,
    /// These keys do not have the one that signed it; newer ones may.
    UnknownKey(String),
}

/// Verifies a token's signature, issuer and times. What it holds is never told.
///
/// # Errors
/// No verifier would take it.
pub fn verify(token: &str, issuer: &str, keys: &Keys) -> Result<Verified, String> {
    #[derive(Serialize, Deserialize)]
    struct Nothing {}
    let header = decode_header(token).map_err(|_| "the token has no header that can be read".to_owned())?;
    let kid = header.kid.ok_or("the token does not say which key signed it")?;
    if header.alg != Algorithm::ES256 {
        return Err("the token is not signed with ES256".into());
    }
    let Some(key) = keys.find(&kid) else { return Ok(Verified::UnknownKey(kid)) };
    let key = DecodingKey::from_jwk(key).map_err(|_| format!("the key {kid} cannot be used"))?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.leeway = LEEWAY;
    validation.validate_aud = false;
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["exp", "iss"]);
    decode::<Nothing>(token, &key, &validation)
        .map_err(|error| format!("the token does not verify: {}", why(&error)))?;
    Ok(Verified::Good)
}

fn why(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::ExpiredSignature => "it has ended already",
        ErrorKind::InvalidIssuer => "its issuer is another",
        ErrorKind::ImmatureSignature => "it has not begun yet",
        _ => "it is not whole",
    }
}
