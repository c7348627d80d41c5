//! What a connection passes before its first request: the count, the limit, the TLS handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::state::State;

/// Accepts connections.
#[derive(Clone)]
pub(super) struct Door {
    tls: Option<TlsAcceptor>,
    handshake_timeout: Duration,
    max_connections: i64,
    state: Arc<State>,
}

impl Door {
    pub(super) fn new(
        tls: Option<TlsAcceptor>,
        handshake_timeout: Duration,
        max_connections: usize,
        state: Arc<State>,
    ) -> Self {
        let max_connections = i64::try_from(max_connections).unwrap_or(i64::MAX);
        Door { tls, handshake_timeout, max_connections, state }
    }

    async fn open(self, stream: TcpStream) -> io::Result<Connection> {
        let counted = Counted::new(self.state);
        if counted.open > self.max_connections {
            counted.state.metrics.over_limit.inc();
            return Err(io::Error::other("too many connections are open (http.max_connections)"));
        }
        stream.set_nodelay(true)?;
        let stream = match self.tls {
            None => Stream::Plain(stream),
            Some(tls) => match timeout(self.handshake_timeout, tls.accept(stream)).await {
                Ok(accepted) => Stream::Tls(Box::new(accepted?)),
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "TLS handshake")),
            },
        };
        Ok(Connection { stream, _counted: counted })
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Door {
    type Stream = Connection;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Connection, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let opened = self.clone().open(stream);
        Box::pin(async move { Ok((opened.await?, service)) })
    }
}

/// An open connection, counted until it is dropped.
pub(super) struct Connection {
    stream: Stream,
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
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.state.metrics.connections.dec();
    }
}

macro_rules! on_stream {
    ($connection:expr, $stream:ident => $call:expr) => {
        match &mut $connection.get_mut().stream {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_shutdown(cx))
    }
}
