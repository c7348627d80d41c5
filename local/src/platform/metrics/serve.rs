//! The answers of `metrics.k8s.io/v1beta1`
//! (<https://github.com/kubernetes/metrics/blob/master/pkg/apis/metrics/v1beta1/types.go>).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use axum_server::tls_rustls::RustlsConfig;
use http::{StatusCode, header};
use jiff::Timestamp;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Spec;
use super::samples::{Samples, Usage};
use crate::http::{Client, Error, Target};

/// Between two looks at all kubelets, which measure as often.
const LOOK: Duration = Duration::from_secs(5);

struct Cluster {
    api: Client,
    samples: Mutex<Samples>,
}

pub(super) async fn run(spec: &Spec) -> io::Result<()> {
    let authority = fs::read_to_string(&spec.authority)?;
    let token = fs::read_to_string(&spec.token)?;
    let api = Client::new(Target::localhost(spec.api, &authority)?)
        .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()));
    let cluster = Arc::new(Cluster { api, samples: Mutex::default() });
    let measuring = Arc::clone(&cluster);
    tokio::spawn(async move {
        loop {
            if let Err(error) = measuring.measure().await {
                eprintln!("measure: {error}");
            }
            sleep(LOOK).await;
        }
    });
    let base = "/apis/metrics.k8s.io/v1beta1";
    let router = Router::new()
        .route(base, get(resources))
        .route(&format!("{base}/nodes"), get(nodes))
        .route(&format!("{base}/nodes/{{name}}"), get(node))
        .route(&format!("{base}/pods"), get(all_pods))
        .route(&format!("{base}/namespaces/{{namespace}}/pods"), get(pods))
        .route(&format!("{base}/namespaces/{{namespace}}/pods/{{name}}"), get(pod))
        .with_state(cluster);
    let tls = RustlsConfig::from_config(Arc::new(tls(spec, &authority)?));
    axum_server::bind_rustls(spec.listen, tls).serve(router.into_make_service()).await
}

/// Takes whom the region's own authority vouches for, which is the API server.
fn tls(spec: &Spec, authority: &str) -> io::Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let clients = clients.build().map_err(io::Error::other)?;
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&spec.certificate).map_err(io::Error::other)?.collect();
    let key = PrivateKeyDer::from_pem_file(&spec.key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_client_cert_verifier(clients);
    config.with_single_cert(chain.map_err(io::Error::other)?, key).map_err(io::Error::other)
}

impl Cluster {
    /// Asks every kubelet, by way of the API server.
    async fn measure(&self) -> Result<(), Error> {
        let found = self.list("/api/v1/nodes").await?;
        let names: Vec<String> = found.iter().map(|node| name(node).to_owned()).collect();
        for node in &names {
            let said = self.api.get(&format!("/api/v1/nodes/{node}/proxy/metrics/resource")).await;
            // A kubelet that does not answer is left out until it does.
            match said.and_then(|answer| answer.expect(StatusCode::OK)) {
                Ok(answer) => self.samples().take(node, &String::from_utf8_lossy(&answer.body)),
                Err(error) => eprintln!("measure {node}: {error}"),
            }
        }
        self.samples().keep(&names);
        Ok(())
    }

    async fn list(&self, path: &str) -> Result<Vec<Value>, Error> {
        let mut found = self.api.get(path).await?.expect(StatusCode::OK)?.value()?;
        Ok(match found["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        })
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is measured of the objects at a path of the API server; of those that its selector takes.
    async fn measured(&self, path: &str, query: &HashMap<String, String>, kind: &str) -> Response {
        let mut path = path.to_owned();
        if let Some(selector) = query.get("labelSelector") {
            path.push_str(&format!("?labelSelector={}", encoded(selector)));
        }
        let objects = match self.list(&path).await {
            Ok(objects) => objects,
            Err(error) => return failed(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        };
        let items: Vec<Value> = objects.iter().filter_map(|object| self.metrics(object, kind)).collect();
        let list = json!({
            "kind": format!("{kind}List"), "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items,
        });
        Json(list).into_response()
    }

    async fn one(&self, path: &str, wanted: &str, kind: &str) -> Response {
        let objects = match self.list(path).await {
            Ok(objects) => objects,
            Err(error) => return failed(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        };
        let found = objects.iter().find(|object| name(object) == wanted);
        match found.and_then(|object| self.metrics(object, kind)) {
            Some(metrics) => Json(metrics).into_response(),
            None => failed(StatusCode::NOT_FOUND, &format!("nothing is measured of {wanted}")),
        }
    }

    /// What is measured of a node or a pod; nothing before the second measurement.
    fn metrics(&self, object: &Value, kind: &str) -> Option<Value> {
        let (metadata, samples) = (&object["metadata"], self.samples());
        let mut metrics = json!({
            "kind": kind, "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": metadata["name"], "labels": metadata["labels"]},
        });
        let usages: Vec<Usage> = if kind == "NodeMetrics" {
            let usage = samples.node(name(object))?;
            metrics["usage"] = resources_of(usage);
            vec![usage]
        } else {
            let namespace = metadata["namespace"].as_str().unwrap_or_default();
            metrics["metadata"]["namespace"] = namespace.into();
            let containers = samples.pod(namespace, name(object));
            let used = |(name, usage): &(&str, Usage)| json!({"name": name, "usage": resources_of(*usage)});
            metrics["containers"] = containers.iter().map(used).collect();
            containers.into_iter().map(|(_, usage)| usage).collect()
        };
        // The oldest of its parts is what the whole can stand for.
        let oldest = usages.into_iter().min_by_key(|usage| usage.at)?;
        metrics["timestamp"] =
            Timestamp::from_millisecond(oldest.at).ok()?.strftime("%FT%TZ").to_string().into();
        metrics["window"] = format!("{:.3}s", oldest.window).into();
        Some(metrics)
    }
}

fn resources_of(usage: Usage) -> Value {
    json!({"cpu": format!("{:.0}n", usage.cpu * 1e9), "memory": format!("{:.0}Ki", usage.memory / 1024.0)})
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// A selector as a query holds it.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn failed(status: StatusCode, message: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status.as_u16(),
    });
    (status, Json(body)).into_response()
}

type Asked = State<Arc<Cluster>>;
type Parameters = Query<HashMap<String, String>>;

async fn resources() -> Json<Value> {
    let resource = |name: &str, namespaced: bool, kind: &str| json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]});
    Json(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1",
        "resources": [resource("nodes", false, "NodeMetrics"), resource("pods", true, "PodMetrics")],
    }))
}

async fn nodes(State(cluster): Asked, Query(query): Parameters) -> Response {
    cluster.measured("/api/v1/nodes", &query, "NodeMetrics").await
}

async fn node(State(cluster): Asked, Path(name): Path<String>) -> Response {
    cluster.one("/api/v1/nodes", &name, "NodeMetrics").await
}

async fn all_pods(State(cluster): Asked, Query(query): Parameters) -> Response {
    cluster.measured("/api/v1/pods", &query, "PodMetrics").await
}

async fn pods(State(cluster): Asked, Path(namespace): Path<String>, Query(query): Parameters) -> Response {
    cluster.measured(&format!("/api/v1/namespaces/{namespace}/pods"), &query, "PodMetrics").await
}

async fn pod(State(cluster): Asked, Path((namespace, name)): Path<(String, String)>) -> Response {
    cluster.one(&format!("/api/v1/namespaces/{namespace}/pods"), &name, "PodMetrics").await
}
