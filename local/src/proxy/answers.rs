//! The proxy that ends TLS and may answer in the peer's place.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::http::{Client, Target};
use crate::pki::Issued;
use crate::ports::Port;

/// Given method, path with query, and body.
type Predicate = Box<dyn Fn(&Method, &str, &[u8]) -> bool + Send + Sync>;

/// An answer that is given in the peer's place.
pub struct Rule {
    matches: Predicate,
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Bytes,
    left: Option<u32>,
}

impl Rule {
    /// Answers a request whose path starts with `prefix` with this status and an empty body.
    pub fn path(prefix: &str, status: u16) -> Self {
        let prefix = prefix.to_owned();
        Rule::when(move |_, path| path.starts_with(&prefix), status)
    }

    /// Answers a request for which `matches` (given method, and path with query) holds.
    pub fn when(matches: impl Fn(&Method, &str) -> bool + Send + Sync + 'static, status: u16) -> Self {
        Rule::read(move |method, path, _| matches(method, path), status)
    }

    /// Answers a request for which `matches` (given method, path with query, and body) holds.
    pub fn read(matches: impl Fn(&Method, &str, &[u8]) -> bool + Send + Sync + 'static, status: u16) -> Self {
        Rule {
            matches: Box::new(matches),
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: Vec::new(),
            body: Bytes::new(),
            left: None,
        }
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With this header too.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// So many times, and never again.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    fn take(&mut self, method: &Method, path: &str, body: &[u8]) -> bool {
        let matched = self.left != Some(0) && (self.matches)(method, path, body);
        if let (true, Some(left)) = (matched, &mut self.left) {
            *left -= 1;
        }
        matched
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({}, {:?} times left)", self.status, self.left)
    }
}

/// A request that passed, or was answered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The path, with its query.
    pub path: String,
    /// The status that was answered.
    pub status: StatusCode,
}

/// An HTTP proxy over TLS on a loopback port of its own. It ends with its connections when it is dropped.
#[derive(Debug)]
pub struct AnswerProxy {
    port: Port,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    upstream: Client,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
}

impl AnswerProxy {
    /// Starts a proxy that shows this certificate and passes every request to `upstream`.
    ///
    /// # Errors
    /// No port could be had, or the certificate cannot be used.
    pub async fn start(certificate: &Issued, upstream: Target) -> io::Result<Self> {
        let port = Port::reserve()?;
        let listener = TcpListener::bind(port.address()).await?;
        let tls = TlsAcceptor::from(server_tls(certificate)?);
        let (rules, seen) = (Mutex::default(), Mutex::default());
        let state = Arc::new(State { upstream: Client::new(upstream), rules, seen });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, Arc::clone(&state)));
        Ok(AnswerProxy { port, state, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Adds a rule. The first that matches answers.
    pub fn add(&self, rule: Rule) {
        lock(&self.state.rules).push(rule);
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        lock(&self.state.rules).clear();
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }

    /// How many requests so far had a path that starts with `prefix`.
    pub fn count(&self, prefix: &str) -> usize {
        lock(&self.state.seen).iter().filter(|seen| seen.path.starts_with(prefix)).count()
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            taken = listener.accept() => {
                let Ok((stream, _)) = taken else { continue };
                let (tls, state) = (tls.clone(), Arc::clone(&state));
                connections.spawn(async move {
                    // A client that does not trust the certificate ends the handshake: its own affair.
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(|request| answer(&state, request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(state: &Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().to_string());
    let (head, body) = request.into_parts();
    // A request counts once it is here as a whole: then it arrives, whatever becomes of the client.
    let Ok(body) = body.collect().await else { return Ok(unreachable("the request ended early".into())) };
    let request = Request::from_parts(head, body.to_bytes());
    let own = lock(&state.rules).iter_mut().find_map(|rule| {
        if !rule.take(&method, &path, request.body()) {
            return None;
        }
        let mut response = Response::builder().status(rule.status);
        for (name, value) in &rule.headers {
            response = response.header(name, value);
        }
        Some(response.body(Full::new(rule.body.clone())).unwrap_or_default())
    });
    if let Some(response) = own {
        state.saw(method, path, &response);
        return Ok(response);
    }
    let state = Arc::clone(state);
    let passed = tokio::spawn(async move {
        let response = pass(&state, request).await.unwrap_or_else(unreachable);
        state.saw(method, path, &response);
        response
    });
    Ok(passed.await.unwrap_or_else(|error| unreachable(error.to_string())))
}

impl State {
    fn saw<B>(&self, method: Method, path: String, response: &Response<B>) {
        lock(&self.seen).push(Seen { method, path, status: response.status() });
    }
}

fn unreachable(why: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(why.into()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

async fn pass(state: &State, mut request: Request<Bytes>) -> Result<Response<Full<Bytes>>, String> {
    request.headers_mut().remove(header::CONNECTION);
    let answer = state.upstream.send(request).await.map_err(|error| error.to_string())?;
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    response.headers_mut().remove(header::CONNECTION);
    Ok(response)
}

fn server_tls(certificate: &Issued) -> io::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_slice_iter(certificate.certificate_pem.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.expose_secret().as_bytes());
    let key = key.map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
