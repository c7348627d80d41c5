//! Whether the region takes traffic, as a mounted folder says.
//!
//! The folder is the ConfigMap `traffic`. Its key `state` is `serving` or `drained`; a reason may follow
//! on the same line after a colon. Without the key the region serves. A drained region still answers
//! every request; it only asks the global entry to send no more.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::state::State;

/// Whether the region takes traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Whether it is drained.
    pub drained: bool,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

/// The folder is read this often: kubelet swaps it as a whole, which file watches see unreliably.
const PERIOD: Duration = Duration::from_secs(1);
const CONCERN: &str = "traffic";
const MAX_STATE: usize = 1024;

/// Reads the folder once, before anything is served, so that a new process starts drained.
pub fn look(state: &State, folder: &Path) {
    match read(folder) {
        Ok(traffic) => {
            state.settle(CONCERN);
            if **state.traffic.load() != traffic {
                info!(drained = traffic.drained, reason = traffic.reason, "traffic state changed");
                state.metrics.drained.set(i64::from(traffic.drained));
                state.traffic.store(Arc::new(traffic));
            }
        }
        Err(problem) => {
            let kept = if state.traffic.load().drained { "drained" } else { "serving" };
            let message = format!("{}: {problem}; the region stays {kept}", folder.display());
            if state.concern(CONCERN, message.clone()) {
                warn!(message, "traffic state cannot be read");
            }
        }
    }
}

/// Reads the folder again and again, for as long as the process lives.
pub async fn follow(state: Arc<State>, folder: Arc<Path>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (state, folder) = (Arc::clone(&state), Arc::clone(&folder));
        // A mounted folder may hang; the threads that serve must not hang with it.
        if tokio::task::spawn_blocking(move || look(&state, &folder)).await.is_err() {
            warn!("reading the traffic state failed unexpectedly; it will be tried again");
        }
    }
}

fn read(folder: &Path) -> Result<Traffic, String> {
    let file = folder.join("state");
    match std::fs::read(&file) {
        Ok(bytes) => parse(&bytes).map_err(str::to_owned),
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => Ok(Traffic::default()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

fn parse(bytes: &[u8]) -> Result<Traffic, &'static str> {
    if bytes.len() > MAX_STATE {
        return Err("the key `state` is longer than 1024 bytes");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "the key `state` is not UTF-8")?.trim();
    let (word, reason) = text.split_once(':').unwrap_or((text, ""));
    let reason = Some(reason.trim()).filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| reason.chars().filter(|c| !c.is_control()).collect());
    match word.trim_end() {
        "serving" => Ok(Traffic { drained: false, reason }),
        "drained" => Ok(Traffic { drained: true, reason }),
        _ => Err("the key `state` is neither `serving` nor `drained`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drained(reason: Option<&str>) -> Traffic {
        Traffic { drained: true, reason: reason.map(str::to_owned) }
    }

    #[test]
    fn the_state_and_its_reason_are_read() {
        assert_eq!(parse(b"drained\n"), Ok(drained(None)));
        assert_eq!(parse(b"drained: ticket 12: disk"), Ok(drained(Some("ticket 12: disk"))));
        assert_eq!(parse(b" serving "), Ok(Traffic::default()));
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in [&b""[..], b"drain", b"Drained", b"drained now", b"\xff", &[b'a'; 2000]] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
