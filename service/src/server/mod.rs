//! The two listeners.

mod admin;
mod certificate;
mod door;
mod patience;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::Server;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::service_fn;
use tracing::debug;

use crate::http::{Front, router};
use crate::state::State;
use door::Door;
pub use patience::Activity;

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address} ({key}): is the port taken, or the address not of this machine?")]
pub struct ListenError {
    key: &'static str,
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Both listeners, open.
#[derive(Debug)]
pub struct Listeners {
    public: TcpListener,
    admin: TcpListener,
}

/// What ends the servers.
#[derive(Debug, Clone)]
pub struct Handles {
    /// The public interface.
    pub public: Handle<SocketAddr>,
    /// The admin interface.
    pub admin: Handle<SocketAddr>,
}

/// The largest header of a request, in bytes.
const MAX_HEADER: usize = 16 << 10;
/// A probe and a scraper answer at once.
const ADMIN_HEADER_TIMEOUT: Duration = Duration::from_secs(30);

impl Listeners {
    /// Opens both.
    ///
    /// # Errors
    /// Which one could not be opened.
    pub async fn open(public: SocketAddr, admin: SocketAddr) -> Result<Self, ListenError> {
        let open = |key, address| async move {
            TcpListener::bind(address).await.map_err(|source| ListenError { key, address, source })
        };
        Ok(Listeners {
            public: open("public.listen", public).await?,
            admin: open("admin.listen", admin).await?,
        })
    }

    /// The addresses of the public and the admin listener.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.public.local_addr()?, self.admin.local_addr()?))
    }

    /// Serves both until the handles end them.
    ///
    /// # Errors
    /// The TLS configuration cannot be made.
    pub fn serve(
        self,
        state: &Arc<State>,
    ) -> Result<(Handles, impl Future<Output = ()> + Send + use<>), rustls::Error> {
        let handles = Handles { public: Handle::new(), admin: Handle::new() };
        let public = public(self.public, state, handles.public.clone())?;
        let admin = admin_interface(self.admin, Arc::clone(state), handles.admin.clone());
        let both = async move {
            let (public, admin) = tokio::join!(public, admin);
            for (listener, end) in [("public", public), ("admin", admin)] {
                if let Err(error) = end {
                    tracing::error!(listener, %error, "the listener failed");
                }
            }
        };
        Ok((handles, both))
    }
}

/// The public interface speaks HTTP/1.1 alone: a token request is one small exchange on a kept
/// connection, where HTTP/2 gains nothing and adds attacks of its own.
fn public(
    listener: TcpListener,
    state: &Arc<State>,
    handle: Handle<SocketAddr>,
) -> Result<impl Future<Output = io::Result<()>> + Send + use<>, rustls::Error> {
    let tls = match &state.configuration.agent {
        Some(_) => Some(TlsAcceptor::from(Arc::new(certificate::configuration(Arc::clone(state))?))),
        None => None,
    };
    let mut server = Server::<SocketAddr>::from_listener(listener)
        .acceptor(Door::new(tls, Arc::clone(state)))
        .handle(handle)
        .http1_only()
        .accept_error_handler(|_, error| debug!(%error, "connection not accepted"));
    server.http_builder().http1().max_buf_size(MAX_HEADER);
    let routes = router(Arc::clone(state));
    #[cfg(any(test, feature = "faults"))]
    let routes = crate::http::faults::before(routes, state);
    let front = Front::new(Arc::clone(state), routes);
    Ok(server.serve(service_fn(move |_: SocketAddr| {
        let front = front.clone();
        async move { Ok::<_, std::convert::Infallible>(front) }
    })))
}

async fn admin_interface(
    listener: TcpListener,
    state: Arc<State>,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let mut server = Server::<SocketAddr>::from_listener(listener).handle(handle).http1_only();
    server.http_builder().http1().header_read_timeout(ADMIN_HEADER_TIMEOUT).max_buf_size(MAX_HEADER);
    server.serve(admin::router(state).into_make_service()).await
}
