//! Who may do what in a region's Vault, and the identities that the demo uses after it is set up.

use anyhow::{Context, Result};
use local_region::vault::{Admin, AppRole};
use serde_json::json;

/// What an agent may: read the documents of its workload, and nothing else.
const SERVICE: &str = r#"
path "kv/data/service/*"     { capabilities = ["read"] }
path "kv/metadata/service/*" { capabilities = ["read"] }
"#;

/// What a rotation may: write documents, see their metadata, destroy old versions, hand out client secrets.
const ROTATOR: &str = r#"
path "kv/data/service/*"           { capabilities = ["create", "read", "update"] }
path "kv/metadata/service/*"       { capabilities = ["read"] }
path "kv/destroy/service/*"        { capabilities = ["update"] }
path "kv/data/client/*"            { capabilities = ["create", "update"] }
path "kv/data/client-pending/*"    { capabilities = ["create", "read", "update"] }
path "kv/destroy/client-pending/*" { capabilities = ["update"] }
"#;

/// What the client `probe` may: read its own secret.
const PROBE: &str = r#"
path "kv/data/client/probe" { capabilities = ["read"] }
"#;

/// The identities of a region.
#[derive(Debug)]
pub(crate) struct Identities {
    /// For the agents.
    pub(crate) service: AppRole,
    /// For the demo as the one who rotates.
    pub(crate) rotator: Admin,
    /// For the demo as the client.
    pub(crate) probe: Admin,
}

/// Sets a fresh Vault up as root, and gives up the root token.
pub(crate) async fn set_up(root: &Admin) -> Result<Identities> {
    root.mount_kv("kv").await?;
    root.enable_auth("approle", "approle").await?;
    let mut roles = Vec::new();
    // The agents' tokens end while their Vault is frozen, so that they have to log in again by themselves.
    for (name, policy, life) in
        [("service", SERVICE, "15s"), ("rotator", ROTATOR, "10m"), ("probe", PROBE, "10m")]
    {
        root.write_policy(name, policy).await?;
        let role = json!({"token_policies": [name], "token_ttl": life, "token_max_ttl": "24h"});
        roles.push(root.create_approle(name, role).await.with_context(|| format!("create the role {name}"))?);
    }
    let [service, rotator, probe] =
        <[AppRole; 3]>::try_from(roles).ok().context("three roles were created")?;
    let rotator = root.login_approle(&rotator).await.context("log in to rotate")?;
    let probe = root.login_approle(&probe).await.context("log in as the client")?;
    root.revoke_self().await.context("give up the root token")?;
    Ok(Identities { service, rotator, probe })
}
