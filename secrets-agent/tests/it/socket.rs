//! The Unix socket: who may call, what counts as adopted, and what a stream tells.

use http::{Method, StatusCode};
use local_region::wait::wait_until;
use secrets_agent_client::wire::Change;
use secrets_agent_client::{AgentClient, ExposeSecret, Subscription, Uuid};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::scenario::{Agent, Outcome, SOON, Scenario};

async fn acknowledge(
    agent: &Agent,
    instance: Uuid,
    version: u64,
    created: &Value,
) -> Result<(StatusCode, String), Box<dyn std::error::Error>> {
    let body = json!({"version": version, "created_time": created, "instance": instance});
    let answer = agent.socket.json(Method::PUT, "/v1/secrets/config/adopted", &body).await?;
    Ok((answer.status, answer.text()))
}

#[tokio::test]
async fn a_uid_that_is_not_allowed_is_refused_with_the_setting_that_decides() -> Outcome {
    let scenario = Scenario::new().await?;
    let mut settings = scenario.settings();
    settings.socket = "allow_uids = [4294967]\n".to_owned();
    let agent = settings.start()?;
    agent.delivered(1).await?;
    for path in ["/v1/secrets", "/v1/secrets/config", "/v1/watch?instance=nonsense", "/nowhere"] {
        let answer = agent.socket.get(path).await?;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(answer.text().contains("is not in socket.allow_uids"), "{}", answer.text());
        assert!(!answer.text().contains("one"));
    }
    assert_eq!(agent.metric("secrets_agent_refused_callers_total").await?, 4.0);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(scenario.path("agent.sock"))?);
    assert_eq!(mode & 0o777, 0o660);
    Ok(())
}

#[tokio::test]
async fn an_unchanged_version_answers_304_and_nothing_is_cached() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    let first = agent.socket.get("/v1/secrets/config").await?;
    assert_eq!(first.header("cache-control"), "no-store");
    let tag = first.header("etag").to_owned();
    let client = agent.socket.clone().header("if-none-match".try_into()?, &tag);
    assert_eq!(client.get("/v1/secrets/config").await?.status, StatusCode::NOT_MODIFIED);
    scenario.write("two").await?;
    agent.nudge(Some(2)).await?;
    agent.delivered(2).await?;
    assert_eq!(client.get("/v1/secrets/config").await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn an_acknowledgement_counts_only_for_what_was_delivered_to_an_instance_that_watches() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    let instance = Uuid::new_v4();
    let created = agent.socket.get("/v1/secrets/config").await?.value()?["created_time"].clone();
    let (status, text) = acknowledge(&agent, instance, 1, &created).await?;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text.contains("no open watch stream"), "{text}");

    let mut events = agent.socket.events(&format!("/v1/watch?instance={instance}"), None).await?;
    timeout(SOON, events.next()).await??.ok_or("the stream ended")?;
    for (version, created) in [(2, created.clone()), (1, json!("2020-01-01T00:00:00Z"))] {
        let (status, text) = acknowledge(&agent, instance, version, &created).await?;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(text.contains("was not delivered"), "{text}");
    }
    assert!(agent.secret().await?.adopted.is_empty());
    let (status, _) = acknowledge(&agent, instance, 1, &created).await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(agent.secret().await?.adopted[0].instance, instance);

    drop(events);
    wait_until("the instance to be forgotten", SOON, async || {
        agent
            .status()
            .await
            .is_ok_and(|status| status.instances.is_empty() && status.secrets[0].adopted.is_empty())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_stream_resumes_after_its_last_event_and_tells_all_after_an_unknown_one() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    let path = format!("/v1/watch?instance={}", Uuid::new_v4());
    let mut events = agent.socket.events(&path, None).await?;
    let first = timeout(SOON, events.next()).await??.ok_or("the stream ended")?;
    assert_eq!(first.event, "secret");
    drop(events);
    scenario.write("two").await?;
    agent.nudge(Some(2)).await?;
    agent.delivered(2).await?;
    let told = async |seen: Option<&str>| -> Result<(String, u64), Box<dyn std::error::Error>> {
        let mut events = agent.socket.events(&path, seen).await?;
        let event = timeout(SOON, events.next()).await??.ok_or("the stream ended")?;
        Ok((event.id, serde_json::from_str::<Change>(&event.data)?.version))
    };
    let (second, version) = told(Some(&first.id)).await?;
    assert_eq!(version, 2, "what came after the last event");
    // An id of another process, of none, or none at all: everything is told again.
    for unknown in [Some("00000000000000000000000000000000-9"), Some("nonsense"), None] {
        assert_eq!(told(unknown).await?, (second.clone(), 2));
    }
    // What was seen is not told again: the next event is the next version.
    let mut resumed = agent.socket.events(&path, Some(&second)).await?;
    let version = scenario.write("three").await?;
    agent.nudge(Some(version)).await?;
    let next = timeout(SOON, resumed.next()).await??.ok_or("the stream ended")?;
    assert_eq!(serde_json::from_str::<Change>(&next.data)?.version, version);
    Ok(())
}

#[tokio::test]
async fn a_newer_stream_of_an_instance_ends_the_older_and_starts_with_nothing_adopted() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    let instance = Uuid::new_v4();
    let path = format!("/v1/watch?instance={instance}");
    let mut older = agent.socket.events(&path, None).await?;
    timeout(SOON, older.next()).await??.ok_or("the stream ended")?;
    let created = agent.socket.get("/v1/secrets/config").await?.value()?["created_time"].clone();
    assert_eq!(acknowledge(&agent, instance, 1, &created).await?.0, StatusCode::NO_CONTENT);
    let mut newer = agent.socket.events(&path, None).await?;
    timeout(SOON, newer.next()).await??.ok_or("the stream ended")?;
    let status = agent.status().await?;
    assert_eq!(status.instances.len(), 1);
    assert!(status.secrets[0].adopted.is_empty(), "{status:?}");
    let version = scenario.write("two").await?;
    agent.nudge(Some(version)).await?;
    assert!(timeout(SOON, older.next()).await??.is_none(), "the older stream ends");
    timeout(SOON, newer.next()).await??.ok_or("the stream ended")?;
    Ok(())
}

