//! A cluster's DNS: CoreDNS on its first node, behind the Service that every pod asks.

use std::fs;
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::rights::rights;
use super::{Error, Plan, network};
use crate::kubernetes::{self, Kubeconfig, KubernetesApi};
use crate::process::{Process, Program};
use crate::tools;
use crate::wait::wait_until;

/// The user that CoreDNS is.
pub(super) const USER: &str = "system:coredns";

/// How long it may take until it answers.
const ANSWERS: Duration = Duration::from_secs(30);

/// Where it says that it is ready.
const READY: u16 = 8181;

/// Starts it, and waits until it answers.
pub(super) async fn start(plan: &Plan, folder: &Path, api: &KubernetesApi) -> Result<Process, Error> {
    let system =
        |source| Error::System { operation: format!("write the files of {}'s DNS", plan.name), source };
    let own = folder.join("dns");
    fs::create_dir_all(&own).map_err(system)?;
    let kubeconfig = own.join("kubeconfig");
    let config = Kubeconfig::new().context_via(USER, api, api.address(), api.token(USER));
    config.write(&kubeconfig)?;
    let address = plan.address(1);
    let corefile = format!(
        ".:53 {{\n    bind {address}\n    errors\n    ready {address}:{READY}\n    kubernetes cluster.local in-addr.arpa {{\n        \
         kubeconfig {}\n    }}\n    cache 5\n}}\n",
        kubeconfig.display()
    );
    fs::write(own.join("Corefile"), corefile).map_err(system)?;
    for (path, object) in objects(plan) {
        api.call(Method::POST, path, Some(object)).await?;
    }
    let process = Program::new(format!("coredns {}", plan.name), tools::coredns()?)
        .argument("-conf")
        .argument(own.join("Corefile"))
        .folder(&own)
        .log(own.join("coredns.log"))
        .within(&network::file(&plan.namespace(1)))
        .start()?;
    let ready = crate::http::Client::new(crate::http::Target::Tcp((address, READY).into()));
    let what = format!("the DNS of {} to be ready", plan.name);
    let answered = wait_until(what, ANSWERS, async || {
        if let Err(ended) = process.check_running() {
            return Ok(Err(ended));
        }
        let answer = ready.get("/ready").await.and_then(|answer| answer.expect(http::StatusCode::OK));
        answer.map(|_| Ok(())).map_err(|error| error.to_string())
    });
    match answered.await {
        Ok(running) => running?,
        Err(waited) => {
            let (log, tail) = (own.join("coredns.log"), process.log_tail(15));
            return Err(Error::NotInTime { waited, log, tail });
        }
    }
    Ok(process)
}

/// Its rights, and the Service by which pods ask it.
fn objects(plan: &Plan) -> [(&'static str, Value); 4] {
    let ports = ["UDP", "TCP"];
    let port = |protocol: &str| json!({"name": protocol.to_lowercase(), "protocol": protocol, "port": 53});
    let rules = json!([
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]);
    let [role, binding] = rights(USER, &rules);
    [
        role,
        binding,
        (
            "/api/v1/namespaces/kube-system/services",
            json!({
                "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
                "spec": {"clusterIP": super::nth(plan.services, 10), "ports": ports.map(port)},
            }),
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
            json!({
                "metadata": {"name": "kube-dns", "labels": {"kubernetes.io/service-name": "kube-dns"}},
                "addressType": "IPv4", "ports": ports.map(port),
                "endpoints": [{"addresses": [plan.address(1)], "conditions": {"ready": true}}],
            }),
        ),
    ]
}

impl From<crate::pki::Error> for Error {
    fn from(error: crate::pki::Error) -> Self {
        Self::Kubernetes(kubernetes::Error::from(error))
    }
}
