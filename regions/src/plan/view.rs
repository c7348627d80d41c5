//! What a region's watcher says of it, as `GET /v1/region` answers. It holds no value.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use secrets_agent_client::Version;
use secrets_agent_client::wire::Status;
use serde::{Deserialize, Serialize};

use super::rotation::mark::Mark;

/// A region, as its watcher saw it in one round that began after it was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The environment.
    pub environment: String,
    /// The region.
    pub region: String,
    /// Who says so.
    pub watcher: Watcher,
    /// When it looked.
    pub round: Round,
    /// How the region's Vault does.
    pub vault: Health,
    /// The region's secrets by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Every pod of the workload that has not ended, listed again after the last of them was asked.
    pub pods: Vec<Pod>,
    /// Operators whose commands asked lately, the one who came first first.
    #[serde(default)]
    pub operators: Vec<Operator>,
}

impl View {
    /// The same without what only the gates of a promotion read: most of what a region's watcher says, and nothing to a
    /// rotation, which keeps the views of every region at once.
    #[must_use]
    pub fn without_samples(mut self) -> Self {
        for service in self.pods.iter_mut().filter_map(|pod| pod.service.as_mut()) {
            service.answers = BTreeMap::new();
            service.latency = BTreeMap::new();
        }
        self
    }
}

/// A process that watches a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watcher {
    /// Its name: a pod's, or a machine's with a process id.
    pub name: String,
    /// When it started.
    pub start: Timestamp,
    /// Whether it holds the Lease under which the region is watched.
    pub leads: bool,
}

/// One look at the whole region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// When it began, by the watcher's clock.
    pub began: Timestamp,
    /// When it had ended.
    pub ended: Timestamp,
}

/// How a Vault does, as far as the watcher's own calls show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The outcome of the last call.
    pub state: HealthState,
    /// When it last answered as it should.
    pub last_contact: Option<Timestamp>,
    /// Why the state is not `ok`.
    pub error: Option<String>,
}

/// The outcome of a call of Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Nothing was asked yet.
    Unknown,
    /// It answered as it should.
    Ok,
    /// It is sealed.
    Sealed,
    /// No answer came.
    Unreachable,
    /// It lets the watcher in no more, or denies it something.
    Denied,
    /// It answered with another error.
    Faulty,
}

impl HealthState {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Sealed => "sealed",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Faulty => "faulty",
        }
    }
}

/// A secret in the region's Vault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The current version; nothing where there is none.
    pub current: Option<Version>,
    /// The rotation that wrote it, and the phase; nothing where it was written by hand.
    pub mark: Option<Mark>,
    /// Why it cannot be delivered: it is deleted, destroyed, or was never written.
    pub absence: Option<String>,
    /// The highest version that the region has seen; an agent delivers nothing older.
    pub floor: Option<Version>,
}

impl Secret {
    /// Whether Vault holds something older than the region has seen.
    pub fn stepped_back(&self) -> bool {
        self.floor.is_some_and(|floor| self.current.is_none_or(|current| current < floor))
    }
}

/// A pod of the workload, or a machine that stands for one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The node that it is on.
    pub node: Option<String>,
    /// Its phase, such as `Running`.
    pub phase: String,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// What its agent says.
    pub agent: Option<Status>,
    /// Why its agent says nothing.
    pub agent_error: Option<String>,
    /// What its service shows; absent where nothing of it can be read.
    pub service: Option<Service>,
    /// Why something of its service cannot be read.
    pub service_error: Option<String>,
}

/// What a pod's service shows of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its metrics could not be read: all that is told of it but its keys and what it says is degraded is not known, and
    /// its counts are not zero. A watcher of before this field says nothing of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unread: bool,
    /// The ids of the keys in its own JWKS; absent where that cannot be read.
    pub kids: Option<BTreeSet<String>>,
    /// The number of the version in use, by document.
    pub documents: BTreeMap<String, u64>,
    /// When Vault wrote that version, in seconds since 1970, by document: after a restore from a snapshot the same number
    /// is another version. A service of before this field shows none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub created: BTreeMap<String, f64>,
    /// Documents of which it rejects something newer.
    pub rejected: BTreeSet<String>,
    /// Whether it takes new traffic.
    pub ready: bool,
    /// What it says an operator should look at.
    pub degraded: Vec<String>,
    /// Whether it answers that its region is drained.
    pub drained: bool,
    /// When its certificate ends.
    pub certificate_end: Option<Timestamp>,
    /// What its configuration says now, in seconds.
    pub settings: BTreeMap<String, f64>,
    /// The most that its configuration may say, in seconds.
    pub ceilings: BTreeMap<String, f64>,
    /// Answers, by route and then by status code.
    pub answers: BTreeMap<String, BTreeMap<String, u64>>,
    /// How many answers took no longer than each bound in seconds, by route; as OpenMetrics counts, upwards.
    pub latency: BTreeMap<String, Vec<(String, u64)>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// How exactly a time is told as a number of seconds, at the least; no Vault is restored and written to in less.
