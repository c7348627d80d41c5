//! Versions: what is delivered, what never is, and what is wiped.

use local_region::http::StatusCode;
use local_region::wait::wait_until;
use serde_json::json;

use crate::scenario::{Outcome, SOON, Scenario};

#[tokio::test]
async fn a_version_carries_its_identity_and_its_rotation() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    assert_eq!(agent.secret().await?.rotation_id, None, "written by hand");
    let written = scenario
        .admin
        .put("kv", "service/config", &json!({"rotation": {"r-7": {"publish": ""}}, "value": "two"}), Some(1))
        .await?;
    agent.nudge(Some(2)).await?;
    agent.delivered(2).await?;
    let answer = agent.socket.get("/v1/secrets/config").await?.value()?;
    assert_eq!(answer["path"], "kv/service/config");
    assert_eq!(answer["version"], 2);
    assert_eq!(
        answer["created_time"].as_str().unwrap_or_default().parse::<jiff::Timestamp>()?,
        written.created_time
    );
    assert_eq!(answer["rotation_id"], "r-7");
    assert_eq!(answer["data"], json!({"value": "two"}), "the rotation is not the application's");
    let secret = agent.secret().await?;
    assert_eq!(
        (secret.rotation_id.as_deref(), secret.created_time),
        (Some("r-7"), Some(written.created_time))
    );
    assert!(secret.delivered >= Some(written.created_time));
    Ok(())
}

#[tokio::test]
async fn the_poll_finds_what_nobody_nudged_for() -> Outcome {
    let scenario = Scenario::new().await?;
    let mut settings = scenario.settings();
    settings.kv.push_str("poll = \"200ms\"\n");
    let agent = settings.start()?;
    agent.delivered(1).await?;
    scenario.write("two").await?;
    agent.delivered(2).await
}

#[tokio::test]
async fn a_burst_of_nudges_is_coalesced_and_the_last_is_not_dropped() -> Outcome {
    let scenario = Scenario::new().await?;
    let mut settings = scenario.settings();
    settings.kv = "secrets = [\"config\"]\nspacing = \"500ms\"\n".to_owned();
    let agent = settings.start()?;
    agent.delivered(1).await?;
    let before = scenario.audited("kv/data/service/config");
    for round in 0..20 {
        scenario.write(&format!("write {round}")).await?;
        assert_eq!(agent.nudge(None).await?.status, 202);
    }
    agent.delivered(21).await?;
    let reads = scenario.audited("kv/data/service/config") - before - 20;
    assert!((1..=10).contains(&reads), "{reads} reads for 20 nudges");
    assert_eq!(agent.metric("secrets_agent_nudges_total{secret=\"config\"}").await?, 20.0);
    Ok(())
}

#[tokio::test]
async fn a_nudge_for_an_unknown_secret_is_refused() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    let nudge = agent.admin.json(http::Method::POST, "/v1/nudge", &json!({"name": "other"})).await?;
    assert_eq!(nudge.status, StatusCode::NOT_FOUND);
    assert!(nudge.text().contains("kv.secrets"), "{}", nudge.text());
    Ok(())
}

#[tokio::test]
async fn the_previous_version_is_readable_until_it_is_destroyed_and_wiped_then() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    scenario.write("two").await?;
    agent.nudge(Some(2)).await?;
    agent.delivered(2).await?;
    let former = agent.socket.get("/v1/secrets/config?version=1").await?;
    assert_eq!((former.status, former.value()?["data"]["value"].as_str()), (StatusCode::OK, Some("one")));
    scenario.admin.destroy("kv", "service/config", &[1]).await?;
    agent.nudge(None).await?;
    wait_until("version 1 to be gone", SOON, async || {
        agent.socket.get("/v1/secrets/config?version=1").await.is_ok_and(|answer| answer.status == 404)
    })
    .await?;
    assert_eq!(agent.value().await?, "two");
    Ok(())
}

