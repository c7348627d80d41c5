//! Whether a workload is ready, still coming up, or will never be: read from the objects' own conditions.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodTemplateSpec, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

/// Reasons for which a container waits and that time does not cure.
const TERMINAL: [&str; 7] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "RunContainerError",
];

/// Reasons for which a container waits and that sometimes pass by themselves.
const DOUBTFUL: [&str; 4] =
    ["CreateContainerError", "ImageInspectError", "RegistryUnavailable", "PostStartHookError"];

/// A Deployment with what belongs to it, read one after the other.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The Deployment.
    pub deployment: Deployment,
    /// ReplicaSets of its namespace.
    pub replica_sets: Vec<ReplicaSet>,
    /// Pods that match its selector.
    pub pods: Vec<Pod>,
}

/// How long a state that may pass by itself is borne.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a pod that no node can take: an autoscaler may be making one.
    pub unschedulable: Duration,
    /// For other doubtful states, such as pods that the API server refuses.
    pub doubtful: Duration,
}

/// What a view says.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Every pod is of the new release and available.
    Ready(Pods),
    /// Not yet, and why.
    Waiting(Pods, String),
    /// It will not become ready by waiting.
    Failed(Vec<Problem>),
}

/// Pods of a workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pods {
    /// Available ones of the current template.
    pub ready: i32,
    /// As many as are wanted.
    pub desired: i32,
}

/// Why a workload will not become ready.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The pod, or the Deployment when no pod could be made.
    pub object: String,
    /// The container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// As Kubernetes names it, such as `ImagePullBackOff`.
    pub reason: String,
    /// What Kubernetes says about it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object)?;
        if let Some(container) = &self.container {
            write!(f, ", container {container}")?;
        }
        write!(f, ": {}", self.reason)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Judges one Deployment over time: it remembers since when each doubtful state has been seen, by the
/// caller's own clock, since the clocks of nodes differ.
#[derive(Debug)]
pub struct Judge {
    patience: Patience,
    at_least: i32,
    since: BTreeMap<Key, Duration>,
}

/// What makes two problems the same over time: messages count nodes and name pods, and change on each try.
type Key = (String, Option<String>, String);

impl Judge {
    /// A judge that has seen nothing yet, of a Deployment that wants `at_least` so many pods.
    pub fn new(patience: Patience, at_least: i32) -> Self {
        Self { patience, at_least, since: BTreeMap::new() }
    }

    /// What the view says at `now`, counted from any fixed moment.
    pub fn judge(&mut self, view: &View, now: Duration) -> Verdict {
        let deployment = &view.deployment;
        let status = deployment.status.clone().unwrap_or_default();
        let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(self.at_least);
        let observed = status.observed_generation.unwrap_or(0);
        if observed < deployment.metadata.generation.unwrap_or(0) {
            let pods = Pods { ready: 0, desired };
            return Verdict::Waiting(pods, "the Deployment controller has not seen the change yet".into());
        }
        let updated = status.updated_replicas.unwrap_or(0);
        let available = status.available_replicas.unwrap_or(0);
        let pods = Pods { ready: available.min(updated), desired };
        let old = status.replicas.unwrap_or(0) - updated;
        if updated == desired && old == 0 && available >= desired {
            return Verdict::Ready(pods);
        }
        let problems = self.problems(view, &status, now);
        if !problems.is_empty() {
            return Verdict::Failed(problems);
        }
        let why = if updated < desired {
            format!("{updated} of {desired} pods made")
        } else if available < desired {
            format!("{available} of {desired} pods available")
        } else {
            format!("{old} pods of the former release still there")
        };
        Verdict::Waiting(pods, why)
    }

