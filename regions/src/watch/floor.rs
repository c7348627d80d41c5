//! Keeps the highest version of each secret where every agent of the region sees it: one that starts afresh delivers
//! nothing older, whatever its Vault was restored from.
//!
//! What is kept only ever rises, and is written over what was read: of two watchers at the same time the higher stays.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use secrets_agent_client::Version;
use serde_json::{Map, Value, json};

use crate::cluster::{Cluster, NAMESPACE};

/// The ConfigMap that agents mount.
const NAME: &str = "secrets-floor";

/// How often a write is tried that another came before.
const TRIES: u32 = 5;

/// Where floors are kept.
pub(super) enum Floors {
    /// In a ConfigMap of the region.
    Cluster(Cluster),
    /// In a folder with a file for each secret.
    Folder(PathBuf),
    /// Nowhere: they are forgotten when the watcher ends.
    Memory,
}

impl Floors {
    /// What is kept.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn read(&self) -> Result<BTreeMap<String, Version>, String> {
        match self {
            Self::Memory => Ok(BTreeMap::new()),
            Self::Cluster(cluster) => {
                let found =
                    cluster.configmap(NAMESPACE, NAME).await.map_err(|error| error.within_region())?;
                Ok(found.map(|found| of(&found["data"])).unwrap_or_default())
            }
            Self::Folder(folder) => {
                let entries = match fs::read_dir(folder) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
                    Err(error) => return Err(format!("{}: {error}", folder.display())),
                };
                let read = |path: PathBuf| {
                    let name = path.file_name()?.to_str()?.to_owned();
                    Some((name, serde_json::from_slice(&fs::read(path).ok()?).ok()?))
                };
                Ok(entries.flatten().filter_map(|entry| read(entry.path())).collect())
            }
        }
    }

    /// Raises what is kept to these versions.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(super) async fn raise(&self, floors: &BTreeMap<String, Version>) -> Result<(), String> {
        match self {
            Self::Memory => Ok(()),
            Self::Cluster(cluster) => {
                for _ in 0..TRIES {
                    if raise_configmap(cluster, floors).await? {
                        return Ok(());
                    }
                }
                Err(format!("{NAME}: others write it all the time"))
            }
            Self::Folder(folder) => {
                let kept = self.read().await?;
                let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
                fs::create_dir_all(folder).map_err(failed)?;
                for (name, floor) in floors.iter().filter(|(name, floor)| kept.get(*name) < Some(*floor)) {
                    // Renamed into its place, so that nobody ever reads half of it.
                    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
                    file.write_all(text(floor).as_bytes()).map_err(failed)?;
                    file.persist(folder.join(name)).map_err(|error| failed(error.error))?;
                }
                Ok(())
            }
        }
    }
}

/// Whether it was written, or there was nothing to write; otherwise somebody else wrote it meanwhile.
async fn raise_configmap(cluster: &Cluster, floors: &BTreeMap<String, Version>) -> Result<bool, String> {
    let found = cluster.configmap(NAMESPACE, NAME).await.map_err(|error| error.within_region())?;
    let kept = found.as_ref().map(|found| of(&found["data"])).unwrap_or_default();
    let higher: Map<String, Value> = floors
        .iter()
        .filter(|(name, floor)| kept.get(*name) < Some(*floor))
        .map(|(name, floor)| (name.clone(), text(floor).into()))
        .collect();
    if higher.is_empty() {
        return Ok(true);
    }
    let Some(found) = found else {
        // It is read again: another watcher may have been quicker.
        let made = cluster.make_configmap(NAMESPACE, NAME).await;
        return made.map(|()| false).map_err(|error| error.within_region());
    };
    let version = found.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    let mut data = found["data"].as_object().cloned().unwrap_or_default();
    data.extend(higher);
    match cluster.write_configmap(NAMESPACE, NAME, version, data).await {
        Ok(()) => Ok(true),
        Err(error) if error.cause.status().is_some_and(|status| status.code == 409) => Ok(false),
        Err(error) => Err(error.within_region()),
    }
}

fn of(data: &Value) -> BTreeMap<String, Version> {
    let entries = data.as_object().into_iter().flatten();
    let entry =
        |(name, text): (&String, &Value)| Some((name.clone(), serde_json::from_str(text.as_str()?).ok()?));
    entries.filter_map(entry).collect()
}

/// As an agent reads it.
fn text(floor: &Version) -> String {
    json!({"version": floor.version, "created_time": floor.created_time}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64) -> Version {
        Version { version: number, created_time: jiff::Timestamp::UNIX_EPOCH }
    }

    #[tokio::test]
    async fn what_is_kept_in_a_folder_only_rises() {
        let folder = tempfile::tempdir().unwrap();
        let floors = Floors::Folder(folder.path().join("floor"));
        assert_eq!(floors.read().await.unwrap(), BTreeMap::new());
        for (number, kept) in [(3, 3), (2, 3), (5, 5)] {
            floors.raise(&BTreeMap::from([("config".to_owned(), version(number))])).await.unwrap();
            assert_eq!(floors.read().await.unwrap()["config"], version(kept));
        }
        // A watcher that starts anew goes on from there.
        let again = Floors::Folder(folder.path().join("floor"));
        assert_eq!(again.read().await.unwrap()["config"], version(5));
    }
}