#[tokio::test]
async fn a_deleted_version_is_not_taken_away_and_an_undeleted_one_is_fresh_again() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    scenario.admin.delete("kv", "service/config", &[1]).await?;
    agent.nudge(None).await?;
    let error = agent.error("version 1 was deleted at").await?;
    assert!(error.contains("undelete it or write the secret again"), "{error}");
    assert_eq!(agent.value().await?, "one");
    scenario.admin.undelete("kv", "service/config", &[1]).await?;
    agent.nudge(None).await?;
    agent.recovered().await
}

#[tokio::test]
async fn a_destroyed_version_is_served_on_and_said_to_be_destroyed() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    scenario.admin.destroy("kv", "service/config", &[1]).await?;
    agent.nudge(None).await?;
    agent.error("version 1 was destroyed; write the secret again").await?;
    assert_eq!(agent.value().await?, "one");
    scenario.write("two").await?;
    agent.nudge(None).await?;
    agent.delivered(2).await
}

#[tokio::test]
async fn a_wrong_mount_and_a_secret_that_was_never_written_are_named() -> Outcome {
    let scenario = Scenario::new().await?;
    scenario.admin.write_policy("service", r#"path "*" { capabilities = ["read"] }"#).await?;
    let mut settings = scenario.settings();
    settings.kv = "mount = \"kw\"\nsecrets = [\"config\"]\n".to_owned();
    let agent = settings.start()?;
    agent.error("kw/service/config does not exist: is the mount right, and was the secret written?").await?;
    drop(agent);
    settings.kv = "secrets = [\"unwritten\"]\n".to_owned();
    let agent = settings.start()?;
    agent.error("kv/service/unwritten does not exist").await?;
    scenario.admin.put("kv", "service/unwritten", &json!({"value": "now"}), None).await?;
    agent.recovered().await
}

#[tokio::test]
async fn a_step_back_is_never_adopted() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    for value in ["two", "three"] {
        scenario.write(value).await?;
    }
    agent.nudge(Some(3)).await?;
    agent.delivered(3).await?;
    // As after a restore of Vault: the numbers start again.
    scenario.admin.remove("kv", "service/config").await?;
    scenario.write("restored").await?;
    agent.nudge(None).await?;
    let error = agent.error("older than version 3").await?;
    assert!(error.contains("was Vault restored?") && error.contains("until its version passes 3"), "{error}");
    assert_eq!(agent.value().await?, "three");
    assert_eq!(agent.metric("secrets_agent_secret_stepped_back{secret=\"config\"}").await?, 1.0);
    // What the message says helps: at 3 the time is later, so the identity is new.
    for value in ["again", "again and newer"] {
        scenario.write(value).await?;
    }
    agent.nudge(None).await?;
    wait_until("the newer document", SOON, async || {
        agent.value().await.is_ok_and(|value| value == "again and newer")
    })
    .await?;
    assert_eq!(agent.metric("secrets_agent_secret_stepped_back{secret=\"config\"}").await?, 0.0);
    Ok(())
}

#[tokio::test]
async fn nothing_under_the_floor_is_delivered_even_by_a_fresh_agent() -> Outcome {
    let scenario = Scenario::new().await?;
    let floors = scenario.path("floors");
    std::fs::create_dir(&floors)?;
    let floor =
        |version: u64| json!({"version": version, "created_time": "2020-01-01T00:00:00Z"}).to_string();
    std::fs::write(floors.join("config"), floor(2))?;
    let mut settings = scenario.settings();
    settings.more = format!("[floor]\ndir = \"{}\"\n", floors.display());
    let agent = settings.start()?;
    agent.error("older than version 2 of 2020-01-01T00:00:00Z that the region has seen").await?;
    assert_eq!(agent.metric("secrets_agent_secret_stepped_back{secret=\"config\"}").await?, 1.0);
    assert_eq!(agent.socket.get("/v1/secrets/config").await?.status, 503);
    std::fs::write(floors.join("config"), "{}")?;
    agent.nudge(None).await?;
    agent.error("the floor cannot be read").await?;
    std::fs::write(floors.join("config"), floor(2))?;
    scenario.write("two").await?;
    agent.nudge(None).await?;
    agent.delivered(2).await
}

