//! What is refused before anything is written.

use http::Method;
use serde_json::json;

use crate::charts::good;
use crate::world::{World, contents, get, patch, records, versions, writes};

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
