//! Seeing something as soon as it is there, without the pauses of an asynchronous timer (a millisecond and
//! more) in what is measured, and without asking anything of the process that is measured.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// Between two looks. What is measured is too long by half of it on average.
const PAUSE: Duration = Duration::from_micros(250);
const SOON: Duration = Duration::from_secs(30);

/// Waits until `look` holds, and gives the moment.
///
/// # Errors
/// It did not hold within half a minute.
#[allow(
    clippy::disallowed_methods,
    reason = "it sleeps on a thread of its own, for the sake of short pauses"
)]
pub(crate) async fn spotted(what: &str, look: impl Fn() -> bool + Send + 'static) -> Result<Instant> {
    let seen = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        while !look() {
            if start.elapsed() > SOON {
                return None;
            }
            thread::sleep(PAUSE);
        }
        Some(Instant::now())
    });
    Ok(seen.await?.ok_or_else(|| format!("waited {} s for {what}", SOON.as_secs()))?)
}

/// Waits until something listens on a Unix socket.
///
/// # Errors
/// Nothing did within half a minute.
pub(crate) async fn listening(socket: PathBuf) -> Result<Instant> {
    let what = format!("a listener at {}", socket.display());
    spotted(&what, move || std::os::unix::net::UnixStream::connect(&socket).is_ok()).await
}
