//! How each change came to each pod, seen from beside: by what its agent says, and by the phase that Vault tells of
//! the version. It takes no part in a rotation.

use std::collections::BTreeMap;
use std::time::Duration;

use ::http::Method;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use jiff::Timestamp;
use local_region::http::{Client, Connection, StatusCode};
use local_region::pod::Pod;
use local_region::vault::Admin;
use secrets_agent_client::Version;
use secrets_agent_client::wire::{SecretStatus, Status};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Between two looks at an agent: what is measured is as fine as this.
const LOOK: Duration = Duration::from_millis(10);
/// A phase must have come to every pod within this, the waits of the phases before it included.
const COMES: Duration = Duration::from_secs(60);

/// How one version came to one pod. Milliseconds count from the moment at which Vault wrote it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Change {
    pub(crate) document: String,
    pub(crate) rotation: String,
    pub(crate) phase: String,
    pub(crate) region: String,
    pub(crate) pod: String,
    pub(crate) version: u64,
    pub(crate) write_to_delivered_ms: f64,
    pub(crate) write_to_adopted_ms: f64,
    /// When the agent says that it delivered the version.
    pub(crate) delivered: Timestamp,
    /// When it was seen that every instance uses it.
    pub(crate) adopted: Timestamp,
}

/// Looks at agents all the time.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    changes: watch::Sender<Vec<Change>>,
    looking: JoinSet<()>,
}

impl Observer {
    /// Looks at a pod from now on. `vault` may read the names of keys. What the pod uses already is no change.
    ///
    /// # Errors
    /// The pod's agent does not answer.
    pub(crate) async fn follow(&mut self, pod: &Pod, vault: &Admin) -> Result<()> {
        let known = status(pod).await?.secrets;
        let known = known.iter().filter_map(|secret| Some((secret.name.clone(), held(secret)?))).collect();
        let eye = Eye {
            pod: pod.name.clone(),
            region: pod.region.clone(),
            agent: pod.agent.clone(),
            vault: vault.clone(),
            known,
            seen: BTreeMap::new(),
        };
        self.looking.spawn(eye.look(self.changes.clone()));
        Ok(())
    }

    /// What was seen so far.
    pub(crate) fn changes(&self) -> Vec<Change> {
        self.changes.borrow().clone()
    }

    /// Waits until a phase's document is in use in so many pods.
    ///
    /// # Errors
    /// It is not in time.
    pub(crate) async fn in_use(&self, document: &str, phase: &str, pods: usize) -> Result<()> {
        let count = |changes: &Vec<Change>| {
            changes.iter().filter(|change| change.document == document && change.phase == phase).count()
        };
        let mut changes = self.changes.subscribe();
        let come = timeout(COMES, changes.wait_for(|changes| count(changes) >= pods)).await;
        match come {
            Ok(Ok(_)) => Ok(()),
            _ => bail!(
                "waited {} s for every pod to use {document} ({phase}); {} of {pods} do",
                COMES.as_secs(),
                count(&self.changes.borrow())
            ),
        }
    }
}

/// Looks at one pod.
struct Eye {
    pod: String,
    region: String,
    agent: Client,
    vault: Admin,
    /// What it was last seen to use of each document.
    known: BTreeMap<String, Version>,
    /// When it was first seen to use a version whose phase Vault has not told yet.
    seen: BTreeMap<(String, Version), Timestamp>,
}