#[tokio::test]
async fn instances_are_bounded() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(agent.socket.events(&format!("/v1/watch?instance={}", Uuid::new_v4()), None).await?);
    }
    let path = format!("/v1/watch?instance={}", Uuid::new_v4());
    let refused = agent.socket.get(&path).await?;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.text().contains("64 instances watch already"), "{}", refused.text());
    assert_eq!(agent.value().await?, "one", "values are served all the same");
    streams.pop();
    wait_until("a place", SOON, async || agent.socket.events(&path, None).await.is_ok()).await?;
    Ok(())
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_awaited() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    let mut stream = tokio::net::UnixStream::connect(scenario.path("agent.sock")).await?;
    let head = "PUT /v1/secrets/config/adopted HTTP/1.1\r\nhost: a\r\ncontent-length: 90\r\n\r\n{";
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer)).await??;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("not complete"), "{answer}");
    drop(agent);
    Ok(())
}

#[tokio::test]
async fn bad_calls_get_an_answer_that_says_what_was_expected() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    for (method, path, status, words) in [
        (Method::GET, "/v1/secrets/other", 404, "kv.secrets"),
        (Method::GET, "/v1/secrets/config?version=9", 404, "version 9 of config"),
        (Method::GET, "/v1/secrets/config?version=x", 400, "a whole number"),
        (Method::GET, "/v1/watch", 400, "instance=UUID"),
        (Method::GET, "/v1/watch?instance=x", 400, "instance=UUID"),
        (Method::PUT, "/v1/secrets/config/adopted", 400, "expected {"),
        (Method::DELETE, "/v1/secrets/config", 405, "does not take DELETE"),
        (Method::GET, "/", 404, "nothing at /"),
        (Method::GET, "/v1/secrets/config?version=1&version=1", 400, "duplicate field"),
        (Method::GET, "/v1/secrets/%ff", 400, "Invalid UTF-8"),
    ] {
        let answer = agent.socket.json(method.clone(), path, &json!({})).await?;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
        assert!(answer.text().contains(words), "{method} {path}: {}", answer.text());
    }
    let large = json!({"x": "y".repeat(5000)});
    for (client, method, path) in [
        (&agent.socket, Method::PUT, "/v1/secrets/config/adopted"),
        (&agent.admin, Method::POST, "/v1/nudge"),
    ] {
        let answer = client.json(method, path, &large).await?;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_subscription_lives_through_restarts_of_the_agent_and_acknowledges_again() -> Outcome {
    let scenario = Scenario::new().await?;
    let settings = scenario.settings();
    let agent = settings.start()?;
    agent.delivered(1).await?;
    let client = AgentClient::new(scenario.path("agent.sock"));
    let mut subscription = Subscription::start(client.clone());
    let change = timeout(SOON, subscription.next()).await?.ok_or("the subscription ended")?;
    let secret = client.get(&change.name).await?;
    assert_eq!(secret.data.expose_secret(), br#"{"value":"one"}"#);
    subscription.adopted(&secret.name, secret.version()).await?;

    agent.process.kill().await;
    let agent = settings.start()?;
    wait_until("the acknowledgement to be repeated", SOON, async || {
        agent.secret().await.is_ok_and(|secret| {
            secret
                .adopted
                .iter()
                .any(|adopted| adopted.instance == subscription.instance() && adopted.version == 1)
        })
    })
    .await?;
    scenario.write("two").await?;
    agent.nudge(Some(2)).await?;
    wait_until("the second version to be told", SOON, async || {
        timeout(SOON, subscription.next()).await.ok().flatten().filter(|change| change.version == 2)
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_socket_of_a_living_agent_is_not_taken_and_a_dead_ones_is_replaced() -> Outcome {
    let scenario = Scenario::new().await?;
    let settings = scenario.settings();
    let agent = settings.start()?;
    agent.delivered(1).await?;
    let second = settings.start()?;
    let status = timeout(SOON, second.process.ended()).await?;
    assert_eq!(status.code(), Some(1));
    assert!(second.log().contains("another agent listens there"), "{}", second.log());
    assert_eq!(agent.value().await?, "one");
    agent.process.kill().await;
    assert!(scenario.path("agent.sock").exists(), "a killed agent leaves its socket");
    settings.start()?.delivered(1).await
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() -> Outcome {
    let scenario = Scenario::new().await?;
    std::fs::write(scenario.path("agent.sock"), "somebody's file")?;
    let agent = scenario.settings().start()?;
    let status = timeout(SOON, agent.process.ended()).await?;
    assert_eq!(status.code(), Some(1));
    assert!(agent.log().contains("there is a file that is no socket"), "{}", agent.log());
    assert_eq!(std::fs::read_to_string(scenario.path("agent.sock"))?, "somebody's file");
    Ok(())
}
