//! Error answers (RFC 9457).

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use secrets_agent_client::wire;
use tokio::time::timeout;

/// How long a request's body may take to come. Handlers themselves wait for nothing.
const PATIENCE: Duration = Duration::from_secs(5);
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error answer with what to do next.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    retry_after_s: Option<u32>,
}

impl Problem {
    /// An answer with this status; `detail` says what it is about and what to do next.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem { status, detail: detail.into(), retry_after_s: None }
    }

    /// Adds when to come back.
    pub(crate) fn retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error").to_owned();
        let body = wire::Problem { status: self.status.as_u16(), title, detail: self.detail };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// What a path that is not there answers.
pub(crate) async fn not_found(uri: http::Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

/// What a method that a path does not know answers.
pub(crate) async fn wrong_method(method: http::Method, uri: http::Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

/// Bounds the time that a request takes, and gives the refusals that axum makes by itself their form.
pub(crate) async fn in_time(request: Request, next: Next) -> Response {
    let Ok(response) = timeout(PATIENCE, next.run(request)).await else {
        let detail = format!("the request was not complete after {} s", PATIENCE.as_secs());
        return Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response();
    };
    let status = response.status();
    let shaped = response.headers().get(header::CONTENT_TYPE) == Some(&MEDIA_TYPE);
    if shaped || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let said = to_bytes(response.into_body(), 1024).await.unwrap_or_default();
    Problem::new(status, String::from_utf8_lossy(&said)).into_response()
}
