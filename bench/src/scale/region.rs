//! A simulated region: a Vault and a watcher, each at a real socket, the Vault behind real TLS.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::vault::Vault;
use super::view::{Standing, Template, standing};
use crate::Result;

/// What every region of a fleet has.
pub(super) struct Kit {
    pub(super) tls: TlsAcceptor,
    pub(super) template: Template,
    /// Names of secrets.
    pub(super) secrets: Vec<&'static str>,
    /// Pods of a region.
    pub(super) pods: u32,
}

/// A region that answers until it is dropped.
pub(super) struct Region {
    pub(super) name: String,
    pub(super) vault: SocketAddr,
    pub(super) watcher: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    name: String,
    kit: Arc<Kit>,
    vault: Mutex<Vault>,
    /// The parts of the view that were made last, and for what.
    view: Mutex<Option<Made>>,
}

/// What a view was made for, and its parts.
type Made = (Standing, Arc<(String, String)>);

impl Region {
    /// Starts a region whose Vault holds these documents.
    pub(super) async fn start(
        name: String,
        kit: Arc<Kit>,
        documents: &[(&'static str, Value)],
    ) -> Result<Self> {
        let mut vault = Vault::default();
        for (secret, document) in documents {
            vault.put(&super::view::path(secret), document.clone(), Some(0));
        }
        let state =
            Arc::new(State { name: name.clone(), kit, vault: Mutex::new(vault), view: Mutex::default() });
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let (vault, watcher) = (bind().await?, bind().await?);
        let addresses = (vault.local_addr()?, watcher.local_addr()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_vault(vault, Arc::clone(&state)));
        tasks.spawn(serve_watcher(watcher, Arc::clone(&state)));
        Ok(Region { name, vault: addresses.0, watcher: addresses.1, state, _tasks: tasks })
    }

    /// The documents of a secret that can still be read, the current one last.
    pub(super) fn readable(&self, secret: &str) -> Vec<Value> {
        let vault = lock(&self.state.vault);
        let found = vault.secret(&super::view::path(secret));
        found
            .into_iter()
            .flat_map(|found| found.versions.values())
            .filter_map(|kept| kept.data.clone())
            .collect()
    }
}

async fn serve_vault(listener: TcpListener, state: Arc<State>) {
    let serve = |stream| {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let Ok(stream) = state.kit.tls.accept(stream).await else { return };
            connection(stream, state, of_vault).await;
        });
    };
    accept(listener, serve).await;
}

async fn serve_watcher(listener: TcpListener, state: Arc<State>) {
    let serve = |stream| {
        tokio::spawn(connection(stream, Arc::clone(&state), of_watcher));
    };
    accept(listener, serve).await;
}

async fn accept(listener: TcpListener, serve: impl Fn(TcpStream)) {
    loop {
        // A connection that is gone before it was accepted is its client's concern.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        serve(stream);
    }
}

async fn connection<S, F>(stream: S, state: Arc<State>, answer: impl Fn(Arc<State>, Request<Incoming>) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let answered = answer(Arc::clone(&state), request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    // A client that goes away is no failure of the region.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn of_vault(state: Arc<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let target = target.strip_prefix("/v1/").unwrap_or(target);
    let token = head.headers.get("x-vault-token").and_then(|token| token.to_str().ok());
    let (status, answer) = lock(&state.vault).answer(&head.method, target, token, &body);
    response(status, if answer.is_null() { String::new() } else { answer.to_string() })
}

async fn of_watcher(state: Arc<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.uri().path() != "/v1/region" {
        return response(StatusCode::NOT_FOUND, String::new());
    }
    response(StatusCode::OK, state.view(&operators(request.uri().query().unwrap_or_default())))
}

impl State {
    fn view(&self, operators: &Value) -> String {
        let vault = lock(&self.vault);
        let now = standing(&self.kit.secrets, &vault);
        let mut known = lock(&self.view);
        let parts = match &*known {
            Some((standing, parts)) if *standing == now => Arc::clone(parts),
            _ => {
                let parts = Arc::new(self.kit.template.parts(&self.name, self.kit.pods, &now, &vault));
                *known = Some((now, Arc::clone(&parts)));
                parts
            }
        };
        drop((known, vault));
        self.kit.template.whole(&self.name, &parts, operators)
    }
}

/// The operator who asks, if one says who he is. No other is ever there.
fn operators(query: &str) -> Value {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let named = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    match (named("who"), named("run"), named("secret")) {
        (Some(who), Some(run), Some(secret)) => {
            json!([{"who": who, "run": run, "secret": secret, "idle_ms": 0}])
        }
        _ => json!([]),
    }
}

fn response(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
