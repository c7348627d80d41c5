//! One HTTP exchange with Vault.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use rustify::endpoint::{Endpoint, MiddleWare};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use vaultrs::api::EndpointMiddleware;
use zeroize::Zeroize;

use super::authority::Authority;
use super::{Denial, Failure};
use crate::config;

/// The longest that a Retry-After is honoured: what is longer is a mistake somewhere.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);
/// How much of Vault's own words an error keeps.
const LONGEST_WORDS: usize = 200;

/// A successful answer, or a 404, which in KV v2 may carry metadata. Wiped when dropped as far as it is
/// the only holder of its bytes.
pub(crate) struct Answer {
    /// 200, 204 or 404.
    pub status: StatusCode,
    /// The body.
    pub body: Body,
}

/// The bytes of an answer.
pub(crate) struct Body(Option<Bytes>);

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(Ok(mut bytes)) = self.0.take().map(Bytes::try_into_mut) {
            bytes.as_mut().zeroize();
        }
    }
}

/// The way to Vault: one address, one trusted authority, no proxy, no redirects.
pub(crate) struct Transport {
    address: String,
    namespace: Option<String>,
    ca_file: PathBuf,
    timeout: Duration,
    largest: usize,
    client: Mutex<Client>,
}

/// The client, and the authority that it was built with.
struct Client {
    ca: Arc<[u8]>,
    http: Result<reqwest::Client, String>,
    /// When a certificate of the authority ends, and the client with it.
    until: Timestamp,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({})", self.address)
    }
}

impl Transport {
    /// Prepares the way. Nothing is connected, and an authority that cannot be read yet is no error here:
    /// each call says so until it can.
    pub(crate) fn new(config: &config::Vault, largest: usize) -> Self {
        let ca: Arc<[u8]> = Arc::from([]);
        Transport {
            address: config.address.trim_end_matches('/').to_owned(),
            namespace: config.namespace.clone(),
            ca_file: config.ca_file.clone(),
            timeout: config.timeout.0,
            largest,
            client: Mutex::new(Client {
                ca,
                http: Err("it was not read yet".to_owned()),
                until: Timestamp::MIN,
            }),
        }
    }

    /// Makes the call that `endpoint` describes.
    ///
    /// # Errors
    /// Any outcome but 2xx and 404.
    pub(crate) async fn call(
        &self,
        endpoint: impl Endpoint,
        token: Option<&SecretString>,
    ) -> Result<Answer, Failure> {
        let name = format!("{:?} {}", endpoint.method(), endpoint.path().trim());
        let call = name.trim().to_owned();
        let client = self.client(&call)?;
        let request = self.request(&call, &endpoint, token)?;
        match tokio::time::timeout(self.timeout, self.exchange(&call, &client, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::TimedOut { call, after: self.timeout }),
        }
    }

    fn request(
        &self,
        call: &str,
        endpoint: &impl Endpoint,
        token: Option<&SecretString>,
    ) -> Result<reqwest::Request, Failure> {
        let mut middleware = EndpointMiddleware {
            token: token.map(|token| token.expose_secret().to_owned()).unwrap_or_default(),
            version: "v1".to_owned(),
            wrap: None,
            namespace: self.namespace.clone(),
        };
        // rustify's errors may quote the request, so only the fact is kept.
        let unfit = || Failure::Unreachable {
            call: call.to_owned(),
            reason: "the request cannot be built".to_owned(),
        };
        let mut request = endpoint.request(&self.address).map_err(|_| unfit())?;
        let built = middleware.request(endpoint, &mut request);
        middleware.token.zeroize();
        built.map_err(|_| unfit())?;
        for value in request.headers_mut().values_mut() {
            value.set_sensitive(true);
        }
        request.try_into().map_err(|_| unfit())
    }

    async fn exchange(
        &self,
        call: &str,
        client: &reqwest::Client,
        request: reqwest::Request,
    ) -> Result<Answer, Failure> {
        let mut response = client.execute(request).await.map_err(|error| broken(call, &error))?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        if response.content_length().is_some_and(|length| length > self.largest as u64) {
            return Err(self.too_large(call));
        }
        let mut collected = bytes::BytesMut::with_capacity(4096);
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(call, &error))? {
            if collected.len() + chunk.len() > self.largest {
                collected.as_mut().zeroize();
                return Err(self.too_large(call));
            }
            collected.extend_from_slice(&chunk);
            // The piece is wiped once it is copied, where nothing else holds it.
            drop(Body(Some(chunk)));
        }
        let body = Body(Some(collected.freeze()));
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return Ok(Answer { status, body });
        }
        Err(refused(call, status, &headers, &body))
    }

    fn too_large(&self, call: &str) -> Failure {
        Failure::Garbage {
            call: call.to_owned(),
            reason: format!("it is larger than {} bytes", self.largest),
        }
    }

    /// The client for the authority as the file holds it now. Reading it costs some microseconds and makes
    /// a replaced authority count at once.
    fn client(&self, call: &str) -> Result<reqwest::Client, Failure> {
        let untrusted = |reason| Failure::Untrusted { call: call.to_owned(), reason };
        let ca = std::fs::read(&self.ca_file)
            .map_err(|error| untrusted(format!("{}: {error}", self.ca_file.display())))?;
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        if *client.ca != *ca || client.http.is_err() || client.until <= now {
            let built = Authority::read(&ca, now).and_then(|authority| {
                let until = authority.until;
                Ok((build(authority)?, until))
            });
            let (http, until) = match built {
                Ok((http, until)) => (Ok(http), until),
                Err(reason) => (Err(format!("{}: {reason}", self.ca_file.display())), now),
            };
            *client = Client { ca: ca.into(), http, until };
        }
        client.http.clone().map_err(untrusted)
    }
}

