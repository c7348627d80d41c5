//! The end in order, and the end at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::configuration::Shutdown;
use crate::server::Handles;
use crate::state::{Phase, State};

/// The signals that end the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGTERM: a load balancer has yet to learn that this process goes.
    Terminate,
    /// SIGINT: somebody at a terminal does not want to wait for one.
    Interrupt,
}

impl Ending {
    /// The exit code of a process that ends at once by this signal.
    pub fn exit_code(self) -> u8 {
        match self {
            Ending::Terminate => 128 + 15,
            Ending::Interrupt => 128 + 2,
        }
    }
}

impl Signals {
    /// From here on, the signals are caught.
    ///
    /// # Errors
    /// The system refused.
    pub fn catch() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.terminate.recv() => Ending::Terminate,
            _ = self.interrupt.recv() => Ending::Interrupt,
        }
    }
}

const LOOK: Duration = Duration::from_millis(20);
/// The drain is over early once no connection was open, and none came, for so long.
const QUIET: Duration = Duration::from_millis(300);

/// Ends in order: not ready at once; new connections are served for `accept_for`; then every answer
/// closes its connection for up to `drain_for`. A connection that comes late is still served, and one
/// that stays silent or hangs is closed at the end.
pub async fn in_order(state: &State, handles: &Handles, ending: Ending) {
    let Shutdown { accept_for, drain_for } = state.configuration.shutdown;
    state.enter(Phase::Leaving);
    // A process that was never ready was never sent anything.
    if ending == Ending::Terminate && state.snapshot().is_some() {
        info!(?accept_for, "not ready any more; new connections are still served");
        sleep(accept_for).await;
    }
    state.enter(Phase::Closing);
    let open = || handles.public.connection_count();
    info!(connections = open(), ?drain_for, "draining");
    let end = Instant::now() + drain_for;
    let last = (drain_for / 4).min(Duration::from_secs(1));
    quiet(state, end - last).await;
    // What is idle now is closed; what is in the middle of a request has the rest of the time.
    handles.public.graceful_shutdown(None);
    while open() > 0 && Instant::now() < end {
        sleep(LOOK).await;
    }
    let cut = open();
    handles.public.shutdown();
    handles.admin.shutdown();
    info!(cut, "ended");
}

/// Waits until nobody has been connected for a while, and no longer than `until`.
async fn quiet(state: &State, until: Instant) {
    let metrics = &state.metrics;
    let mut accepted = metrics.accepted.get();
    let mut busy = Instant::now();
    while Instant::now() < until && busy.elapsed() < QUIET {
        sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
        let now = metrics.accepted.get();
        if metrics.connections.get() > 0 || now != accepted {
            (accepted, busy) = (now, Instant::now());
        }
    }
}
