//! What is refused before anything is written.

use http::Method;
use local_region::kubernetes::Kubeconfig;
use secrecy::SecretString;
use serde_json::json;

use crate::charts::good;
use crate::world::{EU, US, World, contents, get, patch, records, versions, writes};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_field_of_another_manager_is_named_and_not_forced() {
    let world = World::start().await;
    let first = world.release(&good("1.0.0")).await;
    world.promote(&first, &[]).await.expect(0);
    // In wave two: a conflict anywhere keeps every region as it is.
    patch(&world.us, "configmaps", "settings", "kubectl-edit", json!({"data": {"greeting": "by hand"}}))
        .await;

    let second = world.release(&good("1.1.0")).await;
    let before = (writes(&world.eu), contents(&world.us).await);
    let ran = world.promote(&second, &[]).await.expect(1);
    ran.says("ConfigMap meridian/settings .data.greeting: owned by \"kubectl-edit\" using v1");
    ran.says("live \"by hand\", release \"1.1.0\"").says("nothing was changed in production");
    assert_eq!(before, (writes(&world.eu), contents(&world.us).await));

    // The way out that the message names: the live value set back to the release's.
    patch(&world.us, "configmaps", "settings", "kubectl-edit", json!({"data": {"greeting": "1.1.0"}})).await;
    world.promote(&second, &[]).await.expect(0);
    world.promote(&second, &[]).await.expect(0).says("no change");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn releases_that_are_none_and_plans_that_nobody_confirmed() {
    let world = World::start().await;
    let folder = world.folder.path().to_str().unwrap().to_owned();
    world.promote("oci://registry.example/service:1.0.0", &[]).await.expect(1).says("a tag can move");
    world.promote("service", &[]).await.expect(2).says("neither a packaged chart");
    world.promote(&folder, &[]).await.expect(2).says("is a folder; package it first");
    world.promote("/nowhere/service-1.0.0.tgz", &[]).await.expect(2).says("read the release /nowhere");
    let release = world.release(&good("1.0.0")).await;
    let other = format!("{release}@sha256:{}", "ab".repeat(32));
    world.promote(&other, &[]).await.expect(1).says("it is not the release that was meant");
    let broken = world.folder.path().join("broken.tgz");
    std::fs::write(&broken, "no chart").unwrap();
    world.promote(broken.to_str().unwrap(), &[]).await.expect(1).says("helm show chart refused");

    let unasked = world.promotion(&release, &[]).spawn().unwrap();
    let ran = crate::run::end(unasked, std::time::Instant::now()).await.expect(1);
    ran.says("to create").says("nobody can be asked here").says("nothing was changed in production");

    assert!(get(&world.eu, "configmaps", "settings").await.is_none());
    assert_eq!(writes(&world.eu), []);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn an_object_that_the_api_server_refuses_is_named_before_anything_is_written() {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    let before = (versions(&world.eu).await, versions(&world.us).await);

    let misspelt = world.release(&good("1.1.0").with("misspelt", "imagePullPolice")).await;
    let ran = world.promote(&misspelt, &[]).await.expect(1);
    ran.says("eu: apply (dry run) Deployment meridian/service").says("imagePullPolice");
    ran.says("us: apply (dry run)").says("correct the chart or the catalogue");
    assert_eq!(before, (versions(&world.eu).await, versions(&world.us).await));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn objects_of_others_are_neither_taken_nor_pruned() {
    let world = World::start().await;
    let with_extra = world.release(&good("1.0.0").with("extra", "extra")).await;
    world.promote(&with_extra, &[]).await.expect(0);
    // Somebody takes the object over: without the label it is not the tool's own any more.
    let taken = json!({"metadata": {"labels": {"meridian.internal/owner": null}}});
    patch(&world.eu, "configmaps", "extra", "somebody", taken).await;

    world.promote(&world.release(&good("1.1.0")).await, &[]).await.expect(0);
    assert!(get(&world.eu, "configmaps", "extra").await.is_some());
    assert!(get(&world.us, "configmaps", "extra").await.is_none());
    // What was never in a release is not looked at.
    let own = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}});
    world.eu.call(Method::POST, "/api/v1/namespaces/meridian/configmaps", Some(own)).await.unwrap();
    world.promote(&world.release(&good("1.2.0")).await, &[]).await.expect(0);
    assert!(get(&world.eu, "configmaps", "own").await.is_some());
    assert_eq!(records(&world.eu).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_without_room_for_one_more_pod() {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    let pods = world.us.call(Method::GET, "/api/v1/namespaces/meridian/pods", None).await.unwrap();
    let pods: Vec<&str> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap())
        .collect();
    // As many nodes as its pools may have: one for each pod, and one that is closed.
    assert_eq!(pods.len(), 2, "{pods:?}");
    node(&world, "one", false).await;
    node(&world, "two", false).await;
    node(&world, "three", true).await;
    for (pod, node) in pods.iter().zip(["one", "two"]) {
        let binding = json!({"metadata": {"name": pod}, "target": {"kind": "Node", "name": node}});
        let path = format!("/api/v1/namespaces/meridian/pods/{pod}/binding");
        world.us.call(Method::POST, &path, Some(binding)).await.unwrap();
    }

    let second = world.release(&good("1.1.0")).await;
    let before = (writes(&world.eu), writes(&world.us));
    let ran = world.promote(&second, &[]).await.expect(1);
    ran.says("us: none of its 3 nodes has room for one more pod").says("raise `max` of a pool");
    ran.says("nothing was changed in production");
    assert_eq!(before, (writes(&world.eu), writes(&world.us)));

    // The way out: the closed one is opened.
    let open = json!({"spec": {"unschedulable": null}});
    world.us.call(Method::PATCH, "/api/v1/nodes/three", Some(open)).await.unwrap();
    world.promote(&second, &["--dry-run"]).await.expect(0).says_not("has room");
}

/// A node of the second region that is ready, has room for one pod, and may be closed.
async fn node(world: &World, name: &str, closed: bool) {
    let node = json!({"metadata": {"name": name}, "spec": {"unschedulable": closed}});
    world.us.call(Method::POST, "/api/v1/nodes", Some(node)).await.unwrap();
    let now = jiff::Timestamp::now();
    let status = json!({"status": {
        "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "1"},
        "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}],
    }});
    world.us.call(Method::PATCH, &format!("/api/v1/nodes/{name}/status"), Some(status)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn credentials_that_end_before_a_wave_and_its_undo_may() {
    let world = World::start().await;
    let release = world.release(&good("1.0.0")).await;
    let account = "/api/v1/namespaces/default/serviceaccounts";
    let own = json!({"metadata": {"name": "promoter"}});
    world.us.call(Method::POST, account, Some(own)).await.unwrap();
    let all = json!({
        "metadata": {"name": "promoter"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "promoter", "namespace": "default"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    world.us.call(Method::POST, bindings, Some(all)).await.unwrap();
    let for_seconds = async |seconds: u32| {
        let wanted = json!({"spec": {"expirationSeconds": seconds}});
        let made = world.us.call(Method::POST, &format!("{account}/promoter/token"), Some(wanted)).await;
        let token = SecretString::from(made.unwrap()["status"]["token"].as_str().unwrap());
        let config = Kubeconfig::new().context(EU, &world.eu);
        config.context_via(US, &world.us, world.us.address(), &token).write(&world.kubeconfig).unwrap();
    };

    // The bake of 1 s, and 10 min for the rollout and for the undo, as --timeout has it: one second more than it lives.
    for_seconds(1200).await;
    let ran = world.promote(&release, &[]).await.expect(1);
    ran.says("us: the token of context meridian-production-us ends at").says("get a new one, then run again");
    ran.says("nothing was changed in production");
    assert_eq!((writes(&world.eu), contents(&world.us).await), (vec![], vec![]));

    world.promote(&release, &["--timeout", "5m"]).await.expect(0);
}
