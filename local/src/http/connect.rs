//! Connections, and what they lead to.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::{Answer, Body, Error, call_of};

/// A peer, and how it is reached.
#[derive(Debug, Clone)]
pub enum Target {
    /// Plain TCP.
    Tcp(SocketAddr),
    /// TLS over TCP.
    Tls {
        /// Where to connect.
        address: SocketAddr,
        /// The name that the certificate must be for, and the `Host` of requests.
        name: String,
        /// Whom to trust, from [`client_tls`].
        config: Arc<ClientConfig>,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// A TLS peer at `address` that shows a certificate for `localhost` from the authority in `ca_pem`.
    ///
    /// # Errors
    /// As [`client_tls`].
    pub fn localhost(address: SocketAddr, ca_pem: &str) -> io::Result<Self> {
        Ok(Target::Tls { address, name: "localhost".to_owned(), config: client_tls(ca_pem)? })
    }

    /// A Unix socket.
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Target::Unix(path.as_ref().to_owned())
    }

    /// The address as other HTTP clients take it; empty for a Unix socket.
    pub fn url(&self) -> String {
        match self {
            Target::Tcp(address) => format!("http://{address}"),
            Target::Tls { address, name, .. } => format!("https://{name}:{}", address.port()),
            Target::Unix(_) => String::new(),
        }
    }

    pub(super) fn host(&self) -> &str {
        match self {
            Target::Tls { name, .. } => name,
            Target::Tcp(_) | Target::Unix(_) => "localhost",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(address) => write!(f, "http://{address}"),
            Target::Tls { address, name, .. } => write!(f, "https://{name} ({address})"),
            Target::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// TLS 1.2 and 1.3 that trusts the authorities in `ca_pem` and nobody else.
///
/// # Errors
/// The text holds no certificate.
pub fn client_tls(ca_pem: &str) -> io::Result<Arc<ClientConfig>> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| invalid(format!("read the CA: {error}")))?;
        roots.add(certificate).map_err(|error| invalid(format!("trust the CA: {error}")))?;
    }
    if roots.is_empty() {
        return Err(invalid("the CA holds no certificate in PEM".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(format!("set up TLS: {error}")))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// An open connection, for one request after the other.
#[derive(Debug)]
pub struct Connection {
    target: String,
    sender: http1::SendRequest<Body>,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> io::Result<Self> {
        let sender = match target {
            Target::Tcp(address) => handshake(tcp(*address).await?).await?,
            Target::Unix(path) => handshake(UnixStream::connect(path).await?).await?,
            Target::Tls { address, name, config } => {
                let name = ServerName::try_from(name.clone())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                let stream =
                    TlsConnector::from(Arc::clone(config)).connect(name, tcp(*address).await?).await?;
                handshake(stream).await?
            }
        };
        Ok(Connection { target: target.to_string(), sender })
    }

    /// Whether the peer has closed it.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and reads the whole answer. Without a timeout of its own.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, request: Request<Bytes>) -> Result<Answer, Error> {
        let call = call_of(&request);
        let (head, body) = self.begin(request).await?.into_parts();
        let body = body.collect().await.map_err(|error| self.broken(&call, error))?.to_bytes();
        Ok(Answer { call, status: head.status, headers: head.headers, body })
    }

    pub(super) async fn begin(&mut self, request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        let call = call_of(&request);
        self.sender.ready().await.map_err(|error| self.broken(&call, error))?;
        let answer = self.sender.send_request(request.map(Full::new)).await;
        answer.map_err(|error| self.broken(&call, error))
    }

    fn broken(&self, call: &str, source: hyper::Error) -> Error {
        Error::Exchange { call: call.to_owned(), target: self.target.clone(), source: source.into() }
    }
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> io::Result<http1::SendRequest<Body>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // What breaks the connection is told to the request under way.
    tokio::spawn(connection);
    Ok(sender)
}
