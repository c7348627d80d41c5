//! One call of the agent at a time, over its Unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyDataStream, BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::net::UnixStream;
use tokio::time::timeout;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::wire::{Adopted, Change, Problem, SecretList};
use crate::{Secret, Version};

/// The largest answer that is read: the agent bounds a document well below it.
const MAX_ANSWER: usize = 16 << 20;
/// The agent is on the same machine and answers from memory.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// The agent writes a comment on each watch stream every 5 s, so this much silence means that it hangs.
const STREAM_SILENCE: Duration = Duration::from_secs(15);
/// One event is a few hundred bytes; what is longer is no event.
const MAX_EVENT: usize = 64 << 10;

/// A handle on the agent's socket. Cloning it is cheap, and it holds no connection between calls.
#[derive(Debug, Clone)]
pub struct AgentClient {
    socket: Arc<Path>,
}

/// One version of one secret, as the agent delivered it.
#[derive(Debug)]
pub struct Delivered {
    /// The secret's name.
    pub name: String,
    /// Its whole path in Vault, mount included, such as `kv/service/config`.
    pub path: String,
    /// The KV v2 version number.
    pub version: u64,
    /// When Vault wrote that version.
    pub created_time: Timestamp,
    /// The rotation that wrote it; `None` when it was written by hand.
    pub rotation_id: Option<String>,
    /// The document as JSON, without its reserved `rotation` key.
    pub data: Secret,
}

impl Delivered {
    /// The identity of this version.
    pub fn version(&self) -> Version {
        Version { version: self.version, created_time: self.created_time }
    }
}

/// Why a call of the agent failed. No variant holds a secret value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be connected to.
    #[error("connect to secrets-agent at {}: is it running, and may this user open the socket?", .socket.display())]
    Connect {
        /// The socket's path.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or what came over it was no HTTP.
    #[error("{call} of secrets-agent: the connection broke")]
    Transport {
        /// Method and path.
        call: String,
        /// What broke.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer came in time.
    #[error("{call} of secrets-agent: no answer within {} s; it may be stopped or overloaded", .after.as_secs())]
    Timeout {
        /// Method and path.
        call: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The agent refused, and said why.
    #[error("{call} of secrets-agent: {} {}: {}", .problem.status, .problem.title, .problem.detail)]
    Refused {
        /// Method and path.
        call: String,
        /// What the agent said.
        problem: Problem,
    },
    /// The answer was not of the agreed shape. The parser's own message is dropped, since it could quote a value.
    #[error(
        "{call} of secrets-agent: the answer is not what this version of the client reads (line {line}, column {column})"
    )]
    Answer {
        /// Method and path.
        call: String,
        /// Where the parser stopped, from 1.
        line: usize,
        /// Where the parser stopped, from 1.
        column: usize,
    },
}

impl Error {
    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused { problem, .. } => Some(problem.status),
            _ => None,
        }
    }
}

impl AgentClient {
    /// A client of the agent that listens at `socket`. Nothing is connected yet.
    pub fn new(socket: impl AsRef<Path>) -> Self {
        AgentClient { socket: socket.as_ref().into() }
    }

    /// What the agent holds, without values.
    pub async fn secrets(&self) -> Result<SecretList, Error> {
        let call = Call::new(Method::GET, "/v1/secrets".to_owned());
        let body = self.read(&call, Bytes::new()).await?;
        call.parse(&body)
    }

    /// The current version of a secret.
    pub async fn get(&self, name: &str) -> Result<Delivered, Error> {
        self.fetch(Call::new(Method::GET, format!("/v1/secrets/{name}"))).await
    }

    /// A named version of a secret: the current one or, until it is retired, the one before.
    pub async fn get_version(&self, name: &str, version: u64) -> Result<Delivered, Error> {
        self.fetch(Call::new(Method::GET, format!("/v1/secrets/{name}?version={version}"))).await
    }

