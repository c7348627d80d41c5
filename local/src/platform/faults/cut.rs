//! Ways that lead nowhere: packets are dropped, and nobody is told.

use std::path::{Path, PathBuf};

use super::chain::Chain;
use super::processes::{Which, found};
use crate::platform::{Error, Plan, network};

/// The chain that holds what is dropped.
const CHAIN: Chain = Chain { name: "MERIDIAN-CUT", hooks: &["INPUT", "FORWARD"] };

/// What a region is cut off from.
#[derive(Debug, Clone)]
pub enum Side<'a> {
    /// Another region.
    Region(&'a Plan),
    /// Its own Vault, for everything that asks it over the network. A port-forward still reaches it.
    Vault,
    /// Its API server, for everybody but the control plane itself.
    Api,
    /// Those who come in by the addresses of its Services.
    Clients,
    /// Everything that is not the region itself.
    Everything,
}

/// Cuts a region off from one side, until [`mend`].
///
/// # Errors
/// The system refused, or there is no Vault in the region.
pub fn cut(plan: &Plan, side: &Side<'_>) -> Result<(), Error> {
    let router = network::file(&network::router(&plan.environment));
    let range = plan.range.to_string();
    match side {
        Side::Region(other) => {
            let other = other.range.to_string();
            drop_in(&router, &["-s", &range, "-d", &other])?;
            drop_in(&router, &["-s", &other, "-d", &range])
        }
        Side::Everything => {
            drop_in(&router, &["-s", &range, "!", "-d", &range])?;
            drop_in(&router, &["-d", &range, "!", "-s", &range])
        }
        Side::Clients => drop_in(&router, &["-d", &plan.balanced().to_string()]),
        Side::Api => {
            let node = network::file(&plan.namespace(1));
            drop_in(&node, &["!", "-i", "lo", "-p", "tcp", "--dport", "6443"])
        }
        Side::Vault => {
            let vaults = found(plan, &Which { program: Some("vault".into()), node: None })?;
            if vaults.is_empty() {
                return Err(Error::Refused {
                    command: format!("cut {} off from its Vault", plan.name),
                    said: "no Vault runs there".into(),
                });
            }
            vaults
                .into_iter()
                .try_for_each(|pid| drop_in(&space(pid), &["!", "-i", "lo", "-p", "tcp", "--dport", "8200"]))
        }
    }
}

/// Ends everything that [`cut`] did to a region.
///
/// # Errors
/// The system refused.
pub fn mend(plan: &Plan) -> Result<(), Error> {
    // The router's chain is all regions'; only this one's rules go.
    let (range, balanced) = (plan.range.to_string(), plan.balanced().to_string());
    CHAIN.clear(&network::file(&network::router(&plan.environment)), &[&range, &balanced])?;
    CHAIN.clear(&network::file(&plan.namespace(1)), &[])?;
    let vaults = found(plan, &Which { program: Some("vault".into()), node: None })?;
    vaults.into_iter().try_for_each(|pid| CHAIN.clear(&space(pid), &[]))
}

/// Drops what matches, and what is under way with it.
fn drop_in(space: &Path, matching: &[&str]) -> Result<(), Error> {
    CHAIN.add(space, &[matching, &["-j", "DROP"]].concat())
}

/// The network namespace that a process is in.
fn space(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}
