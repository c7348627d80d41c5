//! Faults that are played on purpose: a release for tests of promotions, that is ready and not good.
//!
//! They are compiled in with the feature `faults`, which nothing that is released has, and for unit tests. They stand
//! before every public route and inside of what counts answers, so that gates see them as they would see those of a
//! handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde::de::Deserializer;
use tracing::warn;

use crate::configuration::values::{Parsed, Span};
use crate::metrics::Route;
use crate::oauth::refusal::Refusal;
use crate::state::State;

/// What is played; without any of its keys, nothing.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    /// This share of requests is answered with 500.
    errors: Share,
    /// Every answer comes later by so much.
    delay: Span,
    /// Nobody is known to the token endpoint.
    refuse: Flag,
}

/// A share, in millionths, so that which requests it meets is certain and not drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Share(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Flag(bool);

const WHOLE: u32 = 1_000_000;

impl Share {
    /// Whether it meets this request, counted from 1: of a share of 0.05, every twentieth.
    fn meets(self, number: u64) -> bool {
        let met = |requests: u64| requests.saturating_mul(u64::from(self.0)) / u64::from(WHOLE);
        met(number) > met(number.saturating_sub(1))
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed("a share in quotes, from 0 to 1 such as 0.05", |text| {
            let share: f64 = text.parse().ok()?;
            (0.0..=1.0).contains(&share).then(|| Share((share * f64::from(WHOLE)).round() as u32))
        }))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed("true or false, in quotes", |text| text.parse().ok().map(Flag)))
    }
}

struct Play {
    state: Arc<State>,
    asked: AtomicU64,
}

/// These routes, with the faults of the configuration before them.
pub(crate) fn before(router: Router, state: &Arc<State>) -> Router {
    // `local/images/free-of-faults` knows such a build by this text.
    warn!(
        faults = ?state.configuration.faults,
        "this build plays faults on purpose, for tests of promotions, and is never to be released"
    );
    let play = Play { state: Arc::clone(state), asked: AtomicU64::new(0) };
    router.layer(from_fn_with_state(Arc::new(play), answer))
}

async fn answer(Shared(play): Shared<Arc<Play>>, request: Request, next: Next) -> Response {
    let Faults { errors, delay, refuse } = play.state.configuration.faults;
    if !delay.0.is_zero() {
        tokio::time::sleep(delay.0).await;
    }
    let is_met = errors.meets(play.asked.fetch_add(1, Ordering::Relaxed).saturating_add(1));
    match Route::of(request.uri().path()) {
        Route::Token if is_met => play.refuse(Refusal::ServerError),
        Route::Token if refuse.0 => play.refuse(Refusal::InvalidClient),
        _ if is_met => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => next.run(request).await,
    }
}

impl Play {
    /// Refuses and counts, as the token endpoint does.
    fn refuse(&self, refusal: Refusal) -> Response {
        self.state.metrics.refused(refusal.code());
        refusal.into_response()
    }
}

#[cfg(test)]
mod tests;
