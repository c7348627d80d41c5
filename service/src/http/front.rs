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
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tower::Service;
use tracing::{Level, debug, error};

use super::body::Answer;
use super::request_id::{RequestIds, X_REQUEST_ID};
use crate::metrics::Route;
use crate::server::Activity;
use crate::state::{Phase, State};

/// The service of every connection.
#[derive(Debug, Clone)]
pub struct Front {
    shared: Arc<Shared>,
    /// That of the connection, once it is open.
    activity: Option<Activity>,
}

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
        Front { shared: Arc::new(Shared { state, router, ids: RequestIds::new() }), activity: None }
    }

    /// The front of one connection.
    pub fn of(self, activity: Activity) -> Self {
        Front { activity: Some(activity), ..self }
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
        let Front { shared, activity } = self;
        if let Some(activity) = &activity {
            activity.serving();
        }
        let begun = Instant::now();
        let asked = Asked {
            id: shared.ids.of(request.headers()),
            route: Route::of(request.uri().path()),
            activity: activity.take(),
            begun,
        };
        // Faults that are played on purpose stand before the router's routes.
        if cfg!(not(any(test, feature = "faults")))
            && asked.route == Route::Region
            && request.method() == Method::GET
            && let Some(response) = shared.region()
        {
            return Answering::Ready(Some(shared.finish(response, asked, &Method::GET)));
        }
        let shared = Arc::clone(shared);
        let method = request.method().clone();
        let answer = shared.router.clone().call(request);
        Answering::Routed(Box::pin(async move {
            let Ok(response) = answer.await;
            shared.finish(response.map(Answer::Routed), asked, &method)
        }))
    }
}

/// What is known of a request until its answer.
struct Asked {
    id: HeaderValue,
    route: Route,
    activity: Option<Activity>,
    begun: Instant,
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

    fn finish(&self, mut response: Response<Answer>, asked: Asked, method: &Method) -> Response<Answer> {
        let Asked { id, route, activity, begun } = asked;
        let status = response.status();
        let now = Instant::now();
        if let Some(activity) = activity {
            activity.answered(now);
        }
        let took = now - begun;
        self.state.metrics.answered(route, status, took);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            error!(%method, route = route.as_str(), request_id = ?id, "request failed");
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
