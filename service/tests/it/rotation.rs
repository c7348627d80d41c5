//! Every document rotated against a real Vault and a real agent, under load.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use local_region::http::{StatusCode, client_tls};
use local_region::pki::Ca;
use local_region::wait::wait_until;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::documents::{Key, clients, config, keyset, tls};
use crate::load::{Ask, Load};
use crate::pod::{Pod, SOON};
use crate::region::Region;

async fn region(key: &Key, secrets: &Value) -> Region {
    let ca = Ca::new("it").unwrap();
    let documents = [
        ("config", config()),
        ("clients", secrets.clone()),
        ("signing-keys", keyset(&[(key, "active")])),
        ("tls", tls(&ca)),
    ];
    Region::start(ca, &documents).await
}

fn everything(secret: &str) -> Vec<Ask> {
    vec![
        Ask::get("/v1/region", true),
        Ask::get("/.well-known/jwks.json", false),
        Ask::token(secret, true),
        Ask::token(secret, false),
    ]
}

#[tokio::test]
async fn client_secrets_and_configuration_change_without_a_failed_request() {
    let key = Key::new();
    let region = region(&key, &clients(&[("one", None), ("two", None)])).await;
    let pod = region.pod("").await;
    let load = Load::start(&pod.public, &everything("two"));
    load.goes_on().await;

    let before = region.adopted("clients").await;
    assert_eq!(before, [1]);
    region.rotate("clients", &clients(&[("two", None), ("three", None)])).await;
    assert_eq!(pod.token("probe", "three").await.status, StatusCode::OK);
    assert_eq!(pod.token("probe", "one").await.status, StatusCode::UNAUTHORIZED);

    let mut changed = config();
    changed["oauth"]["token_life"] = "30s".into();
    region.rotate("config", &changed).await;
    let issued = pod.token("probe", "two").await.value().unwrap();
    assert_eq!(issued["expires_in"], 30);

    load.goes_on().await;
    load.end_without_failure().await;
    let generation = pod.public.get("/v1/region").await.unwrap().value().unwrap()["generation"].as_u64();
    assert_eq!(generation, Some(3));
}

#[tokio::test]
async fn the_signing_key_changes_only_with_its_acknowledgement_and_without_a_failed_request() {
    let (old, next) = (Key::new(), Key::new());
    let region = region(&old, &clients(&[("one", None)])).await;
    let pod = region.pod("").await;
    let load = Load::start(&pod.public, &everything("one"));
    load.goes_on().await;
    let (signed_before, _) = pod.verified_token("probe", "one").await;
    assert_eq!(signed_before, old.kid);

    region.rotate("signing-keys", &keyset(&[(&old, "active"), (&next, "published")])).await;
    let jwks = pod.jwks().await;
    assert!(jwks.find(&old.kid).is_some() && jwks.find(&next.kid).is_some());
    assert_eq!(pod.verified_token("probe", "one").await.0, old.kid);

    let first = region.status("signing-keys").await.unwrap().version.unwrap();
    let activated = region.write("signing-keys", &keyset(&[(&old, "retiring"), (&next, "active")])).await;
    assert_eq!(activated, first + 1);
    let mut seen = Vec::new();
    wait_until("the new key to be adopted", SOON, async || {
        // Asked in this order, an acknowledgement that came too early would meet a token of the old key.
        let adopted = region.adopted("signing-keys").await == [activated];
        let (kid, _) = pod.verified_token("probe", "one").await;
        assert!(!adopted || kid == next.kid, "acknowledged, and a token still came from the old key");
        seen.push(kid);
        adopted
    })
    .await
    .unwrap();
    let token = pod.token("probe", "one").await.value().unwrap()["access_token"].as_str().unwrap().to_owned();

    region.rotate("signing-keys", &keyset(&[(&next, "active")])).await;
    for version in 1..=activated {
        region.destroy("signing-keys", version).await;
    }
    let jwks = pod.jwks().await;
    assert!(jwks.find(&old.kid).is_none());
    assert_eq!(crate::pod::verify(&token, &jwks).0, next.kid);
    load.goes_on().await;
    load.end_without_failure().await;
    let by_old = pod.metric(&format!("service_tokens_issued_total{{kid=\"{}\"}}", old.kid)).await;
    assert_eq!(by_old, None, "the count of a key that is gone");
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_live_on() {
    let key = Key::new();
    let region = region(&key, &clients(&[("one", None)])).await;
    let pod = region.pod("").await;
    let load = Load::start(&pod.public, &everything("one"));
    load.goes_on().await;
    let before = shown_certificate(&pod, &region.ca).await;
    let mut old = pod.public.connect().await.unwrap();
    let ask = || pod.public.request(Method::GET, "/v1/region", None, Bytes::new()).unwrap();
    assert_eq!(old.send(ask()).await.unwrap().status, StatusCode::OK);

    region.rotate("tls", &tls(&region.ca)).await;
    assert_ne!(shown_certificate(&pod, &region.ca).await, before);
    assert_eq!(old.send(ask()).await.unwrap().status, StatusCode::OK);
    load.goes_on().await;
    load.end_without_failure().await;
}

/// The certificate that a new connection is shown, without resuming a session.
async fn shown_certificate(pod: &Pod, ca: &Ca) -> Vec<u8> {
    let mut config = (*client_tls(&ca.pem()).unwrap()).clone();
    config.resumption = rustls::client::Resumption::disabled();
    let stream = TcpStream::connect(pod.port.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn an_old_client_secret_is_good_until_its_end_and_not_a_moment_longer() {
    let key = Key::new();
    let region = region(&key, &clients(&[("old", None)])).await;
    let pod = region.pod("").await;
    let end = Timestamp::now() + SignedDuration::from_secs(3);
    region.rotate("clients", &clients(&[("old", Some(end)), ("new", None)])).await;
    let mut accepted = 0;
    wait_until("the old secret to end", SOON, async || {
        let asked = Timestamp::now();
        let status = pod.token("probe", "old").await.status;
        let answered = Timestamp::now();
        match status {
            StatusCode::OK => {
                assert!(asked < end, "accepted at {asked}, after its end {end}");
                accepted += 1;
                false
            }
            _ => {
                assert!(answered >= end, "refused at {answered}, before its end {end}");
                true
            }
        }
    })
    .await
    .unwrap();
    assert!(accepted > 0, "the old secret was never good");
    assert_eq!(pod.token("probe", "new").await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_vault_and_without_its_agent_the_service_goes_on_and_says_again_what_it_uses() {
    let key = Key::new();
    let mut region = region(&key, &clients(&[("one", None)])).await;
    let pod = region.pod("").await;
    region.is_adopted("clients", 1).await;
    let load = Load::start(&pod.public, &everything("one"));
    load.goes_on().await;
    region.vault.pause().await.unwrap();
    region.kill_agent().await;
    assert_eq!(pod.verified_token("probe", "one").await.0, key.kid);
    pod.degraded("agent: connect to secrets-agent at").await;
    assert_eq!(pod.verified_token("probe", "one").await.0, key.kid);

    region.vault.resume().unwrap();
    region.start_agent();
    for name in ["config", "clients", "signing-keys", "tls"] {
        region.is_adopted(name, 1).await;
    }
    pod.healed().await;
    region.rotate("clients", &clients(&[("one", None), ("two", None)])).await;
    assert_eq!(pod.token("probe", "two").await.status, StatusCode::OK);
    load.goes_on().await;
    load.end_without_failure().await;
    let generation = pod.public.get("/v1/region").await.unwrap().value().unwrap()["generation"].as_u64();
    assert_eq!(generation, Some(2), "what was told again was taken again");
}
