//! What the watcher answers on its port. Nothing of it is a value.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::metrics::Metrics;
use super::rounds::{Asks, Seen};
use crate::plan::view::Operator;

/// The most connections that are open at once.
const MOST_CONNECTIONS: usize = 128;

/// How long a client may take to send its headers.
const HEADERS: Duration = Duration::from_secs(5);

/// How long connections may take to end once the watcher ends.
const DRAIN: Duration = Duration::from_secs(2);

/// For so long an operator who asked counts as one who is at work.
const AT_WORK: Duration = Duration::from_secs(10);

/// Operators that are remembered.
const MOST_OPERATORS: usize = 32;

/// What the handlers share.
pub(super) struct Shared {
    pub(super) asks: Asks,
    pub(super) seen: watch::Receiver<Option<Seen>>,
    pub(super) metrics: Metrics,
    operators: Mutex<VecDeque<Known>>,
}

struct Known {
    who: String,
    run: String,
    secret: String,
    last: Instant,
}

impl Shared {
    pub(super) fn new(asks: Asks, seen: watch::Receiver<Option<Seen>>, metrics: Metrics) -> Self {
        Self { asks, seen, metrics, operators: Mutex::default() }
    }

    /// Notes who asks, and gives everybody who is at work, in the order in which they came.
    fn meet(&self, asking: Option<Asking>) -> Vec<Operator> {
        let now = Instant::now();
        let mut known = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| now.duration_since(known.last) < AT_WORK);
        if let Some(Asking { who: Some(who), run: Some(run), secret: Some(secret) }) = asking {
            let place = known.iter().position(|known| known.run == run && known.secret == secret);
            match place {
                Some(place) => known[place].last = now,
                None if known.len() < MOST_OPERATORS => {
                    known.push_back(Known { who, run, secret, last: now });
                }
                None => {}
            }
        }
        let operator = |known: &Known| Operator {
            who: known.who.clone(),
            run: known.run.clone(),
            secret: known.secret.clone(),
            idle_ms: u64::try_from(now.duration_since(known.last).as_millis()).unwrap_or(u64::MAX),
        };
        known.iter().map(operator).collect()
    }
}

/// Who asks for a region.
#[derive(Deserialize)]
struct Asking {
    who: Option<String>,
    run: Option<String>,
    secret: Option<String>,
}

/// The routes.
pub(super) fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/region", get(region))
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is no such thing here"))
        .with_state(Arc::new(shared))
}

/// 200 from the first round that came to its end. Not for Vault's sake: a region whose Vault is away is looked at too.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match &*shared.seen.borrow() {
        Some(Ok(_)) => Json(json!({"ready": true})).into_response(),
        Some(Err(why)) => problem(StatusCode::SERVICE_UNAVAILABLE, why),
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "the first round has not ended yet"),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let view = match &*shared.seen.borrow() {
        Some(Ok(view)) => Some(Arc::clone(view)),
        _ => None,
    };
    ([(header::CONTENT_TYPE, kind)], shared.metrics.encode(view.as_deref())).into_response()
}

async fn region(State(shared): State<Arc<Shared>>, Query(asking): Query<Asking>) -> Response {
    let operators = shared.meet(Some(asking));
    match shared.asks.fresh().await {
        Ok(view) => {
            let mut view = view.as_ref().clone();
            view.operators = operators;
            ([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
        }
        Err(why) => problem(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// An error answer (RFC 9457).
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({"status": status.as_u16(), "title": title, "detail": detail}).to_string();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

/// Listens.
///
/// # Errors
/// The address is taken or not this machine's.
pub(super) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("--listen {address}: {error}"));
    TcpListener::bind(address).await.map_err(named)
}

/// Serves until `stop` is true, then lets open exchanges end.
pub(super) async fn serve(listener: TcpListener, routes: Router, mut stop: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: going on at once would only spin.
                warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_headers(64)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = timeout(DRAIN, graceful.shutdown()).await;
}
