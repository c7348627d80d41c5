//! What the agent answers on its Unix socket: the only interface that carries values.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrets_agent_client::wire::{Adopted, Change, SecretList};
use serde::Deserialize;
use tokio::sync::watch;
use tracing::{debug, warn};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::metrics::Metrics;
use crate::problem::{Problem, not_found, wrong_method};
use crate::serve::Peer;
use crate::store::{self, Document, NotAdopted, Store};
use crate::vault::KvReader;

/// How often a comment is sent on a quiet watch stream, so that either side notices the other's end.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// An acknowledgement is some hundred bytes.
const LARGEST_BODY: usize = 4 << 10;

/// What the socket's handlers share.
pub(crate) struct SocketState {
    /// What is served.
    pub store: Arc<Store>,
    /// For the paths of secrets.
    pub reader: Arc<KvReader>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The uids that may call.
    pub allow_uids: BTreeSet<u32>,
    /// Names this process in event ids.
    pub epoch: Uuid,
    /// Turns true when the agent ends.
    pub ending: watch::Receiver<bool>,
}

/// The routes of the Unix socket.
pub(crate) fn routes(state: SocketState) -> Router {
    let state = Arc::new(state);
    Router::new()
        .route("/v1/secrets", get(list))
        .route("/v1/secrets/{name}", get(secret))
        .route("/v1/secrets/{name}/adopted", put(adopted))
        .route("/v1/watch", get(watch_changes))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), check_caller))
        .with_state(state)
}

/// Refuses callers by the uid that the kernel vouches for, and says which setting decides.
async fn check_caller(
    State(state): State<Arc<SocketState>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let Peer::Unix { uid } = peer else { return next.run(request).await };
    if state.allow_uids.contains(&uid) {
        return next.run(request).await;
    }
    state.metrics.refused_callers.inc();
    warn!(uid, path = request.uri().path(), "refused a caller of the socket");
    Problem::new(StatusCode::FORBIDDEN, format!("uid {uid} is not in socket.allow_uids")).into_response()
}

async fn list(State(state): State<Arc<SocketState>>) -> Json<SecretList> {
    Json(SecretList { secrets: state.store.summaries() })
}

#[derive(Deserialize)]
struct Wanted {
    version: Option<String>,
}

async fn secret(
    State(state): State<Arc<SocketState>>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let number = match wanted.version.as_deref().map(str::parse::<u64>) {
        None => None,
        Some(Ok(number)) => Some(number),
        Some(Err(_)) => {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "expected version=N, a whole number"));
        }
    };
    let document = state.store.get(&name, number).ok_or_else(|| absent(&state.store, &name, number))?;
    let etag = document.version.etag();
    let tag = HeaderValue::try_from(&etag)
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the version has no entity tag"))?;
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| matches(value, &etag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = render(&name, &state.reader.path(&name), &document);
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(body))
            .into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn matches(value: &HeaderValue, etag: &str) -> bool {
    value
        .to_str()
        .is_ok_and(|tags| tags.split(',').any(|tag| matches!(tag.trim(), tag if tag == etag || tag == "*")))
}

fn absent(store: &Store, name: &str, number: Option<u64>) -> Problem {
    if !store.knows(name) {
        return Problem::new(
            StatusCode::NOT_FOUND,
            format!("no secret {name:?} is configured in kv.secrets"),
        );
    }
    if let Some(number) = number
        && store.get(name, None).is_some()
    {
        let detail = format!(
            "version {number} of {name} is neither the current one nor the one before, or it is retired"
        );
        return Problem::new(StatusCode::NOT_FOUND, detail);
    }
    let why = store.error(name).unwrap_or_else(|| "it was not read yet".to_owned());
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{name} was not delivered yet: {why}"))
        .retry_after_s(1)
}

/// The answer, in a buffer that is sized first and wiped once it is sent.
fn render(name: &str, path: &str, document: &Document) -> bytes::Bytes {
    let mut head = String::with_capacity(256);
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let rotation = document.rotation_id.as_deref().map_or("null".to_owned(), text);
    // Writing to a string cannot fail.
    let _ = write!(
        head,
        r#"{{"name":{},"path":{},"version":{},"created_time":"{}","rotation_id":{rotation},"data":"#,
        text(name),
        text(path),
        document.version.version,
        document.version.created_time,
    );
    let mut body = Zeroizing::new(Vec::with_capacity(head.len() + document.data.len() + 1));
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&document.data);
    body.push(b'}');
    bytes::Bytes::from_owner(Wiped(body))
}

struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

