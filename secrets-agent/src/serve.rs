//! Serving HTTP/1.1 on either socket, with bounds on connections and on the time that headers may take.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::middleware::{AddExtension, from_fn};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::fs::Mode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use crate::problem;

/// The most connections that are open at once on one socket; others wait to be accepted.
const MOST_CONNECTIONS: usize = 256;
/// How long a client may take to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connections may take to end once the agent ends.
const DRAIN: Duration = Duration::from_millis(500);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Over TCP; nobody vouches for it.
    Tcp,
    /// Over the Unix socket, with the uid that the kernel vouches for.
    Unix {
        /// The caller's uid.
        uid: u32,
    },
}

/// A bound socket.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// Binds the Unix socket, with mode 0660. What a dead agent left at its path is replaced.
///
/// # Errors
/// A living agent listens there, or the path cannot be used.
pub(crate) async fn bind_unix(path: &Path) -> io::Result<Listener> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("socket.path {}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(named)?;
    }
    match UnixStream::connect(path).await {
        Ok(_) => return Err(named(io::Error::new(io::ErrorKind::AddrInUse, "another agent listens there"))),
        // Linux refuses connections to any file, so what is not a socket must not be taken for a dead one.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            if !std::fs::symlink_metadata(path).map_err(named)?.file_type().is_socket() {
                let message = "there is a file that is no socket; move it away, or name another path";
                return Err(named(io::Error::new(io::ErrorKind::AlreadyExists, message)));
            }
            std::fs::remove_file(path).map_err(named)?;
        }
        Err(_) => {}
    }
    // Made with no rights for others, so that there is no moment in which they have some.
    let before = rustix::process::umask(Mode::from_raw_mode(0o117));
    let listener = UnixListener::bind(path).map_err(named);
    rustix::process::umask(before);
    listener.map(Listener::Unix)
}

/// Binds the TCP port.
///
/// # Errors
/// The address is taken or not this machine's.
pub(crate) async fn bind_tcp(address: std::net::SocketAddr) -> io::Result<Listener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Listener::Tcp(listener)),
        Err(error) => Err(io::Error::new(error.kind(), format!("admin.listen {address}: {error}"))),
    }
}

/// Serves until `ending` turns true, then lets open exchanges end for half a second.
pub(crate) async fn serve(listener: Listener, routes: Router, mut ending: watch::Receiver<bool>) {
    let routes = routes.layer(from_fn(problem::in_time));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            _ = ending.wait_for(|ending| *ending) => break,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            _ = ending.wait_for(|ending| *ending) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: going on at once would only spin.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let routes: AddExtension<Router, Peer> = tower::Layer::layer(&Extension(peer), routes.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_headers(32)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

async fn accept(listener: &Listener) -> io::Result<(Box<dyn Connection>, Peer)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream), Peer::Tcp))
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let uid = stream.peer_cred()?.uid();
            Ok((Box::new(stream), Peer::Unix { uid }))
        }
    }
}
