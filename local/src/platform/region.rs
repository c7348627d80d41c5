//! One region: its control plane, its nodes, and the controller of its addresses.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::task::JoinHandle;

use super::node::{Node, Parts, Spec};
use super::registry::Mirror;
use super::{Error, Plan, balancer, dns, metrics, network};
use crate::kubernetes::{Inside, Kubeconfig, KubernetesApi};
use crate::process::Process;
use crate::wait::wait_until;

/// From the start of a kubelet until its node is ready.
const READY: Duration = Duration::from_secs(90);

/// The user that kube-proxy is.
const PROXY: &str = "system:kube-proxy";

/// What regions are brought up with.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// The programs of nodes.
    pub parts: &'a Parts,
    /// Archives of images that every node has from the beginning, the one for pods' namespaces among them.
    pub images: &'a [PathBuf],
    /// `local-region` itself, which runs the nodes.
    pub program: &'a Path,
    /// The registry that nodes pull images from.
    pub registry: Option<Mirror>,
}

/// A running region. It ends, with all that runs in it, when it is dropped.
#[derive(Debug)]
pub struct Region {
    plan: Plan,
    // Dropped in this order: nodes before what they report to.
    nodes: Vec<Node>,
    _dns: Process,
    metrics: Process,
    balancer: JoinHandle<()>,
    api: Arc<KubernetesApi>,
    folder: PathBuf,
}

impl Region {
    /// Brings a region up in a network that is there.
    ///
    /// # Errors
    /// A part does not come up.
    pub async fn up(plan: Plan, folder: &Path, setup: &Setup<'_>) -> Result<Self, Error> {
        let system = |source| Error::System { operation: format!("create {}", folder.display()), source };
        fs::create_dir_all(folder).map_err(system)?;
        let inside = Inside {
            network: network::file(&plan.namespace(1)),
            address: plan.address(1),
            services: plan.services,
        };
        let control = folder.join("control");
        let mut builder = KubernetesApi::named(&plan.name)
            .folder(&control)
            .inside(inside)
            .user(PROXY, "nobody")
            .user(dns::USER, "nobody")
            .user(metrics::USER, "nobody");
        for node in 1..=plan.count {
            builder = builder.user(&user(&plan.namespace(node)), "system:nodes");
        }
        let api = Arc::new(builder.start().await?);
        let mut nodes = Vec::new();
        for number in 1..=plan.count {
            let name = plan.namespace(number);
            let own = folder.join(format!("node-{number}"));
            fs::create_dir_all(&own).map_err(system)?;
            let kubeconfig = |file: &str, who: &str| {
                let config = Kubeconfig::new().context_via(who, &api, api.address(), api.token(who));
                Ok::<_, Error>(config.write(&own.join(file))?)
            };
            let (kubelet, proxy) =
                (kubeconfig("kubelet.kubeconfig", &user(&name))?, kubeconfig("proxy.kubeconfig", PROXY)?);
            let authority = control.join("ca.pem");
            let spec = Spec::write(&plan, number, &own, setup, &authority, (&kubelet, &proxy))?;
            nodes.push(Node::start(&name, &spec, setup.program)?);
        }
        let dns = dns::start(&plan, folder, &api).await?;
        let metrics = metrics::start(&plan, folder, &api, setup.program).await?;
        let balancer = tokio::spawn(balancer::balance(Arc::clone(&api), plan.balanced()));
        let region = Self { plan, nodes, _dns: dns, metrics, balancer, api, folder: folder.to_owned() };
        region.ready().await?;
        metrics::available(&region.plan, &region.api, &region.metrics).await?;
        Ok(region)
    }

    /// Waits until every node is ready.
    async fn ready(&self) -> Result<(), Error> {
        for (number, node) in (1..).zip(&self.nodes) {
            let what = format!("node {} to be ready", node.name);
            let ready = wait_until(what, READY, async || {
                if let Err(ended) = node.process.check_running() {
                    return Ok(Err(ended));
                }
                let path = format!("/api/v1/nodes/{}", node.name);
                let found =
                    self.api.call(Method::GET, &path, None).await.map_err(|error| error.to_string())?;
                let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
                match ready {
                    Some(ready) if ready["status"] == "True" => Ok(Ok(())),
                    Some(ready) => Err(ready["message"].as_str().unwrap_or_default().to_owned()),
                    None => Err("no condition yet".to_owned()),
                }
            });
            match ready.await {
                Ok(ended) => ended?,
                Err(waited) => {
                    let log = self.folder.join(format!("node-{number}/kubelet.log"));
                    let text = fs::read_to_string(&log).unwrap_or_default();
                    let lines: Vec<&str> = text.lines().collect();
                    let tail = lines[lines.len().saturating_sub(15)..].join("\n");
                    return Err(Error::NotInTime { waited, log, tail });
                }
            }
        }
        Ok(())
    }

    /// The region's facts.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its API server.
    pub fn api(&self) -> &Arc<KubernetesApi> {
        &self.api
    }

    /// Its folder, with the logs of its parts.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.balancer.abort();
    }
}

/// The name by which a kubelet is known.
fn user(node: &str) -> String {
    format!("system:node:{node}")
}
