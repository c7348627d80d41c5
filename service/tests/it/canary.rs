//! Secrets are found where they belong and nowhere else.

use std::fs;

use local_region::http::StatusCode;
use local_region::pki::Ca;
use serde_json::json;

use crate::documents::{Key, clients, config, keyset, sha256, tls};
use crate::pod::{Pod, authorized};
use crate::region::Region;

const SECRET: &str = "canary-client-secret-6b1f";

/// Each place in which one of the secrets is found.
fn search(places: &[(String, Vec<u8>)], secrets: &[(&str, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, content) in places {
        for (name, secret) in secrets {
            if content.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                found.push(format!("{name} in {place}"));
            }
        }
    }
    found
}

/// The middle of a PEM text's base64, which no other key shares.
fn body(pem: &str) -> String {
    pem.lines().nth(1).unwrap().chars().skip(40).collect()
}

/// Everything that the service shows of itself.
async fn places(pod: &Pod) -> Vec<(String, Vec<u8>)> {
    let facts = pod.process.facts();
    let mut places = vec![
        ("the log".to_owned(), pod.log().into_bytes()),
        ("/proc/PID/cmdline".to_owned(), facts.command_line().unwrap()),
        ("/proc/PID/environ".to_owned(), facts.environment().unwrap()),
    ];
    for path in ["/livez", "/readyz", "/metrics", "/none"] {
        places.push((format!("admin {path}"), pod.admin.get(path).await.unwrap().body.to_vec()));
    }
    for path in
        ["/v1/region", "/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/openapi.json"]
    {
        places.push((format!("public {path}"), pod.public.get(path).await.unwrap().body.to_vec()));
    }
    for entry in fs::read_dir(pod.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            places.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    places
}

#[tokio::test]
async fn secrets_are_in_no_log_metric_error_environment_or_command_line() {
    let (ca, key) = (Ca::new("it").unwrap(), Key::new());
    let certificate = tls(&ca);
    let documents = [
        ("config", config()),
        ("clients", clients(&[(SECRET, None)])),
        ("signing-keys", keyset(&[(&key, "active")])),
        ("tls", certificate.clone()),
    ];
    let region = Region::start(ca, &documents).await;
    let pod = region.pod("").await;
    let secrets = [
        ("the client secret", SECRET.to_owned()),
        ("its hash", sha256(SECRET)),
        ("the signing key", body(&key.pem)),
        ("the certificate's key", body(certificate["private_key_pem"].as_str().unwrap())),
    ];

    // They are in use, at the level debug, in requests good and bad, and in documents good and broken.
    assert_eq!(pod.token("probe", SECRET).await.status, StatusCode::OK);
    let told = [
        pod.token(SECRET, SECRET).await,
        pod.token("probe", &format!("{SECRET}x")).await,
        authorized(&pod.public, "probe", SECRET)
            .form("/oauth2/token", &format!("client_secret={SECRET}"))
            .await
            .unwrap(),
        pod.public.form(&format!("/oauth2/token?client_secret={SECRET}"), "").await.unwrap(),
        pod.public.get(&format!("/{SECRET}")).await.unwrap(),
    ];
    region.write("signing-keys", &json!({"keys": {"a": {"state": key.pem, "private_pem": SECRET}}})).await;
    pod.degraded("keys.a.state: is not one of").await;
    region
        .write(
            "clients",
            &json!({"clients": {"probe": {"secrets": [{"sha256": SECRET}], "scopes": [key.pem]}}}),
        )
        .await;
    pod.degraded("clients.probe.secrets[0].sha256: expected").await;
    region.write("config", &json!({"oauth": {"token_life": key.pem, "issuer": SECRET}})).await;
    pod.degraded("oauth.token_life: expected").await;
    let swapped = json!({"certificate_pem": certificate["private_key_pem"], "private_key_pem": SECRET});
    region.write("tls", &swapped).await;
    pod.degraded("private_key_pem: expected").await;

    let belongs =
        region.vault.admin().read("kv", "service/signing-keys", Some(1)).await.unwrap().data.to_string();
    let vault = [("Vault".to_owned(), belongs.replace("\\n", "\n").into_bytes())];
    assert_eq!(search(&vault, &secrets), ["the signing key in Vault"]);

    let mut places = places(&pod).await;
    places.extend(told.iter().map(|answer| (answer.call.clone(), answer.body.to_vec())));
    places.push(("the agent's log".to_owned(), region.agent_log().into_bytes()));
    assert_eq!(search(&places, &secrets), Vec::<String>::new());
    assert!(places.len() > 12 && places.iter().any(|(_, content)| content.len() > 1000));

    // The same search finds each of them where it is planted.
    for (name, secret) in &secrets {
        fs::write(pod.folder.path().join("planted.log"), format!("before {secret} after")).unwrap();
        let found = search(&self::places(&pod).await, &secrets);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(name) && found[0].ends_with("planted.log"), "{found:?}");
    }
}
