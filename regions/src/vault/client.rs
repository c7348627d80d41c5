//! One Vault: who vouches for it, and calls of its API.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use rustify::clients::reqwest::Client as Http;
use rustify::endpoint::{Endpoint, MiddleWare};
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use vaultrs::api::EndpointMiddleware;
use vaultrs::auth;
use vaultrs::client::{Client as _, VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use zeroize::Zeroizing;

use super::error::VaultError;
use crate::cluster::forward::Forward;

/// Bound of one call.
const CALL: Duration = Duration::from_secs(10);

/// The call whose answer can be had only once, and its bound: the longest that Vault works on a request unless told
/// otherwise (`default_max_request_duration`).
const INITIALISE: &str = "sys/init";
const INITIALISED: Duration = Duration::from_secs(90);

/// TLS sessions that are kept of one Vault: it is one server, and room is taken for all of them at once.
const SESSIONS: usize = 4;

/// Type of a merge patch (RFC 7396).
const MERGE_PATCH: &str = "application/merge-patch+json";

/// How long a call is tried again that a quota refuses, and how long between two tries.
const PATIENCE: Duration = Duration::from_secs(20);
const QUOTA: Duration = Duration::from_millis(1100);

/// A file with a credential is not larger.
const LARGEST: u64 = 64 * 1024;

/// The authorities that vouch for Vaults. No others do.
#[derive(Debug, Clone)]
pub struct Authorities(Arc<RootCertStore>);

impl Authorities {
    /// Reads PEM certificates.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it should be.
    pub fn read(file: &Path) -> Result<Self, VaultError> {
        let refuse = |reason: String| VaultError::File { file: file.to_owned(), reason };
        let pem = std::fs::read(file).map_err(|error| refuse(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let unfit = "it holds what is no PEM certificate";
            let certificate = certificate.map_err(|_| refuse(unfit.into()))?;
            roots.add(certificate).map_err(|_| refuse(unfit.into()))?;
        }
        if roots.is_empty() {
            return Err(refuse("it holds no PEM certificate".into()));
        }
        Ok(Self(Arc::new(roots)))
    }

    /// TLS that trusts them and nobody else; nothing where it cannot be set up.
    pub(crate) fn tls(&self) -> Option<rustls::ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Some(tls.ok()?.with_root_certificates(Arc::clone(&self.0)).with_no_client_auth())
    }
}

/// A credential of the caller's, as a file holds it. `-` is standard input.
///
/// # Errors
/// It cannot be read, or is empty or too large.
pub fn credential(file: &Path) -> Result<Zeroizing<String>, VaultError> {
    use std::io::Read as _;
    let refuse = |reason: String| VaultError::File { file: file.to_owned(), reason };
    let mut text = Zeroizing::new(String::new());
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(LARGEST + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
    };
    read.map_err(|error| refuse(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(refuse(format!(
            "it is larger than {LARGEST} bytes; it should hold a token and nothing else"
        )));
    }
    let trimmed = Zeroizing::new(text.trim().to_owned());
    if trimmed.is_empty() || trimmed.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(refuse("it should hold a token and nothing else".into()));
    }
    Ok(trimmed)
}

/// One Vault, with the caller's token once there is one.
pub struct Vault {
    client: VaultClient,
    /// For the one call that takes long and cannot be made again.
    patient: Http,
    address: String,
    /// What calls go through, where it lies behind a cluster.
    _forward: Option<Forward>,
    /// What a caller whom it denies something is told.
    denied: String,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.address)
    }
}