    fn problems(&mut self, view: &View, status: &DeploymentStatus, now: Duration) -> Vec<Problem> {
        let mut terminal = Vec::new();
        let mut doubtful = Vec::new();
        let own = format!("Deployment {}", view.deployment.metadata.name.as_deref().unwrap_or("?"));
        if view.deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true) {
            let message = format!("resume it with `kubectl rollout resume`, then run again ({own})");
            terminal.push(problem(&own, None, "Paused", &message));
        }
        for condition in status.conditions.iter().flatten() {
            let (reason, message) = (
                condition.reason.as_deref().unwrap_or_default(),
                condition.message.as_deref().unwrap_or_default(),
            );
            match (condition.type_.as_str(), condition.status.as_str()) {
                ("Progressing", "False") if reason == "ProgressDeadlineExceeded" => {
                    terminal.push(problem(&own, None, reason, message));
                }
                ("ReplicaFailure", "True") => {
                    doubtful.push((problem(&own, None, reason, message), self.patience.doubtful));
                }
                _ => {}
            }
        }
        for pod in new_pods(view) {
            pod_problems(self.patience, pod, &mut terminal, &mut doubtful);
        }
        self.settle(terminal, doubtful, now)
    }

    /// Why some of these pods will not run, at `now`.
    pub fn pods(&mut self, pods: &[Pod], now: Duration) -> Vec<Problem> {
        let (mut terminal, mut doubtful) = (Vec::new(), Vec::new());
        for pod in pods {
            pod_problems(self.patience, pod, &mut terminal, &mut doubtful);
        }
        self.settle(terminal, doubtful, now)
    }

    /// What is terminal, with what was doubtful for too long.
    fn settle(
        &mut self,
        mut terminal: Vec<Problem>,
        doubtful: Vec<(Problem, Duration)>,
        now: Duration,
    ) -> Vec<Problem> {
        let key =
            |problem: &Problem| (problem.object.clone(), problem.container.clone(), problem.reason.clone());
        self.since.retain(|known, _| doubtful.iter().any(|(problem, _)| key(problem) == *known));
        for (problem, patience) in doubtful {
            let since = *self.since.entry(key(&problem)).or_insert(now);
            if now.saturating_sub(since) >= patience {
                terminal.push(problem);
            }
        }
        terminal.sort();
        terminal
    }
}

fn pod_problems(
    patience: Patience,
    pod: &Pod,
    terminal: &mut Vec<Problem>,
    doubtful: &mut Vec<(Problem, Duration)>,
) {
    let Some(status) = &pod.status else { return };
    let name = format!("Pod {}", pod.metadata.name.as_deref().unwrap_or("?"));
    let containers =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    for container in containers {
        let Some(waiting) = container.state.as_ref().and_then(|state| state.waiting.as_ref()) else {
            continue;
        };
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = match last_end(container) {
            Some(end) => format!("{}; {end}", waiting.message.as_deref().unwrap_or_default()),
            None => waiting.message.clone().unwrap_or_default(),
        };
        let found = problem(&name, Some(&container.name), reason, &message);
        if TERMINAL.contains(&reason) {
            terminal.push(found);
        } else if DOUBTFUL.contains(&reason) {
            doubtful.push((found, patience.doubtful));
        }
    }
    for condition in status.conditions.iter().flatten() {
        let unschedulable = condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable");
        if unschedulable {
            let message = condition.message.as_deref().unwrap_or_default();
            let found = problem(&name, None, "Unschedulable", message);
            doubtful.push((found, patience.unschedulable));
        }
    }
}

fn problem(object: &str, container: Option<&str>, reason: &str, message: &str) -> Problem {
    Problem {
        object: object.to_owned(),
        container: container.map(str::to_owned),
        reason: reason.to_owned(),
        message: message.trim_start_matches("; ").to_owned(),
    }
}

/// How the container ended the last time.
fn last_end(container: &ContainerStatus) -> Option<String> {
    let end = container.last_state.as_ref()?.terminated.as_ref()?;
    let reason = end.reason.as_deref().unwrap_or("Error");
    let restarts = container.restart_count;
    Some(format!("it ended with exit code {} ({reason}), {restarts} restarts", end.exit_code))
}

/// The living pods of the Deployment's current template: a pod of the former release that crashes says nothing
/// about the new one.
fn new_pods(view: &View) -> Vec<&Pod> {
    let current = current(&view.deployment, &view.replica_sets);
    let living = view.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    living.filter(|pod| is_of(pod, &current)).collect()
}

/// The uids of the ReplicaSets of a Deployment's current template.
pub fn current<'a>(deployment: &Deployment, sets: &'a [ReplicaSet]) -> Vec<&'a str> {
    let uid = deployment.metadata.uid.as_deref();
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let own = sets.iter().filter(|set| owned_by(&set.metadata, uid));
    let current = own.filter(|set| {
        let own = set.spec.as_ref().and_then(|spec| spec.template.as_ref()).map(without_hash);
        own.as_ref() == template
    });
    current.filter_map(|set| set.metadata.uid.as_deref()).collect()
}

/// Whether a pod is of one of these ReplicaSets.
pub fn is_of(pod: &Pod, sets: &[&str]) -> bool {
    sets.iter().any(|uid| owned_by(&pod.metadata, Some(uid)))
}

fn owned_by(metadata: &ObjectMeta, uid: Option<&str>) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| Some(owner.uid.as_str()) == uid)
}

/// The template without the label that the Deployment controller adds to it.
fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
        labels.remove("pod-template-hash");
    }
    template
}

/// Whether a Service of type LoadBalancer still has no address.
pub fn lacks_address(service: &Service) -> bool {
    let wants = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    wants && ingress.and_then(|ingress| ingress.ingress.as_ref()).is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests;
