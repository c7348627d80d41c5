//! Access tokens as JSON Web Tokens (RFC 9068), signed with ES256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::scope::Scopes;
use crate::configuration::Oauth;
use crate::documents::signing_keys::SigningKey;

/// Signs tokens with one key.
///
/// jsonwebtoken would parse the private key again for each token; here that is done once, when the
/// document is taken.
#[derive(Debug, Clone)]
pub struct Signer {
    key: SigningKey,
    /// The header in base64url, with the dot after it.
    header: String,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    jti: Uuid,
    client_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
}

/// A token could not be made.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("sign a token: the cryptographic library failed")]
pub struct SignError;

impl Signer {
    /// A signer with this key.
    pub fn new(key: SigningKey) -> Self {
        let header = Header { alg: "ES256", typ: "at+jwt", kid: &key.kid };
        let mut text = encode(&header);
        text.push('.');
        Signer { header: text, key }
    }

    /// The id of the key.
    pub fn kid(&self) -> &str {
        &self.key.kid
    }

    /// A token for this client and these scopes, issued at `now`.
    pub fn token(
        &self,
        oauth: &Oauth,
        client: &str,
        scopes: &Scopes,
        now: Timestamp,
    ) -> Result<String, SignError> {
        let iat = now.as_second();
        let life = i64::try_from(oauth.token_life.as_secs()).map_err(|_| SignError)?;
        let mut token = self.header.clone();
        token.push_str(&encode(&Claims {
            iss: &oauth.issuer,
            sub: client,
            aud: &oauth.audience,
            exp: iat.checked_add(life).ok_or(SignError)?,
            iat,
            jti: Uuid::new_v4(),
            client_id: client,
            scope: scopes.as_str(),
        }));
        let signature = self.key.sign(token.as_bytes()).map_err(|_| SignError)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

fn encode(part: &impl Serialize) -> String {
    // Strings, numbers and a UUID always have a JSON form.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

    use super::*;
    use crate::documents::SigningKeys;

    #[test]
    fn another_library_verifies_a_token_with_the_published_key() {
        let keys = SigningKeys::generate().unwrap();
        let oauth = Oauth {
            issuer: "https://tokens.example".to_owned(),
            audience: "https://api.example".to_owned(),
            token_life: Duration::from_secs(60),
            jwks_max_age: Duration::from_secs(1),
            leeway: Duration::ZERO,
            skew: Duration::ZERO,
        };
        let now = Timestamp::now();
        let signer = Signer::new(keys.active.clone());
        let scopes = Scopes::new(vec!["read".to_owned(), "write".to_owned()]);
        let token = signer.token(&oauth, "probe", &scopes, now).unwrap();

        let jwks = serde_json::json!({"keys": keys.verifying}).to_string();
        let jwks: JwkSet = serde_json::from_str(&jwks).unwrap();
        let header = decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let key = DecodingKey::from_jwk(jwks.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&["https://tokens.example"]);
        validation.set_audience(&["https://api.example"]);
        validation.leeway = 0;
        let claims = decode::<serde_json::Value>(&token, &key, &validation).unwrap().claims;
        assert_eq!(claims["sub"], "probe");
        assert_eq!(claims["client_id"], "probe");
        assert_eq!(claims["scope"], "read write");
        assert_eq!(claims["iat"], now.as_second());
        assert_eq!(claims["exp"], now.as_second() + 60);
        assert!(claims["jti"].as_str().unwrap().parse::<Uuid>().is_ok());
    }
}
