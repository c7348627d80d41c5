//! The watcher: what it sees, whom it tells, and what it survives.

use std::fs;
use std::time::{Duration, Instant};

use local_region::http::StatusCode;
use local_region::pod::Pod;
use local_region::wait::wait_until;
use serde_json::{Value, json};

use crate::world::{SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_writes_is_in_use_within_moments_and_told_as_unmanaged() {
    let world = World::start(2).await;
    let mut tls = world.eu.read("tls").await;
    tls["rotation"] = json!({"first": {"write": ""}});
    world.eu.admin().put("kv", "service/tls", &tls, None).await.unwrap();
    world.eu.uses("tls").await;
    let mut config = world.eu.read("config").await;
    config["oauth"]["token_life"] = "2s".into();
    world.eu.admin().put("kv", "service/config", &config, None).await.unwrap();
    let written = Instant::now();
    world.eu.uses("config").await;
    // Pods poll every five minutes: somebody told them. How fast is for `make bench` to say.
    assert!(written.elapsed() < Duration::from_secs(10), "{:?}", written.elapsed());
    let view = world.eu.watcher.view().await.unwrap();
    assert_eq!(view["secrets"]["config"]["mark"], Value::Null);
    assert_eq!(view["secrets"]["config"]["floor"]["version"], 2);
    let pod = &view["pods"][0];
    assert_eq!(pod["service"]["documents"]["config"], 2);
    assert_eq!(pod["service"]["settings"]["token_life"], 2.0);
    assert_eq!(pod["service"]["ceilings"]["token_life"], 3.0);
    assert!(pod["service"]["certificate_end"].is_string());
    let metrics = world.eu.watcher.client().get("/metrics").await.unwrap().text();
    for line in [
        r#"watcher_secret_unmanaged{secret="config"} 1"#,
        r#"watcher_secret_unmanaged{secret="tls"} 0"#,
        r#"watcher_secret_rotation_info{secret="tls",rotation="first",phase="write"} 1"#,
        r#"watcher_secret_adopted_pods{secret="config"} 2"#,
        r#"watcher_pod_behind_seconds{pod="eu-1",secret="config"} 0"#,
        r#"watcher_vault_state{state="ok"} 1"#,
        "watcher_pods 2",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn it_survives_its_vault_and_its_pods_and_keeps_the_floor() {
    let mut world = World::that_lasts(1).await;
    let floor = world.folder.path().join("floor-eu/config");
    let kept = || -> Value { serde_json::from_slice(&fs::read(&floor).unwrap()).unwrap() };
    wait_until("the floor", SOON, async || floor.exists()).await.unwrap();
    assert_eq!(kept()["version"], 1);
    let health = async |world: &World, wanted: &str| {
        let what = format!("the watcher to say {wanted}");
        wait_until(what, SOON, async || {
            let view = world.eu.watcher.view().await.map_err(|error| error.to_string())?;
            let state = view["vault"]["state"].clone();
            if state == wanted { Ok(()) } else { Err(view["vault"].to_string()) }
        })
        .await
        .unwrap();
    };
    world.eu.vault.seal().await.unwrap();
    health(&world, "sealed").await;
    world.eu.vault.unseal().await.unwrap();
    health(&world, "ok").await;
    // One that hangs keeps nobody from being told of the pods.
    world.eu.vault.pause().await.unwrap();
    health(&world, "unreachable").await;
    let view = world.eu.watcher.view().await.unwrap();
    assert_eq!(view["pods"][0]["service"]["ready"], true);
    world.eu.vault.resume().unwrap();
    health(&world, "ok").await;
    world.eu.vault.kill().await;
    health(&world, "unreachable").await;
    world.eu.vault.restart().await.unwrap();
    health(&world, "ok").await;
    // Its token ends, and it gets another.
    world.eu.admin().revoke_prefix("auth/approle/login").await.unwrap();
    health(&world, "ok").await;

    // A version that was seen is never forgotten, whatever the Vault holds.
    let config = world.eu.read("config").await;
    world.eu.admin().put("kv", "service/config", &config, None).await.unwrap();
    world.eu.uses("config").await;
    wait_until("the floor to rise", SOON, async || kept()["version"] == 2).await.unwrap();
    world.eu.admin().remove("kv", "service/config").await.unwrap();
    world.eu.admin().put("kv", "service/config", &config, Some(0)).await.unwrap();
    world.eu.watcher.restart().await.unwrap();
    let view = world.eu.watcher.view().await.unwrap();
    assert_eq!(view["secrets"]["config"]["current"]["version"], 1);
    assert_eq!(view["secrets"]["config"]["floor"]["version"], 2);
    assert_eq!(kept()["version"], 2);
    world.rotate("config", &[]).await.expect(1).says("it was restored from a snapshot").says("--restored eu");

    // A pod that does not answer is one that counts.
    world.eu.pods[0].processes().0.pause().await.unwrap();
    let view = world.eu.watcher.view().await.unwrap();
    let pod = &view["pods"][0];
    assert_eq!(pod["agent"], Value::Null);
    assert!(pod["agent_error"].as_str().unwrap().contains("no answer within"), "{pod}");
    world.eu.pods[0].processes().0.resume().unwrap();

    // It ends in order.
    world.eu.watcher.stop().await;
    assert!(world.eu.watcher.process().status().unwrap().success());
    world.logs_hold_no_value();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_destroyed_is_wiped_from_every_agent_within_moments() {
    let world = World::start(2).await;
    let config = world.eu.read("config").await;
    world.eu.admin().put("kv", "service/config", &config, None).await.unwrap();
    world.eu.uses("config").await;
    let held = async |pod: &Pod| pod.socket.get_version("config", 1).await.is_ok();
    for pod in &world.eu.pods {
        assert!(held(pod).await, "{}: the former version stays readable until it is taken away", pod.name);
    }
    world.eu.admin().destroy("kv", "service/config", &[1]).await.unwrap();
    // Agents look by themselves every five minutes: somebody told them.
    for pod in &world.eu.pods {
        wait_until("the former version to be wiped", SOON, async || !held(pod).await).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn an_answer_is_of_a_round_that_began_after_it_was_asked_for() {
    let world = World::start(1).await;
    let answers = (0..20).map(async |_| {
        let asked = jiff::Timestamp::now();
        let view = world.eu.watcher.view().await.unwrap();
        let began: jiff::Timestamp = view["round"]["began"].as_str().unwrap().parse().unwrap();
        assert!(began >= asked, "{began} {asked}");
        began
    });
    let rounds: std::collections::BTreeSet<_> =
        futures_util::future::join_all(answers).await.into_iter().collect();
    assert!(rounds.len() <= 3, "those who ask at the same time share a round: {rounds:?}");
    let other = world.eu.watcher.client().get("/v1/other").await.unwrap();
    assert_eq!(
        (other.status, other.header("content-type")),
        (StatusCode::NOT_FOUND, "application/problem+json")
    );
    assert_eq!(other.value().unwrap()["title"], json!("Not Found"));
}
