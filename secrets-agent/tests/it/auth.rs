//! Every way to log in.

use http::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use local_region::pki::write_private;
use local_region::wait::wait_until;
use rcgen::KeyPair;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::scenario::{Outcome, POLICY, SOON, Scenario};

#[tokio::test]
async fn approle_with_a_secret_id_from_a_file() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    assert_eq!(agent.value().await?, "one");
    assert_eq!(scenario.audited("auth/approle/login"), 1);
    Ok(())
}

#[tokio::test]
async fn approle_with_a_wrong_secret_id_says_where_to_look_and_recovers() -> Outcome {
    let scenario = Scenario::new().await?;
    write_private(&scenario.path("secret-id"), b"11111111-2222-3333-4444-555555555555")?;
    let agent = scenario.settings().start()?;
    let error = agent.error("refused").await?;
    assert!(error.contains("invalid") && error.contains("secret id"), "{error}");
    assert!(!error.contains("11111111"), "{error}");
    write_private(&scenario.path("secret-id"), scenario.role.secret_id.expose_secret().as_bytes())?;
    agent.delivered(1).await
}

fn wrapped(scenario: &Scenario) -> crate::scenario::Settings {
    let mut settings = scenario.settings();
    settings.auth = format!(
        "[auth.approle]\nrole_id = \"{}\"\nrole = \"service\"\nwrapped_secret_id_file = \"{}\"\n",
        scenario.role.role_id,
        scenario.path("wrapped").display()
    );
    settings
}

#[tokio::test]
async fn approle_with_a_wrapped_secret_id_is_unwrapped_once_and_used_for_later_logins() -> Outcome {
    let scenario = Scenario::new().await?;
    let wrapping = scenario.admin.wrapped_secret_id("service", 60).await?;
    write_private(&scenario.path("wrapped"), wrapping.expose_secret().as_bytes())?;
    let agent = wrapped(&scenario).start()?;
    agent.delivered(1).await?;
    scenario.admin.revoke_prefix("auth/approle/login").await?;
    scenario.write("two").await?;
    agent.nudge(None).await?;
    agent.delivered(2).await?;
    assert_eq!(scenario.audited("sys/wrapping/unwrap"), 1);
    assert_eq!(scenario.audited("auth/approle/login"), 2);
    Ok(())
}

#[tokio::test]
async fn a_wrapping_token_that_was_used_already_raises_the_alarm() -> Outcome {
    let scenario = Scenario::new().await?;
    let wrapping = scenario.admin.wrapped_secret_id("service", 60).await?;
    scenario.admin.with_token(&wrapping).call(Method::POST, "sys/wrapping/unwrap", None).await?;
    write_private(&scenario.path("wrapped"), wrapping.expose_secret().as_bytes())?;
    let agent = wrapped(&scenario).start()?;
    let error = agent.error("was used already").await?;
    assert!(error.contains("somebody else has its secret id"), "{error}");
    assert!(!error.contains(wrapping.expose_secret()), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_wrapping_token_that_was_made_elsewhere_is_not_used() -> Outcome {
    let scenario = Scenario::new().await?;
    scenario.admin.create_approle("other", json!({"token_policies": ["service"]})).await?;
    let wrapping = scenario.admin.wrapped_secret_id("other", 60).await?;
    write_private(&scenario.path("wrapped"), wrapping.expose_secret().as_bytes())?;
    let agent = wrapped(&scenario).start()?;
    let error = agent.error("was made at").await?;
    assert!(
        error.contains("auth/approle/role/other/secret-id, not at auth/approle/role/service/secret-id"),
        "{error}"
    );
    assert_eq!(scenario.audited("sys/wrapping/unwrap"), 0);
    Ok(())
}

/// A signed token for an audience, as the projected token of a service account is one.
fn signed(key: &KeyPair, subject: &str, life: i64) -> Result<String, Box<dyn std::error::Error>> {
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"iss": "test", "sub": subject, "aud": "vault", "iat": now - 10, "nbf": now - 10, "exp": now + life});
    let key = EncodingKey::from_ec_der(&key.serialize_der());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key)?)
}

async fn jwt_role(scenario: &Scenario, mount: &str, key: &KeyPair) -> Outcome {
    scenario.admin.enable_auth("jwt", mount).await?;
    let pem = key.public_key_pem();
    let config = json!({"jwt_validation_pubkeys": [pem]});
    scenario.admin.call(Method::POST, &format!("auth/{mount}/config"), Some(config)).await?;
    scenario.admin.write_policy("service", POLICY).await?;
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "bound_subject": "service",
        "token_policies": ["service"],
    });
    scenario.admin.call(Method::POST, &format!("auth/{mount}/role/service"), Some(role)).await?;
    Ok(())
}

