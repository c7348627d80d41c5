//! A pair of service and agent, as a pod would hold them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use secrets_agent_client::AgentClient;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{self, Client, StatusCode, Target};
use crate::pki::{self, write_private};
use crate::ports::Port;
use crate::process::{self, Process, Program, Signal};
use crate::programs::{self, program};
use crate::vault::{AppRole, VaultServer};
use crate::wait::{NotInTime, wait_until};

/// From the start of a process until it is ready.
const READY: Duration = Duration::from_secs(20);
/// For an end in order.
const GRACE: Duration = Duration::from_secs(5);

/// Why a pod or a watcher could not be started, or did not become ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or a port could not be had.
    #[error("prepare {name}")]
    Prepare {
        /// The pod's name.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program was not built.
    #[error(transparent)]
    Program(#[from] programs::Error),
    /// A file with a secret could not be written.
    #[error(transparent)]
    File(#[from] pki::Error),
    /// A process could not be started, or has ended.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// It did not become ready in time.
    #[error(transparent)]
    NotInTime(#[from] NotInTime),
    /// It does not answer.
    #[error(transparent)]
    Http(#[from] http::Error),
}

/// A running pair of service and agent. Both are killed when it is dropped.
#[derive(Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The service's public interface.
    pub public: Client,
    /// The agent's TCP interface.
    pub agent: Client,
    /// The agent's socket.
    pub socket: AgentClient,
    socket_path: PathBuf,
    admin: Client,
    service_program: Program,
    service: Process,
    agent_program: Program,
    agent_process: Process,
    _ports: [Port; 3],
}

/// What the pods of an environment share.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The environment's name.
    pub environment: &'a str,
    /// For sockets and configuration; short, since a socket's path may have 107 bytes.
    pub folder: &'a Path,
    /// For the output of processes.
    pub logs: &'a Path,
    /// The authority of the services' certificate, in PEM.
    pub public_ca: &'a str,
    /// The digest of the release.
    pub release: &'a str,
}

impl Pod {
    /// Starts both processes; neither is waited for.
    ///
    /// # Errors
    /// A program was not built, or the system refused something.
    pub fn start(
        site: &Site<'_>,
        region: &str,
        name: &str,
        vault: &VaultServer,
        role: &AppRole,
    ) -> Result<Self, Error> {
        let prepare = |source| Error::Prepare { name: name.to_owned(), source };
        let reserve = || Port::reserve().map_err(prepare);
        let ports = [reserve()?, reserve()?, reserve()?];
        let [public, admin, agent] = &ports;
        let folder = site.folder.join(name);
        fs::create_dir(&folder).map_err(prepare)?;
        let socket = folder.join("agent.sock");
        let secret_id = write_private(&folder.join("secret-id"), role.secret_id.expose_secret().as_bytes())?;

        let config = agent_config(name, vault, role, &secret_id, &socket, agent);
        let agent_program = supervised(site, "secrets-agent", name, &folder, &config)?;
        let config = service_config(site, region, name, &socket, public, admin);
        let service_program = supervised(site, "service", name, &folder, &config)?;
        Ok(Pod {
            name: name.to_owned(),
            region: region.to_owned(),
            public: Client::new(Target::localhost(public.address(), site.public_ca).map_err(prepare)?),
            agent: Client::new(Target::Tcp(agent.address())),
            socket: AgentClient::new(&socket),
            socket_path: socket,
            admin: Client::new(Target::Tcp(admin.address())),
            agent_process: agent_program.start()?,
            agent_program,
            service: service_program.start()?,
            service_program,
            _ports: ports,
        })
    }

    /// Waits until the service is ready.
    ///
    /// # Errors
    /// A process has ended, or it takes too long.
    pub async fn ready(&self) -> Result<(), Error> {
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
    pub async fn kill_service(&self) {
        self.service.kill().await;
    }

    /// Starts the service again and waits until it is ready. Gives how long that took.
    ///
    /// # Errors
    /// It cannot be started, or takes too long.
    pub async fn restart_service(&mut self) -> Result<Duration, Error> {
        self.service = self.service_program.start()?;
        let started = self.service.started();
        self.ready().await?;
        Ok(started.elapsed())
    }

    /// Kills the agent (SIGKILL) and starts it again.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn restart_agent(&mut self) -> Result<(), Error> {
        self.agent_process.kill().await;
        self.agent_process = self.agent_program.start()?;
        Ok(())
    }

    /// Its processes: the agent and the service.
    pub fn processes(&self) -> (&Process, &Process) {
        (&self.agent_process, &self.service)
    }

    /// How a watcher of machines finds it.
    pub fn listed(&self) -> Value {
        let url = |client: &Client| client.target().url();
        json!({
            "name": self.name, "agent": url(&self.agent), "admin": url(&self.admin), "public": url(&self.public),
        })
    }

    /// The agent's socket.
    pub fn socket_path(&self) -> &Path {
        &self.socket_path
    }

    /// Resident memory of the agent and of the service, in bytes.
    pub fn resident(&self) -> (Option<u64>, Option<u64>) {
        (self.agent_process.facts().resident().ok(), self.service.facts().resident().ok())
    }

    /// Ends both in order. SIGINT spares the service the time in which a load balancer would learn of it.
    pub async fn stop(&self) {
        let _ = self.service.signal(Signal::INT);
        let _ = tokio::time::timeout(GRACE, self.service.ended()).await;
        self.agent_process.stop(GRACE).await;
    }
}

/// A program of the workspace with its configuration file, whose output goes to `<program>-<pod>.log`.
fn supervised(site: &Site<'_>, name: &str, pod: &str, folder: &Path, config: &str) -> Result<Program, Error> {
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
    let (public, admin, socket) = (public.address(), admin.address(), socket.display());
    let Site { environment, release, .. } = site;
    format!(
        r#"identity = {{ environment = "{environment}", region = "{region}", zone = "{region}-a", pod = "{pod}", release = "{release}" }}
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
