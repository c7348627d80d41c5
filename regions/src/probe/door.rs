//! A region's service as clients reach it: through its LoadBalancer or the global entry, by the name that its
//! certificate is for.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::token::{self, Keys};

/// The client that own transactions are made as.
pub const CLIENT: &str = "probe";

/// Bound of one request.
const ANSWER: Duration = Duration::from_secs(5);

/// The largest answer that is read.
const LARGEST: u64 = 1 << 20;

/// Who vouches for the certificates that clients are shown.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// Whoever this machine trusts.
    #[default]
    System,
    /// These authorities and no others.
    Own(Arc<rustls::RootCertStore>),
}

impl Roots {
    /// The authorities in a file.
    ///
    /// # Errors
    /// It cannot be read, or holds no certificate.
    pub fn read(file: &Path) -> Result<Self, String> {
        let told = |why: String| format!("{}: {why}", file.display());
        let pem = std::fs::read(file).map_err(|error| told(error.to_string()))?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| told("it is no PEM".into()))?;
            roots.add(certificate).map_err(|_| told("it holds what is no certificate".into()))?;
        }
        if roots.is_empty() {
            Err(told("it holds no PEM certificate".into()))
        } else {
            Ok(Self::Own(Arc::new(roots)))
        }
    }
}

/// Where a region, or all of them, is asked from outside.
#[derive(Debug, Clone)]
pub struct Door {
    base: String,
    host: String,
    address: Option<SocketAddr>,
    client: reqwest::Client,
}

/// Who served a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Server {
    /// The environment.
    pub environment: String,
    /// The region.
    pub region: String,
    /// The pod.
    pub pod: String,
    /// The release.
    #[serde(default)]
    pub release: Option<String>,
}

/// An answer, and what can be told from it beside what it says.
#[derive(Debug, Clone)]
pub struct Answered<T> {
    /// What it says.
    pub value: T,
    /// From the request to the whole answer.
    pub took: Duration,
    /// By how much the server's clock is ahead, as far as its whole seconds show.
    pub ahead: Option<SignedDuration>,
    /// When its certificate ends.
    pub certificate_end: Option<Timestamp>,
}

