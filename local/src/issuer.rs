//! An OIDC issuer on loopback: what Vault asks to know whose tokens those are.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::ports::Port;

/// The path of the keys.
const KEYS: &str = "/jwks.json";

/// What PKCS#8 puts before the PKCS#1 form of an RSA key of 2048 bits, which is what jsonwebtoken takes.
const PKCS8_HEAD: usize = 26;

/// Id of the one key.
const KID: &str = "one";

/// An issuer with one RSA key, as CircleCI's has. It ends when it is dropped.
pub struct Issuer {
    port: Port,
    key: EncodingKey,
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({})", self.url())
    }
}

impl Issuer {
    /// Starts an issuer.
    ///
    /// # Errors
    /// No port or no key could be had.
    pub async fn start() -> io::Result<Self> {
        let port = Port::reserve()?;
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(io::Error::other)?;
        let pkcs8 = pair.serialize_der();
        let pkcs1 = pkcs8.get(PKCS8_HEAD..).ok_or_else(|| io::Error::other("a key of another size"))?;
        let key = EncodingKey::from_rsa_der(pkcs1);
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256).map_err(io::Error::other)?;
        jwk.common.key_id = Some(KID.into());
        let url = format!("http://{}", port.address());
        let found = json!({
            "issuer": url, "jwks_uri": format!("{url}{KEYS}"), "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
        });
        let answers = Arc::new([
            ("/.well-known/openid-configuration", found.to_string()),
            (KEYS, json!({"keys": [jwk]}).to_string()),
        ]);
        let listener = TcpListener::bind(port.address()).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let answers = Arc::clone(&answers);
                connections.spawn(async move {
                    let service = service_fn(|request| answer(&answers, request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Issuer { port, key, _tasks: tasks })
    }

    /// What it is called in its tokens, and where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// A token of this issuer with these claims, good for ten minutes.
    ///
    /// # Errors
    /// It could not be signed.
    pub fn sign(&self, claims: &Value) -> io::Result<SecretString> {
        let now = Timestamp::now().as_second();
        let mut all = json!({"iss": self.url(), "iat": now - 10, "exp": now + 600});
        if let (Some(all), Some(claims)) = (all.as_object_mut(), claims.as_object()) {
            all.extend(claims.clone());
        }
        let header = Header { kid: Some(KID.into()), ..Header::new(Algorithm::RS256) };
        Ok(jsonwebtoken::encode(&header, &all, &self.key).map_err(io::Error::other)?.into())
    }
}

async fn answer(
    answers: &[(&str, String); 2],
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let found = answers.iter().find(|(path, _)| *path == request.uri().path());
    let mut response =
        Response::new(Full::new(found.map_or_else(Bytes::new, |(_, text)| text.clone().into())));
    if found.is_none() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}
