//! Each identity may what its program calls, and nothing else: real tokens on a real Vault.

use std::collections::BTreeSet;

use http::Method;
use local_region::http::StatusCode;
use local_region::vault::{Admin, Error};
use regions::plan::vault::policies;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::world::{ORGANISATION, PROJECT, PROMOTES, ROTATES, World};

/// A call of Vault's API.
type Call = (&'static str, &'static str);

/// About its own token.
const LOOKUP: Call = ("GET", "auth/token/lookup-self");
const RENEW: Call = ("POST", "auth/token/renew-self");

const SERVICE: &[Call] =
    &[("GET", "kv/data/service/config"), ("GET", "kv/metadata/service/config"), LOOKUP, RENEW];

const WATCHER: &[Call] =
    &[("GET", "kv/metadata/service/config"), ("GET", "kv/subkeys/service/config"), LOOKUP, RENEW];

const PROMOTER: &[Call] = &[
    ("GET", "kv/metadata/service/config"),
    ("GET", "kv/subkeys/service/config"),
    ("GET", "kv/data/client/probe"),
    LOOKUP,
];

const ROTATOR: &[Call] = &[
    ("GET", "kv/data/service/config"),
    ("POST", "kv/data/service/config"),
    ("POST", "kv/data/service/new"),
    ("GET", "kv/metadata/service/config"),
    ("PATCH", "kv/metadata/service/config"),
    ("GET", "kv/subkeys/service/config"),
    ("PUT", "kv/destroy/service/config"),
    ("GET", "kv/data/client/probe"),
    ("GET", "kv/data/client/other"),
    ("POST", "kv/data/client/probe"),
    ("POST", "kv/data/client/new"),
    ("LIST", "kv/metadata/client/"),
    ("GET", "kv/metadata/client/probe"),
    ("PUT", "kv/destroy/client/probe"),
    ("GET", "kv/data/client-pending/probe"),
    ("POST", "kv/data/client-pending/probe"),
    ("POST", "kv/data/client-pending/new"),
    ("LIST", "kv/metadata/client-pending/"),
    ("GET", "kv/metadata/client-pending/probe"),
    ("PUT", "kv/destroy/client-pending/probe"),
    ("GET", "kv/data/regions/lock"),
    // Taken for the first time, and again.
    ("POST", "kv/data/regions/lock"),
    ("POST", "kv/data/regions/lock"),
    ("GET", "kv/metadata/regions/lock"),
    LOOKUP,
    RENEW,
];

/// What no identity of a program calls.
const NOBODY: &[Call] = &[
    ("LIST", "kv/metadata/"),
    ("LIST", "kv/metadata/service/"),
    ("POST", "kv/metadata/service/config"),
    ("DELETE", "kv/metadata/service/config"),
    ("DELETE", "kv/metadata/client/probe"),
    ("DELETE", "kv/data/service/config"),
    ("POST", "kv/delete/service/config"),
    ("POST", "kv/undelete/service/config"),
    ("PATCH", "kv/data/service/config"),
    ("GET", "kv/data/regions/vault"),
    ("POST", "kv/data/regions/vault"),
    ("GET", "kv/data/elsewhere"),
    ("GET", "kv/config"),
    ("POST", "kv/config"),
    ("GET", "secret/data/service/config"),
    ("GET", "cubbyhole/x"),
    ("POST", "cubbyhole/x"),
    ("GET", "sys/mounts"),
    ("POST", "sys/mounts/other"),
    ("GET", "sys/auth"),
    ("POST", "sys/auth/userpass"),
    ("GET", "sys/policies/acl/service"),
    ("PUT", "sys/policies/acl/service"),
    ("LIST", "sys/policies/acl"),
    ("GET", "sys/audit"),
    ("DELETE", "sys/audit/file"),
    ("PUT", "sys/seal"),
    ("GET", "sys/storage/raft/snapshot"),
    ("PUT", "sys/rotate"),
    ("GET", "sys/quotas/config"),
    ("POST", "sys/quotas/rate-limit/mine"),
    ("POST", "sys/capabilities-self"),
    ("POST", "sys/wrapping/wrap"),
    ("POST", "auth/token/create"),
    ("POST", "auth/token/create-orphan"),
    ("POST", "auth/token/lookup"),
    ("POST", "auth/token/revoke"),
    ("LIST", "auth/token/accessors"),
    ("GET", "auth/approle/role/service"),
    ("GET", "auth/approle/role/service/role-id"),
    ("POST", "auth/approle/role/service/secret-id"),
    ("POST", "auth/approle/role/service"),
    ("GET", "auth/jwt/config"),
    ("POST", "auth/jwt/config"),
    ("GET", "auth/jwt/role/promoter"),
    ("POST", "identity/entity"),
    ("LIST", "identity/entity/id"),
];

const IDENTITIES: [(&str, &[Call]); 4] =
    [("service", SERVICE), ("watcher", WATCHER), ("promoter", PROMOTER), ("rotator", ROTATOR)];

