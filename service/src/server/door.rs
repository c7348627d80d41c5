//! What a connection passes before its first request: the count, the limit, the TLS handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::patience::{Activity, Patience};
use crate::configuration::Http;
use crate::http::Front;
use crate::state::State;

/// Accepts connections.
#[derive(Clone)]
pub(super) struct Door {
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
}

impl Door {
    /// A door to TLS, or to plain HTTP.
    pub(super) fn new(tls: Option<TlsAcceptor>, state: Arc<State>) -> Self {
        Door { tls, state }
    }

    async fn open(self, stream: TcpStream, activity: Activity) -> io::Result<Connection> {
        let counted = Counted::new(self.state);
        let Http { handshake_timeout, header_timeout, idle_timeout, max_connections, .. } =
            counted.state.configuration.http;
        if usize::try_from(counted.open).is_ok_and(|open| open > max_connections) {
            counted.state.metrics.over_limit.inc();
            return Err(io::Error::other("too many connections are open (http.max_connections)"));
        }
        stream.set_nodelay(true)?;
        let stream = match self.tls {
            None => Stream::Plain(stream),
            Some(tls) => match timeout(handshake_timeout, tls.accept(stream)).await {
                Ok(Ok(accepted)) => Stream::Tls(Box::new(accepted)),
                Ok(Err(error)) => return Err(counted.failed(error)),
                Err(_) => {
                    return Err(counted.failed(io::Error::new(io::ErrorKind::TimedOut, "TLS handshake")));
                }
            },
        };
        let patience = Patience::new(activity, header_timeout, idle_timeout);
        Ok(Connection { stream, patience, _counted: counted })
    }
}

impl Accept<TcpStream, Front> for Door {
    type Stream = Connection;
    type Service = Front;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Connection, Front)>> + Send>>;

    fn accept(&self, stream: TcpStream, front: Front) -> Self::Future {
        let activity = Activity::new();
        let opened = self.clone().open(stream, activity.clone());
        Box::pin(async move { Ok((opened.await?, front.of(activity))) })
    }
}

/// An open connection, counted until it is dropped.
pub(super) struct Connection {
    stream: Stream,
    patience: Patience,
    _counted: Counted,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

struct Counted {
    state: Arc<State>,
    open: i64,
}

impl Counted {
    fn new(state: Arc<State>) -> Self {
        state.metrics.accepted.inc();
        let open = state.metrics.connections.inc() + 1;
        Counted { state, open }
    }

    fn failed(&self, error: io::Error) -> io::Error {
        self.state.metrics.handshake_failures.inc();
        error
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.state.metrics.connections.dec();
    }
}

macro_rules! on_stream {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Plain($inner) => {
                let $inner = Pin::new($inner);
                $call
            }
            Stream::Tls($inner) => {
                let $inner = Pin::new($inner.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match on_stream!(&mut this.stream, stream => stream.poll_read(context, buffer)) {
            Poll::Pending => this.patience.nothing_came(context),
            Poll::Ready(outcome) => {
                if buffer.filled().len() > before {
                    this.patience.bytes_came();
                }
                Poll::Ready(outcome)
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(&mut self.get_mut().stream, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(&mut self.get_mut().stream, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(&mut self.get_mut().stream, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(&mut self.get_mut().stream, stream => stream.poll_shutdown(cx))
    }
}
