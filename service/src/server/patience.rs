//! How long a connection is waited for: little in the middle of a request's header, longer between requests.
//!
//! hyper has one timer for both, so that bounding slow clients with it would also close kept connections
//! early, just when a client may be about to use one again. Here the connection knows from [`Front`] when
//! a request is being served, and one sleep that is seldom set again watches the rest.
//!
//! [`Front`]: crate::http::Front

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// What a connection is doing, told by its two ends: the stream that reads it and the service behind it.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    opened: Instant,
    stage: AtomicU8,
    /// When the stage began, in milliseconds from `opened`.
    since: AtomicU64,
}

/// The header of a request is coming, or is awaited for the first time.
const HEADER: u8 = 0;
const SERVING: u8 = 1;
/// Between requests.
const IDLE: u8 = 2;

impl Activity {
    pub(super) fn new() -> Self {
        let opened = Instant::now();
        Activity(Arc::new(Shared { opened, stage: AtomicU8::new(HEADER), since: AtomicU64::new(0) }))
    }

    /// A request is being served.
    pub fn serving(&self) {
        self.0.stage.store(SERVING, Ordering::Relaxed);
    }

    /// The answer was given, at the moment `now`.
    pub fn answered(&self, now: std::time::Instant) {
        self.enter(IDLE, now.into());
    }

    fn bytes_came(&self) {
        if self.0.stage.load(Ordering::Relaxed) == IDLE {
            self.enter(HEADER, Instant::now());
        }
    }

    fn enter(&self, stage: u8, now: Instant) {
        let since = now.saturating_duration_since(self.0.opened).as_millis();
        self.0.since.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.0.stage.store(stage, Ordering::Relaxed);
    }
}

/// The patience with one connection.
pub(super) struct Patience {
    activity: Activity,
    header: Duration,
    idle: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl Patience {
    pub(super) fn new(activity: Activity, header: Duration, idle: Duration) -> Self {
        let alarm = Box::pin(sleep_until(activity.0.opened + header));
        Patience { activity, header, idle, alarm }
    }

    /// Something was read.
    pub(super) fn bytes_came(&self) {
        self.activity.bytes_came();
    }

    /// Nothing is there to read: an error if that has lasted too long, and otherwise a wake-up at the
    /// moment at which it will have.
    pub(super) fn nothing_came(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut deadline = self.deadline();
        // A later deadline is seen when the alarm comes; only an earlier one must move it.
        if deadline < self.alarm.deadline() {
            self.alarm.as_mut().reset(deadline);
        }
        while self.alarm.as_mut().poll(context).is_ready() {
            deadline = self.deadline();
            if deadline <= Instant::now() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request came")));
            }
            self.alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn deadline(&self) -> Instant {
        let Shared { opened, stage, since } = &*self.activity.0;
        let begun = *opened + Duration::from_millis(since.load(Ordering::Relaxed));
        match stage.load(Ordering::Relaxed) {
            HEADER => begun + self.header,
            IDLE => begun + self.idle,
            // The service bounds how long it waits for a body.
            _ => Instant::now() + self.idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const HEADER_TIME: Duration = Duration::from_secs(10);
    const IDLE_TIME: Duration = Duration::from_secs(100);

    fn patience() -> (Activity, Patience) {
        let activity = Activity::new();
        (activity.clone(), Patience::new(activity, HEADER_TIME, IDLE_TIME))
    }

    /// How long it is until the patience ends, in seconds of the paused clock.
    async fn ends_after(patience: &mut Patience) -> u64 {
        let begun = Instant::now();
        let ended = poll_fn(|context| patience.nothing_came(context)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_must_come_soon() {
        let (_, mut patience) = patience();
        assert_eq!(ends_after(&mut patience).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_has_more_time_and_a_begun_header_less_again() {
        let (activity, mut patience) = patience();
        activity.serving();
        activity.answered(Instant::now().into_std());
        assert_eq!(ends_after(&mut patience).await, 100);
        activity.answered(Instant::now().into_std());
        patience.bytes_came();
        assert_eq!(ends_after(&mut patience).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn more_bytes_of_the_same_header_win_no_time() {
        let (_, mut patience) = patience();
        for _ in 0..9 {
            tokio::time::advance(Duration::from_secs(1)).await;
            patience.bytes_came();
            let pending = poll_fn(|context| Poll::Ready(patience.nothing_came(context).is_pending())).await;
            assert!(pending);
        }
        assert_eq!(ends_after(&mut patience).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_served_is_not_cut_off() {
        let (activity, mut patience) = patience();
        activity.serving();
        tokio::time::advance(Duration::from_secs(500)).await;
        let pending = poll_fn(|context| Poll::Ready(patience.nothing_came(context).is_pending())).await;
        assert!(pending);
    }
}
