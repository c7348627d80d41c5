//! Back by hand, what a cancelled run left, what was run, and what somebody changed since.

use std::time::Instant;

use serde_json::json;

use crate::charts::good;
use crate::run;
use crate::world::{ENVIRONMENT, World, contents, get, patch, records, writes};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_rollback_restores_a_former_release_and_again_is_no_change() {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0").with("extra", "extra")).await, &[]).await.expect(0);
    let former = (contents(&world.eu).await, contents(&world.us).await);
    world.promote(&world.release(&good("1.1.0")).await, &[]).await.expect(0);

    let before = (writes(&world.eu), writes(&world.us));
    let shown = world.back(&["--to", "1.0.0", "--dry-run"]).await.expect(0);
    shown.says("+  greeting: \"1.0.0\"").says("dry run: nothing was written");
    world
        .back(&["--to", "9.9.9"])
        .await
        .expect(1)
        .says("no release 9.9.9 was applied there; applied were 2 1.1.0");
    world.back(&["--to", "mars=1"]).await.expect(2).says("--to names the region mars");
    world.back(&["--to", "1.0.0", "--region", "mars"]).await.expect(2).says("production has no region mars");
    assert_eq!(before, (writes(&world.eu), writes(&world.us)));

    world
        .back(&["--to", "1.0.0", "--why", "ticket 7"])
        .await
        .expect(0)
        .says("production runs 1.0.0 again in eu, us");
    assert_eq!(former, (contents(&world.eu).await, contents(&world.us).await));
    let record = records(&world.eu).await.remove(2);
    assert_eq!(
        (&record["state"], &record["restores"], &record["number"]),
        (&json!("applied"), &json!(1), &json!(3))
    );
    assert_eq!(record["provenance"]["why"], "ticket 7");
    world.back(&["--to", "1.0.0"]).await.expect(0).says("no change");
    assert_eq!(records(&world.eu).await.len(), 3);

    // One region alone, by the number of a record.
    world.back(&["--to", "us=2", "--region", "us"]).await.expect(0).says("production runs 1.1.0 again in us");
    assert_eq!(records(&world.us).await[3]["release"]["version"], "1.1.0");
    assert_eq!(records(&world.eu).await.len(), 3);

    let history = world.run(&["history", "--env", ENVIRONMENT]).await.expect(0);
    history.says("back to 1; ticket 7").says("admin");
    let history = world
        .run(&["history", "--env", ENVIRONMENT, "--region", "us", "--output", "json"])
        .await
        .expect(0)
        .json();
    assert_eq!(history["regions"].as_array().unwrap().len(), 1);
    assert_eq!(history["regions"][0]["records"][0]["restores"], 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_rollback_that_does_not_become_ready_goes_back_itself() {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    world.promote(&world.release(&good("1.1.0")).await, &[]).await.expect(0);
    let before = (contents(&world.eu).await, contents(&world.us).await);
    patch(&world.us, "deployments", "service", "somebody", json!({"spec": {"paused": true}})).await;
    let ran = world.back(&["--to", "1.0.0"]).await.expect(3);
    ran.says("Paused: resume it").says("taken back from production");
    assert_eq!(before, (contents(&world.eu).await, contents(&world.us).await));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn what_a_cancelled_run_left_is_settled() {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    let before = (contents(&world.eu).await, contents(&world.us).await);
    world.run(&["promote", "--env", ENVIRONMENT, "--settle", "--yes"]).await.expect(0).says("no change");

    left_half_done(&world).await;
    world.run(&["promote", "--env", ENVIRONMENT, "--settle", "--dry-run"]).await.expect(0).says("goes back");
    let ran =
        world.run(&["promote", "--env", ENVIRONMENT, "--settle", "--yes", "--lease", "2s"]).await.expect(3);
    ran.says("left unfinished, and not every gate had passed");
    assert_eq!(before, (contents(&world.eu).await, contents(&world.us).await));
    assert_eq!(records(&world.eu).await[1]["state"], "undone");
    world.run(&["promote", "--env", ENVIRONMENT, "--settle", "--yes"]).await.expect(0).says("no change");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn drift_is_shown_field_by_field_with_whoever_changed_it() {
    let world = World::start().await;
    let diff = async || world.run(&["diff", "--env", ENVIRONMENT]).await;
    diff().await.expect(0).says("eu  nothing was applied yet");
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    diff().await.expect(0).says("eu  release 1 1.0.0").says("no drift");

    // What others set beside the release is none.
    patch(&world.eu, "configmaps", "traffic", "regions-traffic", json!({"data": {"state": "serving"}})).await;
    diff().await.expect(0);
    let by_hand = json!({"data": {"greeting": "by hand", "region": null}});
    patch(&world.eu, "configmaps", "settings", "kubectl-edit", by_hand).await;
    let mut ports = get(&world.eu, "services", "service").await.unwrap()["spec"]["ports"].take();
    ports[0]["targetPort"] = json!(9000);
    patch(&world.eu, "services", "service", "kubectl-edit", json!({"spec": {"ports": ports}})).await;
    world.us.call(http::Method::DELETE, "/api/v1/namespaces/meridian/services/service", None).await.unwrap();
    let before = (writes(&world.eu), writes(&world.us));
    let ran = diff().await.expect(6);
    ran.says("ConfigMap meridian/settings\n")
        .says(".data.greeting: release \"1.0.0\", live \"by hand\", by kubectl-edit at 2");
    ran.says(".data.region: release \"eu\", live none, taken away")
        .says("Service meridian/service is not there");
    // The path shows the port's name; managedFields tell ports apart by number and protocol.
    ran.says(".spec.ports[name=https].targetPort: release 8443, live 9000, by kubectl-edit at 2");
    let found = world.run(&["diff", "--env", ENVIRONMENT, "--output", "json"]).await.expect(6).json();
    let fields = found["regions"][0]["objects"][0]["fields"].as_array().unwrap();
    assert_eq!(fields[0]["owners"][0]["manager"], "kubectl-edit", "{fields:?}");
    assert_eq!(before, (writes(&world.eu), writes(&world.us)), "it writes nothing");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_promotion_that_was_killed_halfway_is_no_drift() {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    left_half_done(&world).await;
    let ran = world.run(&["diff", "--env", ENVIRONMENT]).await.expect(4);
    ran.says("eu  release 2 1.1.0").says("is half applied: nothing is compared");
    ran.says("regions promote --env production --settle").says("us  release 1 1.0.0").says("no drift");
    let found = world.run(&["diff", "--env", ENVIRONMENT, "--output", "json"]).await.expect(4).json();
    assert_eq!(found["regions"][0]["open"]["number"], 2);
    assert_eq!(found["regions"][0]["objects"], json!([]));
}

/// Kills a promotion while wave one waits for pods that never start.
async fn left_half_done(world: &World) {
    let release = world.release(&good("1.1.0").with("image", "pending.invalid/service")).await;
    let started = Instant::now();
    let mut child = world.promotion(&release, &["--yes"]).spawn().unwrap();
    let begun = async || records(&world.eu).await.len() == 2;
    let begun = local_region::wait::wait_until("the second record", crate::world::SOON, begun);
    run::meanwhile(&mut child, begun).await.unwrap();
    child.kill().await.unwrap();
    run::end(child, started).await;
}
