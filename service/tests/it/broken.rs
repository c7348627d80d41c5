//! Broken documents of every kind, written into a real Vault.

use local_region::http::StatusCode;
use local_region::pki::Ca;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::documents::{Key, clients, config, keyset, sha256, tls};
use crate::region::Region;

/// Stands in the broken documents wherever a value is wrong, and must be told nowhere.
const CANARY: &str = "canary-93b1";

struct Broken {
    name: &'static str,
    document: Value,
    told: String,
}

fn broken(name: &'static str, document: Value, told: impl Into<String>) -> Broken {
    Broken { name, document, told: told.into() }
}

fn oauth(key: &str, value: &str) -> Value {
    let mut document = config();
    document["oauth"][key] = value.into();
    document
}

fn documents(active: &Key, ca: &Ca) -> Vec<Broken> {
    let other = Key::new();
    let kid = &active.kid;
    let with = |path: &str, value: Value| {
        let mut document = keyset(&[(active, "active")]);
        *document.pointer_mut(&format!("/keys/{kid}")).unwrap().pointer_mut(path).unwrap() = value;
        document
    };
    let client = |body: Value| json!({"clients": {"probe": body}});
    let issued = ca.issue(&["localhost"]).unwrap();
    let expired = ca.issue_expired(&["localhost"]).unwrap();
    let pair = |certificate: &str, key: &str| json!({"certificate_pem": certificate, "private_key_pem": key});
    let pem = issued.key_pem.expose_secret();
    vec![
        broken("signing-keys", json!({"keys": {}}), "keys: expected exactly one active key, found 0"),
        broken(
            "signing-keys",
            keyset(&[(active, "active"), (&other, "active")]),
            "keys: expected exactly one active key, found 2",
        ),
        broken(
            "signing-keys",
            with("/private_pem", json!(other.pem)),
            format!("keys.{kid}.private_pem: does not belong to public_jwk"),
        ),
        broken(
            "signing-keys",
            with("/private_pem", json!(CANARY)),
            format!("keys.{kid}.private_pem: expected a private key in PEM"),
        ),
        broken(
            "signing-keys",
            with("/public_jwk/x", json!(CANARY)),
            format!("keys.{kid}.public_jwk.x: expected 32 bytes"),
        ),
        broken(
            "signing-keys",
            json!({"keys": {"a-name-of-its-own": active.entry("active")}}),
            "keys.a-name-of-its-own: the key's name is not the RFC 7638 thumbprint",
        ),
        broken(
            "signing-keys",
            with("/state", json!(CANARY)),
            "state: is not one of published, active, retiring",
        ),
        broken("clients", json!({"clients": {}}), "clients: holds no client"),
        broken("clients", json!({"client": {"probe": CANARY}}), "client: unknown key; allowed here: clients"),
        broken("clients", json!({"clients": [CANARY]}), "clients: expected a table, found a list"),
        broken(
            "clients",
            client(json!({"secrets": [{"sha256": CANARY}], "scopes": []})),
            "clients.probe.secrets[0].sha256: expected the 64 hexadecimal digits",
        ),
        broken(
            "clients",
            client(
                json!({"secrets": [{"sha256": sha256("a"), "not_after": CANARY}], "scopes": [CANARY, "two words"]}),
            ),
            "clients.probe.scopes[1]: expected a scope",
        ),
        broken(
            "clients",
            client(json!({"secrets": [{"sha256": sha256("a"), "secret": CANARY}], "scopes": []})),
            "clients.probe.secrets[0].secret: unknown key; allowed here: sha256, not_after",
        ),
        broken("tls", pair(CANARY, pem), "certificate_pem: expected one or more certificates in PEM"),
        broken(
            "tls",
            pair(&issued.certificate_pem, CANARY),
            "private_key_pem: expected a private key in PEM",
        ),
        broken(
            "tls",
            pair(&issued.certificate_pem, expired.key_pem.expose_secret()),
            "private_key_pem: does not belong to the first certificate",
        ),
        broken(
            "tls",
            pair(&expired.certificate_pem, expired.key_pem.expose_secret()),
            "certificate_pem: certificate 1 ended at",
        ),
        broken(
            "config",
            oauth("token_life", "2h"),
            "Vault kv/service/config version N: oauth.token_life: is above the ceiling",
        ),
        broken(
            "config",
            oauth("token_life", CANARY),
            "oauth.token_life: expected a length of time such as 250ms",
        ),
        broken(
            "config",
            oauth("issuer", &format!("http://{CANARY}.example")),
            "oauth.issuer: expected https://",
        ),
        broken("config", oauth("isuer", CANARY), "oauth.isuer: unknown key `isuer`; allowed: issuer"),
        broken("config", json!({"public": {"listen": CANARY}}), "public.listen: is read at start only"),
        broken(
            "config",
            json!({"http": {"body_limit": 1}, "oauth": {}}),
            "http.body_limit: is read at start only",
        ),
    ]
}

#[tokio::test]
async fn a_broken_document_is_told_not_taken_not_acknowledged_and_healed_by_the_next() {
    let ca = Ca::new("it").unwrap();
    let key = Key::new();
    let good = |name: &str, ca: &Ca| match name {
        "config" => config(),
        "clients" => clients(&[("one", None)]),
        "signing-keys" => keyset(&[(&key, "active")]),
        _ => tls(ca),
    };
    let names = ["config", "clients", "signing-keys", "tls"];
    let region = {
        let documents = names.map(|name| (name, good(name, &ca)));
        Region::start(ca, &documents).await
    };
    let pod = region.pod("").await;
    let mut rejections = 0.0;
    for Broken { name, document, told } in documents(&key, &region.ca) {
        let adopted = region.adopted(name).await;
        let version = region.write(name, &document).await;
        let told = told.replace("version N", &format!("version {version}"));
        let concerns = pod.degraded(&told).await;
        assert!(concerns.contains(&format!("{name}: version {version}: ")), "{concerns}");
        assert!(!concerns.contains(CANARY), "{concerns}");
        assert_eq!(region.adopted(name).await, adopted, "{name} version {version} was acknowledged");
        let (kid, claims) = pod.verified_token("probe", "one").await;
        assert_eq!(
            (kid.as_str(), claims["iss"].as_str()),
            (key.kid.as_str(), Some(crate::documents::ISSUER))
        );
        rejections += 1.0;
        if name == "tls" {
            let series = r#"service_document_rejected{document="tls"}"#;
            assert_eq!(pod.metric(series).await, Some(1.0));
        }

        region.rotate(name, &good(name, &region.ca)).await;
        pod.healed().await;
    }
    assert!(rejections >= 20.0);
    let mut counted = 0.0;
    for name in names {
        let series = format!("service_document_rejections_total{{document=\"{name}\"}}");
        counted += pod.metric(&series).await.unwrap_or_default();
        let series = format!("service_document_rejected{{document=\"{name}\"}}");
        assert_eq!(pod.metric(&series).await, Some(0.0), "{series}");
    }
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    {
        assert_eq!(counted, rejections);
    }
    assert!(!pod.log().contains(CANARY), "{}", pod.log());
    assert_eq!(pod.readiness().await.0, StatusCode::OK);
}
