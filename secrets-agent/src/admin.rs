//! What the agent answers on its TCP port: health, counts, who uses what, and nudges. Never a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{StatusCode, header};
use jiff::Timestamp;
use secrets_agent_client::wire::{Nudge, Status};
use tokio::sync::watch;

use crate::config::Pod;
use crate::fetch::{Keeper, Nudges};
use crate::metrics::Metrics;
use crate::problem::{Problem, not_found, wrong_method};
use crate::store::Store;

/// A nudge is some dozen bytes.
const LARGEST_BODY: usize = 4 << 10;

/// What the TCP port's handlers share.
pub(crate) struct AdminState {
    /// Whom this agent serves.
    pub pod: Pod,
    /// When it started.
    pub start: Timestamp,
    /// What is shown.
    pub store: Arc<Store>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The keepers' nudges, by secret.
    pub nudges: BTreeMap<String, Arc<Nudges>>,
    /// Why the files are not as they should be, where files are configured.
    pub files_trouble: Option<watch::Receiver<Option<String>>>,
    /// Turns true when the agent ends.
    pub ending: watch::Receiver<bool>,
}

/// The routes of the TCP port.
pub(crate) fn routes(state: AdminState) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/nudge", post(nudge))
        .route("/v1/status", get(status))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Arc::new(state))
}

async fn live() -> &'static str {
    "ok\n"
}

/// 200 from the moment at which the sockets listen. A startup probe may ask it: the application then starts
/// beside an agent that it can talk to, and becomes ready by itself once its secrets have come. It does not
/// turn with Vault, since a pod that has its secrets serves on without it.
async fn ready(State(state): State<Arc<AdminState>>) -> Response {
    if *state.ending.borrow() {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is ending").into_response();
    }
    let missing = state.store.statuses().into_iter().filter(|secret| secret.version.is_none());
    let missing: Vec<String> = missing.map(|secret| secret.name).collect();
    let files = state.files_trouble.as_ref().and_then(|trouble| trouble.borrow().clone());
    Json(serde_json::json!({"status": "ready", "not_delivered": missing, "files": files})).into_response()
}

async fn metrics(State(state): State<Arc<AdminState>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics.encode(&state.store)).into_response()
}

async fn nudge(State(state): State<Arc<AdminState>>, body: bytes::Bytes) -> Result<StatusCode, Problem> {
    let nudge: Nudge = serde_json::from_slice(&body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!(r#"expected {{"name": "…", "version": N}}: {error}"#))
    })?;
    let nudges = state.nudges.get(&nudge.name).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, format!("no secret {:?} is configured in kv.secrets", nudge.name))
    })?;
    Keeper::count_nudge(&state.metrics, &nudge.name);
    nudges.nudge(nudge.version);
    Ok(StatusCode::ACCEPTED)
}

async fn status(State(state): State<Arc<AdminState>>) -> Json<Status> {
    Json(Status {
        pod: state.pod.name.clone(),
        pod_uid: state.pod.uid.clone(),
        agent_start: state.start,
        instances: state.store.instances(),
        vault: state.store.vault(),
        secrets: state.store.statuses(),
    })
}
