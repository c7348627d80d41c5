//! The requests to one target, a pod or what stands before several, and what each answer must be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::{HeaderValue, Method, Request, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jsonwebtoken::jwk::JwkSet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

#[cfg(doc)]
use super::LATE;
use super::connections::Connections;
use super::tally::{Kind, Tally};
use crate::documents::CLIENT;
use crate::http::{Answer, Client, StatusCode};

/// Who is asked: a pod, or the address that stands before a region's pods.
#[derive(Debug)]
pub struct Target {
    /// Its name, for people.
    pub name: String,
    /// Its region; empty where it is before all of them.
    pub region: String,
    /// What became of the requests to it.
    pub tally: Tally,
    /// The pod that must answer; any of the region where there is none.
    pod: Option<String>,
    /// Whether each request has a connection of its own.
    fresh: bool,
    /// Requests that were sent again, where that is done.
    again: Option<AtomicU64>,
    connections: Connections,
}

impl Target {
    /// The pod `name` of `region`, whose public interface `client` reaches.
    pub fn pod(name: &str, region: &str, client: Client) -> Self {
        let mut target = Self::before(name, region, client);
        target.pod = Some(name.to_owned());
        target
    }

    /// What stands before the pods of `region`, such as a LoadBalancer.
    pub fn before(name: &str, region: &str, client: Client) -> Self {
        let (name, region, connections) = (name.to_owned(), region.to_owned(), Connections::new(client));
        Target { name, region, tally: Tally::default(), pod: None, fresh: false, again: None, connections }
    }

    /// What stands before all regions: any of them may answer.
    pub fn anywhere(name: &str, client: Client) -> Self {
        Self::before(name, "", client)
    }

    /// Gives each request a connection of its own; otherwise connections are kept alive.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Sends a request again, once and over a new connection, that found a kept connection closed, as HTTP clients do
    /// (RFC 9112, section 9.3.1): the server may close one at the moment at which it is used. Nothing is repeated
    /// otherwise.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.again = Some(AtomicU64::new(0));
        self
    }

    /// How many requests were sent again.
    pub fn repeated(&self) -> u64 {
        self.again.as_ref().map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Sets the bound after which an answer comes too late; [`LATE`] otherwise.
    #[must_use]
    pub fn patience(mut self, late: Duration) -> Self {
        self.tally = Tally::patient(late);
        self
    }

    /// From now until [`Target::end_apart`], what meets this pod is counted apart.
    pub fn begin_apart(&self) {
        self.tally.begin_apart();
    }

    /// The pod is ready again.
    pub fn end_apart(&self) {
        self.connections.clear();
        self.tally.end_apart();
    }

    /// Whether requests are counted apart now.
    pub fn is_apart(&self) -> bool {
        self.tally.is_apart()
    }

    /// Asks who serves; it must be this pod, or one of this region.
    pub(super) async fn region(&self, due: Instant) {
        let outcome = self.ask(self.get("/v1/region"), due).await.and_then(|answer| {
            #[derive(Deserialize)]
            struct Region {
                region: String,
                pod: String,
            }
            let Region { region, pod } = answer.json().map_err(told)?;
            let here = self.region.is_empty() || region == self.region;
            let ours = here && self.pod.as_ref().is_none_or(|own| *own == pod);
            ours.then_some(()).ok_or_else(|| format!("answered by {pod} in {region}"))
        });
        self.tally.note(Kind::Region, due, outcome);
    }

    /// Asks for a token, and gives it with its life in seconds.
    pub(super) async fn token(&self, secret: &SecretString, due: Instant) -> Option<(String, u64)> {
        #[derive(Deserialize)]
        struct Issued {
            access_token: String,
            expires_in: u64,
        }
        let outcome = self.ask(token_request(self.connections.client(), secret), due).await;
        let outcome = outcome.and_then(|answer| answer.json::<Issued>().map_err(told));
        self.tally.note(Kind::Token, due, outcome.as_ref().map(drop).map_err(Clone::clone));
        outcome.ok().map(|issued| (issued.access_token, issued.expires_in))
    }

    /// Fetches the JWKS, and says for how many seconds it may be kept.
    pub(super) async fn jwks(&self) -> Result<(JwkSet, u64), String> {
        let due = Instant::now();
        let outcome = self.ask(self.get("/.well-known/jwks.json"), due).await.and_then(|answer| {
            let keys = answer.json().map_err(told)?;
            let caching = answer.header("cache-control");
            let max_age = caching.split("max-age=").nth(1).and_then(|seconds| seconds.parse().ok());
            Ok((keys, max_age.ok_or("the JWKS does not say for how long it may be kept")?))
        });
        self.tally.note(Kind::Jwks, due, outcome.as_ref().map(drop).map_err(Clone::clone));
        outcome
    }

    fn get(&self, path: &str) -> Result<Request<Bytes>, crate::http::Error> {
        self.connections.client().request(Method::GET, path, None, Bytes::new())
    }

    async fn ask(
        &self,
        request: Result<Request<Bytes>, crate::http::Error>,
        due: Instant,
    ) -> Result<Answer, String> {
        let (late, request) = (self.tally.late(), request.map_err(told)?);
        let sent = async {
            if self.fresh {
                self.connections.client().send(request).await
            } else {
                self.connections.send(request, self.again.as_ref()).await
            }
        };
        let answer = timeout_at(due + late, sent).await;
        let answer = answer.map_err(|_| format!("no answer within {} s", late.as_secs()))?;
        answer.and_then(|answer| answer.expect(StatusCode::OK)).map_err(told)
    }
}

/// The request for a token with the client's id and this secret.
///
/// # Errors
/// The request cannot be built.
pub fn token_request(client: &Client, secret: &SecretString) -> Result<Request<Bytes>, crate::http::Error> {
    const FORM: &str = "application/x-www-form-urlencoded";
    let body = Bytes::from_static(b"grant_type=client_credentials");
    let mut request = client.request(Method::POST, "/oauth2/token", Some(FORM), body)?;
    let credentials = STANDARD.encode(format!("{CLIENT}:{}", secret.expose_secret()));
    // Base64 is always a valid header.
    if let Ok(mut value) = HeaderValue::try_from(format!("Basic {credentials}")) {
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    Ok(request)
}

/// An error with its causes, each once.
fn told(error: crate::http::Error) -> String {
    format!("{:#}", anyhow::Error::new(error))
}
