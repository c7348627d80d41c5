//! Whole regions on one machine: each with a control plane, nodes that run containers, and addresses that its
//! Services of type LoadBalancer can be reached at.
//!
//! Every node lives in a network namespace and in mount and process namespaces of its own, and ends as a whole
//! with the one process that holds them. What a run leaves behind when it is killed is found by name, and removed
//! by [`clean`]. It needs Linux and root.

mod balancer;
mod cgroups;
mod dns;
pub mod entry;
pub mod faults;
pub mod forward;
pub mod images;
pub mod metrics;
pub mod network;
mod node;
mod region;
pub mod registry;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::kubernetes;
use crate::process;
use crate::tools;
use crate::wait::NotInTime;

pub use network::{Network, clean};
pub use node::{Parts, Spec};
pub use region::{Region, Setup};

/// Why a region could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another operating system, or no rights.
    #[error(
        "regions with nodes need Linux and root ({0}); elsewhere use contexts of clusters that are there (kind, minikube, GKE): name them in the catalogue (kubernetes.context)"
    )]
    Rights(&'static str),
    /// A program that comes with Debian is not there.
    #[error("{program} is not there; install it (Debian: apt-get install {package})")]
    Missing {
        /// The program.
        program: &'static str,
        /// The package.
        package: &'static str,
    },
    /// A program said no.
    #[error("{command}: {said}")]
    Refused {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// A file or a program could not be used.
    #[error("{operation}")]
    System {
        /// What was tried.
        operation: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program could not be had.
    #[error(transparent)]
    Tool(#[from] tools::Error),
    /// A process failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The control plane failed.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::Error),
    /// It did not get so far in time.
    #[error("{waited}; {log} ends with:\n{tail}", log = .log.display())]
    NotInTime {
        /// What was awaited.
        #[source]
        waited: NotInTime,
        /// The log to look at.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
}

/// A region as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The environment's name.
    pub environment: String,
    /// The region's name.
    pub name: String,
    /// Its location, of which its nodes' zones are.
    pub location: String,
    /// Context of its cluster.
    pub context: String,
    /// Its whole range.
    pub range: Ipv4Net,
    /// Addresses of its nodes; the last 256 of them are for Services of type LoadBalancer.
    pub nodes: Ipv4Net,
    /// Addresses of its Services.
    pub services: Ipv4Net,
    /// Addresses of its pods.
    pub pods: Ipv4Net,
    /// Its node pools.
    pub pools: Vec<Pool>,
    /// How many nodes it has, at most nine.
    pub count: u8,
}

/// A node pool of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name, which each of its nodes carries as a label.
    pub name: String,
    /// Whether its nodes are spot nodes, with the label and the taint of one.
    pub spot: bool,
}

impl Plan {
    /// The network namespace of a node, from 1.
    pub fn namespace(&self, node: u8) -> String {
        format!("{}-{}-{node}", network::router(&self.environment), self.name)
    }

    /// The network namespaces of all its nodes.
    pub fn namespaces(&self) -> Vec<String> {
        (1..=self.count).map(|node| self.namespace(node)).collect()
    }

    /// What the nodes reach everything else through.
    fn gateway(&self) -> std::net::Ipv4Addr {
        nth(self.nodes, 1)
    }

    /// Address of a node, from 1. The first also has the control plane.
    pub fn address(&self, node: u8) -> std::net::Ipv4Addr {
        nth(self.nodes, 1 + u32::from(node))
    }

    /// The pool of a node, from 1: those that are not spot and those that are, by turns.
    fn pool(&self, node: u8) -> Option<&Pool> {
        let of = |spot| self.pools.iter().find(|pool| pool.spot == spot);
        of(node.is_multiple_of(2)).or_else(|| of(false))
    }

    /// Addresses of a node's pods.
    fn pods_of(&self, node: u8) -> Ipv4Net {
        self.pods.subnets(24).ok().and_then(|mut subnets| subnets.nth(usize::from(node))).unwrap_or(self.pods)
    }

    /// Addresses of Services of type LoadBalancer.
    pub fn balanced(&self) -> Ipv4Net {
        self.nodes.subnets(24).ok().and_then(Iterator::last).unwrap_or(self.nodes)
    }

    /// Tells its interfaces from those of other regions: no two have the same second byte of their range.
    fn mark(&self) -> u8 {
        self.range.addr().octets()[1]
    }
}

fn nth(net: Ipv4Net, number: u32) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from(u32::from(net.network()) + number)
}

/// Runs a program to its end.
fn run(program: &str, arguments: &[&str]) -> Result<String, Error> {
    let command = || format!("{program} {}", arguments.join(" "));
    let output =
        std::process::Command::new(program).args(arguments).stdin(std::process::Stdio::null()).output();
    let output = output.map_err(|source| Error::System { operation: command(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Refused { command: command(), said })
}

/// The programs that nodes are made of: those on PATH, else those of Debian's packages, unpacked into the cache
/// without being installed, and of Kubernetes' own module.
///
/// # Errors
/// One of them cannot be had.
pub fn parts() -> Result<Parts, Error> {
    let bridge = PathBuf::from("/usr/lib/cni/bridge");
    let bridge = if bridge.is_file() {
        bridge
    } else {
        unpacked("containernetworking-plugins", "usr/lib/cni/bridge")?
    };
    Ok(Parts {
        containerd: unpacked("containerd", "usr/bin/containerd")?,
        runc: unpacked("runc", "usr/sbin/runc")?,
        plugins: bridge.parent().map(std::path::Path::to_owned).unwrap_or_default(),
        kubelet: tools::kubernetes(tools::KubernetesPart::Kubelet)?,
        proxy: tools::kubernetes(tools::KubernetesPart::Proxy)?,
    })
}

/// A program of a Debian package: on PATH, else unpacked into the cache without being installed.
fn unpacked(package: &str, file: &str) -> Result<PathBuf, Error> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/images/unpacked");
    Ok(PathBuf::from(run(script, &[package, file])?.trim()))
}

/// Where environments that are left running have their folders.
pub fn folder() -> PathBuf {
    tools::cache().join("platform")
}

/// Memory that the processes of these nodes hold, and all that they have started, in bytes.
///
/// # Errors
/// The system does not say.
pub fn resident(nodes: &[String]) -> Result<u64, Error> {
    Ok(processes(nodes)?.into_iter().map(|pid| field(pid, "VmRSS:").unwrap_or_default() * 1024).sum())
}

/// The processes of these nodes, and all that they have started, by id.
fn processes(nodes: &[String]) -> Result<Vec<u32>, Error> {
    let mut own = BTreeSet::new();
    for node in nodes {
        let pids = run("ip", &["netns", "pids", node])?;
        own.extend(pids.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    // The processes of pods are in namespaces of their own, below the node's.
    let mut parents = BTreeMap::new();
    let system = |source| Error::System { operation: "look at the processes of nodes".into(), source };
    for entry in std::fs::read_dir("/proc").map_err(system)?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let parent = field(pid, "PPid:").and_then(|parent| u32::try_from(parent).ok());
        parents.insert(pid, parent.unwrap_or_default());
    }
    let belongs = |pid: &u32| {
        let mut at = Some(*pid);
        while let Some(pid) = at {
            if own.contains(&pid) {
                return true;
            }
            at = parents.get(&pid).copied().filter(|parent| *parent != 0);
        }
        false
    };
    Ok(parents.keys().copied().filter(belongs).collect())
}

/// A number of `/proc/PID/status`; nothing when the process has ended.
fn field(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Whether this machine and its user can have regions with nodes.
///
/// # Errors
/// What is missing, and how to do without.
pub fn check() -> Result<(), Error> {
    if !cfg!(target_os = "linux") {
        return Err(Error::Rights("this is no Linux"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Rights("this user is not root"));
    }
    for (program, package) in
        [("ip", "iproute2"), ("iptables", "iptables"), ("nsenter", "util-linux"), ("mount", "mount")]
    {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            return Err(Error::Missing { program, package });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let net = |text: &str| text.parse().unwrap();
        Plan {
            environment: "production".into(),
            name: "eu".into(),
            location: "local-eu1".into(),
            context: "meridian-production-eu".into(),
            range: net("10.72.0.0/14"),
            nodes: net("10.72.0.0/20"),
            services: net("10.72.16.0/20"),
            pods: net("10.73.0.0/16"),
            pools: [("on-demand", false), ("spot", true)]
                .map(|(name, spot)| Pool { name: name.into(), spot })
                .into(),
            count: 2,
        }
    }

    #[test]
    fn the_first_node_is_never_a_spot_node() {
        let mut plan = plan();
        let names = |plan: &Plan| [1, 2, 3].map(|node| plan.pool(node).map(|pool| pool.name.clone()));
        assert_eq!(names(&plan), ["on-demand", "spot", "on-demand"].map(|name| Some(name.to_owned())));
        plan.pools.pop();
        assert_eq!(names(&plan), ["on-demand"; 3].map(|name| Some(name.to_owned())));
        plan.pools.clear();
        assert_eq!(names(&plan), [None, None, None]);
    }

    #[test]
    fn addresses_of_a_region_lie_apart() {
        let plan = plan();
        assert_eq!(plan.namespace(2), "meridian-production-eu-2");
        assert_eq!(plan.gateway().to_string(), "10.72.0.1");
        assert_eq!(plan.address(1).to_string(), "10.72.0.2");
        assert_eq!(plan.pods_of(2).to_string(), "10.73.2.0/24");
        assert_eq!(plan.balanced().to_string(), "10.72.15.0/24");
    }
}
