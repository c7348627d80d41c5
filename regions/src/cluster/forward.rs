//! A port-forward: a Service's pod, reached through the API server.

use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::api::Portforwarder;
use kube::client::UpgradeConnectionError;
use kube::core::Status;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::Cluster;
use super::error::{Cause, ClusterError};
use crate::plan::object::ObjectRef;

/// A way to one port of a pod, as long as this lives.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    pod: String,
    task: JoinHandle<()>,
}

impl Forward {
    /// Where it listens, on loopback.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pod that it leads to.
    pub fn pod(&self) -> &str {
        &self.pod
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cluster {
    /// Forwards connections to a port of a Service, each over the API server to the first of its ready pods, by
    /// name: always the same one, since what is asked of one Vault and then of another has two answers.
    ///
    /// # Errors
    /// There is no such Service or port, none of its pods is ready, or the API server does not forward.
    pub async fn forward(&self, namespace: &str, service: &str, port: u16) -> Result<Forward, ClusterError> {
        let id = ObjectRef {
            api_version: "v1".into(),
            kind: "Service".into(),
            namespace: Some(namespace.into()),
            name: service.into(),
        };
        let found = self.service(&id).await?;
        let selector = format!("kubernetes.io/service-name={service}");
        let slices: Vec<EndpointSlice> =
            self.list("apis/discovery.k8s.io/v1", "endpointslices", namespace, &selector).await?;
        let (pod, port) = endpoint(&found, &slices, port)
            .map_err(|why| self.error("port-forward", &id.to_string(), Cause::Unready(why)))?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let way = Way { cluster: self.clone(), pods, pod: pod.clone(), port };
        let first = way.open().await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let unlistened = |error: std::io::Error| {
            self.error(
                "port-forward",
                &way.to_string(),
                Cause::Unexpected(format!("listen on loopback: {error}")),
            )
        };
        let listener = listener.map_err(unlistened)?;
        let address = listener.local_addr().map_err(unlistened)?;
        Ok(Forward { address, pod, task: tokio::spawn(way.serve(listener, first)) })
    }
}

/// From a Service's port to a pod's: the first ready pod by name, and its port.
fn endpoint(service: &Service, slices: &[EndpointSlice], port: u16) -> Result<(String, u16), String> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let known: Vec<_> = ports.clone().map(|known| known.port.to_string()).collect();
    let wanted = ports.clone().find(|known| known.port == i32::from(port));
    let wanted = wanted.ok_or_else(|| format!("it has no port {port} (it has: {})", known.join(", ")))?;
    let name = wanted.name.as_deref().unwrap_or_default();
    let mut pods: Vec<(String, u16)> = Vec::new();
    for slice in slices {
        let of_port = |known: &&k8s_openapi::api::discovery::v1::EndpointPort| {
            known.name.as_deref().unwrap_or_default() == name
        };
        let number = slice.ports.iter().flatten().find(of_port).and_then(|known| known.port);
        let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { continue };
        for endpoint in &slice.endpoints {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false);
            let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            if let Some(pod) = target.filter(|_| ready).and_then(|target| target.name.clone()) {
                pods.push((pod, number));
            }
        }
    }
    pods.into_iter().min().ok_or_else(|| "none of its pods is ready".into())
}

/// What every connection goes over.
struct Way {
    cluster: Cluster,
    pods: Api<Pod>,
    pod: String,
    port: u16,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port {} of Pod {}", self.port, self.pod)
    }
}

impl Way {
    async fn open(&self) -> Result<Portforwarder, ClusterError> {
        let ports = [self.port];
        let opened = self.pods.portforward(&self.pod, &ports);
        let cause = match timeout(self.cluster.patience.call, opened).await {
            Ok(Ok(forwarder)) => return Ok(forwarder),
            // The API server says no by not switching protocols, and gives a status without a reason.
            Ok(Err(kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)))) => {
                let told =
                    format!("the API server did not forward ({})", status.canonical_reason().unwrap_or("?"));
                Cause::Api(Status::failure(&told, "").with_code(status.as_u16()).boxed())
            }
            Ok(Err(error)) => Cause::from_client(error),
            Err(_) => Cause::TimedOut(self.cluster.patience.call),
        };
        Err(self.cluster.error("port-forward", &self.to_string(), cause))
    }

    async fn serve(self, listener: TcpListener, first: Portforwarder) {
        let mut ready = Some(first);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                taken = listener.accept() => {
                    let Ok((client, _)) = taken else { continue };
                    // The client is told by the end of its connection, and what it was about to do is told then.
                    let forwarder = match ready.take() {
                        Some(forwarder) => forwarder,
                        None => match self.open().await {
                            Ok(forwarder) => forwarder,
                            Err(_) => continue,
                        },
                    };
                    connections.spawn(join(client, forwarder, self.port));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn join(mut client: TcpStream, mut forwarder: Portforwarder, port: u16) {
    if let Some(mut pod) = forwarder.take_stream(port) {
        let _ = copy_bidirectional(&mut client, &mut pod).await;
    }
    forwarder.abort();
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(ports: &Value) -> Service {
        serde_json::from_value(json!({"spec": {"ports": ports}})).unwrap()
    }

    fn slice(port: &Value, endpoints: &Value) -> EndpointSlice {
        serde_json::from_value(json!({"addressType": "IPv4", "ports": [port], "endpoints": endpoints}))
            .unwrap()
    }

    fn pod(name: &str, ready: &Value) -> Value {
        json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": name}})
    }

    #[test]
    fn it_is_always_the_first_ready_pod() {
        let service = service(&json!([{"name": "https", "port": 443}, {"name": "cluster", "port": 8201}]));
        let https = json!({"name": "https", "port": 8200});
        let slices = [
            slice(&json!({"name": "cluster", "port": 8201}), &json!([pod("a", &json!(true))])),
            slice(&https, &json!([pod("vault-2", &json!(true)), pod("vault-0", &json!(false))])),
            slice(&https, &json!([pod("vault-1", &Value::Null)])),
        ];
        assert_eq!(endpoint(&service, &slices, 443), Ok(("vault-1".into(), 8200)));
    }

    #[test]
    fn a_port_without_a_name_is_found_too() {
        let slices = [slice(&json!({"port": 8200}), &json!([pod("vault-0", &json!(true))]))];
        assert_eq!(endpoint(&service(&json!([{"port": 8200}])), &slices, 8200), Ok(("vault-0".into(), 8200)));
    }

    #[test]
    fn what_is_missing_is_told() {
        let service = service(&json!([{"name": "https", "port": 8200}]));
        assert_eq!(endpoint(&service, &[], 443), Err("it has no port 443 (it has: 8200)".into()));
        let slices =
            [slice(&json!({"name": "https", "port": 8200}), &json!([pod("vault-0", &json!(false))]))];
        assert_eq!(endpoint(&service, &slices, 8200), Err("none of its pods is ready".into()));
    }
}