impl Eye {
    async fn look(mut self, changes: watch::Sender<Vec<Change>>) {
        let mut open = None;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            // A look that fails is followed by another.
            let Ok(status) = self.status(&mut open).await else { continue };
            let now = Timestamp::now();
            for secret in &status.secrets {
                if let Some(change) = self.change(&status, secret, now).await {
                    changes.send_modify(|changes| changes.push(change));
                }
            }
        }
    }

    async fn status(&self, open: &mut Option<Connection>) -> Result<Status> {
        let request = self.agent.request(Method::GET, "/v1/status", None, Bytes::new())?;
        let (answer, connection) = self.agent.look(open.take(), request).await?;
        *open = Some(connection);
        Ok(answer.expect(StatusCode::OK)?.json()?)
    }

    /// A change that has come to the pod since the last look.
    async fn change(&mut self, status: &Status, secret: &SecretStatus, now: Timestamp) -> Option<Change> {
        let (version, name) = (held(secret)?, &secret.name);
        if self.known.get(name) == Some(&version) {
            return None;
        }
        let delivered = in_use(status, secret, version)?;
        let adopted = *self.seen.entry((name.clone(), version)).or_insert(now);
        let (rotation, phase) = mark(&self.vault, name, version).await.ok()?;
        self.known.insert(name.clone(), version);
        let since = |moment: Timestamp| moment.duration_since(version.created_time).as_secs_f64() * 1e3;
        Some(Change {
            document: name.clone(),
            rotation,
            phase,
            region: self.region.clone(),
            pod: self.pod.clone(),
            version: version.version,
            write_to_delivered_ms: since(delivered),
            write_to_adopted_ms: since(adopted),
            delivered,
            adopted,
        })
    }
}

/// What a pod's agent says.
pub(crate) async fn status(pod: &Pod) -> Result<Status> {
    let answer = pod.agent.get("/v1/status").await?.expect(StatusCode::OK)?;
    answer.json().with_context(|| format!("read the status of {}", pod.name))
}

/// The version that an agent has delivered.
fn held(secret: &SecretStatus) -> Option<Version> {
    let (version, created_time) = secret.version.zip(secret.created_time)?;
    Some(Version { version, created_time })
}

/// When the version was delivered, if every instance uses it.
fn in_use(status: &Status, secret: &SecretStatus, version: Version) -> Option<Timestamp> {
    let uses = |id| secret.adopted.iter().any(|own| own.instance == id && own.version() == version);
    let all = !status.instances.is_empty() && status.instances.iter().all(|instance| uses(instance.id));
    secret.delivered.filter(|_| all)
}

/// The rotation and the phase that wrote a version, by the names of its keys alone.
async fn mark(vault: &Admin, document: &str, version: Version) -> Result<(String, String)> {
    let path = format!("kv/subkeys/service/{document}?version={}", version.version);
    let answer = vault.call(Method::GET, &path, None).await?;
    let rotation =
        answer["data"]["subkeys"]["rotation"].as_object().and_then(|rotation| rotation.iter().next());
    let Some((id, phases)) = rotation else { return Ok(("by hand".to_owned(), String::new())) };
    let phase = phases.as_object().and_then(|phases| phases.keys().next());
    Ok((id.clone(), phase.cloned().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrets_agent_client::wire::{Adopted, Instance, VaultState, VaultStatus};
    use uuid::Uuid;

    #[test]
    fn a_version_is_in_use_when_every_instance_says_so_and_there_is_one() {
        let version = Version { version: 2, created_time: Timestamp::UNIX_EPOCH };
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let instances = |ids: &[Uuid]| -> Vec<Instance> {
            ids.iter().map(|id| Instance { id: *id, start: Timestamp::UNIX_EPOCH }).collect()
        };
        let adopted =
            |version: u64, id| Adopted { version, created_time: Timestamp::UNIX_EPOCH, instance: id };
        let vault = VaultStatus { state: VaultState::Ok, last_contact: None, error: None };
        let mut secret = SecretStatus {
            name: "config".to_owned(),
            version: Some(2),
            created_time: Some(Timestamp::UNIX_EPOCH),
            rotation_id: None,
            delivered: Some(Timestamp::UNIX_EPOCH),
            adopted: vec![adopted(2, ids[0]), adopted(1, ids[1])],
            age_s: None,
            error: None,
        };
        let mut status = Status {
            pod: "eu-1".to_owned(),
            pod_uid: String::new(),
            agent_start: Timestamp::UNIX_EPOCH,
            instances: instances(&ids),
            vault,
            secrets: Vec::new(),
        };
        assert_eq!(in_use(&status, &secret, version), None, "one uses the version before");
        secret.adopted[1].version = 2;
        assert_eq!(in_use(&status, &secret, version), Some(Timestamp::UNIX_EPOCH));
        status.instances.clear();
        assert_eq!(in_use(&status, &secret, version), None, "nobody is there to use it");
    }
}
