//! What the watcher of a region does, done by the demo: it nudges agents after a write, and asks them who
//! uses what.

use std::time::{Duration, Instant};

use ::http::Method;
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use local_region::http::StatusCode;
use local_region::pod::Pod;
use local_region::vault::Kv;
use local_region::wait::wait_pausing;
use secrets_agent_client::Version;
use secrets_agent_client::wire::{Nudge, SecretStatus, Status};
use serde::Serialize;

/// A version must be in use everywhere within this.
const ADOPTED: Duration = Duration::from_secs(10);
/// How often an agent is asked while it is waited for: what is measured is as fine as this.
const LOOK: Duration = Duration::from_millis(4);

/// How one version came to one pod. Milliseconds count from just before the write was sent to Vault.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Change {
    pub(crate) document: &'static str,
    pub(crate) rotation: &'static str,
    pub(crate) phase: &'static str,
    pub(crate) region: String,
    pub(crate) pod: String,
    pub(crate) version: u64,
    pub(crate) write_to_delivered_ms: f64,
    pub(crate) write_to_adopted_ms: f64,
    /// When the agent says that it delivered the version.
    pub(crate) delivered: Timestamp,
    /// When the demo saw that every instance uses it.
    pub(crate) adopted: Timestamp,
}

/// The moment of a write, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    instant: Instant,
    time: Timestamp,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Moment { instant: Instant::now(), time: Timestamp::now() }
    }
}

/// What a pod's agent says.
pub(crate) async fn status(pod: &Pod) -> Result<Status> {
    let answer = pod.agent.get("/v1/status").await?.expect(StatusCode::OK)?;
    answer.json().with_context(|| format!("read the status of {}", pod.name))
}

/// Tells a pod's agent that a document changed.
pub(crate) async fn nudge(pod: &Pod, document: &str, version: Option<u64>) -> Result<()> {
    let nudge = Nudge { name: document.to_owned(), version };
    let answer = pod.agent.json(Method::POST, "/v1/nudge", &nudge).await?;
    ensure!(
        answer.status.is_success(),
        "nudge the agent of {}: {}: {}",
        pod.name,
        answer.status,
        answer.text()
    );
    Ok(())
}

/// Nudges a pod's agent, waits until every instance of the pod uses this version, and says when it did: the
/// time from the write to the delivery and to the adoption, and both moments.
pub(crate) async fn adopted(
    pod: &Pod,
    document: &str,
    kv: &Kv,
    written: Moment,
) -> Result<(f64, f64, Timestamp, Timestamp)> {
    let version = Version { version: kv.version, created_time: kv.created_time };
    nudge(pod, document, Some(kv.version)).await?;
    let what = format!("{} to use {document} {version}", pod.name);
    let delivered = wait_pausing(what, ADOPTED, LOOK..=LOOK, async || {
        in_use(&status(pod).await.map_err(|error| format!("{error:#}"))?, document, version)
    });
    let delivered = delivered.await?;
    let (adopted, now) = (written.instant.elapsed(), Timestamp::now());
    let until_delivered = delivered.duration_since(written.time).as_secs_f64() * 1e3;
    Ok((until_delivered, adopted.as_secs_f64() * 1e3, delivered, now))
}

/// When the version was delivered, if every instance uses it; otherwise what is missing.
pub(crate) fn in_use(status: &Status, document: &str, version: Version) -> Result<Timestamp, String> {
    let secret = secret(status, document)?;
    let held = secret.version.zip(secret.created_time);
    if held != Some((version.version, version.created_time)) {
        return Err(format!("the agent holds {held:?}, error {:?}", secret.error));
    }
    if status.instances.is_empty() {
        return Err("no instance of the service is connected".to_owned());
    }
    for instance in &status.instances {
        let uses = secret
            .adopted
            .iter()
            .any(|adopted| adopted.instance == instance.id && adopted.version() == version);
        if !uses {
            return Err(format!("instance {} does not use it", instance.id));
        }
    }
    secret.delivered.ok_or_else(|| "the agent does not say when it delivered it".to_owned())
}

/// What a status says of one document.
pub(crate) fn secret<'a>(status: &'a Status, document: &str) -> Result<&'a SecretStatus, String> {
    let found = status.secrets.iter().find(|secret| secret.name == document);
    found.ok_or_else(|| format!("the agent of {} does not know {document}", status.pod))
}
