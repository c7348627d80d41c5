//! Pods on nodes.

use std::time::Duration;

use http::Method;
use ipnet::Ipv4Net;
use local_region::kubernetes::KubernetesApi;
use local_region::platform::{self, Network, Plan, Region, Setup, images};
use local_region::programs::program;
use local_region::wait::wait_until;
use serde_json::{Value, json};

use crate::traces::{kernel, traces};

const SOON: Duration = Duration::from_secs(60);

pub(crate) fn plan(environment: &str, second: u8) -> Plan {
    let net = |third: u8, second: u8, length| Ipv4Net::new_assert([10, second, third, 0].into(), length);
    Plan {
        environment: environment.into(),
        name: "eu".into(),
        location: "local-eu1".into(),
        context: format!("meridian-{environment}-eu"),
        range: net(0, second, 14),
        nodes: net(0, second, 20),
        services: net(16, second, 20),
        pods: net(0, second + 1, 16),
        pools: Vec::new(),
        count: 2,
    }
}

async fn create(api: &KubernetesApi, path: &str, object: Value) -> Value {
    api.call(Method::POST, path, Some(object)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: make test-platform"]
async fn pods_run_on_every_node_and_nothing_is_left_of_them() {
    platform::check().unwrap();
    let (environment, before) = ("test-nodes", kernel());
    platform::clean(environment).await.unwrap();
    let (plan, folder) = (plan(environment, 100), tempfile::tempdir().unwrap());
    Network::make(std::slice::from_ref(&plan)).unwrap();
    let (parts, own) = (platform::parts().unwrap(), program("local-region").unwrap());
    let archives = [images::pause().unwrap()];
    let setup = Setup { parts: &parts, images: &archives, program: &own, registry: None };
    let region = Region::up(plan, folder.path(), &setup).await.unwrap();
    let api = region.api();

    let labels = json!({"app": "waits"});
    let pod = json!({
        "containers": [{"name": "waits", "image": "registry.local/pause:1", "imagePullPolicy": "Never"}],
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": labels},
        }],
    });
    let deployment = json!({"metadata": {"name": "waits"}, "spec": {
        "replicas": 4, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }});
    create(api, "/apis/apps/v1/namespaces/default/deployments", deployment).await;
    let running = wait_until("four pods to be ready", SOON, async || {
        let pods = api.call(Method::GET, "/api/v1/namespaces/default/pods", None).await.unwrap_or_default();
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        let ready: Vec<Value> = pods.iter().filter(ready).cloned().collect();
        if ready.len() == 4 { Ok(ready) } else { Err(format!("{} of {}", ready.len(), pods.len())) }
    });
    let running = running.await.unwrap();
    for node in 1..=2 {
        let (name, pods) = (region.plan().namespace(node), format!("10.101.{node}."));
        let own = |pod: &&Value| pod["spec"]["nodeName"] == name.as_str();
        let addresses: Vec<_> =
            running.iter().filter(own).map(|pod| pod["status"]["podIP"].clone()).collect();
        assert_eq!(addresses.len(), 2, "{name}");
        assert!(
            addresses.iter().all(|address| address.as_str().unwrap().starts_with(&pods)),
            "{addresses:?}"
        );
    }
    let measured = wait_until("all pods to be measured", SOON, async || {
        let path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=app%3Dwaits";
        let found = api.call(Method::GET, path, None).await.unwrap_or_default();
        let found = found["items"].as_array().cloned().unwrap_or_default();
        if found.len() == 4 { Ok(found) } else { Err(format!("{} of 4", found.len())) }
    });
    for pod in measured.await.unwrap() {
        let usage = &pod["containers"][0]["usage"];
        let (cpu, memory) = (usage["cpu"].as_str().unwrap(), usage["memory"].as_str().unwrap());
        assert!(cpu.ends_with('n') && memory.ends_with("Ki") && memory != "0Ki", "{pod}");
    }
    assert_eq!(kernel(), before, "the machine's own settings");
    drop(region);
    platform::clean(environment).await.unwrap();
    assert_eq!(traces(environment), Vec::<String>::new());
}
