//! One look at all pods of a workload.
//!
//! A pod that comes while the others are asked could still have an older secret, so the pods are listed again after
//! the last of them has answered, and one that was not asked counts as one that does not answer.

#![expect(async_fn_in_trait, reason = "its futures stay on the task that made them")]

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use secrets_agent_client::wire::Status;

use crate::plan::view::{Pod, Service};

/// Pods that are asked at the same time.
const AT_ONCE: usize = 32;

/// A pod, as the list of pods has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its uid; two pods of the same name have two. Empty for a machine, whose agent says its own.
    pub uid: String,
    /// The node that it is on.
    pub node: Option<String>,
    /// Its phase.
    pub phase: String,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Where it is asked; nothing where it has no address yet.
    pub addresses: Option<Addresses>,
}

/// Where a pod is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Its agent's admin port.
    pub agent: String,
    /// Its service's admin port.
    pub admin: String,
    /// Its service's public port.
    pub public: String,
}

/// What a pod answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Its agent.
    pub agent: Option<Status>,
    /// Why its agent did not.
    pub agent_error: Option<String>,
    /// Its service.
    pub service: Option<Service>,
    /// Why not all of its service did.
    pub service_error: Option<String>,
}

/// The pods of a workload.
pub trait Workload {
    /// All of them, as they are now and not as they were a moment ago.
    async fn list(&self) -> Result<Vec<Member>, String>;

    /// Asks one.
    async fn ask(&self, member: &Member) -> Answer;
}

/// Looks at every pod that has not ended.
///
/// # Errors
/// The pods could not be listed, before or after they were asked.
pub async fn look(workload: &impl Workload) -> Result<Vec<Pod>, String> {
    let asked = workload.list().await?.into_iter().filter(counts);
    let asked = asked.map(async |member| {
        let answer = workload.ask(&member).await;
        ((member.name, member.uid), answer)
    });
    let mut answers: BTreeMap<(String, String), Answer> =
        stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    let now = workload.list().await?.into_iter().filter(counts);
    let mut pods: Vec<Pod> = now
        .map(|member| {
            let answer = answers.remove(&(member.name.clone(), member.uid.clone()));
            let answer = answer.unwrap_or_else(|| Answer {
                agent_error: Some("it came while the others were asked".into()),
                ..Answer::default()
            });
            let own = answer.agent.as_ref().map(|status| status.pod_uid.clone());
            let uid = if member.uid.is_empty() { own.unwrap_or_default() } else { member.uid };
            Pod {
                name: member.name,
                uid,
                node: member.node,
                phase: member.phase,
                terminating: member.terminating,
                agent: answer.agent,
                agent_error: answer.agent_error,
                service: answer.service,
                service_error: answer.service_error,
            }
        })
        .collect();
    pods.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(pods)
}

/// Whether a pod counts: one that has ended uses nothing, and every other may.
fn counts(member: &Member) -> bool {
    !["Succeeded", "Failed"].contains(&member.phase.as_str())
}
