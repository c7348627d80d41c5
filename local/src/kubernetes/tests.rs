use super::*;
use ::http::Method;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

fn deployment() -> Value {
    let template = json!({
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "app", "image": "none.invalid/app"}]},
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "template": template},
    })
}

#[tokio::test]
async fn a_deployment_gets_a_pod_and_writes_are_told() {
    let api = KubernetesApi::named("test").start().await.unwrap();
    let path = "/apis/apps/v1/namespaces/default/deployments";
    api.call(Method::POST, &format!("{path}?dryRun=All"), Some(deployment())).await.unwrap();
    api.call(Method::POST, path, Some(deployment())).await.unwrap();
    wait_until("a pod", SOON, async || {
        let pods = api.call(Method::GET, "/api/v1/namespaces/default/pods", None).await;
        pods.is_ok_and(|pods| pods["items"].as_array().is_some_and(|pods| pods.len() == 1))
    })
    .await
    .unwrap();
    let own: Vec<(String, bool, u16)> = api
        .writes()
        .unwrap()
        .into_iter()
        .filter(|write| write.resource == "deployments" && write.verb == "create")
        .map(|write| (write.user, write.dry_run, write.code))
        .collect();
    assert_eq!(own, [("admin".into(), true, 201), ("admin".into(), false, 201)]);
}

#[tokio::test]
async fn objects_outlive_a_killed_server() {
    let mut api = KubernetesApi::named("test").without_controllers().start().await.unwrap();
    let path = "/api/v1/namespaces/default/configmaps";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    api.call(Method::POST, path, Some(map)).await.unwrap();
    api.kill().await;
    assert!(api.call(Method::GET, path, None).await.is_err());
    api.restart().await.unwrap();
    api.call(Method::GET, &format!("{path}/a"), None).await.unwrap();
}
