//! The admin interface: what probes and scrapers ask.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use jiff::Timestamp;

use crate::http::Problem;
use crate::state::State;

pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/livez", get(|| async { ([(header::CACHE_CONTROL, "no-store")], "alive\n") }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { Problem::NOT_FOUND })
        .method_not_allowed_fallback(|| async { Problem::METHOD_NOT_ALLOWED })
        .with_state(state)
}

async fn ready(Shared(state): Shared<Arc<State>>) -> Response {
    let readiness = state.readiness(Timestamp::now());
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(readiness)).into_response()
}

async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    // The gauge of readiness is set by asking.
    state.readiness(Timestamp::now());
    match state.metrics.encode() {
        Ok(text) => {
            let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, openmetrics)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
