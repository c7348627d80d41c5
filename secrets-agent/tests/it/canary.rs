//! A value that can be recognised is found where it belongs, and nowhere else.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use http::Method;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::scenario::{Agent, Outcome, Scenario};

const CANARY: &str = "canary-9f1c77de40";

/// The places in which `needle` stands among what an agent shows to the outside.
async fn leaks(
    agent: &Agent,
    needle: &str,
    folder: &Path,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut seen = vec![("the log".to_owned(), agent.log().into_bytes())];
    for path in ["/metrics", "/v1/status", "/readyz", "/livez", "/nowhere"] {
        seen.push((path.to_owned(), agent.admin.get(path).await?.body.to_vec()));
    }
    for path in ["/v1/secrets", "/v1/secrets/other", "/v1/secrets/config?version=99", "/v1/watch"] {
        seen.push((path.to_owned(), agent.socket.get(path).await?.body.to_vec()));
    }
    let refused = json!({"version": 1, "created_time": "2020-01-01T00:00:00Z", "instance": CANARY});
    seen.push((
        "adopted".to_owned(),
        agent
            .socket
            .json(Method::PUT, "/v1/secrets/config/adopted", &json!({"x": refused["version"]}))
            .await?
            .body
            .to_vec(),
    ));
    let pid = agent.process.pid();
    for file in ["environ", "cmdline"] {
        match fs::read(format!("/proc/{pid}/{file}")) {
            Ok(content) => seen.push((format!("/proc/PID/{file}"), content)),
            // Since the agent forbids dumps, only root may read its environment; nobody else finds anything.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && file == "environ" => {}
            Err(error) => return Err(error.into()),
        }
    }
    for file in fs::read_dir(folder)?
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|kind| kind == "log" || kind == "toml"))
    {
        seen.push((file.path().display().to_string(), fs::read(file.path())?));
    }
    let found = seen.into_iter().filter(|(_, content)| String::from_utf8_lossy(content).contains(needle));
    Ok(found.map(|(place, _)| place).collect())
}

#[tokio::test]
async fn values_and_credentials_are_nowhere_but_where_they_belong() -> Outcome {
    let scenario = Scenario::new().await?;
    scenario.write(CANARY).await?;
    let agent = scenario.settings().start()?;
    agent.delivered(2).await?;
    assert_eq!(agent.value().await?, CANARY, "it is found where it belongs");

    // Every kind of trouble that quotes things has happened once: documents that cannot be read, refusals,
    // an outage.
    for document in
        [json!({"rotation": CANARY}), json!({"rotation": {CANARY: 1}}), json!({"value": [CANARY]})]
    {
        let version = scenario.admin.put("kv", "service/config", &document, None).await?.version;
        agent.nudge(Some(version)).await?;
    }
    agent.delivered(5).await?;
    scenario.admin.revoke_prefix("auth/approle/login").await?;
    scenario.admin.write_policy("service", r#"path "kv/data/other" { capabilities = ["read"] }"#).await?;
    agent.nudge(None).await?;
    agent.error("permission denied").await?;
    scenario.vault.seal().await?;
    agent.nudge(None).await?;
    agent.error("sealed").await?;

    for secret in [CANARY, scenario.role.secret_id.expose_secret(), "hvs."] {
        let found = leaks(&agent, secret, scenario.folder.path()).await?;
        assert!(found.is_empty(), "found in {found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_search_finds_a_leak_that_was_planted() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    assert!(leaks(&agent, "test-pod", scenario.folder.path()).await?.contains(&"/v1/status".to_owned()));
    fs::write(scenario.path("planted.log"), CANARY)?;
    let found = leaks(&agent, CANARY, scenario.folder.path()).await?;
    assert_eq!(found.len(), 1, "{found:?}");
    Ok(())
}

#[tokio::test]
async fn core_dumps_are_off() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.process.pid()))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    Ok(())
}

#[tokio::test]
async fn memory_that_cannot_be_locked_costs_a_warning_and_never_the_agent() -> Outcome {
    let scenario = Scenario::new().await?;
    // Root may lock without limit, so it is made to do without that right.
    let mut limited = vec!["prlimit", "--memlock=0:0"];
    if rustix::process::geteuid().is_root() {
        limited.extend(["setpriv", "--inh-caps=-ipc_lock", "--bounding-set=-ipc_lock"]);
    }
    let agent = scenario.settings().start_under(&limited)?;
    agent.delivered(1).await?;
    assert_eq!(agent.value().await?, "one");
    assert!(agent.metric("secrets_agent_values_not_locked").await? >= 1.0);
    for value in ["two", "three"] {
        let version = scenario.write(value).await?;
        agent.nudge(Some(version)).await?;
        agent.delivered(version).await?;
    }
    assert_eq!(agent.log().matches("RLIMIT_MEMLOCK").count(), 1, "{}", agent.log());
    Ok(())
}
