//! Errors outside of OAuth (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// A problem document. Its type is `about:blank`: the status says what kind it is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// What kind of problem it is.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What to do about it.
    detail: &'static str,
}

impl Problem {
    /// No such path.
    pub const NOT_FOUND: Problem =
        Problem { title: "Not Found", status: 404, detail: "no such path; /openapi.json lists them" };
    /// The path does not have this method.
    pub const METHOD_NOT_ALLOWED: Problem = Problem {
        title: "Method Not Allowed",
        status: 405,
        detail: "the Allow header lists what this path takes",
    };
    /// The first documents have not come yet.
    pub const NOT_READY: Problem =
        Problem { title: "Service Unavailable", status: 503, detail: "this instance is starting; try again" };
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
