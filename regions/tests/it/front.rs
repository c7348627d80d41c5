//! What a region's pods would answer to clients, and what its watcher would say of them: there are no nodes, so the
//! tests say it. Each request is answered by one of the region's ready pods in turn, as its image says:
//! `…/service`, `…/failing` (one answer of twenty is 500), `…/refusing` (tokens are 401), `…/slow` (by its metrics).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use jiff::ToSpan as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use local_region::http::Target;
use local_region::kubernetes::KubernetesApi;
use local_region::pki::Ca;
use local_region::ports::Port;
use local_region::proxy::{AnswerProxy, Rule};
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The environment's name to clients.
pub(crate) const DOMAIN: &str = "meridian.test";

/// In milliseconds, what the tests' gates bear: the most that a catalogue may. The machine that runs the tests is slow at
/// times, and the runs' own transactions with it, but a slow image is not.
pub(crate) const LIMIT: u64 = 2500;

/// What clients of a region meet.
pub(crate) struct Front {
    proxy: AnswerProxy,
    watcher: Port,
    state: Arc<Mutex<State>>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    region: String,
    pods: Vec<Pod>,
    requests: u64,
    /// Answers by pod, route and status.
    answers: BTreeMap<String, BTreeMap<String, BTreeMap<String, u64>>>,
    /// What the next rule has to do.
    decided: u16,
    vault: String,
    silent: bool,
    drained: bool,
    stuck: bool,
    extra: Value,
}

#[derive(Debug, Clone)]
struct Pod {
    name: String,
    uid: String,
    image: String,
    ready: bool,
}

