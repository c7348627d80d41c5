//! What stops a rotation, and what it says then.

use std::time::{Duration, Instant};

use local_region::ports::Port;
use local_region::wait::wait_until;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::run;
use crate::world::{SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_use_a_document_stops_it_in_the_first_wave_with_its_name_and_its_reason() {
    let world = World::start(2).await;
    let before = world.same("tls").await;
    let broken = json!({"certificate_pem": "none", "private_key_pem": "none"});
    let started = Instant::now();
    let mut command = world.rotating("tls", &["--from-stdin", "--adopt-within=1m"]).await;
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(broken.to_string().as_bytes()).await.unwrap();
    let ran = run::end(child, started).await.expect(4);
    ran.says("eu-1: its service").says("its service rejects it: version 2: certificate_pem");
    ran.says("eu: ").says("incomplete; run it again");
    // A rejection is not waited for as long as a pod that is slow.
    assert!(ran.took < Duration::from_secs(50), "{:?}", ran.took);
    assert_eq!(world.us.read("tls").await, before, "the second wave was not touched");
    world.rotate("tls", &["--abort"]).await.expect(0).says("done");
    for region in world.regions() {
        let mut document = region.read("tls").await;
        document.as_object_mut().unwrap().remove("rotation");
        assert_eq!(document, before);
        region.uses("tls").await;
        assert_eq!(region.readable("service/tls").await.0.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_version_written_by_hand_stops_it_and_both_ways_lead_on() {
    let world = World::start(1).await;
    let ran = world.rotating("signing-keys", &[]).await.spawn().unwrap();
    let published = async || {
        let document = world.us.read("signing-keys").await;
        (document["keys"].as_object().unwrap().len() == 2).then_some(document)
    };
    let mut document = wait_until("the new key in us", SOON, published).await.unwrap();
    document.as_object_mut().unwrap().remove("rotation");
    world.us.admin().put("kv", "service/signing-keys", &document, None).await.unwrap();
    let ran = run::end(ran, Instant::now()).await.expect(4);
    ran.says("us: version 3 of signing-keys was written by hand").says("--overwrite us");
    let view = world.us.watcher.view().await.unwrap();
    assert_eq!(view["secrets"]["signing-keys"]["mark"], json!(null));
    world.rotate("signing-keys", &["--overwrite=us"]).await.expect(0).says("done");
    assert_eq!(world.same("signing-keys").await["keys"].as_object().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn what_stands_by_hand_in_every_region_ends_two_rotations() {
    let world = World::start(1).await;
    let first = world.same("signing-keys").await;
    world.rotate("signing-keys", &["--rotation=r-1"]).await.expect(0);
    // The regions did not see each other: each has the document of another rotation, whose key is in use.
    let mut both = world.same("signing-keys").await;
    both.as_object_mut().unwrap().remove("rotation");
    for (kid, mut key) in first["keys"].as_object().unwrap().clone() {
        key["state"] = json!("retiring");
        key.as_object_mut().unwrap().remove("private_pem");
        both["keys"][kid] = key;
    }
    for (region, id) in world.regions().into_iter().zip(["r-2", "r-3"]) {
        let mut document = both.clone();
        document["rotation"] = json!({id: {"activate": ""}});
        region.admin().put("kv", "service/signing-keys", &document, None).await.unwrap();
        region.uses("signing-keys").await;
    }
    let ran = world.rotate("signing-keys", &[]).await.expect(1);
    ran.says("several rotations of signing-keys are under way").says("r-2 in eu; r-3 in us");
    let ran = world.rotate("signing-keys", &["--settle"]).await.expect(1);
    ran.says("was written by the rotation r-2 (activate); write what is to stand by hand into every region");
    for region in world.regions() {
        region.admin().put("kv", "service/signing-keys", &both, None).await.unwrap();
    }
    world.rotate("signing-keys", &["--settle"]).await.expect(0).says("signing-keys: done");
    world.rotate("signing-keys", &["--settle"]).await.expect(0).says("nothing to do");
    assert_eq!(world.same("signing-keys").await, both);
    // It is what the next one begins from.
    world.rotate("signing-keys", &["--again"]).await.expect(0).says("done");
    assert_eq!(world.same("signing-keys").await["keys"].as_object().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_that_is_away_stops_it_and_is_left_out_only_out_of_traffic() {
    let world = World::start(1).await;
    // The operator has had a token since before.
    drop(world.rotating("signing-keys", &[]).await);
    world.us.vault.pause().await.unwrap();
    let ran = world.rotate("signing-keys", &[]).await.expect(1);
    ran.says("us: ").says("no answer within").says("--without us").says("nothing was changed");
    world.rotate("signing-keys", &["--without=us"]).await.expect(1).says("it is left out, and takes traffic");
    // Its pods are gone, so nobody takes traffic there.
    for pod in &world.us.pods {
        pod.kill_service().await;
    }
    let ran = world.rotate("signing-keys", &["--without=us"]).await.expect(4);
    ran.says("us: it is left out, and has to catch up");
    let eu = world.eu.read("signing-keys").await;
    let states: Vec<&str> =
        eu["keys"].as_object().unwrap().values().map(|key| key["state"].as_str().unwrap()).collect();
    assert!(states.contains(&"retiring") && states.contains(&"active"), "{states:?}");
    world.us.vault.resume().unwrap();
    // It comes back: its pods serve again, and it goes through every phase itself.
    let mut world = world;
    for pod in &mut world.us.pods {
        pod.restart_service().await.unwrap();
    }
    world.rotate("signing-keys", &[]).await.expect(0).says("done");
    assert_eq!(world.same("signing-keys").await["keys"].as_object().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_whose_watcher_answers_and_cannot_tell_is_not_left_out() {
    let world = World::start(1).await;
    let dumb = Port::reserve().unwrap();
    let listener = TcpListener::bind(dumb.address()).await.unwrap();
    let mut answering = JoinSet::new();
    answering.spawn(unavailable(listener));
    let watcher = world.us.watcher.url();
    world.edit("us.yaml", |text| text.replace(&watcher, &format!("http://{}", dumb.address())));
    let ran = world.rotate("signing-keys", &["--without=us"]).await.expect(1);
    ran.says("us: it is left out, and takes traffic (it may, for its watcher cannot tell: it answered 503");
}

/// Answers every request with 503, as what stands before a watcher that is not there.
async fn unavailable(listener: TcpListener) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(ANSWER).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_that_a_newer_catalogue_knows_stops_it() {
    let world = World::start(1).await;
    let names = json!({"custom_metadata": {"regions": "ap,eu,us"}});
    let path = "kv/metadata/service/clients";
    world.us.admin().call(http::Method::PATCH, path, Some(names)).await.unwrap();
    let ran = world.rotate("clients", &[]).await.expect(1);
    ran.says("us names ap").says("take the catalogue in which they are");
}
