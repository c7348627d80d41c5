//! What a Vault holds of what the catalogue is concerned with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::client::Vault;
use super::error::VaultError;
use crate::plan::vault::{Fields, Kind, MOUNT, Object, Observed};

/// Where the inventory lies.
pub(super) const INVENTORY: &str = "regions/vault";

/// How long a new mount may take until it takes writes: KV v2 prepares its storage first.
const PREPARED: Duration = Duration::from_secs(30);

/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(50);

/// What is there, and the version of the inventory: 0 where there is none.
pub(super) async fn observe(vault: &Vault, wanted: &[Object]) -> Result<(Observed, u64), VaultError> {
    let mounts = table(vault, "sys/mounts").await?;
    let methods = table(vault, "sys/auth").await?;
    let devices = table(vault, "sys/audit").await?;
    let mut observed = Observed::default();
    let mounted = mounts.contains_key(MOUNT);
    let mut version = 0;
    if mounted && readable(&mounts) {
        prepared(vault).await?;
        (observed.made, version) = inventory(vault).await?;
    }
    let wanted = wanted.iter().map(|object| &object.path);
    let paths: BTreeSet<String> = wanted.chain(&observed.made).cloned().collect();
    for path in paths {
        let of = |table: &BTreeMap<String, Fields>, prefix: &str| {
            path.strip_prefix(prefix).and_then(|name| table.get(name)).cloned()
        };
        let found = match Kind::of(&path) {
            Kind::Mount => of(&mounts, "sys/mounts/"),
            Kind::Auth => of(&methods, "sys/auth/"),
            Kind::Audit => of(&devices, "sys/audit/"),
            // Below a mount that is not there Vault knows no paths at all.
            _ if !below(&path, &methods, mounted && readable(&mounts)) => None,
            _ => match vault.read(&path).await? {
                Some(Value::Object(fields)) => Some(fields),
                _ => None,
            },
        };
        if let Some(fields) = found {
            observed.objects.insert(path, fields);
        }
    }
    strangers(vault, &mut observed, &methods).await?;
    Ok((observed, version))
}

/// Waits until a new mount takes writes.
pub(super) async fn prepared(vault: &Vault) -> Result<(), VaultError> {
    let end = Instant::now() + PREPARED;
    loop {
        match vault.read(&format!("{MOUNT}/config")).await {
            Err(error) if error.status() == Some(400) && Instant::now() < end => sleep(LOOK).await,
            answer => return answer.map(drop),
        }
    }
}

/// The inventory and its version. One that was deleted counts as empty, and its number goes on.
async fn inventory(vault: &Vault) -> Result<(BTreeSet<String>, u64), VaultError> {
    if let Some(found) = vault.read(&format!("{MOUNT}/data/{INVENTORY}")).await? {
        let made = found["data"]["made"].as_array().into_iter().flatten().filter_map(Value::as_str);
        return Ok((made.map(str::to_owned).collect(), found["metadata"]["version"].as_u64().unwrap_or(0)));
    }
    let metadata = vault.read(&format!("{MOUNT}/metadata/{INVENTORY}")).await?;
    let version = metadata.and_then(|metadata| metadata["current_version"].as_u64());
    Ok((BTreeSet::new(), version.unwrap_or(0)))
}

/// Roles of auth methods that are no longer wanted, as far as nobody knows who made them.
async fn strangers(
    vault: &Vault,
    observed: &mut Observed,
    methods: &BTreeMap<String, Fields>,
) -> Result<(), VaultError> {
    for path in observed.made.clone() {
        let Some(method) = path.strip_prefix("sys/auth/").filter(|method| methods.contains_key(*method))
        else {
            continue;
        };
        let roles = vault.list(&format!("auth/{method}/role")).await?;
        let unknown = |role: &String| {
            let role = format!("auth/{method}/role/{role}");
            !observed.made.contains(&role)
        };
        let unknown: Vec<String> = roles.into_iter().filter(unknown).collect();
        if !unknown.is_empty() {
            observed.strangers.insert(path, unknown);
        }
    }
    Ok(())
}

/// Whether the mount of the secrets is one in which an inventory can lie.
fn readable(mounts: &BTreeMap<String, Fields>) -> bool {
    let Some(mount) = mounts.get(MOUNT) else { return false };
    mount.get("type").is_some_and(|kind| kind == "kv")
        && mount.get("options").is_some_and(|options| options["version"] == "2")
}

/// Whether what a path lies below is there.
fn below(path: &str, methods: &BTreeMap<String, Fields>, mounted: bool) -> bool {
    match path.split_once('/') {
        Some(("auth", rest)) => rest.split_once('/').is_some_and(|(method, _)| methods.contains_key(method)),
        Some((MOUNT, _)) => mounted,
        _ => true,
    }
}

/// Mounts, auth methods or audit devices by name.
async fn table(vault: &Vault, path: &str) -> Result<BTreeMap<String, Fields>, VaultError> {
    let found = vault.read(path).await?.unwrap_or_default();
    let entries = found.as_object().into_iter().flatten();
    Ok(entries
        .filter_map(|(name, fields)| {
            Some((name.trim_end_matches('/').to_owned(), fields.as_object()?.clone()))
        })
        .collect())
}
