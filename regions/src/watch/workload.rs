//! The pods that are watched: those of the region's workload, or machines that a file lists.

use std::fs;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;

use super::ask::Asker;
use super::round::{Addresses, Answer, Member, Workload};
use crate::cluster::{Cluster, NAMESPACE};

/// What the workload's pods are selected by.
const SELECTOR: &str = "app.kubernetes.io/name=service";

/// Ports of a pod: its agent's, its service's for operators, and its service's for clients.
const AGENT: u16 = 9091;
const ADMIN: u16 = 9090;
const PUBLIC: u16 = 8443;

/// Where the watched pods are known from.
pub(super) enum Source {
    /// The region's API server.
    Cluster(Cluster),
    /// A file, which is read at each look.
    File(PathBuf),
}

/// The pods that are watched.
pub(super) struct Pods {
    pub(super) source: Source,
    pub(super) asker: Asker,
}

/// A machine that stands for a pod, as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Machine {
    name: String,
    agent: String,
    admin: String,
    public: String,
}

impl Workload for Pods {
    async fn list(&self) -> Result<Vec<Member>, String> {
        match &self.source {
            Source::Cluster(cluster) => {
                // Without a version it is asked for what is so now, and not for what some cache remembers.
                let pods: Result<Vec<Pod>, _> = cluster.list("api/v1", "pods", NAMESPACE, SELECTOR).await;
                Ok(pods.map_err(|error| error.within_region())?.into_iter().map(member).collect())
            }
            Source::File(file) => machines(file),
        }
    }

    async fn ask(&self, member: &Member) -> Answer {
        match &member.addresses {
            Some(addresses) => self.asker.ask(addresses).await,
            None => Answer {
                agent_error: Some(format!("it has no address yet ({})", member.phase)),
                ..Answer::default()
            },
        }
    }
}

fn member(pod: Pod) -> Member {
    let status = pod.status.unwrap_or_default();
    let address = status.pod_ip.filter(|address| !address.is_empty());
    let addresses = address.map(|ip| {
        // An IPv6 address stands in brackets in a URL.
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip };
        Addresses {
            agent: format!("http://{host}:{AGENT}"),
            admin: format!("http://{host}:{ADMIN}"),
            public: format!("https://{host}:{PUBLIC}"),
        }
    });
    Member {
        name: pod.metadata.name.unwrap_or_default(),
        uid: pod.metadata.uid.unwrap_or_default(),
        node: pod.spec.and_then(|spec| spec.node_name),
        phase: status.phase.unwrap_or_else(|| "Unknown".into()),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        addresses,
    }
}

/// The machines of a file. They have no uid of their own: what their agent says counts.
fn machines(file: &PathBuf) -> Result<Vec<Member>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let machines: Vec<Machine> =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(machines
        .into_iter()
        .map(|Machine { name, agent, admin, public }| {
            let trimmed = |address: String| address.trim_end_matches('/').to_owned();
            let addresses =
                Addresses { agent: trimmed(agent), admin: trimmed(admin), public: trimmed(public) };
            let uid = String::new();
            let phase = "Running".to_owned();
            Member { name, uid, node: None, phase, terminating: false, addresses: Some(addresses) }
        })
        .collect())
}
