//! Each kind of secret, from its first write to its end.

use std::time::Instant;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use local_region::documents::{CLIENT, ISSUER};
use local_region::http::StatusCode;
use local_region::pod::Pod;
use serde_json::{Value, json};

use crate::run;
use crate::world::{Region, World};

/// Whether a pod gives a token for a secret, and the token.
pub(crate) async fn token(pod: &Pod, secret: &str) -> Option<String> {
    let form = format!("grant_type=client_credentials&client_id={CLIENT}&client_secret={secret}");
    let answer = pod.public.form("/oauth2/token", &form).await.unwrap();
    match answer.status {
        StatusCode::OK => Some(answer.value().unwrap()["access_token"].as_str().unwrap().to_owned()),
        _ => None,
    }
}

/// Whether a token verifies by what a pod shows.
pub(crate) async fn verifies(token: &str, pod: &Pod) -> bool {
    let jwks = pod.public.get("/.well-known/jwks.json").await.unwrap();
    let jwks: JwkSet = serde_json::from_slice(&jwks.body).unwrap();
    let Some(kid) = decode_header(token).unwrap().kid else { return false };
    let Some(key) = jwks.find(&kid) else { return false };
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[ISSUER]);
    validation.validate_aud = false;
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).is_ok()
}

pub(crate) async fn secret_of(region: &Region) -> String {
    let own = region.admin().read("kv", "client/probe", None).await.unwrap().data;
    own["secret"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_changes_everywhere_and_the_old_one_is_gone() {
    let world = World::start(2).await;
    let before = world.same("signing-keys").await;
    let secret = secret_of(&world.eu).await;
    let old = token(&world.eu.pods[0], &secret).await.unwrap();
    let dry = world.rotate("signing-keys", &["--dry-run"]).await.expect(0);
    dry.says("planned; nothing was changed").says("write service/signing-keys: publish");
    assert_eq!(world.same("signing-keys").await, before);

    let ran = world.rotate("signing-keys", &["--rotation=first-one"]).await.expect(0);
    ran.says("publish   written in").says("activate").says("retire").says("first-one: done");
    let after = world.same("signing-keys").await;
    let (was, is) = (before["keys"].as_object().unwrap(), after["keys"].as_object().unwrap());
    assert_eq!((was.len(), is.len()), (1, 1));
    assert!(was.keys().ne(is.keys()));
    assert_eq!(after["rotation"], json!({"first-one": {"retire": ""}}));
    let kid: Vec<String> = is.keys().cloned().collect();
    for region in world.regions() {
        assert_eq!(region.readable("service/signing-keys").await, (vec![4], 4));
        assert_eq!(region.kids().await, vec![kid.clone(); 2]);
        let new = token(&region.pods[1], &secret).await.unwrap();
        for other in world.regions() {
            assert!(verifies(&new, &other.pods[0]).await);
            assert!(!verifies(&old, &other.pods[0]).await, "it has ended, and its key is gone");
        }
    }
    // The same command again makes no second key; nor does one that names nothing, right after.
    world.rotate("signing-keys", &["--rotation=first-one"]).await.expect(0).says("nothing to do");
    world.rotate("signing-keys", &[]).await.expect(0).says("nothing to do");
    assert_eq!(world.same("signing-keys").await, after);
    world.logs_hold_no_value();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_client_gets_a_new_secret_and_is_never_turned_away() {
    let world = World::start(1).await;
    let old = secret_of(&world.eu).await;
    let report = world.rotate("clients", &["--client=probe", "--output=json"]).await.expect(0).json();
    assert_eq!(report["outcome"], "done");
    let phases: Vec<&str> =
        report["phases"].as_array().unwrap().iter().map(|phase| phase["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["publish", "hand", "retire"]);
    let new = secret_of(&world.us).await;
    assert_eq!(secret_of(&world.eu).await, new);
    assert_ne!(new, old);
    for region in world.regions() {
        assert!(token(&region.pods[0], &new).await.is_some());
        assert!(token(&region.pods[0], &old).await.is_none());
        assert_eq!(region.readable("service/clients").await.0.len(), 1);
        assert_eq!(region.readable("client/probe").await, (vec![2], 2));
        assert_eq!(region.readable("client-pending/probe").await, (vec![], 1));
    }
    world
        .rotate("clients", &["--client=nobody", "--again"])
        .await
        .expect(1)
        .says("there is no client nobody");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_document_comes_on_standard_input_and_is_in_use_everywhere() {
    let world = World::start(1).await;
    world.rotate("config", &[]).await.expect(1).says("--from-stdin < FILE.json");
    let mut new = world.eu.read("config").await;
    new.as_object_mut().unwrap().remove("rotation");
    new["oauth"]["token_life"] = "2s".into();
    let feed = async |text: &str, further: &[&str]| {
        let started = Instant::now();
        run::end(world.feed("config", text, further).await, started).await
    };
    feed("{\"canary\": ", &[]).await.expect(2).says("standard input: no JSON").says_not("canary");
    feed("{\"rotation\": {}}", &[]).await.expect(2).says("the rotation's own");
    feed(&new.to_string(), &["--grace=1s"]).await.expect(0).says("done");
    for region in world.regions() {
        let life = region.pods[0].public.get("/v1/region").await.unwrap();
        assert_eq!(life.status, StatusCode::OK);
        let mut own = region.read("config").await;
        own.as_object_mut().unwrap().remove("rotation");
        assert_eq!(own, new);
        assert_eq!(region.readable("service/config").await, (vec![2], 2));
    }
}