    /// Says that `instance` now uses this version. Refused with 409 for a version that the agent did not
    /// deliver, and for an instance whose watch stream is not open.
    pub async fn adopted(&self, name: &str, version: Version, instance: Uuid) -> Result<(), Error> {
        let call = Call::new(Method::PUT, format!("/v1/secrets/{name}/adopted"));
        let Version { version, created_time } = version;
        let body = serde_json::to_vec(&Adopted { version, created_time, instance })
            .map_err(|error| call.unreadable(&error))?;
        self.read(&call, body.into()).await.map(drop)
    }

    /// Opens the stream of changes for this instance. While it is open, what the instance acknowledges
    /// counts. With the id of the last event seen, only what came after it is sent, if the agent still
    /// knows; otherwise each secret's current version is.
    pub async fn watch(&self, instance: Uuid, last_event_id: Option<&str>) -> Result<EventStream, Error> {
        let call = Call::new(Method::GET, format!("/v1/watch?instance={instance}"));
        let response = self.send(&call, Bytes::new(), last_event_id).await?;
        Ok(EventStream { call, body: response.into_body().into_data_stream(), buffer: Vec::new() })
    }

    async fn fetch(&self, call: Call) -> Result<Delivered, Error> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            name: String,
            path: String,
            version: u64,
            created_time: Timestamp,
            rotation_id: Option<String>,
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let body = self.read(&call, Bytes::new()).await?;
        let Answer { name, path, version, created_time, rotation_id, data } =
            serde_json::from_slice(&body).map_err(|error| call.unreadable(&error))?;
        let data = Secret::from(data.get().as_bytes().to_vec());
        Ok(Delivered { name, path, version, created_time, rotation_id, data })
    }

    /// The whole body of a successful answer, in memory that is wiped after use.
    async fn read(&self, call: &Call, body: Bytes) -> Result<Zeroizing<Vec<u8>>, Error> {
        let answer = async {
            let response = self.send(call, body, None).await?;
            collect(call, response).await
        };
        timeout(CALL_TIMEOUT, answer).await.map_err(|_| call.timed_out(CALL_TIMEOUT))?
    }

    async fn send(
        &self,
        call: &Call,
        body: Bytes,
        last_event_id: Option<&str>,
    ) -> Result<Response<Incoming>, Error> {
        let exchange = async {
            let stream = UnixStream::connect(&*self.socket)
                .await
                .map_err(|source| Error::Connect { socket: self.socket.to_path_buf(), source })?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| call.broken(error))?;
            tokio::spawn(connection);
            let mut request = Request::builder()
                .method(&call.method)
                .uri(&call.path)
                .header(header::HOST, "secrets-agent")
                .header(header::CONTENT_TYPE, "application/json");
            if let Some(id) = last_event_id {
                request = request.header("last-event-id", id);
            }
            let request = request.body(Full::new(body)).map_err(|error| call.broken(error))?;
            sender.send_request(request).await.map_err(|error| call.broken(error))
        };
        let response = timeout(CALL_TIMEOUT, exchange).await.map_err(|_| call.timed_out(CALL_TIMEOUT))??;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = timeout(CALL_TIMEOUT, collect(call, response))
            .await
            .map_err(|_| call.timed_out(CALL_TIMEOUT))??;
        Err(call.refused(status, &body))
    }
}

/// Reads a body into memory that is wiped after use. The vector is sized first where the length is
/// known, since a vector that grows leaves copies behind.
async fn collect(call: &Call, response: Response<Incoming>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let expected = response
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(4096);
    let mut whole = Zeroizing::new(Vec::with_capacity(expected.min(MAX_ANSWER)));
    let mut body = BodyDataStream::new(Limited::new(response.into_body(), MAX_ANSWER));
    while let Some(chunk) = body.next().await {
        whole.extend_from_slice(&chunk.map_err(|error| call.broken(error))?);
    }
    Ok(whole)
}

/// An open watch stream: each item is an event's id and the change it tells of.
#[derive(Debug)]
pub struct EventStream {
    call: Call,
    body: BodyDataStream<Incoming>,
    buffer: Vec<u8>,
}

