//! The life of the token: renewed, never had again without need.

use http::Method;
use local_region::proxy::Rule;
use local_region::wait::wait_until;
use secrets_agent_client::wire::VaultState;
use serde_json::json;

use crate::outages::behind_a_load_balancer;
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

    // In this order: once it may read again, it looks at its own pace.
    scenario.write("two").await?;
    scenario.admin.write_policy("service", POLICY).await?;
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
    // However often it is nudged, the waits between logins hold and grow.
    let before = scenario.audited("auth/approle/login");
    let started = std::time::Instant::now();
    let mut nudges = 0_u32;
    wait_until("three more logins", SOON, async || {
        nudges += u32::from(agent.nudge(None).await.is_ok());
        scenario.audited("auth/approle/login") >= before + 3
    })
    .await?;
    let least = std::time::Duration::from_millis(2900);
    assert!(started.elapsed() >= least, "three logins within {:?} of {nudges} nudges", started.elapsed());
    assert!(nudges >= 20, "{nudges} nudges");
    Ok(())
}

#[tokio::test]
async fn a_role_without_the_default_policy_does_not_log_in_again_and_again() -> Outcome {
    let scenario = Scenario::with_role(json!({"token_no_default_policy": true})).await?;
    let agent = scenario.agent().await?;
    // Its tokens may not look themselves up, so a living one answers as a dead one of an older Vault would.
    scenario.admin.write_policy("service", r#"path "kv/data/other" { capabilities = ["read"] }"#).await?;
    agent.nudge(None).await?;
    agent.error("permission denied").await?;
    let reads = scenario.audited("kv/data/service/config");
    wait_until("five more refused reads", SOON, async || {
        scenario.audited("kv/data/service/config") >= reads + 5
    })
    .await?;
    assert!(scenario.audited("auth/approle/login") <= 2, "one login at most finds out");
    assert!(agent.log().contains("may not read auth/token/lookup-self"), "{}", agent.log());

    // A token that is really dead is still told from a denied path, by what Vault says of it.
    scenario.admin.write_policy("service", POLICY).await?;
    agent.recovered().await?;
    let logins = scenario.audited("auth/approle/login");
    scenario.admin.revoke_prefix("auth/approle/login").await?;
    scenario.write("two").await?;
    agent.nudge(Some(2)).await?;
    agent.delivered(2).await?;
    assert_eq!(scenario.audited("auth/approle/login"), logins + 1);
    Ok(())
}

#[tokio::test]
async fn a_renewal_that_is_put_off_is_put_off_for_as_long_as_vault_asks() -> Outcome {
    let scenario = Scenario::with_role(json!({"token_ttl": "12s"})).await?;
    let (proxy, settings) = behind_a_load_balancer(&scenario).await?;
    let agent = settings.start()?;
    agent.delivered(1).await?;
    let renewal = "/v1/auth/token/renew-self";
    proxy.add(Rule::path(renewal, 429).header("retry-after", "3").times(1));
    wait_until("the first renewal", SOON, async || proxy.count(renewal) == 1).await?;
    let put_off = std::time::Instant::now();
    wait_until("the second renewal", SOON, async || proxy.count(renewal) == 2).await?;
    assert!(put_off.elapsed() >= std::time::Duration::from_millis(2700), "after {:?}", put_off.elapsed());
    wait_until("its success", SOON, async || {
        agent.metric("secrets_agent_renewals_total").await.is_ok_and(|count| count >= 1.0)
    })
    .await?;
    assert_eq!(scenario.audited("auth/approle/login"), 1);
    Ok(())
}
