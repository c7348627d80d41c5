//! The project's own chart.

use std::path::Path;

use crate::charts::{copy, package};
use crate::world::{World, get};

/// A digest that no image has.
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_own_chart_is_promoted() {
    let world = World::start().await;
    let chart = world.folder.path().join("chart");
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/chart")), &chart);
    let images = ["service", "secrets-agent", "regions"]
        .map(|name| format!("{name}: ready.invalid/{name}@{DIGEST}\n"));
    std::fs::write(chart.join("images.yaml"), images.concat()).unwrap();
    // What stands before the pods here listens at ports of its own.
    let service = chart.join("templates/service.yaml");
    let (eu, us) = (world.eu_front().port(), world.us_front().port());
    let port = format!("port: {{{{ get (dict \"eu\" {eu} \"us\" {us}) .Values.region }}}}");
    let text = std::fs::read_to_string(&service).unwrap();
    assert!(text.contains("port: 443"), "{text}");
    std::fs::write(&service, text.replace("port: 443", &port)).unwrap();
    let release = package(&chart, "1.0.0", world.folder.path()).await.to_str().unwrap().to_owned();

    let ran = world.promote(&release, &[]).await.expect(0);
    ran.says("eu: applied, 4/4 pods ready").says("us: applied, 4/4 pods ready");
    world.promote(&release, &[]).await.expect(0).says("no change");
    for kind in ["NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler", "ServiceAccount"] {
        ran.says(&format!("+kind: {kind}"));
    }
    let deployment = get(&world.eu, "deployments", "service").await.unwrap();
    let digest = &deployment["spec"]["template"]["metadata"]["annotations"]["meridian.internal/release"];
    assert!(digest.as_str().unwrap().starts_with("sha256:"), "{digest}");
}
