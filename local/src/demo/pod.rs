//! A pair of service and agent, as a pod would hold them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use local_region::http::{Client, StatusCode, Target};
use local_region::pki::write_private;
use local_region::ports::Port;
use local_region::process::{Process, Program, Signal};
use local_region::programs::program;
use local_region::vault::{AppRole, VaultServer};
use local_region::wait::wait_until;
use secrecy::ExposeSecret;
use secrets_agent_client::AgentClient;
use uuid::Uuid;

/// From the start of a process until it is ready.
const READY: Duration = Duration::from_secs(20);
/// For an end in order.
const GRACE: Duration = Duration::from_secs(5);

/// A running pair of service and agent. Both are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) region: String,
    /// The service's public interface.
    pub(crate) public: Client,
    /// The agent's TCP interface.
    pub(crate) agent: Client,
    /// The agent's socket.
    pub(crate) socket: AgentClient,
    socket_path: PathBuf,
    admin: Client,
    service_program: Program,
    service: Process,
    agent_process: Process,
    _ports: [Port; 3],
}

/// What every pod of the demo shares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    /// For sockets and configuration; short, since a socket's path may have 107 bytes.
    pub(crate) folder: &'a Path,
    /// For the output of processes.
    pub(crate) logs: &'a Path,
    /// The authority of the services' certificate, in PEM.
    pub(crate) public_ca: &'a str,
    /// The digest of the release.
    pub(crate) release: &'a str,
}

impl Pod {
    /// Starts both processes; neither is waited for.
    pub(crate) fn start(
        site: &Site<'_>,
        region: &str,
        name: &str,
        vault: &VaultServer,
        role: &AppRole,
    ) -> Result<Self> {
        let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let [public, admin, agent] = &ports;
        let folder = site.folder.join(name);
        fs::create_dir(&folder).with_context(|| format!("create {}", folder.display()))?;
        let socket = folder.join("agent.sock");
        let secret_id = write_private(&folder.join("secret-id"), role.secret_id.expose_secret().as_bytes())?;

        let config = agent_config(name, vault, role, &secret_id, &socket, agent);
        let agent_program = supervised(site, "secrets-agent", name, &folder, &config)?;
        let config = service_config(site, region, name, &socket, public, admin);
        let service_program = supervised(site, "service", name, &folder, &config)?;
        Ok(Pod {
            name: name.to_owned(),
            region: region.to_owned(),
            public: Client::new(Target::localhost(public.address(), site.public_ca)?),
            agent: Client::new(Target::Tcp(agent.address())),
            socket: AgentClient::new(&socket),
            socket_path: socket,
            admin: Client::new(Target::Tcp(admin.address())),
            agent_process: agent_program.start()?,
            service: service_program.start()?,
            service_program,
            _ports: ports,
        })
    }

    /// Waits until the service is ready.
    pub(crate) async fn ready(&self) -> Result<()> {
        let ready = wait_until(format!("service {} to be ready", self.name), READY, async || {
            // A process that has ended becomes ready no more.
            if let Err(ended) = self.service.check_running().and_then(|()| self.agent_process.check_running())
            {
                return Ok(Err(ended));
            }
            let answer = self.admin.get("/readyz").await.map_err(|error| error.to_string())?;
            match answer.status {
                StatusCode::OK => Ok(Ok(())),
                status => Err(format!("{status}: {}", answer.text())),
            }
        });
        Ok(ready.await??)
    }

    /// Kills the service (SIGKILL).
    pub(crate) async fn kill_service(&self) {
        self.service.kill().await;
    }

    /// Starts the service again and waits until it is ready. Gives how long that took.
    pub(crate) async fn restart_service(&mut self) -> Result<Duration> {
        self.service = self.service_program.start()?;
        let started = self.service.started();
        self.ready().await?;
        Ok(started.elapsed())
    }

    /// The agent's socket.
    pub(crate) fn socket_path(&self) -> &Path {
        &self.socket_path
    }

    /// Resident memory of the agent and of the service, in bytes.
    pub(crate) fn resident(&self) -> (Option<u64>, Option<u64>) {
        (self.agent_process.facts().resident().ok(), self.service.facts().resident().ok())
    }

    /// Ends both in order. SIGINT spares the service the time in which a load balancer would learn of it.
    pub(crate) async fn stop(&self) {
        let _ = self.service.signal(Signal::INT);
        let _ = tokio::time::timeout(GRACE, self.service.ended()).await;
        self.agent_process.stop(GRACE).await;
    }
}

/// A program of the workspace with its configuration file, whose output goes to `<program>-<pod>.log`.
fn supervised(site: &Site<'_>, name: &str, pod: &str, folder: &Path, config: &str) -> Result<Program> {
    let file: PathBuf = write_private(&folder.join(format!("{name}.toml")), config.as_bytes())?;
    Ok(Program::new(format!("{name} of {pod}"), program(name)?)
        .argument("--config")
        .argument(file)
        .folder(folder)
        .log(site.logs.join(format!("{name}-{pod}.log"))))
}

fn service_config(
    site: &Site<'_>,
    region: &str,
    pod: &str,
    socket: &Path,
    public: &Port,
    admin: &Port,
) -> String {
    let (public, admin, socket, release) =
        (public.address(), admin.address(), socket.display(), site.release);
    format!(
        r#"identity = {{ environment = "demo", region = "{region}", zone = "{region}-a", pod = "{pod}", release = "{release}" }}
public.listen = "{public}"
admin.listen = "{admin}"
agent.socket = "{socket}"
ceilings = {{ token_life = "3s", jwks_max_age = "1s", leeway = "1s", skew = "1s" }}
shutdown = {{ accept_for = "1s", drain_for = "2s" }}
log.format = "json"
"#
    )
}

fn agent_config(
    pod: &str,
    vault: &VaultServer,
    role: &AppRole,
    secret_id: &Path,
    socket: &Path,
    tcp: &Port,
) -> String {
    let (address, ca, tcp) = (vault.url(), vault.ca_file().display(), tcp.address());
    let (role_id, secret_id, socket) = (&role.role_id, secret_id.display(), socket.display());
    let uid = Uuid::new_v4();
    format!(
        r#"pod = {{ name = "{pod}", uid = "{uid}" }}
admin.listen = "{tcp}"
socket.path = "{socket}"

[vault]
address = "{address}"
ca_file = "{ca}"
timeout = "2s"
longest_retry = "3s"

[auth.approle]
role_id = "{role_id}"
secret_id_file = "{secret_id}"
"#
    )
}
