//! The network of an environment: a namespace that routes between its regions, and one for each node.
//!
//! This machine itself gets one interface for each environment and a route for each region, and nothing else.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Error, Plan, cgroups, run};
use crate::wait::wait_until;

/// Where the system keeps namespaces by name.
const NAMESPACES: &str = "/run/netns";

/// How long what was killed may take to be gone.
const GONE: Duration = Duration::from_secs(20);

/// The namespace that routes between the regions of an environment; the names of all others begin with it.
pub(super) fn router(environment: &str) -> String {
    format!("meridian-{environment}")
}

/// An environment's network. It stays until [`clean`] removes it.
#[derive(Debug)]
pub struct Network {
    router: String,
    machine: Ipv4Addr,
}

impl Network {
    /// Makes the network of these regions, which are of one environment.
    ///
    /// # Errors
    /// The system refused; what was made then stays for [`clean`].
    pub fn make(plans: &[Plan]) -> Result<Self, Error> {
        let unspecified = Ipv4Addr::UNSPECIFIED;
        let Some(first) = plans.first() else {
            return Ok(Self { router: String::new(), machine: unspecified });
        };
        let router = router(&first.environment);
        let (outer, inner) = link(first.mark());
        let host = host(first.mark());
        run("ip", &["netns", "add", &router])?;
        forward(&router)?;
        run("ip", &["link", "add", &host, "type", "veth", "peer", "name", "host0", "netns", &router])?;
        run("ip", &["address", "add", &format!("{outer}/30"), "dev", &host])?;
        // By this it is known as the environment's.
        run("ip", &["link", "set", &host, "alias", &router, "up"])?;
        inside(&router, &["address", "add", &format!("{inner}/30"), "dev", "host0"])?;
        for device in ["lo", "host0"] {
            inside(&router, &["link", "set", device, "up"])?;
        }
        for plan in plans {
            Self::region(&router, plan)?;
            run("ip", &["route", "add", &plan.range.to_string(), "via", &inner, "dev", &host])?;
        }
        Ok(Self { router, machine: outer.parse().unwrap_or(unspecified) })
    }

    fn region(router: &str, plan: &Plan) -> Result<(), Error> {
        let bridge = format!("br{}", plan.mark());
        let prefix = plan.nodes.prefix_len();
        let gateway = plan.gateway().to_string();
        inside(router, &["link", "add", &bridge, "type", "bridge"])?;
        inside(router, &["address", "add", &format!("{gateway}/{prefix}"), "dev", &bridge])?;
        inside(router, &["link", "set", &bridge, "up"])?;
        for node in 1..=plan.count {
            let (name, port) = (plan.namespace(node), format!("n{}-{node}", plan.mark()));
            let address = plan.address(node).to_string();
            run("ip", &["netns", "add", &name])?;
            forward(&name)?;
            inside(router, &["link", "add", &port, "type", "veth", "peer", "name", "node0", "netns", &name])?;
            inside(router, &["link", "set", &port, "master", &bridge, "up"])?;
            inside(&name, &["address", "add", &format!("{address}/{prefix}"), "dev", "node0"])?;
            for device in ["lo", "node0"] {
                inside(&name, &["link", "set", device, "up"])?;
            }
            inside(&name, &["route", "add", "default", "via", &gateway])?;
            inside(router, &["route", "add", &plan.pods_of(node).to_string(), "via", &address])?;
            // Nodes reach each other's pods without a way round.
            for other in (1..=plan.count).filter(|other| *other != node) {
                let (pods, via) = (plan.pods_of(other).to_string(), plan.address(other).to_string());
                inside(&name, &["route", "add", &pods, "via", &via])?;
            }
        }
        let (balanced, first) = (plan.balanced().to_string(), plan.address(1).to_string());
        inside(router, &["route", "add", &balanced, "via", &first])
    }

    /// This machine's own address in it, which every node and pod reaches.
    pub fn machine(&self) -> Ipv4Addr {
        self.machine
    }

    /// The router's namespace.
    pub fn router(&self) -> &str {
        &self.router
    }
}

/// A namespace's file.
pub(super) fn file(namespace: &str) -> PathBuf {
    Path::new(NAMESPACES).join(namespace)
}

/// Both ends of the link between this machine and a router.
pub(super) fn link(mark: u8) -> (String, String) {
    (format!("169.254.{mark}.1"), format!("169.254.{mark}.2"))
}

/// This machine's interface to a router.
fn host(mark: u8) -> String {
    format!("meridian{mark}")
}

fn inside(namespace: &str, arguments: &[&str]) -> Result<(), Error> {
    run("ip", &[&["-n", namespace], arguments].concat()).map(drop)
}

/// Lets a namespace pass on what is not for itself.
fn forward(namespace: &str) -> Result<(), Error> {
    let net = format!("--net={}", file(namespace).display());
    run("nsenter", &[&net, "--", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]).map(drop)
}

/// Removes all that a run for this environment left behind, however it ended: its processes, its namespaces with
/// their interfaces and routes, and its cgroups. Nothing else is touched. Gives the names of what was found.
///
/// # Errors
/// The system refused, or a process does not end.
pub async fn clean(environment: &str) -> Result<Vec<String>, Error> {
    let router = router(environment);
    let own =
        |name: &str| name == router || name.strip_prefix(&router).is_some_and(|rest| rest.starts_with('-'));
    let system = |operation: &str| {
        let operation = operation.to_owned();
        move |source| Error::System { operation, source }
    };
    let mut found = Vec::new();
    if let Ok(entries) = fs::read_dir(NAMESPACES) {
        found = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        found.retain(|name| own(name));
        found.sort();
    }
    for name in &found {
        let gone = wait_until(format!("the processes in {name} to end"), GONE, async || {
            let pids = run("ip", &["netns", "pids", name]).map_err(|error| error.to_string())?;
            let pids: Vec<Pid> =
                pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
            for pid in &pids {
                let _ = kill_process(*pid, Signal::KILL);
            }
            if pids.is_empty() { Ok(()) } else { Err(format!("{} processes", pids.len())) }
        });
        gone.await.map_err(|waited| Error::Refused {
            command: format!("end the processes in {name}"),
            said: waited.to_string(),
        })?;
    }
    // The kernel takes a namespace's interfaces down some time after the namespace itself.
    for device in interfaces(&router).map_err(system("look at this machine's interfaces"))? {
        run("ip", &["link", "delete", &device])?;
    }
    for name in &found {
        run("ip", &["netns", "delete", name])?;
    }
    cgroups::remove(&router).map_err(system("remove cgroups"))?;
    Ok(found)
}

/// This machine's interfaces to a router.
fn interfaces(router: &str) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/class/net")?.flatten() {
        let alias = fs::read_to_string(entry.path().join("ifalias")).unwrap_or_default();
        if alias.trim() == router {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}
