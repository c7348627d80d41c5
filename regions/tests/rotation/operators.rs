//! Two operators, and commands that are given twice.

use std::time::Instant;

use local_region::wait::wait_until;
use serde_json::json;

use crate::run;
use crate::world::{SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_operator_is_told_who_came_first() {
    let world = World::start(1).await;
    let first = world.rotating("signing-keys", &[]).await.spawn().unwrap();
    let at_work = async || {
        let view = world.eu.watcher.view().await.map_err(|error| error.to_string())?;
        let operators = view["operators"].as_array().unwrap().clone();
        if operators.is_empty() { Err(format!("{view}")) } else { Ok(operators[0].clone()) }
    };
    let operator = wait_until("the first operator at work", SOON, at_work).await.unwrap();
    assert!(operator["who"].as_str().unwrap().starts_with("ada@"), "{operator}");
    let mut second = world.rotating("signing-keys", &[]).await;
    second.env("USER", "bob");
    let second = run::end(second.spawn().unwrap(), Instant::now()).await.expect(5);
    second.says("ada@").says("rotates signing-keys right now");
    // Another secret is nobody's business.
    let clients = run::end(world.rotating("clients", &[]).await.spawn().unwrap(), Instant::now()).await;
    clients.expect(0);
    run::end(first, Instant::now()).await.expect(0).says("done");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_lock_that_another_machine_holds_is_waited_for_and_named() {
    let world = World::start(1).await;
    // Somebody else's, renewed all the time.
    let admin = world.us.admin();
    let renewed = async || {
        for count in 0.. {
            let lock = json!({"holder": "eve@elsewhere", "renewed": format!("{count}"), "transitions": 1});
            let _ = admin.put("kv", "regions/lock", &lock, None).await;
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    };
    let rotated = world.rotate("signing-keys", &[]);
    let ran = tokio::select! { ran = rotated => ran, () = renewed() => unreachable!() };
    ran.expect(5).says("eve@elsewhere rotates signing-keys right now");
    // Nobody renews it any more.
    world.rotate("signing-keys", &[]).await.expect(0).says("done");
}
