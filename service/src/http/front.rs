//! What every request passes: its id, its count, its log line, and the closing of connections at the end.
//!
//! `GET /v1/region` is answered right here from bytes that were rendered with the snapshot; everything
//! else goes through the router.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use tower::Service;
use tracing::{Level, debug, error};

use super::body::Answer;
use super::request_id::{RequestIds, X_REQUEST_ID};
use crate::metrics::Route;
use crate::state::{Phase, State};

/// The service of every connection.
#[derive(Debug, Clone)]
pub struct Front(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Arc<State>,
    router: Router,
    ids: RequestIds,
}

/// An answer that is there already or on its way. Only the latter is boxed.
pub enum Answering {
    /// There already; taken when it was given.
    Ready(Option<Response<Answer>>),
    /// On its way.
    Routed(Pin<Box<dyn Future<Output = Response<Answer>> + Send>>),
}

impl Front {
    /// A front before this router.
    pub fn new(state: Arc<State>, router: Router) -> Self {
        Front(Arc::new(Shared { state, router, ids: RequestIds::new() }))
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering {
        let begun = Instant::now();
        let id = self.0.ids.of(request.headers());
        let route = Route::of(request.uri().path());
        if route == Route::Region
            && request.method() == Method::GET
            && let Some(response) = self.0.region()
        {
            return Answering::Ready(Some(self.0.finish(response, id, &Method::GET, route, begun)));
        }
        let shared = Arc::clone(&self.0);
        let method = request.method().clone();
        let answer = shared.router.clone().call(request);
        Answering::Routed(Box::pin(async move {
            let Ok(response) = answer.await;
            shared.finish(response.map(Answer::Routed), id, &method, route, begun)
        }))
    }
}

impl Shared {
    fn region(&self) -> Option<Response<Answer>> {
        let body = self.state.snapshot().as_ref()?.region.clone();
        let mut response = Response::new(Answer::Rendered(Some(body)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }

    fn finish(
        &self,
        mut response: Response<Answer>,
        id: HeaderValue,
        method: &Method,
        route: Route,
        begun: Instant,
    ) -> Response<Answer> {
        let status = response.status();
        let took = begun.elapsed();
        self.state.metrics.answered(route, status, took);
        if status.is_server_error() && self.state.snapshot().is_some() {
            error!(%method, route = route.as_str(), status = status.as_u16(), request_id = ?id, "request failed");
        } else if tracing::enabled!(Level::DEBUG) {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            debug!(%method, route = route.as_str(), status = status.as_u16(), us, request_id = ?id, "request");
        }
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, id);
        if self.state.phase() == Phase::Closing {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Answering::Ready(response) => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            Answering::Routed(answer) => answer.as_mut().poll(context).map(Ok),
        }
    }
}
