//! Why the token endpoint refused (RFC 6749 §5.2).

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// A refusal of the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The request is malformed; the text says how, and holds nothing of it.
    InvalidRequest(&'static str),
    /// The client is unknown, its secret is wrong or has ended, or it sent none.
    InvalidClient,
    /// Another grant than `client_credentials`.
    UnsupportedGrantType,
    /// A scope is malformed, or the client is not registered for it.
    InvalidScope,
    /// A resource for which no tokens are issued here (RFC 8707).
    InvalidTarget,
    /// The body is larger than `http.body_limit`.
    TooLarge,
    /// The body did not come within `http.body_timeout`.
    TooSlow,
    /// The first documents have not come yet.
    NotReady,
    /// Signing failed.
    ServerError,
}

/// The body of a refusal.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OauthError {
    /// The code of RFC 6749 §5.2 or RFC 8707 §2.
    error: &'static str,
    /// For the developer of the client.
    error_description: &'static str,
}

impl Refusal {
    /// The error code, which is also the metric's label.
    pub fn code(self) -> &'static str {
        self.parts().1
    }

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as Status;
        match self {
            Refusal::InvalidRequest(what) => (Status::BAD_REQUEST, "invalid_request", what),
            Refusal::InvalidClient => (
                Status::UNAUTHORIZED,
                "invalid_client",
                "unknown client, or its secret is wrong or has ended",
            ),
            Refusal::UnsupportedGrantType => {
                (Status::BAD_REQUEST, "unsupported_grant_type", "the one grant is client_credentials")
            }
            Refusal::InvalidScope => (
                Status::BAD_REQUEST,
                "invalid_scope",
                "a scope is malformed, or the client is not registered for it",
            ),
            Refusal::InvalidTarget => {
                (Status::BAD_REQUEST, "invalid_target", "tokens for that resource are not issued here")
            }
            Refusal::TooLarge => (Status::PAYLOAD_TOO_LARGE, "invalid_request", "the body is too large"),
            Refusal::TooSlow => (Status::REQUEST_TIMEOUT, "invalid_request", "the body did not come in time"),
            Refusal::NotReady => (
                Status::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "this instance is starting; try again",
            ),
            Refusal::ServerError => {
                (Status::INTERNAL_SERVER_ERROR, "server_error", "the token could not be signed")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, error_description) = self.parts();
        let mut response = (status, Json(OauthError { error, error_description })).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Refusal::InvalidClient => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"oauth2\""));
            }
            Refusal::NotReady => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // What of the body is still to come would be read as the next request.
            Refusal::TooLarge | Refusal::TooSlow => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
