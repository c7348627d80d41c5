//! Vault away, sealed, slow, overloaded, broken or not to be trusted: last good served, age and reason
//! told, and recovery without help.

use std::time::Duration;

use local_region::http::Target;
use local_region::pki::Ca;
use local_region::process::Signal;
use local_region::proxy::{AnswerProxy, FaultProxy, Mode, Rule};
use local_region::wait::wait_until;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use secrets_agent_client::wire::{SecretList, SecretState, VaultState};
use serde_json::json;

use crate::scenario::{Agent, Outcome, SOON, Scenario};

/// What must hold during every outage: the last good version is served, and its age and the reason are told.
async fn serves_on(agent: &Agent, words: &str) -> Outcome {
    agent.nudge(None).await?;
    agent.error(words).await?;
    assert_eq!(agent.value().await?, "one");
    let listed: SecretList = agent.socket.get("/v1/secrets").await?.json()?;
    let secret = &listed.secrets[0];
    assert_eq!(secret.state, SecretState::Stale);
    assert!(secret.age_s.is_some() && secret.error.is_some(), "{secret:?}");
    assert_eq!(agent.admin.get("/readyz").await?.status, 200, "a pod that has its secrets stays ready");
    Ok(())
}

/// What must hold after it: what was written meanwhile arrives, without a restart and without a login.
async fn catches_up(scenario: &Scenario, agent: &Agent) -> Outcome {
    scenario.write("two").await?;
    // It may have come back to Vault before the write, and would find it with its next poll.
    agent.nudge(None).await?;
    agent.delivered(2).await?;
    agent.recovered().await?;
    assert_eq!(agent.value().await?, "two");
    assert_eq!(scenario.audited("auth/approle/login"), 1, "an outage of Vault is no reason to log in");
    Ok(())
}

#[tokio::test]
async fn sealed() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    scenario.vault.seal().await?;
    serves_on(&agent, "Vault is sealed").await?;
    agent.sees(VaultState::Unavailable).await?;
    scenario.vault.unseal().await?;
    catches_up(&scenario, &agent).await
}

#[tokio::test]
async fn frozen() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    scenario.vault.pause().await?;
    serves_on(&agent, "no answer from Vault within 1000 ms").await?;
    agent.sees(VaultState::Unreachable).await?;
    scenario.vault.resume()?;
    catches_up(&scenario, &agent).await
}

#[tokio::test]
async fn frozen_while_nobody_asks_for_anything() -> Outcome {
    let scenario = Scenario::with_role(json!({"token_ttl": "2s"})).await?;
    let agent = scenario.agent().await?;
    scenario.vault.pause().await?;
    // The token cannot be renewed, and ends.
    agent.sees(VaultState::Unreachable).await?;
    wait_until("a login that fails", SOON, async || {
        agent.metric("secrets_agent_login_failures_total").await.is_ok_and(|count| count >= 1.0)
    })
    .await?;
    assert_eq!(agent.value().await?, "one");
    scenario.vault.resume()?;
    agent.recovered().await?;
    assert_eq!(agent.metric("secrets_agent_logins_total").await?, 2.0);
    Ok(())
}

#[tokio::test]
async fn restarted() -> Outcome {
    let mut scenario = Scenario::that_lasts().await?;
    let agent = scenario.agent().await?;
    scenario.vault.kill().await;
    serves_on(&agent, "Vault cannot be reached").await?;
    scenario.vault.restart().await?;
    catches_up(&scenario, &agent).await
}

#[tokio::test]
async fn away_at_the_start() -> Outcome {
    let mut scenario = Scenario::that_lasts().await?;
    scenario.vault.kill().await;
    let agent = scenario.settings().start()?;
    agent.error("Vault cannot be reached").await?;
    let answer = agent.socket.get("/v1/secrets/config").await?;
    assert_eq!(answer.status, 503);
    assert!(
        answer.text().contains("config was not delivered yet") && answer.header("retry-after") == "1",
        "{}",
        answer.text()
    );
    scenario.vault.restart().await?;
    agent.delivered(1).await
}

