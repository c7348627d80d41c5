//! Proxies that produce faults for real, between a client and a peer that is well.
//!
//! [`FaultProxy`] handles bytes and knows nothing of what they mean: TLS passes through it untouched, or
//! damaged. [`AnswerProxy`] ends TLS with a certificate of the test's own authority and can put answers of
//! its own in the place of the peer's.

mod answers;
mod bytes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::ports::Port;

pub use answers::{AnswerProxy, Rule, Seen};

/// What a [`FaultProxy`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything.
    Pass,
    /// Refuses connections (the port is closed) and resets those that are open.
    Refuse,
    /// Passes so many bytes of what the peer sends, counted for each connection from now, then resets it.
    Cut {
        /// The number of bytes.
        after: u64,
    },
    /// Passes what the peer sends, each piece so much later.
    Delay(Duration),
    /// Inverts each 16th byte of what the peer sends.
    Garble,
    /// Takes connections and bytes, and passes nothing.
    Hang,
}

/// A TCP proxy on a loopback port of its own. It ends with its connections when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    port: Arc<Port>,
    orders: mpsc::UnboundedSender<Order>,
    accepted: watch::Receiver<u64>,
}

/// A change of mode, and where to say that it is in effect.
type Order = (Mode, oneshot::Sender<()>);

impl FaultProxy {
    /// Starts a proxy that passes everything to `upstream`.
    ///
    /// # Errors
    /// No port could be had.
    pub async fn start(upstream: SocketAddr) -> std::io::Result<Self> {
        let port = Arc::new(Port::reserve()?);
        let (orders, taken) = mpsc::unbounded_channel();
        let (count, accepted) = watch::channel(0);
        let listener = bytes::listen(port.address()).await?;
        tokio::spawn(bytes::run(listener, Arc::clone(&port), upstream, taken, count));
        Ok(FaultProxy { port, orders, accepted })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Changes what it does, for new and for open connections, and returns once that is in effect.
    pub async fn set(&self, mode: Mode) {
        let (done, applied) = oneshot::channel();
        // The task ends only when this handle is dropped, so both calls succeed.
        if self.orders.send((mode, done)).is_ok() {
            let _ = applied.await;
        }
    }

    /// How many connections it has taken since it was started.
    pub fn accepted(&self) -> u64 {
        *self.accepted.borrow()
    }
}

#[cfg(test)]
mod tests;
