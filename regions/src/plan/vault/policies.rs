//! What each identity may do in a region's Vault, and nothing else.
//!
//! Tokens of these roles do not have Vault's `default` policy, so each policy also says which of the calls about
//! its own token an identity makes.

use crate::catalogue::types::Identity;

/// First line of every policy, for people who read it in Vault.
const HEAD: &str = "# Made by `regions vault apply`, which undoes changes by hand.\n";

/// The name of the policy, and of the role, of those who run `regions vault apply`.
pub const OPERATOR: &str = "operator";

/// What an agent calls: documents and their versions.
const SERVICE: &str = r#"
path "kv/data/service/*"       { capabilities = ["read"] }
path "kv/metadata/service/*"   { capabilities = ["read"] }
path "auth/token/lookup-self"  { capabilities = ["read"] }
path "auth/token/renew-self"   { capabilities = ["update"] }
path "auth/token/revoke-self"  { capabilities = ["update"] }
"#;

/// What a watcher calls: versions, and names of keys.
const WATCHER: &str = r#"
path "kv/metadata/service/*"   { capabilities = ["read"] }
path "kv/subkeys/service/*"    { capabilities = ["read"] }
path "auth/token/lookup-self"  { capabilities = ["read"] }
path "auth/token/renew-self"   { capabilities = ["update"] }
path "auth/token/revoke-self"  { capabilities = ["update"] }
"#;

/// What a promotion calls: versions, names of keys, and the secret of the client that it makes its own
/// transactions as.
const PROMOTER: &str = r#"
path "kv/metadata/service/*"   { capabilities = ["read"] }
path "kv/subkeys/service/*"    { capabilities = ["read"] }
path "kv/data/client/probe"    { capabilities = ["read"] }
path "auth/token/lookup-self"  { capabilities = ["read"] }
path "auth/token/revoke-self"  { capabilities = ["update"] }
"#;

/// What a rotation calls. It may read what it made, so that a second run never makes a second one, and patch
/// `custom_metadata`; it deletes nothing but what was pending. Where there is no cluster whose Lease it takes, its lock
/// lies in the Vault.
const ROTATOR: &str = r#"
path "kv/data/service/*"            { capabilities = ["create", "read", "update"] }
path "kv/metadata/service/*"        { capabilities = ["read", "patch"] }
path "kv/subkeys/service/*"         { capabilities = ["read"] }
path "kv/destroy/service/*"         { capabilities = ["update"] }
path "kv/data/client/*"             { capabilities = ["create", "read", "update"] }
path "kv/metadata/client/"          { capabilities = ["list"] }
path "kv/metadata/client/*"         { capabilities = ["read"] }
path "kv/destroy/client/*"          { capabilities = ["update"] }
path "kv/data/client-pending/*"     { capabilities = ["create", "read", "update"] }
path "kv/metadata/client-pending/"  { capabilities = ["list"] }
path "kv/metadata/client-pending/*" { capabilities = ["read"] }
path "kv/destroy/client-pending/*"  { capabilities = ["update"] }
path "kv/data/regions/lock"         { capabilities = ["create", "read", "update"] }
path "kv/metadata/regions/lock"     { capabilities = ["read"] }
path "auth/token/lookup-self"       { capabilities = ["read"] }
path "auth/token/renew-self"        { capabilities = ["update"] }
path "auth/token/revoke-self"       { capabilities = ["update"] }
"#;

/// What `regions vault apply` calls, and what hands out the credentials of an AppRole. Who may write policies
/// can give himself any right: this keeps an operator from mistakes, not from malice.
const OPERATES: &str = r#"
path "sys/mounts"                       { capabilities = ["read"] }
path "sys/mounts/kv"                    { capabilities = ["create", "update"] }
path "sys/mounts/kv/tune"               { capabilities = ["update"] }
path "kv/config"                        { capabilities = ["create", "read", "update"] }
path "kv/data/regions/vault"            { capabilities = ["create", "read", "update"] }
path "kv/metadata/regions/vault"        { capabilities = ["read"] }
path "sys/audit"                        { capabilities = ["read", "sudo"] }
path "sys/audit/file"                   { capabilities = ["create", "update", "delete", "sudo"] }
path "sys/policies/acl/+"               { capabilities = ["create", "read", "update", "delete"] }
path "sys/auth"                         { capabilities = ["read"] }
path "sys/auth/+"                       { capabilities = ["create", "update", "delete", "sudo"] }
path "sys/auth/+/tune"                  { capabilities = ["update", "sudo"] }
path "auth/+/config"                    { capabilities = ["create", "read", "update"] }
path "auth/+/role"                      { capabilities = ["list"] }
path "auth/+/role/+"                    { capabilities = ["create", "read", "update", "delete"] }
path "auth/approle/role/+/role-id"      { capabilities = ["read"] }
path "auth/approle/role/+/secret-id"    { capabilities = ["create", "update"] }
path "sys/quotas/config"                { capabilities = ["create", "read", "update"] }
path "sys/quotas/rate-limit/+"          { capabilities = ["create", "read", "update", "delete"] }
path "auth/token/lookup-self"           { capabilities = ["read"] }
path "auth/token/renew-self"            { capabilities = ["update"] }
path "auth/token/revoke-self"           { capabilities = ["update"] }
"#;

/// Name of an identity's policy and of its roles.
pub fn name(identity: Identity) -> &'static str {
    match identity {
        Identity::Service => "service",
        Identity::Watcher => "watcher",
        Identity::Promoter => "promoter",
        Identity::Rotator => "rotator",
    }
}

/// Every policy: its name and its text.
pub fn all() -> [(&'static str, String); 5] {
    [
        (name(Identity::Service), SERVICE),
        (name(Identity::Watcher), WATCHER),
        (name(Identity::Promoter), PROMOTER),
        (name(Identity::Rotator), ROTATOR),
        (OPERATOR, OPERATES),
    ]
    .map(|(name, rules)| (name, format!("{HEAD}{}", rules.trim_start())))
}
