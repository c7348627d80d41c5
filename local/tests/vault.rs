//! The Vault fixture, against the real server.

use std::time::{Duration, Instant};

use http::Method;
use local_region::http::StatusCode;
use local_region::pki::Ca;
use local_region::vault::{Error, Storage, VaultServer};
use serde_json::json;

const READ: &str = r#"path "kv/data/service/*" { capabilities = ["read"] }"#;

fn status<T>(outcome: Result<T, Error>) -> Option<StatusCode> {
    match outcome.err()? {
        Error::Refused { status, .. } => Some(status),
        _ => None,
    }
}

#[tokio::test]
async fn versions_are_written_with_check_and_set_read_deleted_and_destroyed() {
    let vault = VaultServer::start(&Ca::new("test").unwrap()).await.unwrap();
    let admin = vault.admin();
    admin.mount_kv("kv").await.unwrap();
    let first = admin.put("kv", "service/config", &json!({"a": 1}), Some(0)).await.unwrap();
    assert_eq!(first.version, 1);
    assert_eq!(
        status(admin.put("kv", "service/config", &json!({}), Some(0)).await),
        Some(StatusCode::BAD_REQUEST)
    );
    admin.put("kv", "service/config", &json!({"a": 2}), Some(1)).await.unwrap();
    let read = admin.read("kv", "service/config", Some(1)).await.unwrap();
    assert_eq!((read.version, read.created_time, &read.data), (1, first.created_time, &json!({"a": 1})));
    admin.delete("kv", "service/config", &[2]).await.unwrap();
    assert_eq!(status(admin.read("kv", "service/config", None).await), Some(StatusCode::NOT_FOUND));
    admin.undelete("kv", "service/config", &[2]).await.unwrap();
    admin.destroy("kv", "service/config", &[1]).await.unwrap();
    let metadata = admin.metadata("kv", "service/config").await.unwrap();
    assert_eq!(metadata["versions"]["1"]["destroyed"], true);
    assert_eq!(metadata["current_version"], 2);
}

#[tokio::test]
async fn a_role_may_what_its_policy_says_and_a_revoked_token_nothing() {
    let vault = VaultServer::start(&Ca::new("test").unwrap()).await.unwrap();
    let admin = vault.admin();
    admin.mount_kv("kv").await.unwrap();
    admin.put("kv", "service/config", &json!({}), None).await.unwrap();
    admin.write_policy("service", READ).await.unwrap();
    admin.enable_auth("approle", "approle").await.unwrap();
    let role = admin.create_approle("service", json!({"token_policies": ["service"]})).await.unwrap();
    let limited = admin.login_approle(&role).await.unwrap();
    limited.read("kv", "service/config", None).await.unwrap();
    let denied = limited.put("kv", "service/config", &json!({}), None).await;
    assert_eq!(status(denied), Some(StatusCode::FORBIDDEN));
    limited.revoke_self().await.unwrap();
    assert_eq!(status(limited.read("kv", "service/config", None).await), Some(StatusCode::FORBIDDEN));
    let wrapping = admin.wrapped_secret_id("service", 60).await.unwrap();
    let unwrapped =
        admin.with_token(&wrapping).call(Method::POST, "sys/wrapping/unwrap", None).await.unwrap();
    assert!(unwrapped["data"]["secret_id"].is_string());
}

#[tokio::test]
async fn a_server_is_sealed_paused_killed_and_comes_back_with_its_data() {
    let mut vault = VaultServer::named("raft")
        .storage(Storage::Raft)
        .audit()
        .start(&Ca::new("test").unwrap())
        .await
        .unwrap();
    let admin = vault.admin();
    admin.mount_kv("kv").await.unwrap();
    admin.put("kv", "service/config", &json!({"kept": true}), None).await.unwrap();

    vault.seal().await.unwrap();
    let sealed = admin.read("kv", "service/config", None).await;
    assert_eq!(status(sealed), Some(StatusCode::SERVICE_UNAVAILABLE));
    vault.unseal().await.unwrap();

    vault.pause().await.unwrap();
    let paused =
        tokio::time::timeout(Duration::from_millis(300), admin.read("kv", "service/config", None)).await;
    assert!(paused.is_err(), "a paused server answered");
    vault.resume().unwrap();
    admin.read("kv", "service/config", None).await.unwrap();

    vault.kill().await;
    let started = Instant::now();
    vault.restart().await.unwrap();
    println!("restarted and unsealed in {:?}", started.elapsed());
    let kept = admin.read("kv", "service/config", None).await.unwrap();
    assert_eq!(kept.data, json!({"kept": true}));
    assert!(std::fs::read_to_string(vault.audit_log()).unwrap().contains("kv/data/service/config"));
}

#[tokio::test]
async fn nothing_is_left_of_a_dropped_server_and_no_token_is_printed() {
    use secrecy::ExposeSecret;

    let vault = VaultServer::start(&Ca::new("test").unwrap()).await.unwrap();
    let (folder, pid, token) = (vault.folder().to_owned(), vault.process().pid(), vault.root_token().clone());
    assert!(!format!("{vault:?} {:?}", vault.admin()).contains(token.expose_secret()));
    drop(vault);
    assert!(!folder.exists(), "{folder:?} was left behind");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "pid {pid} was left behind");
}

#[tokio::test]
async fn a_quota_answers_429_until_it_is_taken_away() {
    let vault = VaultServer::start(&Ca::new("test").unwrap()).await.unwrap();
    let admin = vault.admin();
    admin.mount_kv("kv").await.unwrap();
    admin.put("kv", "service/config", &json!({}), None).await.unwrap();
    admin.limit_rate("tight", "kv", 0.01).await.unwrap();
    admin.read("kv", "service/config", None).await.unwrap();
    let throttled = admin.read("kv", "service/config", None).await;
    assert_eq!(status(throttled), Some(StatusCode::TOO_MANY_REQUESTS));
    admin.unlimit_rate("tight").await.unwrap();
    admin.read("kv", "service/config", None).await.unwrap();
}