impl Vault {
    /// A Vault at an address, or behind a port-forward, whose certificate is for the address all the same.
    /// `denied` says what a caller should do whom it denies something.
    ///
    /// # Errors
    /// TLS cannot be set up. Nothing is called yet.
    pub(super) fn new(
        address: &str,
        forward: Option<Forward>,
        authorities: &Authorities,
        denied: &str,
    ) -> Result<Self, VaultError> {
        let unfit = |reason: &str| VaultError::Call {
            call: "prepare".into(),
            address: address.to_owned(),
            status: None,
            reason: reason.to_owned(),
        };
        let mut tls = authorities.tls().ok_or_else(|| unfit("TLS cannot be set up"))?;
        tls.resumption = rustls::client::Resumption::in_memory_sessions(SESSIONS);
        let http = |bound| {
            let mut builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                // Calls of one Vault mostly come one after the other, and each connection that is kept costs 40 KiB.
                .pool_max_idle_per_host(1)
                .timeout(bound);
            let mut base = address.trim_end_matches('/').to_owned();
            if let Some(forward) = &forward {
                let host = http::Uri::try_from(address).ok().and_then(|uri| uri.host().map(str::to_owned));
                let host = host.ok_or_else(|| unfit("the address has no host"))?;
                // The port of the forward counts only where the URL has none.
                base = format!("https://{host}");
                builder = builder.resolve(&host, forward.address());
            }
            let http = builder.build().map_err(|_| unfit("the HTTP client cannot be built"))?;
            Ok(Http::new(&base, http))
        };
        let (http, patient) = (http(CALL)?, http(INITIALISED)?);
        let settings = VaultClientSettingsBuilder::default()
            .address(address)
            .ca_certs(Vec::new())
            .identity(None)
            .token("")
            .verify(true)
            .build()
            .map_err(|_| unfit("the address cannot be used"))?;
        let middle =
            EndpointMiddleware { token: String::new(), version: "v1".into(), wrap: None, namespace: None };
        let client = VaultClient { http, middle, settings };
        let (address, denied) = (address.to_owned(), denied.to_owned());
        Ok(Self { client, patient, address, _forward: forward, denied })
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Calls with this token from now on.
    pub fn set_token(&mut self, token: &str) {
        self.client.set_token(token);
    }

    /// Logs in at `auth/jwt`.
    ///
    /// # Errors
    /// Vault did not let the caller in.
    pub async fn log_in_by_jwt(&mut self, jwt: &str, role: &str) -> Result<(), VaultError> {
        let login = auth::oidc::login(&self.client, "jwt", jwt, Some(role.to_owned())).await;
        let mut login = login.map_err(|error| self.failed("POST auth/jwt/login", &error))?;
        self.client.set_token(&login.client_token);
        zeroize::Zeroize::zeroize(&mut login.client_token);
        Ok(())
    }

    /// Renews the token, where it can be. Gives how long it lives from now on; nothing where it has no end.
    ///
    /// # Errors
    /// It has ended, or Vault does not answer.
    pub async fn renew(&self) -> Result<Option<Duration>, VaultError> {
        let path = "auth/token/renew-self";
        let answer = self.call(RequestMethod::POST, path, Some(&serde_json::json!({}))).await?;
        let seconds = answer["auth"]["lease_duration"].as_u64().filter(|seconds| *seconds > 0);
        Ok(seconds.map(Duration::from_secs))
    }

    /// Gives the token back. It ends by itself soon where that fails.
    pub async fn log_out(&self) {
        let _ = vaultrs::token::revoke_self(&self.client).await;
    }

    /// The data at a path; nothing where there is nothing.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn read(&self, path: &str) -> Result<Option<Value>, VaultError> {
        self.find(RequestMethod::GET, path).await
    }