async fn logs_in_with_the_token_of_the_moment(method: &str) -> Outcome {
    let scenario = Scenario::new().await?;
    let key = KeyPair::generate()?;
    jwt_role(&scenario, method, &key).await?;
    let file = scenario.path("token");
    write_private(&file, signed(&key, "service", 600)?.as_bytes())?;
    let mut settings = scenario.settings();
    settings.auth = format!("[auth.{method}]\nrole = \"service\"\njwt_file = \"{}\"\n", file.display());
    let agent = settings.start()?;
    agent.delivered(1).await?;

    // The token on disk goes bad, and the one that the agent holds is revoked: it must read the file again.
    write_private(&file, signed(&key, "somebody-else", 600)?.as_bytes())?;
    scenario.admin.revoke_prefix(&format!("auth/{method}/login")).await?;
    agent.nudge(None).await?;
    let error = agent.error("log in to Vault was refused").await?;
    assert!(error.contains("check the role service") && error.contains("its subject"), "{error}");
    assert_eq!(agent.value().await?, "one", "the last good version is served meanwhile");

    write_private(&file, signed(&key, "service", 600)?.as_bytes())?;
    scenario.write("two").await?;
    agent.delivered(2).await
}

#[tokio::test]
async fn jwt_is_read_again_at_each_login() -> Outcome {
    logs_in_with_the_token_of_the_moment("jwt").await
}

#[tokio::test]
async fn a_kubernetes_mount_takes_the_projected_token() -> Outcome {
    // Vault's jwt engine under the kubernetes mount's name: the same call, checked by the same signature.
    // The kubernetes engine itself needs an API server and is tested where one stands.
    logs_in_with_the_token_of_the_moment("kubernetes").await
}

#[tokio::test]
async fn a_token_file_is_read_again_when_its_token_is_dead_and_never_revoked() -> Outcome {
    let scenario = Scenario::new().await?;
    let token = scenario.admin.create_token(json!({"policies": ["service"], "ttl": "10m"})).await?;
    let file = scenario.path("token");
    write_private(&file, token.expose_secret().as_bytes())?;
    let mut settings = scenario.settings();
    settings.auth = format!("[auth.token]\nfile = \"{}\"\n", file.display());
    let agent = settings.start()?;
    agent.delivered(1).await?;

    scenario.admin.revoke(&token).await?;
    agent.nudge(None).await?;
    agent.error("is dead; put a living one there").await?;
    let next = scenario.admin.create_token(json!({"policies": ["service"], "ttl": "10m"})).await?;
    write_private(&file, next.expose_secret().as_bytes())?;
    agent.recovered().await?;

    assert!(agent.process.stop(SOON).await.success());
    let holder = scenario.admin.with_token(&next);
    let lives = holder.call(Method::GET, "auth/token/lookup-self", None).await;
    assert!(lives.is_ok(), "the token is somebody else's to revoke");
    Ok(())
}

#[tokio::test]
async fn a_missing_credential_is_named_and_awaited() -> Outcome {
    let scenario = Scenario::new().await?;
    let file = scenario.path("secret-id");
    let content = std::fs::read(&file)?;
    std::fs::remove_file(&file)?;
    let agent = scenario.settings().start()?;
    let error = agent.error("secret-id").await?;
    assert!(error.contains("No such file"), "{error}");
    assert_eq!(scenario.audited("auth/approle/login"), 0);
    write_private(&file, &content)?;
    wait_until("the login", SOON, async || scenario.audited("auth/approle/login") == 1).await?;
    agent.delivered(1).await
}

#[tokio::test]
async fn the_role_id_may_be_in_a_file() -> Outcome {
    let scenario = Scenario::new().await?;
    let file = scenario.path("role-id");
    std::fs::write(&file, format!("{}\n", scenario.role.role_id))?;
    let mut settings = scenario.settings();
    settings.auth = format!(
        "[auth.approle]\nrole_id_file = \"{}\"\nsecret_id_file = \"{}\"\n",
        file.display(),
        scenario.path("secret-id").display()
    );
    settings.start()?.delivered(1).await
}

#[tokio::test]
async fn another_wrapped_secret_id_is_used_when_the_former_is_gone() -> Outcome {
    let scenario = Scenario::new().await?;
    let wrapping = scenario.admin.wrapped_secret_id("service", 60).await?;
    write_private(&scenario.path("wrapped"), wrapping.expose_secret().as_bytes())?;
    let agent = wrapped(&scenario).start()?;
    agent.delivered(1).await?;

    // The role is made anew with the same role id, so that every secret id of it is gone.
    let role_id = json!({"role_id": scenario.role.role_id});
    scenario.admin.call(Method::DELETE, "auth/approle/role/service", None).await?;
    scenario.admin.create_approle("service", json!({"token_policies": ["service"]})).await?;
    scenario.admin.call(Method::POST, "auth/approle/role/service/role-id", Some(role_id)).await?;
    scenario.admin.revoke_prefix("auth/approle/login").await?;
    agent.nudge(None).await?;
    agent.error("log in to Vault was refused").await?;

    let wrapping = scenario.admin.wrapped_secret_id("service", 60).await?;
    write_private(&scenario.path("wrapped"), wrapping.expose_secret().as_bytes())?;
    agent.recovered().await?;
    assert_eq!(scenario.audited("sys/wrapping/unwrap"), 2);
    Ok(())
}