#[tokio::test]
async fn overloaded_and_asking_for_patience() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    // A quota that one read uses up for a second and more, as Vault itself enforces it; its answers say how
    // long to wait only when asked to.
    let headers = serde_json::json!({"enable_rate_limit_response_headers": true});
    scenario.admin.call(http::Method::POST, "sys/quotas/config", Some(headers)).await?;
    scenario.admin.limit_rate("tight", "kv/data/service/config", 0.4).await?;
    wait_until("Vault's 429 to be told with its wait", SOON, async || {
        let _ = agent.nudge(None).await;
        let status = agent.status().await.map_err(|error| error.to_string())?;
        let told = status.secrets[0].error.clone().unwrap_or_default();
        let throttled = status.vault.state == VaultState::Throttled;
        if throttled && told.contains("fewer requests (429), in ") {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await?;
    assert_eq!(agent.value().await?, "one");
    scenario.admin.unlimit_rate("tight").await?;
    catches_up(&scenario, &agent).await
}

#[tokio::test]
async fn retry_after_of_a_429_holds_against_nudges() -> Outcome {
    keeps_away(429, "fewer requests (429), in 3 s").await
}

#[tokio::test]
async fn retry_after_of_a_503_holds_against_nudges() -> Outcome {
    keeps_away(503, "Vault is not available (503)").await
}

async fn keeps_away(status: u16, words: &str) -> Outcome {
    let scenario = Scenario::new().await?;
    let (proxy, mut settings) = behind_a_load_balancer(&scenario).await?;
    settings.kv = "secrets = [\"config\"]\nspacing = \"20ms\"\n".to_owned();
    let agent = settings.start()?;
    agent.delivered(1).await?;
    proxy.add(Rule::path("/v1/kv/data", status).header("retry-after", "3").times(1));
    agent.nudge(None).await?;
    agent.error(words).await?;
    let throttled = std::time::Instant::now();
    let reads = proxy.count("/v1/kv/data");
    wait_until("the read after the wait", SOON, async || {
        let _ = agent.nudge(None).await;
        proxy.count("/v1/kv/data") > reads
    })
    .await?;
    assert!(throttled.elapsed() >= Duration::from_millis(2500), "came back after {:?}", throttled.elapsed());
    agent.recovered().await
}

/// A load balancer before Vault that ends TLS with a certificate of the same authority.
pub(crate) async fn behind_a_load_balancer(
    scenario: &Scenario,
) -> Result<(AnswerProxy, crate::scenario::Settings), Box<dyn std::error::Error>> {
    let certificate = scenario.ca.issue(&["localhost"])?;
    let upstream = Target::localhost(scenario.vault.address(), &scenario.ca.pem())?;
    let proxy = AnswerProxy::start(&certificate, upstream).await?;
    let mut settings = scenario.settings();
    settings.address = format!("https://localhost:{}", proxy.address().port());
    Ok((proxy, settings))
}

async fn answered_by_the_load_balancer(rule: Rule, words: &str, state: VaultState) -> Outcome {
    let scenario = Scenario::new().await?;
    let (proxy, settings) = behind_a_load_balancer(&scenario).await?;
    let agent = settings.start()?;
    agent.delivered(1).await?;
    proxy.add(rule);
    serves_on(&agent, words).await?;
    agent.sees(state).await?;
    let error = agent.secret().await?.error.unwrap_or_default();
    assert!(!error.contains("canary") && !agent.log().contains("canary"), "{error}");
    proxy.clear();
    catches_up(&scenario, &agent).await
}

#[tokio::test]
async fn a_gateway_that_fails() -> Outcome {
    let rule = Rule::path("/v1/kv/data", 502).body("<html>canary</html>");
    answered_by_the_load_balancer(rule, "Vault failed (502): it did not say why", VaultState::Faulty).await
}

#[tokio::test]
async fn a_gateway_that_refuses_says_nothing_of_the_token() -> Outcome {
    // Every call, the lookup of the token too: a token that lives must not be let go of for that.
    let rule = Rule::path("/v1/", 403).body("<html>canary</html>");
    answered_by_the_load_balancer(rule, "refused (403) by something that is not Vault", VaultState::Denied)
        .await
}

#[tokio::test]
async fn json_that_breaks_off() -> Outcome {
    let rule = Rule::path("/v1/kv/data", 200).body(r#"{"data": {"data": {"value": "canary"#);
    answered_by_the_load_balancer(
        rule,
        "what came is no answer of Vault: it breaks off at line 1",
        VaultState::Faulty,
    )
    .await
}

#[tokio::test]
async fn json_of_another_kind() -> Outcome {
    let rule = Rule::path("/v1/kv/data", 200).body(r#"{"data": {"value": "canary"}}"#);
    answered_by_the_load_balancer(rule, "what came is no answer of Vault", VaultState::Faulty).await
}

#[tokio::test]
async fn an_empty_answer() -> Outcome {
    let rule = Rule::path("/v1/kv/data", 200);
    answered_by_the_load_balancer(rule, "what came is no answer of Vault: it is empty", VaultState::Faulty)
        .await
}

#[tokio::test]
async fn a_redirect_is_not_followed() -> Outcome {
    let rule = Rule::path("/v1/kv/data", 302).header("location", "https://canary.invalid/");
    answered_by_the_load_balancer(rule, "the status is 302", VaultState::Faulty).await
}

#[tokio::test]
async fn an_answer_without_end_is_bounded() -> Outcome {
    let rule = Rule::path("/v1/kv/data", 200).body(vec![b' '; 3 << 20]);
    answered_by_the_load_balancer(rule, "it is larger than", VaultState::Faulty).await
}

async fn on_a_bad_network(mode: Mode, words: &str) -> Outcome {
    let scenario = Scenario::new().await?;
    let proxy = FaultProxy::start(scenario.vault.address()).await?;
    let mut settings = scenario.settings();
    settings.address = format!("https://localhost:{}", proxy.address().port());
    let agent = settings.start()?;
    agent.delivered(1).await?;
    proxy.set(mode).await;
    serves_on(&agent, words).await?;
    agent.sees(VaultState::Unreachable).await?;
    proxy.set(Mode::Pass).await;
    catches_up(&scenario, &agent).await
}

#[tokio::test]
async fn connections_refused() -> Outcome {
    on_a_bad_network(Mode::Refuse, "Vault cannot be reached").await
}

#[tokio::test]
async fn connections_cut() -> Outcome {
    on_a_bad_network(Mode::Cut { after: 200 }, "Vault cannot be reached").await
}

#[tokio::test]
async fn bytes_that_arrive_too_late() -> Outcome {
    on_a_bad_network(Mode::Delay(Duration::from_secs(2)), "no answer from Vault within 1000 ms").await
}

#[tokio::test]
async fn bytes_that_arrive_garbled() -> Outcome {
    on_a_bad_network(Mode::Garble, "Vault cannot be reached").await
}

#[tokio::test]
async fn bytes_that_never_arrive() -> Outcome {
    on_a_bad_network(Mode::Hang, "no answer from Vault within 1000 ms").await
}

#[tokio::test]
async fn an_authority_that_does_not_vouch_for_vault() -> Outcome {
    let scenario = Scenario::new().await?;
    let mut settings = scenario.settings();
    settings.ca_file = scenario.path("ca.pem");
    Ca::new("another authority")?.write(&settings.ca_file)?;
    let agent = settings.start()?;
    let error = agent.error("Vault's certificate is not trusted").await?;
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
    assert!(error.contains("vault.ca_file"), "{error}");
    agent.sees(VaultState::Untrusted).await?;
    scenario.ca.write(&settings.ca_file)?;
    agent.delivered(1).await
}

#[tokio::test]
async fn an_authority_file_that_is_none() -> Outcome {
    let scenario = Scenario::new().await?;
    let mut settings = scenario.settings();
    settings.ca_file = scenario.path("ca.pem");
    let agent = settings.start()?;
    agent.error("No such file").await?;
    std::fs::write(&settings.ca_file, "no certificate")?;
    agent.error("it holds no PEM certificate").await?;
    scenario.ca.write(&settings.ca_file)?;
    agent.delivered(1).await
}

#[tokio::test]
async fn a_certificate_that_has_ended_and_is_replaced() -> Outcome {
    let scenario = Scenario::new().await?;
    let names = ["localhost", "127.0.0.1"];
    scenario.ca.issue_expired(&names)?.write(scenario.vault.folder(), "vault")?;
    // Vault reads its certificate again.
    scenario.vault.process().signal(Signal::HUP)?;
    let agent = scenario.settings().start()?;
    let error = agent.error("Vault's certificate is not trusted").await?;
    assert!(error.contains("expired"), "{error}");
    agent.sees(VaultState::Untrusted).await?;
    scenario.ca.issue(&names)?.write(scenario.vault.folder(), "vault")?;
    scenario.vault.process().signal(Signal::HUP)?;
    agent.delivered(1).await
}

#[tokio::test]
async fn an_authority_that_has_ended_and_is_replaced() -> Outcome {
    let scenario = Scenario::new().await?;
    let mut settings = scenario.settings();
    settings.ca_file = scenario.path("ca.pem");
    let mut ended = CertificateParams::default();
    ended.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (ended.not_before, ended.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    std::fs::write(&settings.ca_file, ended.self_signed(&KeyPair::generate()?)?.pem())?;
    let agent = settings.start()?;
    agent.error("the authority's certificate ended at 2021-01-01T00:00:00Z").await?;
    agent.sees(VaultState::Untrusted).await?;
    scenario.ca.write(&settings.ca_file)?;
    agent.delivered(1).await
}

#[tokio::test]
async fn an_authority_that_is_taken_away_and_comes_back() -> Outcome {
    let scenario = Scenario::new().await?;
    let mut settings = scenario.settings();
    settings.ca_file = scenario.path("ca.pem");
    scenario.ca.write(&settings.ca_file)?;
    let agent = settings.start()?;
    agent.delivered(1).await?;
    // The open connection was made with the former authority and may not be used any longer.
    Ca::new("another authority")?.write(&settings.ca_file)?;
    serves_on(&agent, "Vault's certificate is not trusted").await?;
    scenario.ca.write(&settings.ca_file)?;
    catches_up(&scenario, &agent).await
}
