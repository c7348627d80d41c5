//! Waiting for a named condition, inside a timeout.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The first pause between two looks; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A condition that did not come about in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("waited {} s for {what}; last seen: {seen}", .within.as_secs_f64())]
pub struct NotInTime {
    /// What was awaited.
    pub what: String,
    /// For how long.
    pub within: Duration,
    /// What the last look found instead.
    pub seen: String,
}

/// What a look at a condition may give: the value that was awaited, or what was seen instead.
pub trait Observation {
    /// What the wait gives when the condition holds; `()` where there is nothing to give.
    type Value;

    /// The value, or what was seen instead.
    ///
    /// # Errors
    /// What was seen instead, in words.
    fn into_outcome(self) -> Result<Self::Value, String>;
}

impl Observation for bool {
    type Value = ();

    fn into_outcome(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("not so".to_owned()) }
    }
}

impl<T> Observation for Option<T> {
    type Value = T;

    fn into_outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: fmt::Display> Observation for Result<T, E> {
    type Value = T;

    fn into_outcome(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Looks again and again until `look` gives what is awaited: `true`, `Some` or `Ok`.
///
/// Looks first at once, then after 5 ms, and at last every 100 ms. A look that does not return is cut off
/// at the end of the time.
///
/// # Errors
/// [`NotInTime`], with what was awaited and what the last look that returned found.
pub async fn wait_until<O: Observation>(
    what: impl fmt::Display,
    within: Duration,
    look: impl AsyncFnMut() -> O,
) -> Result<O::Value, NotInTime> {
    wait_pausing(what, within, FIRST_PAUSE..=LONGEST_PAUSE, look).await
}

/// As [`wait_until`], with the first and the longest pause between two looks: for what is measured.
///
/// # Errors
/// As [`wait_until`].
pub async fn wait_pausing<O: Observation>(
    what: impl fmt::Display,
    within: Duration,
    pauses: RangeInclusive<Duration>,
    mut look: impl AsyncFnMut() -> O,
) -> Result<O::Value, NotInTime> {
    let end = Instant::now() + within;
    let mut pause = *pauses.start();
    let mut seen = "the first look did not return".to_owned();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match timeout(left, look()).await.map(Observation::into_outcome) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(instead)) => seen = instead,
            Err(_) => {}
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NotInTime { what: what.to_string(), within, seen });
        }
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(*pauses.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn the_value_is_given_as_soon_as_it_is_there() {
        let mut looks = 0;
        let value = wait_until("the third look", LONG, async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(value.await, Ok(3));
    }

    #[tokio::test]
    async fn an_error_says_what_was_awaited_and_what_was_seen_last() {
        let mut looks = 0;
        let error = wait_until("the pod", SHORT, async || {
            looks += 1;
            Err::<(), _>(if looks == 1 { "starting" } else { "broken" })
        });
        assert_eq!(error.await.unwrap_err().to_string(), "waited 0.04 s for the pod; last seen: broken");
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_cut_off() {
        let error = wait_until("an answer", SHORT, std::future::pending::<bool>).await.unwrap_err();
        assert!(error.to_string().ends_with("the first look did not return"), "{error}");
    }
}
