//! A small HTTP/1.1 client over TCP, TLS with an own certificate authority, and Unix sockets.
//!
//! For tests, the demo and measurements: it follows no redirect, reads no proxy variable, and repeats
//! nothing.

mod answer;
mod connect;
mod events;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use tokio::time::timeout;

pub use answer::Answer;
pub use connect::{Connection, Target, client_tls};
pub use events::{Event, Events};
pub use http::StatusCode;

/// How long a whole exchange may take when nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request had no answer, or not one that could be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be had.
    #[error("{call}: connect to {target}")]
    Connect {
        /// Method and path.
        call: String,
        /// The peer.
        target: String,
        /// What the system, or TLS, said.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or what came over it was no HTTP.
    #[error("{call}: the exchange with {target} broke")]
    Exchange {
        /// Method and path.
        call: String,
        /// The peer.
        target: String,
        /// What broke.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer came in time.
    #[error("{call}: no answer from {target} within {} s", .after.as_secs_f64())]
    Timeout {
        /// Method and path.
        call: String,
        /// The peer.
        target: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The answer was not of the form that was wanted. The answer is not quoted, since it may hold secrets.
    #[error("{call}: status {status}, and not {wanted}")]
    Answer {
        /// Method and path.
        call: String,
        /// The answer's status.
        status: StatusCode,
        /// What was wanted.
        wanted: String,
    },
    /// The request could not be built.
    #[error("{call}: the request cannot be built")]
    Request {
        /// Method and path.
        call: String,
        /// What is wrong with it.
        #[source]
        source: http::Error,
    },
}

/// Sends requests to one peer, each over a connection of its own. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Client {
    target: Target,
    timeout: Duration,
    headers: Vec<(HeaderName, String)>,
}

impl Client {
    /// A client of one peer.
    pub fn new(target: Target) -> Self {
        Client { target, timeout: TIMEOUT, headers: Vec::new() }
    }

    /// Sets how long a whole exchange may take; 10 s otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a header with each request.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The peer.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// `GET`.
    ///
    /// # Errors
    /// No answer came. An answer of any status is `Ok`.
    pub async fn get(&self, path: &str) -> Result<Answer, Error> {
        self.send(self.request(Method::GET, path, None, Bytes::new())?).await
    }

    /// Any method with a JSON body.
    ///
    /// # Errors
    /// No answer came. An answer of any status is `Ok`.
    pub async fn json(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Answer, Error> {
        // What this crate sends are maps with text keys, which always have a JSON form.
        let body = serde_json::to_vec(body).unwrap_or_default();
        self.send(self.request(method, path, Some("application/json"), body.into())?).await
    }

    /// `POST` of a form (`application/x-www-form-urlencoded`), already encoded.
    ///
    /// # Errors
    /// No answer came. An answer of any status is `Ok`.
    pub async fn form(&self, path: &str, encoded: &str) -> Result<Answer, Error> {
        let body = Bytes::copy_from_slice(encoded.as_bytes());
        self.send(self.request(Method::POST, path, Some("application/x-www-form-urlencoded"), body)?).await
    }

    /// Any request; its URI is a path.
    ///
    /// # Errors
    /// No answer came. An answer of any status is `Ok`.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Answer, Error> {
        let call = call_of(&request);
        let exchange = async {
            let mut connection = self.open(&call).await?;
            connection.send(request).await
        };
        timeout(self.timeout, exchange).await.map_err(|_| self.too_late(call))?
    }

    /// A request that changes nothing, over a connection that is open already where that still works. Gives back the one that
    /// it came by, for the next request.
    ///
    /// # Errors
    /// No answer came. An answer of any status is `Ok`.
    pub async fn look(
        &self,
        open: Option<Connection>,
        request: Request<Bytes>,
    ) -> Result<(Answer, Connection), Error> {
        let call = call_of(&request);
        let exchange = async {
            if let Some(mut connection) = open.filter(|connection| !connection.is_closed())
                && let Ok(answer) = connection.send(request.clone()).await
            {
                return Ok((answer, connection));
            }
            let mut connection = self.open(&call).await?;
            Ok((connection.send(request).await?, connection))
        };
        timeout(self.timeout, exchange).await.map_err(|_| self.too_late(call.clone()))?
    }

    /// Opens a connection for several requests.
    ///
    /// # Errors
    /// The peer cannot be reached in time.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let call = "CONNECT".to_owned();
        timeout(self.timeout, self.open(&call)).await.map_err(|_| self.too_late(call))?
    }

    /// Opens a stream of Server-Sent Events.
    ///
    /// # Errors
    /// The peer cannot be reached in time, or its answer is not 200.
    pub async fn events(&self, path: &str, last_event_id: Option<&str>) -> Result<Events, Error> {
        let mut request = self.request(Method::GET, path, None, Bytes::new())?;
        if let Some(Ok(id)) = last_event_id.map(TryInto::try_into) {
            request.headers_mut().insert("last-event-id", id);
        }
        let call = call_of(&request);
        let exchange = async {
            let mut connection = self.open(&call).await?;
            connection.begin(request).await
        };
        let response: Response<Incoming> =
            timeout(self.timeout, exchange).await.map_err(|_| self.too_late(call.clone()))??;
        match response.status() {
            StatusCode::OK => Ok(Events::new(call, self.target.to_string(), response.into_body())),
            status => Err(Error::Answer { call, status, wanted: "a stream of events".to_owned() }),
        }
    }

    /// A request with this client's headers.
    ///
    /// # Errors
    /// The path or a header is malformed.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Request<Bytes>, Error> {
        let call = format!("{method} {path}");
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, self.target.host());
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(body).map_err(|source| Error::Request { call, source })
    }

    async fn open(&self, call: &str) -> Result<Connection, Error> {
        let connected = Connection::open(&self.target).await;
        let target = self.target.to_string();
        connected.map_err(|source| Error::Connect { call: call.to_owned(), target, source })
    }

    fn too_late(&self, call: String) -> Error {
        Error::Timeout { call, target: self.target.to_string(), after: self.timeout }
    }
}

/// Method and path, as errors name a call. A query may hold what is nobody's business, and is left out.
fn call_of<B>(request: &Request<B>) -> String {
    format!("{} {}", request.method(), request.uri().path())
}

/// A request's body as hyper wants it.
type Body = Full<Bytes>;

#[cfg(test)]
mod tests;