#[tokio::test]
async fn a_document_that_cannot_be_handed_over_leaves_the_last_good_one() -> Outcome {
    let scenario = Scenario::new().await?;
    let mut settings = scenario.settings();
    settings.kv.push_str("max_size = \"1KiB\"\n");
    let agent = settings.start()?;
    agent.delivered(1).await?;
    for (document, words) in [
        (json!({"rotation": "canary", "value": "bad"}), "`rotation` is not of the form"),
        (json!({"rotation": {}, "value": "bad"}), "`rotation` is not of the form"),
        (json!({"value": "canary".repeat(500)}), "larger than kv.max_size (1024 bytes)"),
    ] {
        scenario.admin.put("kv", "service/config", &document, None).await?;
        agent.nudge(None).await?;
        let error = agent.error(words).await?;
        assert!(error.starts_with("kv/service/config version ") && !error.contains("canary"), "{error}");
        assert_eq!(agent.value().await?, "one");
    }
    let version = scenario.write("good again").await?;
    agent.nudge(None).await?;
    agent.delivered(version).await
}

#[tokio::test]
async fn a_version_that_is_only_to_be_deleted_later_stays_readable() -> Outcome {
    let scenario = Scenario::new().await?;
    let later = json!({"delete_version_after": "1h"});
    scenario.admin.call(http::Method::POST, "kv/metadata/service/config", Some(later)).await?;
    let former = scenario.write("two").await?;
    let agent = scenario.settings().start()?;
    agent.delivered(former).await?;
    let version = scenario.write("three").await?;
    let asked = scenario.audited("kv/metadata/service/config");
    agent.nudge(Some(version)).await?;
    agent.delivered(version).await?;
    agent.nudge(None).await?;
    wait_until("the former version to be asked for twice", SOON, async || {
        scenario.audited("kv/metadata/service/config") >= asked + 2
    })
    .await?;
    let answer = agent.socket.get(&format!("/v1/secrets/config?version={former}")).await?;
    assert_eq!((answer.status, answer.value()?["data"]["value"].as_str()), (StatusCode::OK, Some("two")));
    Ok(())
}

#[tokio::test]
async fn a_policy_without_metadata_is_named_once() -> Outcome {
    let scenario = Scenario::new().await?;
    scenario.admin.write_policy("service", r#"path "kv/data/service/*" { capabilities = ["read"] }"#).await?;
    let agent = scenario.agent().await?;
    let version = scenario.write("two").await?;
    agent.nudge(Some(version)).await?;
    agent.delivered(version).await?;
    agent.nudge(None).await?;
    wait_until("metadata to be refused twice", SOON, async || {
        scenario.audited("kv/metadata/service/config") >= 2
    })
    .await?;
    let told = agent.log().matches("`read` on kv/metadata/service/config").count();
    assert_eq!(told, 1, "{}", agent.log());
    assert!(agent.secret().await?.error.is_none(), "what is current is fresh all the same");
    Ok(())
}

#[tokio::test]
async fn a_version_that_was_promised_too_early_is_looked_for() -> Outcome {
    let scenario = Scenario::new().await?;
    let mut settings = scenario.settings();
    settings.kv = "secrets = [\"config\"]\nspacing = \"100ms\"\n".to_owned();
    let agent = settings.start()?;
    agent.delivered(1).await?;
    let reads = scenario.audited("kv/data/service/config");
    agent.nudge(Some(2)).await?;
    wait_until("a read that finds the former version", SOON, async || {
        scenario.audited("kv/data/service/config") > reads
    })
    .await?;
    scenario.write("two").await?;
    agent.delivered(2).await
}
