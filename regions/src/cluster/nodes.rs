//! What a region's nodes have left for more pods.

use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ListParams;
use kube::core::Request;

use super::Cluster;
use super::error::ClusterError;
use crate::plan::promotion::capacity::{Nodes, Room, cpu, whole};

impl Cluster {
    /// What each node that takes pods has left; `most` is how many there may be.
    ///
    /// # Errors
    /// When the region cannot be asked.
    pub async fn nodes(&self, most: u64) -> Result<Nodes, ClusterError> {
        let nodes: Vec<Node> = self.list_all("nodes").await?;
        let pods: Vec<Pod> = self.list_all("pods").await?;
        let count = nodes.len() as u64;
        let left = nodes.iter().filter(|node| takes_pods(node)).map(|node| {
            let name = node.metadata.name.as_deref();
            let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
            let of = |key: &str| allocatable.and_then(|all| all.get(key)).map_or("", |Quantity(text)| text);
            let all = Room { cpu: cpu(of("cpu")), memory: whole(of("memory")), pods: whole(of("pods")) };
            let here = pods.iter().filter_map(|pod| pod.spec.as_ref().map(|spec| (pod, spec)));
            let here =
                here.filter(|(pod, spec)| name.is_some() && spec.node_name.as_deref() == name && runs(pod));
            here.fold(all, |left, (_, spec)| left.without(&asks_for(spec)))
        });
        Ok(Nodes { left: left.collect(), count, most })
    }

    async fn list_all<T>(&self, plural: &str) -> Result<Vec<T>, ClusterError>
    where
        T: serde::de::DeserializeOwned + Clone,
    {
        let path = Request::new(format!("/api/v1/{plural}"));
        let list: kube::core::ObjectList<T> =
            self.call("list", plural, || Ok(path.list(&ListParams::default())?)).await?;
        Ok(list.items)
    }
}

/// What a pod asks for: its containers together, or the greatest of those that run before them. Sidecars are beside
/// the others.
pub fn asks_for(spec: &PodSpec) -> Room {
    let add = |one: Room, other: Room| Room {
        cpu: one.cpu + other.cpu,
        memory: one.memory + other.memory,
        pods: 1,
    };
    let none = Room { pods: 1, ..Room::default() };
    let stays = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let initial = || spec.init_containers.iter().flatten();
    let beside = initial().filter(stays).map(requests).fold(none, add);
    let together = spec.containers.iter().map(requests).fold(beside, add);
    let before = initial().filter(|one| !stays(one)).map(requests);
    before.fold(together, |most, one| Room {
        cpu: most.cpu.max(one.cpu),
        memory: most.memory.max(one.memory),
        pods: 1,
    })
}

fn requests(container: &Container) -> Room {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let of = |key: &str| requests.and_then(|all| all.get(key)).map_or("", |Quantity(text)| text);
    Room { cpu: cpu(of("cpu")), memory: whole(of("memory")), pods: 1 }
}

fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

fn takes_pods(node: &Node) -> bool {
    let closed = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    ready && !closed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_asks_for_its_containers_and_sidecars_together() {
        let asks = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": memory}});
        let spec = json!({
            "initContainers": [
                {"name": "agent", "restartPolicy": "Always", "resources": asks("50m", "16Mi")},
                {"name": "before", "resources": asks("400m", "8Mi")},
            ],
            "containers": [{"name": "service", "resources": asks("100m", "64Mi")}, {"name": "free"}],
        });
        let room = asks_for(&serde_json::from_value(spec).unwrap());
        assert_eq!(room, Room { cpu: 400, memory: 80 << 20, pods: 1 });
    }
}
