//! Releases in an OCI registry.

use local_region::http::Target;
use local_region::pki::Ca;
use local_region::proxy::{AnswerProxy, Rule};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::charts::good;
use crate::world::{World, records};

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_release_is_pulled_by_the_digest_of_its_manifest() {
    let world = World::start().await;
    let package = std::fs::read(world.release(&good("1.0.0")).await).unwrap();
    let config = json!({"name": "fixture", "version": "1.0.0", "apiVersion": "v2"}).to_string();
    let descriptor =
        |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": kind,
        "config": descriptor("application/vnd.cncf.helm.config.v1+json", config.as_bytes()),
        "layers": [descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &package)],
    })
    .to_string();
    let own = digest(manifest.as_bytes());

    let ca = Ca::new("registry").unwrap();
    let nobody = Target::localhost(world.eu.address(), &world.eu.ca().pem()).unwrap();
    let registry = AnswerProxy::start(&ca.issue(&["localhost"]).unwrap(), nobody).await.unwrap();
    let blob = |bytes: &[u8]| format!("/v2/charts/fixture/blobs/{}", digest(bytes));
    let manifests = format!("/v2/charts/fixture/manifests/{own}");
    registry.add(Rule::path(&manifests, 200).header("content-type", kind).body(manifest));
    registry.add(Rule::path(&blob(config.as_bytes()), 200).body(config));
    registry.add(Rule::path(&blob(&package), 200).body(package.clone()));
    registry.add(Rule::path("/v2/", 404));
    let ca_file = ca.write(world.folder.path().join("registry-ca.pem")).unwrap();
    let address = format!("oci://localhost:{}/charts/fixture", registry.address().port());

    let promote = async |reference: &str| {
        let mut command = world.promotion(reference, &["--yes"]);
        command.env("SSL_CERT_FILE", &ca_file).env("HOME", world.folder.path());
        crate::run::end(command.spawn().unwrap(), std::time::Instant::now()).await
    };
    promote(&format!("{address}:1.0.0")).await.expect(1).says("a tag can move");
    promote(&format!("{address}@{}", digest(b"none"))).await.expect(1).says("helm pull refused");
    promote(&format!("{address}@{own}")).await.expect(0);
    let record = records(&world.us).await.remove(0);
    assert_eq!(record["release"]["digest"], own.as_str());
    assert_eq!(format!("sha256:{}", record["release"]["packageSha256"].as_str().unwrap()), digest(&package));
}
