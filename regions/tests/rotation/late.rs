//! Writes that a run has sent and that arrive when it is long gone. Check-and-set lets one in where nobody has written
//! since, so what another run may have sent one over is written once more before a rotation ends.

use std::time::Instant;

use local_region::wait::wait_until;
use serde_json::{Value, json};
use tokio::process::Child;

use crate::run;
use crate::world::{Region, SOON, World};

/// A run that writes a new document of `config` everywhere and keeps the former one for this long.
async fn writing(world: &World, grace: &str) -> Child {
    let mut new = world.eu.read("config").await;
    new["oauth"]["token_life"] = "2s".into();
    let child = world.feed("config", &new.to_string(), &[&format!("--grace={grace}")]).await;
    for region in world.regions() {
        let what = format!("every pod of {} to use version 2", region.name);
        wait_until(what, SOON, async || {
            let noted = region.admin().metadata("kv", "service/config").await.unwrap();
            let barrier = noted["custom_metadata"]["barrier"].as_str().unwrap_or_default().to_owned();
            if barrier.starts_with("2 ") { Ok(()) } else { Err(barrier) }
        })
        .await
        .unwrap();
    }
    child
}

/// What a run that takes the rotation back would have sent over version 2.
async fn late(region: &Region) -> Result<(), String> {
    let document: Value = json!({"rotation": {"late": {"return": ""}}});
    let put = region.admin().put("kv", "service/config", &document, Some(2)).await;
    put.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_wrote_that_was_killed_is_written_once_more_before_the_end() {
    let world = World::start(1).await;
    let mut child = writing(&world, "1h").await;
    child.kill().await.unwrap();
    world.rotate("config", &["--grace=0s"]).await.expect(0).says("once more").says("done");
    for region in world.regions() {
        assert_eq!(region.readable("service/config").await, (vec![3], 3));
        let refused = late(region).await.unwrap_err();
        assert!(refused.contains("check-and-set"), "{refused}");
        region.uses("config").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_somebody_else_had_the_lock_meanwhile_a_run_writes_once_more() {
    let world = World::start(1).await;
    let child = writing(&world, "3s").await;
    let lock = json!({"holder": "", "renewed": "by eve", "transitions": 7});
    world.us.admin().put("kv", "regions/lock", &lock, None).await.unwrap();
    run::end(child, Instant::now()).await.expect(0).says("done");
    assert_eq!(world.eu.readable("service/config").await, (vec![2], 2));
    assert_eq!(world.us.readable("service/config").await, (vec![3], 3));
    assert!(late(&world.us).await.unwrap_err().contains("check-and-set"));
}