impl Door {
    /// A door to `host`, at this address or wherever its name leads.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(host: &str, address: Option<SocketAddr>, roots: &Roots) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(ANSWER)
            .tls_info(true);
        if let Roots::Own(roots) = roots {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let tls = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| format!("TLS cannot be set up: {error}"))?
                .with_root_certificates(Arc::clone(roots))
                .with_no_client_auth();
            builder = builder.tls_backend_preconfigured(tls);
        } else {
            // Whoever was first is as good: there is one provider in this program.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        if let Some(address) = address {
            builder = builder.resolve(host, address);
        }
        let client = builder.build().map_err(|error| {
            format!("the HTTP client cannot be built ({error}); name the authorities with --public-ca")
        })?;
        let port = address.map_or(443, |address| address.port());
        let base = if port == 443 { format!("https://{host}") } else { format!("https://{host}:{port}") };
        Ok(Self { base, host: host.to_owned(), address, client })
    }

    /// The name that it is asked by.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The time that a connection takes to stand: one way there and back. The shortest of three.
    pub async fn way(&self) -> Option<Duration> {
        let address = self.address?;
        let mut shortest: Option<Duration> = None;
        for _ in 0..3 {
            let began = Instant::now();
            if matches!(timeout(ANSWER, TcpStream::connect(address)).await, Ok(Ok(_))) {
                let took = began.elapsed();
                shortest = Some(shortest.map_or(took, |shortest| shortest.min(took)));
            }
        }
        shortest
    }

    /// Who serves.
    ///
    /// # Errors
    /// No answer, or not the right one.
    pub async fn server(&self) -> Result<Answered<Server>, String> {
        self.answer("GET /v1/region", self.client.get(format!("{}/v1/region", self.base))).await
    }

    /// The status of `/trafficz`, which the global entry asks.
    ///
    /// # Errors
    /// No answer.
    pub async fn trafficz(&self) -> Result<u16, String> {
        let sent = self.client.get(format!("{}/trafficz", self.base)).send().await;
        sent.map(|answer| answer.status().as_u16()).map_err(|error| told("GET /trafficz", &error))
    }

    /// The keys that verify its tokens.
    ///
    /// # Errors
    /// No answer, or not the right one.
    pub async fn keys(&self) -> Result<Answered<Keys>, String> {
        let path = "/.well-known/jwks.json";
        self.answer(&format!("GET {path}"), self.client.get(format!("{}{path}", self.base))).await
    }

    /// A token for the client `probe`, verified by these keys. Gives nothing where no key of them signed it.
    ///
    /// # Errors
    /// No token, or one that no verifier would take.
    pub async fn token(
        &self,
        secret: &Zeroizing<String>,
        issuer: &str,
        keys: &Keys,
    ) -> Result<Answered<token::Verified>, String> {
        #[derive(Deserialize)]
        struct Issued {
            access_token: SecretString,
        }
        let request = self
            .client
            .post(format!("{}/oauth2/token", self.base))
            .basic_auth(CLIENT, Some(secret.as_str()))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials");
        let issued: Answered<Issued> = self.answer("POST /oauth2/token", request).await?;
        let Answered { value, took, ahead, certificate_end } = issued;
        let value = token::verify(value.access_token.expose_secret(), issuer, keys)?;
        Ok(Answered { value, took, ahead, certificate_end })
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        what: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<Answered<T>, String> {
        let began = Instant::now();
        let response = request.send().await.map_err(|error| told(what, &error))?;
        let status = response.status();
        let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let ahead = date.and_then(ahead);
        let certificate_end = response
            .extensions()
            .get::<reqwest::tls::TlsInfo>()
            .and_then(|info| certificate_end(info.peer_certificate()?));
        if !status.is_success() {
            return Err(format!("{what} at {}: {status}", self.host));
        }
        if response.content_length().is_some_and(|length| length > LARGEST) {
            return Err(format!("{what} at {}: the answer is too large", self.host));
        }
        let bytes = Zeroizing::new(response.bytes().await.map_err(|error| told(what, &error))?.to_vec());
        let took = began.elapsed();
        let value = serde_json::from_slice(&bytes)
            .map_err(|_| format!("{what} at {}: the answer is not what it should be", self.host))?;
        Ok(Answered { value, took, ahead, certificate_end })
    }
}

/// An error with its causes. They name addresses and reasons, never what was sent.
fn told(what: &str, error: &reqwest::Error) -> String {
    let mut text = format!("{what}: ");
    text.push_str(if error.is_timeout() { "no answer in time" } else { "no answer" });
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// By how much a clock is ahead that says this.
fn ahead(date: &str) -> Option<SignedDuration> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let now = Timestamp::now();
    let ahead = date.duration_since(now);
    // It is cut off to whole seconds: up to one second behind is none.
    Some(if ahead.is_negative() {
        (ahead + SignedDuration::from_secs(1)).min(SignedDuration::ZERO)
    } else {
        ahead
    })
}

/// The end of a certificate.
pub fn certificate_end(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_cut_off_to_seconds_is_not_behind() {
        let said = |offset: i64| {
            let at = Timestamp::now().checked_add(SignedDuration::from_secs(offset)).unwrap();
            let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap();
            ahead(&text).unwrap().as_secs()
        };
        assert_eq!(said(0), 0);
        assert!((28..=30).contains(&said(30)), "{}", said(30));
        assert!((-31..=-28).contains(&said(-30)), "{}", said(-30));
    }

    #[test]
    fn authorities_are_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "canary").unwrap();
        let why = Roots::read(&file).unwrap_err();
        assert!(why.contains("it holds no PEM certificate") && !why.contains("canary"), "{why}");
        assert!(Roots::read(&folder.path().join("none")).is_err());
    }
}
