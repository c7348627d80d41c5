//! A stand-in for the agent that speaks its wire and does on purpose what the real one does seldom:
//! refuse an acknowledgement, answer garbage, forget what it knew, hand out what it should not.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use futures_util::stream::{self, Stream, StreamExt};
use http::StatusCode;
use secrets_agent_client::wire::Adopted;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::documents::{Key, clients, config, keyset, tls};
use local_region::pki::Ca;

pub(crate) struct StandIn {
    shared: Arc<Shared>,
    pub(crate) socket: PathBuf,
    folder: TempDir,
    serving: JoinHandle<()>,
}

struct Shared {
    held: Mutex<Held>,
    changed: broadcast::Sender<String>,
}

#[derive(Default)]
struct Held {
    documents: BTreeMap<String, (u64, Value)>,
    acknowledged: Vec<(String, u64, String)>,
    refuses: bool,
    refused: usize,
    garbage: bool,
}

impl StandIn {
    /// One that holds nothing yet.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("stand-in-").tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let shared = Arc::new(Shared { held: Mutex::default(), changed: broadcast::channel(64).0 });
        let serving = serve(&socket, &shared);
        StandIn { shared, socket, folder, serving }
    }

    /// One that holds a good version of each document, with `one` as the probe's secret.
    pub(crate) fn with_documents(ca: &Ca, key: &Key) -> Self {
        let agent = StandIn::start();
        agent.deliver("config", 1, config());
        agent.deliver("clients", 1, clients(&[("one", None)]));
        agent.deliver("signing-keys", 1, keyset(&[(key, "active")]));
        agent.deliver("tls", 1, tls(ca));
        agent
    }

    pub(crate) fn deliver(&self, name: &str, version: u64, document: Value) {
        self.held().documents.insert(name.to_owned(), (version, document));
        let _ = self.shared.changed.send(name.to_owned());
    }

    /// The versions of a document that were acknowledged, in order.
    pub(crate) fn acknowledged(&self, name: &str) -> Vec<u64> {
        self.held()
            .acknowledged
            .iter()
            .filter(|(other, ..)| other == name)
            .map(|(_, version, _)| *version)
            .collect()
    }

    /// From now on, acknowledgements are refused with 409, or not.
    pub(crate) fn refuse_acknowledgements(&self, refuses: bool) {
        self.held().refuses = refuses;
    }

    /// How many acknowledgements were refused.
    pub(crate) fn refused(&self) -> usize {
        self.held().refused
    }

    /// From now on, fetches are answered with what is no document, or not.
    pub(crate) fn answer_garbage(&self, garbage: bool) {
        self.held().garbage = garbage;
    }

    /// Ends every connection, closes the socket, and forgets what was acknowledged.
    pub(crate) async fn crash(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
        let _ = self.shared.changed.send(String::new());
        let _ = std::fs::remove_file(&self.socket);
        self.held().acknowledged.clear();
    }

    pub(crate) fn come_back(&mut self) {
        self.serving = serve(&self.socket, &self.shared);
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.held.lock().unwrap()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn serve(socket: &std::path::Path, shared: &Arc<Shared>) -> JoinHandle<()> {
    let router = Router::new()
        .route("/v1/secrets", get(|| async { Json(json!({"secrets": []})) }))
        .route("/v1/secrets/{name}", get(secret))
        .route("/v1/secrets/{name}/adopted", put(adopted))
        .route("/v1/watch", get(watch))
        .with_state(Arc::clone(shared));
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

/// Each version was written a second after the one before.
fn created(version: u64) -> String {
    jiff::Timestamp::from_second(1_790_000_000 + i64::try_from(version).unwrap()).unwrap().to_string()
}

async fn secret(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let held = shared.held.lock().unwrap();
    if held.garbage {
        return "canary, and no JSON".into_response();
    }
    match held.documents.get(&name) {
        None => StatusCode::NOT_FOUND.into_response(),
        Some((version, data)) => Json(json!({
            "name": name, "path": format!("kv/service/{name}"), "version": version,
            "created_time": created(*version), "rotation_id": null, "data": data,
        }))
        .into_response(),
    }
}

async fn adopted(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Json(body): Json<Adopted>,
) -> StatusCode {
    let mut held = shared.held.lock().unwrap();
    if held.refuses {
        held.refused += 1;
        return StatusCode::CONFLICT;
    }
    held.acknowledged.push((name, body.version, body.instance.to_string()));
    StatusCode::NO_CONTENT
}

async fn watch(State(shared): State<Arc<Shared>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = shared.changed.subscribe();
    let known: Vec<String> = shared.held.lock().unwrap().documents.keys().cloned().collect();
    let later = stream::unfold(changes, |mut changes| async move {
        let name = changes.recv().await.ok()?;
        // An empty name is the end of a crashed agent's streams.
        (!name.is_empty()).then_some((name, changes))
    });
    let told = stream::iter(known).chain(later).filter_map(move |name| {
        let version = shared.held.lock().unwrap().documents.get(&name).map(|(version, _)| *version);
        async move {
            let version = version?;
            let change =
                json!({"name": name, "version": version, "created_time": created(version), "rotation_id": null});
            Some(Ok(Event::default().id(format!("stand-in-{version}")).data(change.to_string())))
        }
    });
    Sse::new(told)
}
