//! The OCI registry of all environments on this machine: Debian's docker-registry, on loopback.
//!
//! Nodes know it by the same name as this machine does. What they send to that name goes to the end of their
//! environment's link on this machine, where the process that holds the environment passes it on.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, network, unpacked};
use crate::http::{Client, Target};
use crate::pki::{self, Ca};
use crate::process::{Process, Program};
use crate::wait::wait_until;

/// The port on which it listens unless told otherwise. References of images carry it, and with them the digest
/// of a release.
pub const PORT: u16 = 5000;

/// How long it may take until it answers.
const ANSWERS: Duration = Duration::from_secs(15);

/// How a node reaches the registry.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// The name in references, such as `localhost:5000`.
    pub name: String,
    /// Where the node asks instead.
    pub endpoint: SocketAddr,
    /// The authority of its certificate.
    pub authority: PathBuf,
}

/// A running registry, killed when it is dropped. What was pushed stays in its folder.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    address: SocketAddr,
    authority: PathBuf,
}

impl Registry {
    /// Starts it over a folder, with a certificate of an authority that is made anew.
    ///
    /// # Errors
    /// The program cannot be had, or does not answer; another program may have the port.
    pub async fn start(folder: &Path, port: u16) -> Result<Self, Error> {
        let system = |source| Error::System {
            operation: format!("write the registry's files in {}", folder.display()),
            source,
        };
        fs::create_dir_all(folder.join("storage")).map_err(system)?;
        let ca = Ca::new("local-region registry")?;
        let names: Vec<String> = (0..=u8::MAX).map(|mark| network::link(mark).0).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.extend(["localhost", "127.0.0.1"]);
        let files = ca.issue(&names)?.write(folder, "registry")?;
        let authority = ca.write(folder.join("ca.pem"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = format!(
            "version: 0.1\nlog: {{ level: warn, accesslog: {{ disabled: true }} }}\nstorage:\n  filesystem: {{ rootdirectory: \"{}\" }}\n  \
             delete: {{ enabled: true }}\nhttp:\n  addr: \"{address}\"\n  tls: {{ certificate: \"{}\", key: \"{}\" }}\n",
            folder.join("storage").display(),
            files.certificate.display(),
            files.key.display()
        );
        let file = pki::write_private(&folder.join("config.yaml"), config.as_bytes())?;
        let log = folder.join("registry.log");
        let process = Program::new("docker-registry", program()?)
            .argument("serve")
            .argument(file)
            .folder(folder)
            .log(&log)
            .start()?;
        let client = Client::new(Target::localhost(address, &ca.pem()).map_err(system)?);
        let what = format!("the registry to answer on {address} (another program may have the port)");
        let answered = wait_until(what, ANSWERS, async || {
            if let Err(ended) = process.check_running() {
                return Ok(Err(ended));
            }
            let answer = client.get("/v2/").await.and_then(|answer| answer.expect(http::StatusCode::OK));
            answer.map(|_| Ok(())).map_err(|error| error.to_string())
        });
        match answered.await {
            Ok(running) => running?,
            Err(waited) => return Err(Error::NotInTime { waited, tail: process.log_tail(15), log }),
        }
        Ok(Self { process, address, authority })
    }

    /// Where it listens, on loopback.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file with the certificate of its authority.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// The registry's program: on PATH, else that of Debian's package, unpacked into the cache.
///
/// # Errors
/// It cannot be had.
pub fn program() -> Result<PathBuf, Error> {
    unpacked("docker-registry", "usr/bin/docker-registry")
}

/// Writes the folder in which containerd finds how a registry is reached, and gives it.
pub(super) fn hosts(folder: &Path, mirror: &Mirror) -> std::io::Result<PathBuf> {
    let all = folder.join("registries");
    let own = all.join(&mirror.name);
    fs::create_dir_all(&own)?;
    let (endpoint, authority) = (mirror.endpoint, mirror.authority.display());
    let text = format!(
        "server = \"https://{endpoint}\"\n[host.\"https://{endpoint}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = \"{authority}\"\n"
    );
    fs::write(own.join("hosts.toml"), text)?;
    Ok(all)
}
