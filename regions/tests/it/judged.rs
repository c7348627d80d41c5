//! Releases that become ready and are not good, and what is looked at before any is promoted.

use std::time::Duration;

use serde_json::json;

use crate::charts::good;
use crate::world::{World, contents, records, writes};

/// A release of such an image takes the place of a good one: it is undone, and wave two is not touched.
async fn is_undone(image: &str, why: &str) {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    let (eu, us) = (contents(&world.eu).await, (contents(&world.us).await, records(&world.us).await));

    let bad = world.release(&good("1.1.0").with("image", format!("ready.invalid/{image}:1.1.0"))).await;
    let ran = world.promote(&bad, &[]).await.expect(3);
    ran.says(why).says("is not good, and was taken back from production");
    ran.says("us      second  untouched");
    assert!(ran.took < Duration::from_secs(90), "{:?}", ran.took);
    assert_eq!(eu, contents(&world.eu).await);
    assert_eq!(us, (contents(&world.us).await, records(&world.us).await));
    assert_eq!(records(&world.eu).await[1]["state"], "undone");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_new_pods_undo_the_release() {
    is_undone("failing", "status of 500 or above").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_refused_undo_the_release() {
    is_undone("refusing", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_answers_undo_the_release() {
    is_undone("slow", "slower than latency_p99").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_is_silent_or_whose_vault_is_sealed_is_found_before_anything_is_written() {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    let next = world.release(&good("1.1.0")).await;
    let before = (writes(&world.eu), writes(&world.us));

    world.us_front().silence(true);
    let ran = world.promote(&next, &[]).await.expect(1);
    ran.says("us: its watcher does not answer, so nothing can be judged there");
    world.us_front().silence(false);
    world.us_front().vault("sealed");
    let ran = world.promote(&next, &[]).await.expect(1);
    ran.says("us: its Vault is sealed, as its watcher sees it").says("nothing was changed in production");
    assert_eq!(before, (writes(&world.eu), writes(&world.us)));
    assert!(world.us_front().requests() > 0, "own transactions were made before");

    // Whoever must go back is not held up by it.
    world.us_front().vault("ok");
    world.promote(&next, &[]).await.expect(0);
    world.us_front().vault("sealed");
    world.back(&["--to", "1.0.0"]).await.expect(0).says("production runs 1.0.0 again in eu, us");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_environment_is_promoted_to_only_with_a_reason() {
    let world = World::start().await;
    world.edit(
        "_environment.yaml",
        "waves: [first, second]",
        "waves: [first, second]\nfreezes: [{ from: '2020-01-01T00:00:00Z', until: '2099-01-01T00:00:00Z', why: the holidays }]",
    );
    let release = world.release(&good("1.0.0")).await;
    let ran = world.promote(&release, &[]).await.expect(1);
    ran.says("production is frozen until 2099-01-01T00:00:00Z: the holidays")
        .says("--override-freeze \"why\"");
    assert_eq!(writes(&world.eu), []);
    world.promote(&release, &["--override-freeze", "ticket 1"]).await.expect(0);
    let why = records(&world.eu).await[0]["provenance"]["why"].clone();
    assert_eq!(why, json!("freeze overridden: ticket 1"));
}