const EXACT_S: f64 = 0.001;

impl Pod {
    /// What its service shows, if its metrics could be read.
    pub fn read(&self) -> Option<&Service> {
        self.service.as_ref().filter(|service| !service.unread)
    }

    /// Why not all of its service could be read.
    pub fn why_unread(&self) -> &str {
        self.service_error.as_deref().or(self.agent_error.as_deref()).unwrap_or("nothing is known of it")
    }
}

impl Service {
    /// What it shows of a document that is not this version, as far as it shows anything: `version 2 of 2026-...`.
    pub fn other_than(&self, document: &str, version: Version) -> Option<String> {
        let number = self.documents.get(document)?;
        if *number != version.version {
            return Some(format!("version {number}"));
        }
        let created = self.created.get(document)?;
        ((created - version.created_seconds()).abs() > EXACT_S).then(|| match time(*created) {
            Some(time) => format!("version {number} of {time}"),
            None => format!("version {number} of another time"),
        })
    }

    /// What it shows of a document, where that is newer than this version.
    pub fn newer_than(&self, document: &str, version: Option<Version>) -> Option<Version> {
        let (number, created) = (*self.documents.get(document)?, *self.created.get(document)?);
        let newer = version.is_none_or(|version| match number.cmp(&version.version) {
            Ordering::Equal => created - version.created_seconds() > EXACT_S,
            order => order.is_gt(),
        });
        let created_time = time(created).filter(|_| newer)?;
        Some(Version { version: number, created_time })
    }
}

fn time(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_duration(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

/// An operator's command that asks the watcher again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Who: a person, and the process on a machine.
    pub who: String,
    /// One run of a command.
    pub run: String,
    /// The secret that it rotates.
    pub secret: String,
    /// Milliseconds since it asked last.
    pub idle_ms: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn without_samples_everything_else_stays() {
        let pod = json!({
            "name": "p", "uid": "u", "node": null, "phase": "Running", "terminating": false, "agent": null,
            "agent_error": null, "service_error": null,
            "service": {
                "kids": ["k"], "documents": {"tls": 3}, "rejected": [], "ready": true, "degraded": [],
                "drained": false, "certificate_end": null, "settings": {"leeway": 1.0}, "ceilings": {},
                "answers": {"/": {"200": 7}}, "latency": {"/": [["0.1", 7]]},
            },
        });
        let now = Timestamp::UNIX_EPOCH;
        let view = json!({
            "environment": "e", "region": "r", "watcher": {"name": "w", "start": now, "leads": true},
            "round": {"began": now, "ended": now}, "secrets": {}, "pods": [pod],
            "vault": {"state": "ok", "last_contact": null, "error": null},
        });
        let view: View = serde_json::from_value(view).unwrap();
        let mut expected = view.clone();
        let service = expected.pods[0].service.as_mut().unwrap();
        assert!(!service.answers.is_empty() && !service.latency.is_empty());
        service.answers.clear();
        service.latency.clear();
        assert_eq!(view.without_samples(), expected);
    }

    #[test]
    fn a_service_of_a_watcher_that_does_not_say_so_was_read() {
        let told = serde_json::to_value(Service::default()).unwrap();
        assert_eq!(told.get("unread"), None);
        assert!(!serde_json::from_value::<Service>(told).unwrap().unread);
        let unread = Service { unread: true, ..Service::default() };
        let told = serde_json::to_value(&unread).unwrap();
        assert_eq!(serde_json::from_value::<Service>(told).unwrap(), unread);
    }
}
