//! The project's own chart.

use std::path::Path;

use http::Method;
use serde_json::json;

use crate::charts::{copy, package};
use crate::world::{World, get};

/// A digest that no image has.
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_own_chart_is_promoted() {
    let world = World::start().await;
    let chart = world.folder.path().join("chart");
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/chart")), &chart);
    let images = ["service", "secrets-agent"].map(|name| format!("{name}: ready.invalid/{name}@{DIGEST}\n"));
    std::fs::write(chart.join("images.yaml"), images.concat()).unwrap();
    let release = package(&chart, "1.0.0", world.folder.path()).await.to_str().unwrap().to_owned();

    let started = std::time::Instant::now();
    let child = world.promotion(&release, &["--yes"]).spawn().unwrap();
    // A cloud would give the load balancers their addresses.
    for api in [&world.eu, &world.us] {
        let service = || async { get(api, "services", "service").await };
        local_region::wait::wait_until("the Service", crate::world::SOON, service).await.unwrap();
        let path = "/api/v1/namespaces/meridian/services/service/status";
        let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        api.call(Method::PATCH, path, Some(address)).await.unwrap();
    }
    let ran = crate::run::end(child, started).await.expect(0);
    ran.says("eu: applied, 2/2 pods ready").says("us: applied, 2/2 pods ready");
    world.promote(&release, &[]).await.expect(0).says("no change");
    for kind in ["NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler", "ServiceAccount"] {
        ran.says(&format!("+kind: {kind}"));
    }
    let deployment = get(&world.eu, "deployments", "service").await.unwrap();
    let digest = &deployment["spec"]["template"]["metadata"]["annotations"]["meridian.internal/release"];
    assert!(digest.as_str().unwrap().starts_with("sha256:"), "{digest}");
}
