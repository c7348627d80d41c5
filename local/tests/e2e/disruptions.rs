//! What happens to pods every day, while clients ask.

use std::process::Command;

use http::Method;
use local_region::platform::faults::{self, Which};
use local_region::tools::{self, KubernetesPart};
use local_region::wait::wait_until;
use serde_json::{Value, json};

use crate::load::nobody_notices;
use crate::world::{DEPLOYMENT, PODS, SOON, World, container, name, ready};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_rollout_loses_no_request() {
    let world = World::open().await;
    let before = world.eu().pods().await;
    nobody_notices(&world, "rollout", async {
        for place in world.places() {
            place.restart().await;
            place.settled(2).await;
        }
    })
    .await;
    let after = world.eu().pods().await;
    assert!(
        before.iter().all(|pod| after.iter().all(|other| name(pod) != name(other))),
        "every pod is another"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_deleted_pod_loses_no_request() {
    let world = World::open().await;
    let eu = world.eu();
    nobody_notices(&world, "pod deletion", async {
        for pod in eu.pods().await {
            eu.delete(&format!("{PODS}/{}", name(&pod))).await;
            eu.settled(2).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_drained_node_loses_no_request() {
    let world = World::open().await;
    let eu = world.eu();
    let kubectl = tools::kubernetes(KubernetesPart::Kubectl).unwrap();
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(&kubectl);
        command.arg("--kubeconfig").arg(&world.environment.kubeconfig);
        let ran = command.args(["--context", &eu.region.context]).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    // A node with a pod of the service, and without Vault, which has but one server here.
    let vault = eu.get("/api/v1/namespaces/vault/pods/vault-0").await;
    let vault = vault["spec"]["nodeName"].clone();
    let other = eu.region.nodes.iter().find(|node| vault != node.as_str()).unwrap().clone();
    // Pods that were preferred elsewhere come to it when theirs is closed.
    let node = vault.as_str().unwrap().to_owned();
    eu.cordon(&node, true).await;
    eu.restart().await;
    let pods = eu.settled(2).await;
    assert!(pods.iter().all(|pod| pod["spec"]["nodeName"] == other.as_str()), "all are on {other}");
    eu.cordon(&node, false).await;
    nobody_notices(&world, "node drain", async {
        tokio::task::block_in_place(|| {
            kubectl(&["drain", &other, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s"]);
        });
        let pods = eu.settled(2).await;
        assert!(pods.iter().all(|pod| pod["spec"]["nodeName"] == node.as_str()), "all are on {node}");
    })
    .await;
    eu.cordon(&other, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_crashed_agent_loses_no_request() {
    let world = World::open().await;
    let eu = world.eu();
    let plan = world.plan();
    let restarts = |pods: &[Value]| -> u64 {
        pods.iter().filter_map(|pod| container(pod, "secrets-agent")["restartCount"].as_u64()).sum()
    };
    let before = eu.pods().await;
    nobody_notices(&world, "agent crash", async {
        assert!(
            faults::kill_one(&plan, &Which { program: Some("secrets-agent".into()), node: None }).unwrap()
        );
        let back = wait_until("the agent to be back", SOON, async || {
            let pods = eu.pods().await;
            let service: u64 =
                pods.iter().filter_map(|pod| container(pod, "service")["restartCount"].as_u64()).sum();
            assert_eq!(service, 0, "a service outlives its agent");
            restarts(&pods) == restarts(&before) + 1
        });
        back.await.unwrap();
    })
    .await;
    let after = eu.settled(2).await;
    assert_eq!(after.iter().map(name).collect::<Vec<_>>(), before.iter().map(name).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_release_that_crashes_loses_no_request() {
    let world = World::open().await;
    let eu = world.eu();
    let broken = |value: Value| {
        let container = json!({"name": "service", "env": [{"name": "SERVICE__LOG__FORMAT", "value": value}]});
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    };
    nobody_notices(&world, "crash loop", async {
        eu.cluster.merge(DEPLOYMENT, &broken(json!("nonsense"))).await.unwrap();
        let looping = wait_until("a new pod to crash again and again", SOON, async || {
            let pods = eu.pods().await;
            let crashed =
                |pod: &&Value| container(pod, "service")["restartCount"].as_u64().unwrap_or_default() >= 2;
            let found = pods.iter().filter(crashed).count();
            if found == 1 { Ok(()) } else { Err(format!("{found} of {}", pods.len())) }
        });
        looping.await.unwrap();
        let pods = eu.pods().await;
        assert_eq!((pods.len(), pods.iter().filter(|pod| ready(pod)).count()), (3, 2), "the old ones stay");
        eu.cluster.merge(DEPLOYMENT, &broken(json!("json"))).await.unwrap();
        eu.settled(2).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn the_budget_refuses_a_second_eviction() {
    let world = World::open().await;
    let eu = world.eu();
    let pods = eu.pods().await;
    let mut statuses = Vec::new();
    for pod in &pods {
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name(pod), "namespace": "meridian"},
        });
        let path = format!("{PODS}/{}/eviction", name(pod));
        let answer = eu.cluster.send(Method::POST, &path, Some(eviction)).await.unwrap();
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [201, 429]);
    eu.settled(2).await;
}
