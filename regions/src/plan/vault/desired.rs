//! What the catalogue wants of a region's Vault.

use serde_json::{Map, Value, json};

use super::policies::{self, OPERATOR};
use super::{Fields, Object};
use crate::catalogue::types::{EnvironmentFile, Identity, Pipeline, Vault};
use crate::cluster::NAMESPACE;

/// The mount of the secrets.
pub const MOUNT: &str = "kv";

/// By this the mount is known as one that `regions` made.
pub const DESCRIPTION: &str = "Secrets of meridian; made by regions";

/// Audience of the tokens with which pods log in.
const AUDIENCE: &str = "vault";

const HOUR: u64 = 3600;

/// Life of a pod's token, which its agent renews for as long as it runs.
const POD: Life = Life { ttl: HOUR, most: 24 * HOUR };

/// Life of a token of a job or of a person's tool: a few calls.
const SHORT: Life = Life { ttl: 300, most: 300 };

/// Life of a rotator's token: its waits are as long as a token of the service lives, up to a day, and twice
/// that with what comes before and after.
const LONG: Life = Life { ttl: HOUR, most: 48 * HOUR };

/// Requests a second that one address may make before it gets 429: of logins, and of anything at the secrets.
/// An agent logs in once and reads four documents; a watcher reads the metadata of each once a second.
const LOGINS: u64 = 10;
const READS: u64 = 100;

/// How long a token lives, in seconds, and how long it can be renewed.
#[derive(Clone, Copy)]
struct Life {
    ttl: u64,
    most: u64,
}

/// Everything, in the order in which it is made: what is logged from the beginning first, what others name
/// before those.
pub fn desired(environment: &EnvironmentFile, vault: &Vault) -> Vec<Object> {
    let mut objects = vec![
        object(
            &format!("sys/mounts/{MOUNT}"),
            json!({"type": "kv", "description": DESCRIPTION, "options": {"version": "2"}}),
        ),
        object(
            &format!("{MOUNT}/config"),
            json!({"cas_required": false, "delete_version_after": "0s", "max_versions": 10}),
        ),
        object(
            "sys/audit/file",
            json!({"type": "file", "description": DESCRIPTION, "options": {"file_path": "stdout"}}),
        ),
    ];
    for (name, policy) in policies::all() {
        objects.push(object(&format!("sys/policies/acl/{name}"), json!({"policy": policy})));
    }
    if vault.in_cluster {
        objects.extend(kubernetes());
    }
    if let Some(pipeline) = &environment.pipeline {
        objects.extend(jwt(pipeline));
    }
    if let Some(identities) = &environment.approle {
        objects.extend(approle(identities));
    }
    // Without the header nobody is told when to come again.
    objects.push(object("sys/quotas/config", json!({"enable_rate_limit_response_headers": true})));
    objects.push(quota("meridian-kv", &format!("{MOUNT}/"), READS));
    let methods: Vec<String> =
        objects.iter().filter_map(|one| Some(one.path.strip_prefix("sys/auth/")?.to_owned())).collect();
    for method in methods {
        objects.push(quota(&format!("meridian-login-{method}"), &format!("auth/{method}/login"), LOGINS));
    }
    objects
}

/// Pods log in by their ServiceAccount. Vault asks the API server of the cluster that it runs in, as itself.
fn kubernetes() -> Vec<Object> {
    let role = |identity| {
        let name = policies::name(identity);
        let fields = json!({
            "alias_name_source": "serviceaccount_uid",
            "audience": AUDIENCE,
            "bound_service_account_names": [name],
            "bound_service_account_namespaces": [NAMESPACE],
            "bound_service_account_namespace_selector": "",
        });
        object(&format!("auth/kubernetes/role/{name}"), with_token(fields, name, POD))
    };
    vec![
        auth("kubernetes"),
        object(
            "auth/kubernetes/config",
            json!({
                "kubernetes_host": "https://kubernetes.default.svc", "kubernetes_ca_cert": "", "issuer": "",
                "disable_local_ca_jwt": false, "disable_iss_validation": true,
                "use_annotations_as_alias_metadata": false,
            }),
        ),
        role(Identity::Service),
        role(Identity::Watcher),
    ]
}