/// A Vault that was applied, with something at each path.
async fn prepared() -> World {
    let world = World::start().await;
    world.apply("eu", &[]).await.expect(0);
    let admin = world.eu.admin();
    for path in ["service/config", "client/probe", "client/other", "client-pending/probe", "elsewhere"] {
        admin.put("kv", path, &json!({"a": 1}), None).await.unwrap();
    }
    world
}

/// A token as a role of `auth/approle` gives it.
async fn logged_in(admin: &Admin, role: &str) -> Admin {
    let id = admin.call(Method::GET, &format!("auth/approle/role/{role}/role-id"), None).await.unwrap();
    let id = id["data"]["role_id"].as_str().unwrap().to_owned();
    let role = local_region::vault::AppRole { role_id: id, secret_id: admin.secret_id(role).await.unwrap() };
    admin.login_approle(&role).await.unwrap()
}

/// Whether a call is allowed: whatever comes of it, it is not 403.
async fn allowed(as_whom: &Admin, (method, path): Call) -> bool {
    let body = match (method, path) {
        ("GET" | "LIST" | "DELETE", _) => None,
        (_, path) if path.contains("/destroy/") => Some(json!({"versions": [99]})),
        (_, path) if path.contains("/metadata/") => Some(json!({"custom_metadata": {"a": "b"}})),
        (_, path) if path.starts_with("kv/data/") => Some(json!({"data": {"a": 2}})),
        _ => Some(json!({})),
    };
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    match as_whom.call(method, path, body).await {
        Err(Error::Refused { status, .. }) => status != StatusCode::FORBIDDEN,
        Err(error) => panic!("{path}: {error}"),
        Ok(_) => true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_identity_may_what_its_program_calls_and_nothing_else() {
    let world = prepared().await;
    let admin = world.eu.admin();
    // Login quotas count by the second.
    admin.unlimit_rate("meridian-kv").await.unwrap();
    let all: BTreeSet<Call> =
        IDENTITIES.iter().flat_map(|(_, calls)| *calls).chain(NOBODY).copied().collect();
    let mut asked = 0;
    for (identity, calls) in IDENTITIES {
        let as_it = logged_in(&admin, identity).await;
        for call in &all {
            let may = calls.contains(call);
            assert_eq!(allowed(&as_it, *call).await, may, "{identity}: {call:?} should be allowed: {may}");
            asked += 1;
        }
        // At the end it gives its token back.
        as_it.revoke_self().await.unwrap();
        assert!(!allowed(&as_it, LOOKUP).await);
    }
    println!("{asked} calls by {} identities", IDENTITIES.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_any_right_less_some_call_of_the_program_is_refused() {
    let world = prepared().await;
    let admin = world.eu.admin();
    admin.unlimit_rate("meridian-kv").await.unwrap();
    let mut tried = 0;
    for (identity, calls) in IDENTITIES {
        let (_, policy) = policies::all().into_iter().find(|(name, _)| *name == identity).unwrap();
        for (without, weaker) in weaker(&policy) {
            admin.write_policy("weaker", &weaker).await.unwrap();
            let token = admin
                .create_token(json!({"policies": ["weaker"], "no_default_policy": true, "ttl": "1m"}))
                .await
                .unwrap();
            let as_it = admin.with_token(&token);
            let mut refused = false;
            for call in calls.iter().filter(|call| **call != LOOKUP || without.contains("lookup-self")) {
                refused |= !allowed(&as_it, *call).await;
                if refused {
                    break;
                }
            }
            refused |= as_it.revoke_self().await.is_err();
            assert!(refused, "{identity} does everything without {without}");
            tried += 1;
        }
    }
    println!("{tried} rights taken away");
}

/// A policy with one capability of one path less, for each, and what is missing.
fn weaker(policy: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let lines: Vec<&str> = policy.lines().collect();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("path ")) {
        let capabilities: Vec<&str> =
            line.split('[').nth(1).unwrap().split(']').next().unwrap().split(", ").collect();
        for missing in &capabilities {
            let left: Vec<&str> = capabilities.iter().copied().filter(|one| one != missing).collect();
            let left = if left.is_empty() { "\"deny\"".to_owned() } else { left.join(", ") };
            let changed = line.replace(&capabilities.join(", "), &left);
            let mut weaker = lines.clone();
            weaker[number] = &changed;
            all.push((format!("{missing} in {line}"), weaker.join("\n")));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_applies_with_the_policy_alone_and_reads_no_secret() {
    let world = prepared().await;
    let admin = world.eu.admin();
    let operator = logged_in(&admin, "operator").await;
    let token = SecretString::from(token_of(&operator).await);
    let file = world.token_file("operator", token.expose_secret());
    let apply = async |further: &[&str]| world.apply_as("eu", &file, world.eu.ca_file(), further).await;
    apply(&[]).await.expect(0).says("no change");
    // Everything that an apply can meet but the mount itself: made anew, changed, removed.
    for path in
        ["sys/audit/file", "sys/auth/jwt", "sys/policies/acl/watcher", "sys/quotas/rate-limit/meridian-kv"]
    {
        admin.call(Method::DELETE, path, None).await.unwrap();
    }
    for (path, body) in [
        ("kv/config", json!({"max_versions": 3})),
        ("sys/auth/approle/tune", json!({"description": "other"})),
        ("sys/mounts/kv/tune", json!({"description": "other"})),
        ("auth/approle/role/service", json!({"token_ttl": 1})),
        ("sys/quotas/config", json!({"enable_rate_limit_response_headers": false})),
    ] {
        admin.call(Method::POST, path, Some(body)).await.unwrap();
    }
    apply(&["--adopt"]).await.expect(0).says("+ sys/auth/jwt").says("> sys/mounts/kv");
    world.edit("_environment.yaml", |text| {
        text.replace("approle: [service, watcher, promoter, rotator]", "approle: [service]")
    });
    apply(&["--prune"]).await.expect(0).says("- auth/approle/role/rotator");
    apply(&[]).await.expect(0).says("no change");
    for call in [
        ("GET", "kv/data/service/config"),
        ("POST", "kv/data/service/config"),
        ("GET", "kv/data/client/probe"),
        ("LIST", "kv/metadata/"),
        ("PUT", "sys/seal"),
        ("POST", "auth/token/create"),
        ("GET", "sys/storage/raft/snapshot"),
        ("POST", "sys/mounts/other"),
    ] {
        assert!(!allowed(&operator, call).await, "{call:?}");
    }
}

/// The token of a login, as Vault knows it.
async fn token_of(admin: &Admin) -> String {
    let found = admin.call(Method::GET, LOOKUP.1, None).await.unwrap();
    found["data"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_logs_in_by_its_token_as_what_its_context_says_and_no_other_does() {
    let world = prepared().await;
    let admin = world.eu.admin();
    let job = |changed: Value| {
        let mut claims = json!({
            "aud": [ORGANISATION],
            "sub": format!("org/{ORGANISATION}/project/{PROJECT}/user/u/vcs-origin/github.com/o/r/vcs-ref/refs/heads/main"),
            "oidc.circleci.com/project-id": PROJECT, "oidc.circleci.com/org-id": ORGANISATION,
            "oidc.circleci.com/context-ids": [PROMOTES], "oidc.circleci.com/vcs-ref": "refs/heads/main",
            "oidc.circleci.com/vcs-origin": "github.com/o/r", "oidc.circleci.com/job-id": "9f3c2a1e",
            "oidc.circleci.com/pipeline-id": "9f3c2a1f", "oidc.circleci.com/workflow-id": "9f3c2a20",
            "oidc.circleci.com/ssh-rerun": false,
        });
        claims.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        world.issuer.sign(&claims).unwrap()
    };
    let log_in = async |role: &str, jwt: SecretString| {
        let body = json!({"role": role, "jwt": jwt.expose_secret()});
        let anonymous = admin.with_token(&SecretString::default());
        anonymous.call(Method::POST, "auth/jwt/login", Some(body)).await
    };
    let answer = log_in("promoter", job(json!({}))).await.unwrap();
    assert_eq!(answer["auth"]["token_policies"], json!(["promoter"]));
    assert_eq!(answer["auth"]["lease_duration"], 300);
    let rotates = json!({"oidc.circleci.com/context-ids": [ROTATES]});
    let answer = log_in("rotator", job(rotates.clone())).await.unwrap();
    assert_eq!(answer["auth"]["token_policies"], json!(["rotator"]));

    assert!(log_in("promoter", job(rotates)).await.is_err());
    assert!(log_in("rotator", job(json!({}))).await.is_err());
    for changed in [
        json!({"aud": "another"}),
        json!({"oidc.circleci.com/project-id": "another"}),
        json!({"oidc.circleci.com/vcs-ref": "refs/heads/feature"}),
        json!({"oidc.circleci.com/vcs-ref": "refs/heads/main2"}),
        json!({"oidc.circleci.com/ssh-rerun": true}),
        json!({"oidc.circleci.com/ssh-rerun": null}),
        json!({"oidc.circleci.com/ssh-rerun": "true"}),
        json!({"oidc.circleci.com/vcs-ref": "refs/tags/main"}),
        json!({"oidc.circleci.com/vcs-ref": "refs/pull/1/head"}),
        json!({"oidc.circleci.com/vcs-ref": null}),
        json!({"oidc.circleci.com/project-id": null}),
        json!({"oidc.circleci.com/context-ids": ["9f3c2a1e-0b4d-4c5e-8f6a-7b8c9d0e1f2a"]}),
        json!({"oidc.circleci.com/context-ids": []}),
        json!({"iss": "http://127.0.0.1:9"}),
        json!({"exp": 1}),
    ] {
        assert!(log_in("promoter", job(changed.clone())).await.is_err(), "{changed}");
    }
}