fn build(authority: Authority) -> Result<reqwest::Client, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(authority.roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(2)
        .pool_idle_timeout(Duration::from_secs(90))
        .tcp_keepalive(Duration::from_secs(15))
        .user_agent(concat!("meridian-secrets-agent/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| "the HTTP client cannot be built".to_owned())
}

/// Tells a certificate that is not trusted from a connection that failed.
fn broken(call: &str, error: &reqwest::Error) -> Failure {
    let call = call.to_owned();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut innermost = String::new();
    while let Some(current) = cause {
        if let Some(rustls::Error::InvalidCertificate(reason)) = tls_error(current) {
            return Failure::Untrusted { call, reason: reason.to_string() };
        }
        innermost = current.to_string();
        cause = current.source();
    }
    Failure::Unreachable { call, reason: shortened(&innermost) }
}

/// The TLS error that this is or holds: the layers between put it into I/O errors, whose `source` passes over
/// what they hold.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref().or_else(|| tls_error(error.downcast_ref::<std::io::Error>()?.get_ref()?))
}

fn refused(call: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let call = call.to_owned();
    let retry_after = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| keep_away(value.to_str().ok()?.trim(), Timestamp::now()));
    let said = words(body);
    let denial = match &said {
        Some(said) if said.contains("invalid token") => Denial::InvalidToken,
        Some(_) => Denial::Permission,
        None => Denial::NotVault,
    };
    let said = said.unwrap_or_else(|| "it did not say why".to_owned());
    match status.as_u16() {
        403 => Failure::Denied { call, denial },
        429 => Failure::Throttled { call, retry_after },
        501 | 503 | 472 | 473 => Failure::Unavailable { call, status: status.as_u16(), said, retry_after },
        status @ 400..500 => Failure::Refused { call, status, said },
        status @ 500.. => Failure::Faulty { call, status, said, retry_after },
        status => Failure::Garbage { call, reason: format!("the status is {status}") },
    }
}

/// Vault's own words of an error. They name paths and rules and never values; what is not of Vault's form
/// is not repeated.
fn words(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    let Errors { errors } = serde_json::from_slice(body).ok()?;
    (!errors.is_empty()).then(|| shortened(&errors.join("; ")))
}

/// How long a Retry-After asks to wait: seconds, or a date (RFC 9110 §10.2.3).
fn keep_away(text: &str, now: Timestamp) -> Option<Duration> {
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(until.duration_since(now).max(SignedDuration::ZERO)).ok()?
        }
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_WORDS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_retry_after_are_told_apart() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        let told = |status: u16, body: &str| {
            refused("call", StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
        };
        assert_eq!(told(429, "").retry_after(), Some(Duration::from_secs(7)));
        assert!(matches!(told(403, "<html>"), Failure::Denied { denial: Denial::NotVault, .. }));
        let denied = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
        assert!(matches!(told(403, denied), Failure::Denied { denial: Denial::Permission, .. }));
        let dead = r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#;
        assert!(matches!(told(403, dead), Failure::Denied { denial: Denial::InvalidToken, .. }));
        assert_eq!(told(503, "").retry_after(), Some(Duration::from_secs(7)));
        assert!(told(503, r#"{"errors":["Vault is sealed"]}"#).to_string().contains("Vault is sealed"));
        assert!(matches!(told(302, ""), Failure::Garbage { .. }));
        assert!(matches!(told(502, "<html>canary</html>"), Failure::Faulty { .. }));
        assert!(!format!("{:?}", told(502, "<html>canary</html>")).contains("canary"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_a_bound() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("Thu, 01 Jan 2026 00:00:30 GMT", Some(30)),
            ("Wed, 31 Dec 2025 00:00:00 GMT", Some(0)),
            ("999999999", Some(600)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(keep_away(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_client_is_made_anew_when_a_certificate_of_its_authority_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        let certificate = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert;
        std::fs::write(&ca_file, certificate.pem()).unwrap();
        let second = crate::units::Time(Duration::from_secs(1));
        let config = config::Vault {
            address: "https://localhost:1".to_owned(),
            ca_file,
            namespace: None,
            timeout: second,
            longest_retry: second,
        };
        let transport = Transport::new(&config, 1 << 20);
        let now = Timestamp::now();
        for _ in 0..2 {
            assert!(transport.client("call").is_ok());
            let until = std::mem::replace(&mut transport.client.lock().unwrap().until, now);
            assert!(until > now, "{until}");
        }
    }
}
