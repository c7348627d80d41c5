//! Whether every pod of a region uses a version, by what each of them shows: its agent, which instances of its
//! service said so, and the service itself.

use std::collections::BTreeSet;
use std::fmt;

use secrets_agent_client::Version;
use secrets_agent_client::wire::{SecretStatus, Status};

use crate::plan::view::{Pod, Service, View};

/// What must be seen of each pod.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The secret.
    pub secret: &'a str,
    /// The version.
    pub version: Version,
    /// The ids of keys that the pod's own JWKS must have, and no others; nothing for other secrets.
    pub kids: Option<&'a BTreeSet<String>>,
}

/// Why a region does not count as one in which every pod uses a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The pod; empty where it is none in particular.
    pub pod: String,
    /// What was seen instead.
    pub why: String,
    /// Whether the pod has said that it will not use the version.
    pub rejected: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pod.is_empty() { f.write_str(&self.why) } else { write!(f, "{}: {}", self.pod, self.why) }
    }
}

/// How far a region is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adoption {
    /// Pods that use the version.
    pub adopted: usize,
    /// Pods that count.
    pub total: usize,
    /// Why it is not all of them; empty if and only if it is.
    pub missing: Vec<Missing>,
}

impl Adoption {
    /// Whether every pod uses the version.
    pub fn complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Looks at every pod of a region.
pub fn adoption(view: &View, wanted: Wanted<'_>) -> Adoption {
    let counted: Vec<&Pod> =
        view.pods.iter().filter(|pod| !["Succeeded", "Failed"].contains(&pod.phase.as_str())).collect();
    let missing: Vec<Missing> = counted.iter().filter_map(|pod| lacking(pod, wanted)).collect();
    let (total, adopted) = (counted.len(), counted.len() - missing.len());
    if total == 0 {
        // Nobody who has pods shows none, and who shows none has proved nothing.
        let why = "it has no pod of the workload".to_owned();
        return Adoption {
            adopted,
            total,
            missing: vec![Missing { pod: String::new(), why, rejected: false }],
        };
    }
    Adoption { adopted, total, missing }
}

/// What a pod lacks; nothing where it uses the version.
fn lacking(pod: &Pod, wanted: Wanted<'_>) -> Option<Missing> {
    let refused = refusal(pod, wanted);
    let why = match (&pod.agent, &pod.agent_error) {
        (Some(status), _) => of_agent(pod, status, wanted).or_else(|| of_service(pod, wanted))?,
        (None, Some(error)) => format!("its agent cannot be asked: {error}"),
        (None, None) => "its agent says nothing".to_owned(),
    };
    let leaving = if pod.terminating { " (the pod is being deleted)" } else { "" };
    let rejected = refused.is_some();
    let why = refused.map_or(why.clone(), |refused| format!("{why}; its service rejects it: {refused}"));
    Some(Missing { pod: pod.name.clone(), why: format!("{why}{leaving}"), rejected })
}

fn of_agent(pod: &Pod, status: &Status, wanted: Wanted<'_>) -> Option<String> {
    // Whoever answers at the address of a pod that is gone is another one.
    if status.pod_uid != pod.uid {
        return Some(format!("the agent at its address is that of another pod, {}", status.pod));
    }
    let Some(secret) = status.secrets.iter().find(|secret| secret.name == wanted.secret) else {
        return Some(format!("its agent does not take {} (kv.secrets)", wanted.secret));
    };
    let delivered = secret.version.zip(secret.created_time);
    if delivered != Some((wanted.version.version, wanted.version.created_time)) {
        return Some(undelivered(secret));
    }
    if status.instances.is_empty() {
        return Some("no instance of its service is connected to its agent".to_owned());
    }
    let uses = |id| secret.adopted.iter().any(|own| own.instance == id && own.version() == wanted.version);
    let idle = status.instances.iter().find(|instance| !uses(instance.id))?;
    Some(format!("its service (instance {}) does not use version {} yet", idle.id, wanted.version.version))
}

fn undelivered(secret: &SecretStatus) -> String {
    let held = match secret.version {
        Some(version) => format!("its agent still has version {version}"),
        None => "its agent has no version".to_owned(),
    };
    secret.error.as_ref().map_or(held.clone(), |error| format!("{held}: {error}"))
}

/// What contradicts an acknowledgement: the service's own JWKS, and its own count of versions.
fn of_service(pod: &Pod, wanted: Wanted<'_>) -> Option<String> {
    let Some(service) = &pod.service else {
        // A machine may run another application, which shows nothing but for keys.
        wanted.kids?;
        let error = pod.service_error.as_deref().unwrap_or("it says nothing");
        return Some(format!("its service cannot be asked: {error}"));
    };
    if let Some(other) = service.other_than(wanted.secret, wanted.version) {
        return Some(format!("its service shows {other}, though its agent was told otherwise"));
    }
    jwks(service, wanted.kids?, pod)
}

fn jwks(service: &Service, wanted: &BTreeSet<String>, pod: &Pod) -> Option<String> {
    let Some(kids) = &service.kids else {
        let error = pod.service_error.as_deref().unwrap_or("it cannot be read");
        return Some(format!("its JWKS cannot be read: {error}"));
    };
    if let Some(kid) = wanted.difference(kids).next() {
        return Some(format!("its own JWKS does not show the key {kid}, though it said that it uses it"));
    }
    let kid = kids.difference(wanted).next()?;
    Some(format!("its own JWKS still shows the key {kid}, though it said otherwise"))
}

/// Why the service will not use the version that its agent has delivered.
fn refusal(pod: &Pod, wanted: Wanted<'_>) -> Option<String> {
    let (Some(status), Some(service)) = (&pod.agent, &pod.service) else { return None };
    let delivered = status.secrets.iter().find(|secret| secret.name == wanted.secret)?;
    if !service.rejected.contains(wanted.secret) || delivered.version != Some(wanted.version.version) {
        return None;
    }
    let about = format!("{}: ", wanted.secret);
    let told = service.degraded.iter().find_map(|concern| concern.strip_prefix(&about));
    Some(told.unwrap_or("it does not say why").to_owned())
}
