//! What `regions` asks of a region's Vault: whether the secrets that a release needs are there. Metadata only;
//! no value is ever read.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustify::clients::reqwest::Client as Http;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use vaultrs::api::EndpointMiddleware;
use vaultrs::client::{Client as _, VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::{auth, kv2, token};

/// The mount of the secrets, and the folder of the service's in it.
const MOUNT: &str = "kv";
const FOLDER: &str = "service";

/// Where callers log in with a JWT, and as what: read on `kv/metadata/service/*` and nothing else.
const LOGIN: &str = "jwt";
const ROLE: &str = "promoter";

/// Bound of one call.
const CALL: Duration = Duration::from_secs(5);

/// How much of Vault's own words an error keeps.
const LONGEST_WORDS: usize = 200;

/// How the Vaults of an environment are reached: with whose identity, and what vouches for them.
pub struct Access {
    jwt: zeroize::Zeroizing<String>,
    roots: Arc<RootCertStore>,
}

/// Why a Vault was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A file of the caller's cannot be used.
    #[error("{file}: {reason}", file = .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A call came to nothing. Neither the token nor any part of an answer's body is in it.
    #[error("{call} at {address}: {reason}")]
    Call {
        /// What was called.
        call: String,
        /// Which Vault.
        address: String,
        /// What came of it, and what to do.
        reason: String,
    },
}

/// A secret that cannot be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its path.
    pub path: String,
    /// Why.
    pub reason: &'static str,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}; write it with: vault kv put -mount={MOUNT} {} @FILE.json",
            self.path,
            self.reason,
            self.inner()
        )
    }
}

impl Missing {
    fn inner(&self) -> &str {
        self.path.strip_prefix(MOUNT).map_or(&self.path, |path| path.trim_start_matches('/'))
    }
}

impl Access {
    /// Reads the JWT that the caller is known by, and the authorities that vouch for the Vaults.
    ///
    /// # Errors
    /// Either file cannot be read, or is not what it should be.
    pub fn read(jwt_file: &Path, authority_file: &Path) -> Result<Self, VaultError> {
        let refuse = |file: &Path, reason: String| VaultError::File { file: file.to_owned(), reason };
        let jwt = zeroize::Zeroizing::new(
            std::fs::read_to_string(jwt_file).map_err(|error| refuse(jwt_file, error.to_string()))?,
        );
        let jwt = zeroize::Zeroizing::new(jwt.trim().to_owned());
        if jwt.split('.').count() != 3 {
            return Err(refuse(jwt_file, "it holds no JWT".into()));
        }
        let pem = std::fs::read(authority_file).map_err(|error| refuse(authority_file, error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let unfit = "it holds what is no PEM certificate";
            let certificate = certificate.map_err(|_| refuse(authority_file, unfit.into()))?;
            roots.add(certificate).map_err(|_| refuse(authority_file, unfit.into()))?;
        }
        if roots.is_empty() {
            return Err(refuse(authority_file, "it holds no PEM certificate".into()));
        }
        Ok(Self { jwt, roots: Arc::new(roots) })
    }

    /// Those of the service's secrets that the Vault at `address` cannot deliver. Logs in, reads metadata,
    /// and gives the token back.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn missing(&self, address: &str, secrets: &[String]) -> Result<Vec<Missing>, VaultError> {
        let mut client = self.client(address)?;
        let failed = |call: &str, error: &ClientError| VaultError::Call {
            call: call.to_owned(),
            address: address.to_owned(),
            reason: told(call, error),
        };
        let call = format!("POST auth/{LOGIN}/login");
        let login = auth::oidc::login(&client, LOGIN, &self.jwt, Some(ROLE.to_owned())).await;
        let mut login = login.map_err(|error| failed(&call, &error))?;
        client.set_token(&login.client_token);
        zeroize::Zeroize::zeroize(&mut login.client_token);
        let mut missing = Vec::new();
        let mut failure = None;
        for secret in secrets {
            let inner = format!("{FOLDER}/{secret}");
            match absence(&client, &inner).await {
                Ok(None) => {}
                Ok(Some(reason)) => missing.push(Missing { path: format!("{MOUNT}/{inner}"), reason }),
                Err(error) => {
                    failure = Some(failed(&format!("GET {MOUNT}/metadata/{inner}"), &error));
                    break;
                }
            }
        }
        // It ends by itself soon; that it cannot be given back changes nothing.
        let _ = token::revoke_self(&client).await;
        failure.map_or(Ok(missing), Err)
    }

    /// A client that trusts these authorities and no others, and takes nothing from the environment.
    fn client(&self, address: &str) -> Result<VaultClient, VaultError> {
        let unfit = |reason: &str| VaultError::Call {
            call: "prepare".into(),
            address: address.to_owned(),
            reason: reason.to_owned(),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| unfit("TLS cannot be set up"))?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(CALL)
            .build()
            .map_err(|_| unfit("the HTTP client cannot be built"))?;
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
        Ok(VaultClient { http: Http::new(address.trim_end_matches('/'), http), middle, settings })
    }
}

/// Why a secret's current version cannot be delivered; nothing when it can.
async fn absence(client: &VaultClient, inner: &str) -> Result<Option<&'static str>, ClientError> {
    let metadata = match kv2::read_metadata(client, MOUNT, inner).await {
        Ok(metadata) => metadata,
        Err(ClientError::APIError { code: 404, .. }) => return Ok(Some("was never written")),
        Err(error) => return Err(error),
    };
    let current = metadata.versions.get(&metadata.current_version.to_string());
    Ok(match current {
        None => Some("has no version"),
        Some(version) if version.destroyed => Some("is destroyed in its current version"),
        Some(version) if !version.deletion_time.is_empty() => Some("is deleted in its current version"),
        Some(_) => None,
    })
}

/// What a failed call is told as. vaultrs keeps bodies in its chain of sources, so only its own facts are used.
fn told(call: &str, error: &ClientError) -> String {
    match error {
        ClientError::APIError { code, errors } => {
            let words: String =
                errors.first().map_or("", String::as_str).chars().take(LONGEST_WORDS).collect();
            let next = match code {
                503 if words.contains("sealed") => "; unseal it",
                400 | 403 if call.contains("login") => {
                    "; check the role promoter of auth/jwt: its audience, subject and bound claims"
                }
                403 => "; the role promoter lacks read on kv/metadata/service/*",
                _ => "",
            };
            format!("Vault answered {code} {words}{next}")
        }
        other => {
            let mut source: Option<&(dyn StdError + 'static)> = Some(other);
            let mut deepest = None;
            while let Some(error) = source {
                deepest = connection(error).or(deepest);
                source = error.source();
            }
            deepest.unwrap_or_else(|| "no answer that can be read".into())
        }
    }
}

/// What kept a connection from being made, which holds nothing of what would have been sent.
fn connection(error: &(dyn StdError + 'static)) -> Option<String> {
    let error = error.downcast_ref::<reqwest::Error>()?;
    if error.is_timeout() {
        return Some(format!("no answer within {} s", CALL.as_secs()));
    }
    if !error.is_connect() {
        return Some("the connection broke".into());
    }
    let mut deepest: &dyn StdError = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    Some(deepest.to_string())
}