async fn adopted(
    State(state): State<Arc<SocketState>>,
    Path(name): Path<String>,
    body: bytes::Bytes,
) -> Result<StatusCode, Problem> {
    let adopted: Adopted = serde_json::from_slice(&body).map_err(|error| {
        let form = r#"expected {"version": N, "created_time": "RFC 3339", "instance": "UUID"}"#;
        Problem::new(StatusCode::BAD_REQUEST, format!("{form}: {error}"))
    })?;
    match state.store.adopt(&name, &adopted) {
        Ok(()) => {
            debug!(secret = name, version = adopted.version, instance = %adopted.instance, "adopted");
            Ok(StatusCode::NO_CONTENT)
        }
        Err(error @ NotAdopted::UnknownSecret) => Err(Problem::new(StatusCode::NOT_FOUND, error.to_string())),
        Err(error) => Err(Problem::new(StatusCode::CONFLICT, format!("{name}: {error}"))),
    }
}

#[derive(Deserialize)]
struct Watching {
    instance: Option<Uuid>,
}

async fn watch_changes(
    State(state): State<Arc<SocketState>>,
    watching: Result<Query<Watching>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let Ok(Query(Watching { instance: Some(instance) })) = watching else {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "expected instance=UUID, a new one for each start of a process",
        ));
    };
    let stream = state.store.open(instance).ok_or_else(|| {
        let detail = format!("{} instances watch already", store::MOST_INSTANCES);
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after_s(5)
    })?;
    let seen =
        headers.get("last-event-id").and_then(|id| resume(id.to_str().ok()?, state.epoch)).unwrap_or(0);
    let changes = state.store.changes();
    let feed = Feed { stream, changes, seen, queue: Vec::new(), state };
    let events =
        stream::unfold(feed, |mut feed| async move { feed.next().await.map(|event| (Ok(event), feed)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The generation after which to go on, if the id was given by this very process.
fn resume(id: &str, epoch: Uuid) -> Option<u64> {
    let generation = id.strip_prefix(&epoch.simple().to_string())?.strip_prefix('-')?;
    generation.parse().ok()
}

/// One open watch stream.
struct Feed {
    stream: store::Stream,
    changes: watch::Receiver<u64>,
    seen: u64,
    /// Changes to send, the next one last.
    queue: Vec<(u64, String, Arc<Document>)>,
    state: Arc<SocketState>,
}

impl Feed {
    /// The next event; `None` when the agent ends or a newer stream of this instance took over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.stream.is_replaced() || *self.state.ending.borrow() {
                return None;
            }
            if let Some((generation, name, document)) = self.queue.pop() {
                self.seen = self.seen.max(generation);
                return Some(self.event(generation, name, &document));
            }
            self.changes.borrow_and_update();
            self.queue = self.state.store.since(self.seen);
            self.queue.reverse();
            if !self.queue.is_empty() {
                continue;
            }
            let mut ending = self.state.ending.clone();
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                _ = ending.wait_for(|ending| *ending) => return None,
            }
        }
    }

    fn event(&self, generation: u64, name: String, document: &Document) -> Event {
        let change = Change {
            name,
            version: document.version.version,
            created_time: document.version.created_time,
            rotation_id: document.rotation_id.clone(),
        };
        let id = format!("{}-{generation}", self.state.epoch.simple());
        let event = Event::default().event("secret").id(id);
        // A change holds text and numbers only, so it always becomes JSON.
        event.json_data(change).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_ids_of_this_process_resume() {
        let epoch = Uuid::new_v4();
        assert_eq!(resume(&format!("{}-17", epoch.simple()), epoch), Some(17));
        for id in
            ["", "-", "17", &format!("{}-17", Uuid::new_v4().simple()), &format!("{}-x", epoch.simple())]
        {
            assert_eq!(resume(id, epoch), None, "{id}");
        }
    }

    proptest! {
        #[test]
        fn names_and_ids_are_escaped(name in ".*", rotation in proptest::option::of(".*")) {
            let version = secrets_agent_client::Version { version: 1, created_time: jiff::Timestamp::UNIX_EPOCH };
            let data = crate::memory::LockedBytes::new(b"{\"a\":1}").unwrap();
            let document = Document { version, rotation_id: rotation.clone(), data };
            let answer: serde_json::Value = serde_json::from_slice(&render(&name, "kv/x", &document)).unwrap();
            prop_assert_eq!(answer["name"].as_str().unwrap(), name);
            prop_assert_eq!(answer["rotation_id"].as_str().map(str::to_owned), rotation);
            prop_assert_eq!(&answer["data"]["a"], 1);
        }
    }
}