/// Jobs log in by CircleCI's OIDC token: of the project and a context, on the branch main, not rerun with SSH.
/// The claims are those of <https://circleci.com/docs/openid-connect-tokens/>.
fn jwt(pipeline: &Pipeline) -> Vec<Object> {
    let organisation = pipeline.organisation.as_str();
    let issuer = match &pipeline.issuer {
        Some(issuer) => issuer.to_string(),
        None => format!("https://oidc.circleci.com/org/{organisation}"),
    };
    let role = |identity, context: &str| {
        let name = policies::name(identity);
        let fields = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": [organisation], "bound_subject": "",
            "bound_claims_type": "string", "bound_claims": {
                "oidc.circleci.com/project-id": pipeline.project.as_str(),
                "oidc.circleci.com/context-ids": context,
                "oidc.circleci.com/vcs-ref": "refs/heads/main",
                "oidc.circleci.com/ssh-rerun": false,
            },
            "allowed_redirect_uris": [], "claim_mappings": {}, "groups_claim": "", "oidc_scopes": [],
            "clock_skew_leeway": 0, "expiration_leeway": 0, "not_before_leeway": 0, "max_age": 0,
            "user_claim_json_pointer": false, "verbose_oidc_logging": false,
        });
        let life = if identity == Identity::Rotator { LONG } else { SHORT };
        object(&format!("auth/jwt/role/{name}"), with_token(fields, name, life))
    };
    let mut objects = vec![
        auth("jwt"),
        object(
            "auth/jwt/config",
            json!({"oidc_discovery_url": issuer, "bound_issuer": issuer, "default_role": ""}),
        ),
        role(Identity::Promoter, pipeline.contexts.promoter.as_str()),
    ];
    if let Some(context) = &pipeline.contexts.rotator {
        objects.push(role(Identity::Rotator, context.as_str()));
    }
    objects
}

/// Machines that are no pods log in with a role id and a secret id; so do operators.
fn approle(identities: &[Identity]) -> Vec<Object> {
    let role = |name: &str, life| {
        let fields = json!({
            "bind_secret_id": true, "secret_id_bound_cidrs": [], "secret_id_num_uses": 0, "secret_id_ttl": 0,
        });
        object(&format!("auth/approle/role/{name}"), with_token(fields, name, life))
    };
    let mut objects = vec![auth("approle"), role(OPERATOR, SHORT)];
    for identity in identities {
        let life = match identity {
            Identity::Service | Identity::Watcher => POD,
            Identity::Promoter => SHORT,
            Identity::Rotator => LONG,
        };
        objects.push(role(policies::name(*identity), life));
    }
    objects
}

fn auth(method: &str) -> Object {
    object(&format!("sys/auth/{method}"), json!({"type": method, "description": DESCRIPTION}))
}

/// A role's fields with those that every role has of the tokens that it gives.
fn with_token(fields: Value, policy: &str, life: Life) -> Value {
    let mut all = map(fields);
    all.extend(map(json!({
        "token_policies": [policy],
        "token_no_default_policy": true,
        "token_ttl": life.ttl,
        "token_max_ttl": life.most,
        "token_explicit_max_ttl": 0,
        "token_period": 0,
        "token_num_uses": 0,
        "token_bound_cidrs": [],
        "token_type": "default",
    })));
    Value::Object(all)
}

/// A rate-limit quota for each address.
fn quota(name: &str, path: &str, rate: u64) -> Object {
    object(
        &format!("sys/quotas/rate-limit/{name}"),
        json!({
            "type": "rate-limit", "name": name, "path": path, "rate": rate, "interval": 1,
            "block_interval": 0, "group_by": "ip", "secondary_rate": 0, "role": "", "inheritable": false,
        }),
    )
}

fn object(path: &str, fields: Value) -> Object {
    Object { path: path.into(), fields: map(fields) }
}

fn map(fields: Value) -> Fields {
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
