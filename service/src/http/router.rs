//! The paths of the public interface, and their description.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Shared};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::Timestamp;
use tokio::time::timeout;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Problem;
use crate::oauth::issue::{Issued, issue};
use crate::oauth::metadata::{Jwks, Metadata};
use crate::oauth::refusal::{OauthError, Refusal};
use crate::snapshot::{Region, Rendered};
use crate::state::State;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "service",
        description = "An OAuth 2.0 token issuer for machines that works the same in every region"
    ),
    components(schemas(TokenRequest))
)]
struct Description;

/// The form of a token request, for the description alone.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "read by the OpenAPI description only")]
struct TokenRequest {
    /// Always `client_credentials`.
    grant_type: String,
    /// Scopes separated by single spaces; all of the client's when absent.
    scope: Option<String>,
    /// The resource that the token is for (RFC 8707); the configured audience is the only one.
    resource: Option<String>,
    /// The client's id, unless it authenticates with HTTP Basic.
    client_id: Option<String>,
    /// The client's secret, unless it authenticates with HTTP Basic.
    client_secret: Option<String>,
}

/// The router of the public interface.
pub fn router(state: Arc<State>) -> Router {
    let (router, description) = described().split_for_parts();
    let description = Bytes::from(description.to_json().unwrap_or_default());
    let openapi = move || async move { json(description) };
    router
        .route("/openapi.json", axum::routing::get(openapi))
        .fallback(|| async { Problem::NOT_FOUND })
        .method_not_allowed_fallback(|| async { Problem::METHOD_NOT_ALLOWED })
        .with_state(state)
}

/// The OpenAPI description of the public interface, as JSON.
pub fn openapi() -> String {
    described().split_for_parts().1.to_pretty_json().unwrap_or_default()
}

fn described() -> OpenApiRouter<Arc<State>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(token))
        .routes(routes!(jwks))
        .routes(routes!(metadata))
        .routes(routes!(region))
        .routes(routes!(traffic))
}

/// Issues an access token to a client (RFC 6749 §4.4), as a JWT (RFC 9068).
#[utoipa::path(
    post,
    path = "/oauth2/token",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = Issued),
        (status = 400, body = OauthError),
        (status = 401, body = OauthError),
        (status = 408, body = OauthError),
        (status = 413, body = OauthError),
        (status = 503, body = OauthError),
    )
)]
async fn token(Shared(state): Shared<Arc<State>>, request: Request) -> Response {
    match answer_token(&state, request).await {
        Ok(issued) => {
            let mut response = axum::Json(issued).into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(refusal) => {
            state.metrics.refused(refusal.code());
            refusal.into_response()
        }
    }
}

async fn answer_token(state: &State, request: Request) -> Result<Issued, Refusal> {
    let (head, body) = request.into_parts();
    if head.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Refusal::InvalidRequest("parameters belong into the body, not into the URL"));
    }
    if !is_form(&head.headers) {
        return Err(Refusal::InvalidRequest("the Content-Type must be application/x-www-form-urlencoded"));
    }
    let http = &state.configuration.http;
    let body = read_body(body, http.body_limit, http.body_timeout).await?;
    // Loaded after the body has come, however slowly: what signs is what is in use now.
    let snapshot = state.snapshot();
    let snapshot = snapshot.as_ref().ok_or(Refusal::NotReady)?;
    issue(snapshot, &head.headers, &body, Timestamp::now())
}

fn is_form(headers: &HeaderMap) -> bool {
    let Some(given) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = given.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

async fn read_body(body: Body, limit: usize, within: Duration) -> Result<Bytes, Refusal> {
    match timeout(within, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Ok(Err(_)) => Err(Refusal::InvalidRequest("the body broke off")),
        Err(_) => Err(Refusal::TooSlow),
    }
}

/// Every key that verifies tokens: published, active and retiring.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    responses((status = 200, body = Jwks<'static>), (status = 304), (status = 503, body = Problem))
)]
async fn jwks(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Response {
    state
        .snapshot()
        .as_ref()
        .map_or_else(|| Problem::NOT_READY.into_response(), |now| kept(&now.jwks, &headers))
}

/// What this authorization server can do (RFC 8414).
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    responses((status = 200, body = Metadata), (status = 304), (status = 503, body = Problem))
)]
async fn metadata(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Response {
    state
        .snapshot()
        .as_ref()
        .map_or_else(|| Problem::NOT_READY.into_response(), |now| kept(&now.metadata, &headers))
}

/// Who served this request.
#[utoipa::path(
    get,
    path = "/v1/region",
    responses((status = 200, body = Region<'static>), (status = 503, body = Problem))
)]
async fn region(Shared(state): Shared<Arc<State>>) -> Response {
    state
        .snapshot()
        .as_ref()
        .map_or_else(|| Problem::NOT_READY.into_response(), |now| json(now.region.clone()))
}

/// Whether the global entry should send traffic to this region. A drained region answers 503 here and
/// serves everything else.
#[utoipa::path(
    get,
    path = "/trafficz",
    responses((status = 200, body = TrafficState), (status = 503, body = TrafficState))
)]
async fn traffic(Shared(state): Shared<Arc<State>>) -> Response {
    let traffic = state.traffic.load();
    let (status, name) = if traffic.drained {
        (StatusCode::SERVICE_UNAVAILABLE, "drained")
    } else {
        (StatusCode::OK, "serving")
    };
    let told = TrafficState { state: name, reason: traffic.reason.clone() };
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(told)).into_response()
}

/// The answer of `/trafficz`.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct TrafficState {
    /// `serving` or `drained`.
    state: &'static str,
    /// Why, in the operator's words.
    reason: Option<String>,
}

fn json(body: Bytes) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

/// An answer that a client may keep, or 304 when it has it already (RFC 9110 §13.1.2).
fn kept(rendered: &Rendered, request: &HeaderMap) -> Response {
    let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| names(value, &rendered.etag));
    let body = if known { Bytes::new() } else { rendered.body.clone() };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::ETAG, rendered.etag.clone());
    headers.insert(header::CACHE_CONTROL, rendered.cache_control.clone());
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

fn names(if_none_match: &HeaderValue, etag: &HeaderValue) -> bool {
    let Ok(given) = if_none_match.to_str() else { return false };
    given.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
