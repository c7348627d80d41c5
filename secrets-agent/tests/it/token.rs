//! The life of the token: renewed, never had again without need.

use http::Method;
use local_region::wait::wait_until;
use secrets_agent_client::wire::VaultState;
use serde_json::json;

use crate::scenario::{Outcome, POLICY, SOON, Scenario};

#[tokio::test]
async fn renewed_over_several_lives_and_had_again_only_at_its_maximum() -> Outcome {
    let scenario = Scenario::with_role(json!({"token_ttl": "2s", "token_max_ttl": "6s"})).await?;
    let agent = scenario.agent().await?;
    wait_until("three renewals", SOON, async || {
        agent.metric("secrets_agent_renewals_total").await.is_ok_and(|count| count >= 3.0)
    })
    .await?;
    assert_eq!(agent.metric("secrets_agent_logins_total").await?, 1.0, "a renewed token needs no login");
    // At its maximum the token ends; the next read logs in once, and nothing was lost meanwhile.
    wait_until("a second login", SOON, async || {
        agent.nudge(None).await.is_ok()
            && agent.metric("secrets_agent_logins_total").await.is_ok_and(|count| count == 2.0)
    })
    .await?;
    assert_eq!(agent.value().await?, "one");
    assert!(agent.secret().await?.error.is_none());
    Ok(())
}

#[tokio::test]
async fn a_revoked_token_costs_one_login() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    scenario.admin.revoke_prefix("auth/approle/login").await?;
    scenario.write("two").await?;
    agent.nudge(Some(2)).await?;
    agent.delivered(2).await?;
    assert_eq!(scenario.audited("auth/approle/login"), 2);
    Ok(())
}

#[tokio::test]
async fn a_denied_path_never_causes_a_login() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    scenario.admin.write_policy("service", r#"path "kv/data/other" { capabilities = ["read"] }"#).await?;
    agent.nudge(None).await?;
    let error = agent.error("permission denied").await?;
    assert!(error.contains("kv/data/service/config") && error.contains("policy"), "{error}");
    agent.sees(VaultState::Denied).await?;
    let reads = scenario.audited("kv/data/service/config");
    wait_until("three more refused reads", SOON, async || {
        scenario.audited("kv/data/service/config") >= reads + 3
    })
    .await?;
    assert_eq!(scenario.audited("auth/approle/login"), 1);
    assert_eq!(agent.value().await?, "one");

    scenario.admin.write_policy("service", POLICY).await?;
    scenario.write("two").await?;
    agent.delivered(2).await?;
    assert_eq!(scenario.audited("auth/approle/login"), 1);
    Ok(())
}

#[tokio::test]
async fn many_secrets_cost_one_login_between_them() -> Outcome {
    let scenario = Scenario::new().await?;
    let mut settings = scenario.settings();
    settings.kv = "secrets = [\"config\", \"a\", \"b\", \"c\", \"d\", \"e\"]\n".to_owned();
    for name in ["a", "b", "c", "d", "e"] {
        scenario.admin.put("kv", &format!("service/{name}"), &json!({"value": name}), None).await?;
    }
    let agent = settings.start()?;
    agent.recovered().await?;
    assert_eq!(scenario.audited("auth/approle/login"), 1);
    Ok(())
}

#[tokio::test]
async fn logins_that_are_refused_do_not_storm() -> Outcome {
    let scenario = Scenario::new().await?;
    scenario.admin.call(Method::DELETE, "auth/approle/role/service", None).await?;
    let agent = scenario.settings().start()?;
    agent.error("log in to Vault was refused").await?;
    // However often it is nudged, the waits between logins hold: a second at least after each refusal.
    let before = scenario.audited("auth/approle/login");
    let started = std::time::Instant::now();
    let mut nudges = 0_u32;
    wait_until("three more logins", SOON, async || {
        nudges += u32::from(agent.nudge(None).await.is_ok());
        scenario.audited("auth/approle/login") >= before + 3
    })
    .await?;
    let least = std::time::Duration::from_millis(1500);
    assert!(started.elapsed() >= least, "three logins within {:?} of {nudges} nudges", started.elapsed());
    Ok(())
}
