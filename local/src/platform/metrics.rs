//! The API `metrics.k8s.io` of a region, which autoscalers ask: what kubelets measure, as metrics-server serves it.
//!
//! It is a process of its own in the first node's network, where the API server passes its callers on to it, and
//! takes nobody who does not come by way of the API server.

mod samples;
mod serve;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rights::rights;
use super::{Error, Plan, network};
use crate::kubernetes::KubernetesApi;
use crate::pki::write_private;
use crate::process::{Process, Program};
use crate::wait::wait_until;

/// As whom it asks the API server.
pub(super) const USER: &str = "system:metrics-server";

/// Where it listens, on the first node.
const PORT: u16 = 4443;

/// The Service by which the API server finds it.
const SERVICE: &str = "metrics-server";

/// How long it may take until the API server passes callers on to it.
const AVAILABLE: Duration = Duration::from_secs(60);

/// What the process is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The API server.
    api: SocketAddr,
    /// The authority of the API server, and of those who call here in its name.
    authority: PathBuf,
    /// The file with the token by which the API server knows it.
    token: PathBuf,
    /// Its own certificate and key.
    certificate: PathBuf,
    key: PathBuf,
    /// Where it listens.
    listen: SocketAddr,
}

impl Spec {
    /// Measures and answers until the process ends.
    ///
    /// # Errors
    /// A file cannot be read, or the address cannot be had.
    pub async fn run(file: &Path) -> Result<(), Error> {
        let system = |source| Error::System { operation: format!("read {}", file.display()), source };
        let text = fs::read_to_string(file).map_err(system)?;
        let spec: Spec = serde_json::from_str(&text).map_err(|error| system(std::io::Error::other(error)))?;
        serve::run(&spec).await.map_err(|source| Error::System {
            operation: format!("serve metrics.k8s.io on {}", spec.listen),
            source,
        })
    }
}

/// Starts it, and tells the API server of it. [`available`] says when it answers.
pub(super) async fn start(
    plan: &Plan,
    folder: &Path,
    api: &KubernetesApi,
    program: &Path,
) -> Result<Process, Error> {
    let system =
        |source| Error::System { operation: format!("write the files of {}'s metrics", plan.name), source };
    let own = folder.join("metrics");
    fs::create_dir_all(&own).map_err(system)?;
    let name = format!("{SERVICE}.kube-system.svc");
    let files = api.ca().issue(&[&name])?.write(&own, "metrics")?;
    let token = write_private(&own.join("token"), api.token(USER).expose_secret().as_bytes())?;
    let spec = Spec {
        api: api.address(),
        authority: api.ca().write(own.join("ca.pem"))?,
        token,
        certificate: files.certificate,
        key: files.key,
        listen: (plan.address(1), PORT).into(),
    };
    let file = own.join("metrics.json");
    fs::write(&file, serde_json::to_vec(&spec).unwrap_or_default()).map_err(system)?;
    let process = Program::new(format!("metrics {}", plan.name), program)
        .arguments(["metrics".as_ref(), file.as_os_str()])
        .folder(&own)
        .log(own.join("metrics.log"))
        .within(&network::file(&plan.namespace(1)))
        .start()?;
    for (path, object) in objects(plan, api) {
        api.call(Method::POST, path, Some(object)).await?;
    }
    Ok(process)
}

/// Waits until the API server passes callers on to it. That needs kube-proxy on the first node.
pub(super) async fn available(plan: &Plan, api: &KubernetesApi, process: &Process) -> Result<(), Error> {
    let what = format!("metrics.k8s.io of {}", plan.name);
    let available = wait_until(what, AVAILABLE, async || {
        if let Err(ended) = process.check_running() {
            return Ok(Err(ended));
        }
        let found = api.call(Method::GET, "/apis/metrics.k8s.io/v1beta1/nodes", None).await;
        match found {
            Ok(found) if found["items"].as_array().is_some_and(|items| !items.is_empty()) => Ok(Ok(())),
            Ok(_) => Err("nothing is measured yet".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    match available.await {
        Ok(running) => Ok(running?),
        Err(waited) => {
            let log = process.log().map(Path::to_owned).unwrap_or_default();
            Err(Error::NotInTime { waited, log, tail: process.log_tail(15) })
        }
    }
}

fn objects(plan: &Plan, api: &KubernetesApi) -> Vec<(&'static str, Value)> {
    let rules = json!([
        {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"]},
    ]);
    let ports = |port: u16| json!([{"name": "https", "port": port}]);
    let mut objects = Vec::from(rights(USER, &rules));
    objects.extend([
        (
            "/api/v1/namespaces/kube-system/services",
            json!({"metadata": {"name": SERVICE}, "spec": {"ports": ports(443)}}),
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
            json!({
                "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
                "addressType": "IPv4", "ports": ports(PORT),
                "endpoints": [{"addresses": [plan.address(1)], "conditions": {"ready": true}}],
            }),
        ),
        (
            "/apis/apiregistration.k8s.io/v1/apiservices",
            json!({
                "metadata": {"name": "v1beta1.metrics.k8s.io"},
                "spec": {
                    "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                    "service": {"namespace": "kube-system", "name": SERVICE, "port": 443},
                    "caBundle": api.ca_bundle(),
                },
            }),
        ),
    ]);
    objects
}