    /// The whole answer of a path that has no `data`, as those below `sys` that take no token.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn ask(&self, path: &str) -> Result<Value, VaultError> {
        self.call(RequestMethod::GET, path, None).await
    }

    /// The names under a path.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn list(&self, path: &str) -> Result<Vec<String>, VaultError> {
        let found = self.find(RequestMethod::LIST, path).await?.unwrap_or_default();
        let keys = found["keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(keys.map(str::to_owned).collect())
    }

    /// Writes to a path. Gives the whole answer, null where it is empty.
    ///
    /// # Errors
    /// Vault refused, or did not answer: then nobody knows whether it was written.
    pub async fn write(&self, method: RequestMethod, path: &str, body: &Value) -> Result<Value, VaultError> {
        self.call(method, path, Some(body)).await
    }

    /// Removes what is at a path.
    ///
    /// # Errors
    /// Vault refused, or did not answer.
    pub async fn delete(&self, path: &str) -> Result<(), VaultError> {
        self.call(RequestMethod::DELETE, path, None).await.map(drop)
    }

    async fn find(&self, method: RequestMethod, path: &str) -> Result<Option<Value>, VaultError> {
        match self.call(method, path, None).await {
            Ok(mut answer) => Ok(Some(answer["data"].take())),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn call(
        &self,
        method: RequestMethod,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, VaultError> {
        let call = format!("{method:?} {path}");
        let body = body.map(|body| Zeroizing::new(body.to_string().into_bytes()));
        let end = Instant::now() + PATIENCE;
        let answer = loop {
            let endpoint = Call { method: method.clone(), path, body: body.as_deref() };
            let (http, bound) = match path {
                INITIALISE => (&self.patient, INITIALISED),
                _ => (self.client.http(), CALL),
            };
            let answer = endpoint.with_middleware(&Typed(self.client.middle())).exec(http).await;
            match answer.map_err(told) {
                Ok(answer) => break answer,
                // A quota counts by the second, and what it refused was not done.
                Err(ClientError::APIError { code: 429, .. }) if Instant::now() < end => {
                    sleep(QUOTA).await;
                }
                Err(error) => {
                    return Err(VaultError::of(&call, &self.address, &self.denied, bound, &error));
                }
            }
        };
        let bytes = Zeroizing::new(answer.raw());
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        // What serde_json says of a body may quote it.
        serde_json::from_slice(&bytes).map_err(|_| VaultError::unreadable(&call, &self.address))
    }

    fn failed(&self, call: &str, error: &ClientError) -> VaultError {
        VaultError::of(call, &self.address, &self.denied, CALL, error)
    }
}

/// Vault's own errors out of an answer of another status than 2xx.
fn told(error: rustify::errors::ClientError) -> ClientError {
    match error {
        rustify::errors::ClientError::ServerResponseError { code, content } => {
            let content: Value =
                content.and_then(|content| serde_json::from_str(&content).ok()).unwrap_or_default();
            let errors = content["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
            ClientError::APIError { code, errors: errors.map(str::to_owned).collect() }
        }
        other => ClientError::from(other),
    }
}

/// What vaultrs adds to a call, and the type of a patch: Vault takes one only as a merge patch, and rustify gives a body
/// no type.
struct Typed<'a>(&'a EndpointMiddleware);

impl MiddleWare for Typed<'_> {
    fn request<E: Endpoint>(
        &self,
        endpoint: &E,
        request: &mut http::Request<Vec<u8>>,
    ) -> Result<(), rustify::errors::ClientError> {
        self.0.request(endpoint, request)?;
        if request.method() == http::Method::PATCH {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MERGE_PATCH));
        }
        Ok(())
    }

    fn response<E: Endpoint>(
        &self,
        endpoint: &E,
        response: &mut http::Response<Vec<u8>>,
    ) -> Result<(), rustify::errors::ClientError> {
        self.0.response(endpoint, response)
    }
}

/// Any call of Vault's API.
struct Call<'a> {
    method: RequestMethod,
    path: &'a str,
    body: Option<&'a Vec<u8>>,
}

impl Endpoint for Call<'_> {
    type Response = Value;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.split('?').next().unwrap_or_default().to_owned()
    }

    /// What stands behind the question mark: within the path it would be a name.
    fn query(&self) -> Result<Option<String>, rustify::errors::ClientError> {
        Ok(self.path.split_once('?').map(|(_, query)| query.to_owned()))
    }

    fn method(&self) -> RequestMethod {
        self.method.clone()
    }

    fn body(&self) -> Result<Option<Vec<u8>>, rustify::errors::ClientError> {
        Ok(self.body.cloned())
    }
}