impl Front {
    /// Its certificate holds for so many days.
    pub(crate) async fn start(api: &Arc<KubernetesApi>, region: &str, ca: &Ca, days: i64) -> Self {
        let state = State { region: region.to_owned(), vault: "ok".into(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let host = format!("{region}.{DOMAIN}");
        let certificate = ca.issue_between(&[&host, DOMAIN], -1.days(), days.days()).unwrap();
        let nobody = Target::localhost(Port::reserve().unwrap().address(), &ca.pem()).unwrap();
        let proxy = AnswerProxy::start(&certificate, nobody).await.unwrap();
        rules(&proxy, &state, region);
        let watcher = Port::reserve().unwrap();
        let listener = TcpListener::bind(watcher.address()).await.unwrap();
        let tasks = vec![
            tokio::spawn(follow(Arc::clone(api), Arc::clone(&state))),
            tokio::spawn(watch(listener, Arc::clone(&state))),
        ];
        Self { proxy, watcher, state, tasks }
    }

    /// The port of its LoadBalancer.
    pub(crate) fn port(&self) -> u16 {
        self.proxy.address().port()
    }

    /// The address of its watcher.
    pub(crate) fn watcher(&self) -> String {
        format!("http://{}", self.watcher.address())
    }

    /// Its watcher answers nothing any more, or again.
    pub(crate) fn silence(&self, silent: bool) {
        lock(&self.state).silent = silent;
    }

    /// Its pods are told nothing more of whether the region is drained, or again.
    pub(crate) fn stick(&self, stuck: bool) {
        lock(&self.state).stuck = stuck;
    }

    /// What its watcher says of its Vault.
    pub(crate) fn vault(&self, state: &str) {
        state.clone_into(&mut lock(&self.state).vault);
    }

    /// What its watcher says of its secrets.
    pub(crate) fn secrets(&self, secrets: Value) {
        lock(&self.state).extra = secrets;
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> u64 {
        lock(&self.state).requests
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// One pod in turn decides what becomes of a request; the rules after the first only do what it decided.
fn rules(proxy: &AnswerProxy, state: &Arc<Mutex<State>>, region: &str) {
    let key = KeyPair::generate().unwrap();
    let claims = json!({
        "iss": format!("https://{DOMAIN}"), "sub": "probe", "iat": jiff::Timestamp::now().as_second(),
        "exp": jiff::Timestamp::now().as_second() + 3600,
    });
    let header = Header { kid: Some("one".into()), ..Header::new(Algorithm::ES256) };
    let signer = EncodingKey::from_ec_der(&key.serialize_der());
    let token = jsonwebtoken::encode(&header, &claims, &signer).unwrap();
    let point = key.der_bytes();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
    let jwk =
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one", "x": x, "y": y});
    let deciding = Arc::clone(state);
    proxy.add(Rule::when(move |_, path| decide(&mut lock(&deciding), path) == 500, 500));
    for status in [401, 503] {
        let state = Arc::clone(state);
        proxy.add(Rule::when(move |_, _| lock(&state).decided == status, status));
    }
    let server =
        json!({"environment": "production", "region": region, "zone": "", "pod": "one", "release": null});
    for (path, answer) in [
        ("/v1/region", server),
        ("/oauth2/token", json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600})),
        ("/.well-known/jwks.json", json!({"keys": [jwk]})),
        ("/trafficz", json!({"state": "serving"})),
    ] {
        proxy.add(Rule::path(path, 200).body(answer.to_string()));
    }
}

fn decide(state: &mut State, path: &str) -> u16 {
    state.requests += 1;
    let number = state.requests;
    let ready: Vec<Pod> = state.pods.iter().filter(|pod| pod.ready).cloned().collect();
    let pod = ready.get((number as usize) % ready.len().max(1)).cloned();
    let image = pod.as_ref().map_or("", |pod| pod.image.as_str());
    state.decided = if pod.is_none() || (path == "/trafficz" && state.drained) {
        503
    } else if image.contains("/failing") && number.is_multiple_of(5) {
        500
    } else if image.contains("/refusing") && path == "/oauth2/token" {
        401
    } else {
        200
    };
    if let Some(pod) = pod {
        let by_route = state.answers.entry(pod.uid).or_default().entry(path.to_owned()).or_default();
        *by_route.entry(state.decided.to_string()).or_default() += 1;
    }
    state.decided
}

/// Keeps the list of the region's pods.
async fn follow(api: Arc<KubernetesApi>, state: Arc<Mutex<State>>) {
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tick.tick().await;
        let Ok(pods) = api.call(Method::GET, "/api/v1/namespaces/meridian/pods", None).await else {
            continue;
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pod = |pod: &Value| Pod {
            name: text(&pod["metadata"]["name"]),
            uid: text(&pod["metadata"]["uid"]),
            image: text(&pod["spec"]["containers"][0]["image"]),
            ready: pod["status"]["containerStatuses"][0]["ready"] == true,
        };
        // As pods do that have it mounted.
        let traffic = api.call(Method::GET, "/api/v1/namespaces/meridian/configmaps/traffic", None).await;
        let traffic = traffic.map(|map| text(&map["data"]["state"])).unwrap_or_default();
        let mut state = lock(&state);
        if !state.stuck {
            state.drained = traffic.starts_with("drained");
        }
        let reached = |pod: &&Value| text(&pod["metadata"]["name"]).starts_with("service-");
        state.pods = pods["items"].as_array().into_iter().flatten().filter(reached).map(pod).collect();
    }
}

/// Answers `GET /v1/region` as a watcher does.
async fn watch(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let body = {
                let state = lock(&state);
                if state.silent {
                    return Ok(());
                }
                view(&state).to_string()
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await?;
            Ok::<(), io::Error>(())
        });
    }
}

fn view(state: &State) -> Value {
    let now = jiff::Timestamp::now().to_string();
    let pods = state.pods.iter().filter(|pod| pod.ready).map(|pod| {
        let answers = state.answers.get(&pod.uid).cloned().unwrap_or_default();
        let latency: BTreeMap<&String, Vec<(String, u64)>> = answers
            .iter()
            .map(|(route, by_status)| {
                let all: u64 = by_status.values().sum();
                let quick = if pod.image.contains("/slow") { all * 4 / 5 } else { all };
                let bound = Duration::from_millis(LIMIT).as_secs_f64().to_string();
                (route, vec![(bound, quick), ("+Inf".to_owned(), all)])
            })
            .collect();
        json!({
            "name": pod.name, "uid": pod.uid, "node": null, "phase": "Running", "terminating": false,
            "agent": null, "agent_error": null, "service_error": null,
            "service": {
                "kids": ["one"], "documents": {}, "rejected": [], "ready": true, "degraded": [],
                "drained": state.drained, "certificate_end": null, "settings": {}, "ceilings": {},
                "answers": answers, "latency": latency,
            },
        })
    });
    json!({
        "environment": "production", "region": state.region,
        "watcher": {"name": "test", "start": now, "leads": true},
        "round": {"began": now, "ended": now},
        "vault": {"state": state.vault, "last_contact": now, "error": null},
        "secrets": if state.extra.is_null() { json!({}) } else { state.extra.clone() },
        "pods": pods.collect::<Vec<_>>(),
    })
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