impl EventStream {
    /// The next change, or `None` when the agent ended the stream in order. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<(String, Change)>, Error> {
        loop {
            while let Some(block) = take_block(&mut self.buffer) {
                if let Some(event) = parse_event(&self.call, &block)? {
                    return Ok(Some(event));
                }
            }
            if self.buffer.len() > MAX_EVENT {
                return Err(Error::Answer { call: self.call.to_string(), line: 1, column: MAX_EVENT });
            }
            let chunk = timeout(STREAM_SILENCE, self.body.next())
                .await
                .map_err(|_| self.call.timed_out(STREAM_SILENCE))?;
            match chunk {
                None => return Ok(None),
                Some(chunk) => {
                    self.buffer.extend_from_slice(&chunk.map_err(|error| self.call.broken(error))?);
                }
            }
        }
    }
}

/// Takes the first whole block, up to an empty line, from the buffer of a Server-Sent Events stream.
fn take_block(buffer: &mut Vec<u8>) -> Option<String> {
    let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
    let block: Vec<u8> = buffer.drain(..end + 2).collect();
    Some(String::from_utf8_lossy(&block).into_owned())
}

/// Reads `id` and `data` of one block; a block without data is a comment that keeps the stream alive.
fn parse_event(call: &Call, block: &str) -> Result<Option<(String, Change)>, Error> {
    let field = |name: &str| {
        block.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim_start()))
    };
    let Some(data) = field("data") else { return Ok(None) };
    let change = call.parse(data.as_bytes())?;
    Ok(Some((field("id").unwrap_or_default().to_owned(), change)))
}

/// Method and path of a call, as errors name it.
#[derive(Debug)]
struct Call {
    method: Method,
    path: String,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Call {
    fn new(method: Method, path: String) -> Self {
        Call { method, path }
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &serde_json::Error) -> Error {
        Error::Answer { call: self.to_string(), line: error.line(), column: error.column() }
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Transport { call: self.to_string(), source: source.into() }
    }

    fn timed_out(&self, after: Duration) -> Error {
        Error::Timeout { call: self.to_string(), after }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("error").to_owned(),
            detail: "the answer carries no problem document; is this socket secrets-agent's?".to_owned(),
        });
        Error::Refused { call: self.to_string(), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call() -> Call {
        Call::new(Method::GET, "/v1/watch".to_owned())
    }

    #[test]
    fn events_are_read_across_any_split_of_the_stream() {
        let change =
            r#"{"name":"config","version":3,"created_time":"2026-01-01T00:00:00Z","rotation_id":null}"#;
        let stream = format!(": alive\n\nevent: secret\nid: e-1\ndata: {change}\n\n");
        for split in 0..stream.len() {
            let mut buffer = stream.as_bytes()[..split].to_vec();
            let mut events = Vec::new();
            for rest in [&[][..], &stream.as_bytes()[split..]] {
                buffer.extend_from_slice(rest);
                while let Some(block) = take_block(&mut buffer) {
                    events.extend(parse_event(&call(), &block).unwrap());
                }
            }
            assert_eq!(events.len(), 1, "split at {split}");
            assert_eq!(events[0].0, "e-1");
            assert_eq!(events[0].1.version, 3);
        }
    }

    #[test]
    fn an_unreadable_answer_says_where_and_quotes_nothing() {
        let error =
            call().parse::<Change>(br#"{"name": "canary-7f3a", "version": "canary-7f3a"}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        assert!(error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn a_refusal_without_a_problem_document_still_says_the_status() {
        let error = call().refused(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(error.status(), Some(502));
        assert!(error.to_string().contains("502 Bad Gateway"), "{error}");
    }

    proptest! {
        #[test]
        fn no_stream_of_bytes_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut buffer = bytes;
            while let Some(block) = take_block(&mut buffer) {
                let _ = parse_event(&call(), &block);
            }
        }
    }
}
