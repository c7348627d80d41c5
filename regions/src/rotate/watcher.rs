//! Asks a region's watcher: at its own address, or through the API server's proxy for its one Service.

use std::sync::Arc;
use std::time::Duration;

use super::region::Asking;
use crate::cluster::{Cluster, NAMESPACE};
use crate::plan::view::View;
use crate::vault::client::Authorities;

/// Bound of one answer: a round of the region, and the wait for one that has begun before.
pub(crate) const ANSWER: Duration = Duration::from_secs(8);

/// The watcher's Service and port.
pub(crate) const SERVICE: &str = "watcher";
pub(crate) const PORT: u16 = 9092;

/// What a watcher answers is no larger.
const LARGEST: usize = 8 << 20;

/// A region's watcher.
#[derive(Clone)]
pub(crate) enum Watcher {
    /// At an address.
    Address {
        /// Asks.
        http: reqwest::Client,
        /// Where.
        address: String,
    },
    /// Behind the region's API server.
    Cluster(Cluster),
}

/// Why there is no view of a region.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Unseen {
    why: String,
    /// Whether somebody in the region answered: the watcher, or the API server before it.
    pub(crate) answered: bool,
}

impl Unseen {
    fn silent(why: impl Into<String>) -> Self {
        Self { why: why.into(), answered: false }
    }

    fn answered(why: impl Into<String>) -> Self {
        Self { why: why.into(), answered: true }
    }
}

impl Watcher {
    /// What it sees now.
    pub(crate) async fn view(&self, asking: Option<&Asking>) -> Result<View, Unseen> {
        let path = path(asking);
        let bytes = match self {
            Self::Address { http, address } => {
                ask(http, &format!("{}{path}", address.trim_end_matches('/'))).await?
            }
            Self::Cluster(cluster) => {
                let text = cluster.proxied(NAMESPACE, SERVICE, PORT, &path).await;
                let text = text.map_err(|error| Unseen {
                    answered: error.cause.is_answer(),
                    why: error.within_region(),
                });
                text?.into_bytes()
            }
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            Unseen::answered(format!(
                "its answer cannot be read (line {}, column {}); is it of another version?",
                error.line(),
                error.column()
            ))
        })
    }
}

fn path(asking: Option<&Asking>) -> String {
    match asking {
        None => "/v1/region".to_owned(),
        Some(Asking { who, run, secret }) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("who", who).append_pair("run", run).append_pair("secret", secret);
            format!("/v1/region?{}", query.finish())
        }
    }
}

/// HTTP for every watcher that has an address. Where that begins with `https`, these authorities vouch for it.
pub(crate) fn http(authorities: Option<&Authorities>) -> Result<reqwest::Client, String> {
    let builder = match authorities {
        Some(authorities) => {
            let tls = authorities.tls().ok_or("TLS cannot be set up")?;
            reqwest::Client::builder().tls_backend_preconfigured(tls)
        }
        None => reqwest::Client::builder().tls_backend_preconfigured(nobody()?),
    };
    builder
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(ANSWER)
        .connect_timeout(Duration::from_secs(3))
        .pool_max_idle_per_host(1)
        .build()
        .map_err(|_| "the HTTP client cannot be built".to_owned())
}

/// TLS that trusts nobody: only plain addresses can be asked with it.
fn nobody() -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(|_| "TLS cannot be set up")?;
    Ok(tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

async fn ask(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, Unseen> {
    let told = |error: reqwest::Error| match error {
        error if error.is_timeout() => Unseen::silent(format!("no answer within {} s", ANSWER.as_secs())),
        error if error.is_connect() => Unseen::silent("it cannot be reached"),
        _ => Unseen::silent("the connection broke"),
    };
    let mut answer = http.get(url).send().await.map_err(told)?;
    let status = answer.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(told)? {
        if bytes.len() + chunk.len() > LARGEST {
            return Err(Unseen::answered("its answer is too large"));
        }
        bytes.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(bytes);
    }
    let said = String::from_utf8_lossy(&bytes).chars().take(200).collect::<String>();
    Err(Unseen::answered(format!("it answered {status}: {}", said.trim())))
}
