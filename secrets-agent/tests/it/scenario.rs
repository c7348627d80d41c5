//! One Vault, one agent, and what tests look at.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use local_region::http::{Answer, Client, Target};
use local_region::pki::{Ca, write_private};
use local_region::ports::Port;
use local_region::process::{Process, Program};
use local_region::vault::{Admin, AppRole, Storage, VaultServer};
use local_region::wait::wait_until;
use secrecy::ExposeSecret;
use secrets_agent_client::wire::{SecretStatus, Status, VaultState};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// How long anything that is awaited may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// What the role of an agent may do, and nothing more.
pub(crate) const POLICY: &str = r#"
path "kv/data/service/*" { capabilities = ["read"] }
path "kv/metadata/service/*" { capabilities = ["read"] }
"#;

/// A Vault with a KV v2 mount, a role of least rights and one secret, `config`.
pub(crate) struct Scenario {
    pub(crate) ca: Ca,
    pub(crate) vault: VaultServer,
    pub(crate) admin: Admin,
    pub(crate) role: AppRole,
    pub(crate) folder: TempDir,
}

impl Scenario {
    pub(crate) async fn new() -> Result<Self, Box<dyn Error>> {
        Self::with_role(json!({})).await
    }

    /// With a Vault that can be started again.
    pub(crate) async fn that_lasts() -> Result<Self, Box<dyn Error>> {
        Self::with(Storage::Raft, json!({})).await
    }

    /// With further parameters of the role, such as `token_ttl`.
    pub(crate) async fn with_role(parameters: Value) -> Result<Self, Box<dyn Error>> {
        Self::with(Storage::Memory, parameters).await
    }

    async fn with(storage: Storage, parameters: Value) -> Result<Self, Box<dyn Error>> {
        let ca = Ca::new("the test's authority")?;
        let vault = VaultServer::named("test").storage(storage).audit().start(&ca).await?;
        let admin = vault.admin();
        admin.mount_kv("kv").await?;
        admin.write_policy("service", POLICY).await?;
        admin.enable_auth("approle", "approle").await?;
        let mut role = json!({"token_policies": ["service"], "secret_id_num_uses": 0});
        for (key, value) in parameters.as_object().into_iter().flatten() {
            role[key] = value.clone();
        }
        let role = admin.create_approle("service", role).await?;
        admin.put("kv", "service/config", &json!({"value": "one"}), Some(0)).await?;
        let folder = tempfile::tempdir()?;
        write_private(&folder.path().join("secret-id"), role.secret_id.expose_secret().as_bytes())?;
        Ok(Scenario { ca, vault, admin, role, folder })
    }

    /// Writes the next version of `config`.
    pub(crate) async fn write(&self, value: &str) -> Result<u64, Box<dyn Error>> {
        Ok(self.admin.put("kv", "service/config", &json!({"value": value}), None).await?.version)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The settings of an agent that talks to `address` and logs in by AppRole.
    pub(crate) fn settings(&self) -> Settings {
        let auth = format!(
            "[auth.approle]\nrole_id = \"{}\"\nsecret_id_file = \"{}\"\n",
            self.role.role_id,
            self.path("secret-id").display()
        );
        Settings {
            address: self.vault.url(),
            ca_file: self.vault.ca_file().to_owned(),
            auth,
            kv: "secrets = [\"config\"]\nspacing = \"20ms\"\n".to_owned(),
            socket: String::new(),
            admin: None,
            more: String::new(),
            folder: self.folder.path().to_owned(),
        }
    }

    /// An agent with the usual settings that has delivered `config`.
    pub(crate) async fn agent(&self) -> Result<Agent, Box<dyn Error>> {
        let agent = self.settings().start()?;
        agent.delivered(1).await?;
        Ok(agent)
    }

    /// How many calls of this path Vault's audit log shows, such as `auth/approle/login`.
    pub(crate) fn audited(&self, path: &str) -> usize {
        let log = fs::read_to_string(self.vault.audit_log()).unwrap_or_default();
        let wanted = format!("\"path\":\"{path}\"");
        log.lines().filter(|line| line.contains("\"type\":\"request\"") && line.contains(&wanted)).count()
    }
}

/// What an agent is configured with.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) address: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) auth: String,
    pub(crate) kv: String,
    pub(crate) socket: String,
    /// Where the TCP port is, if not at one that is free.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) more: String,
    pub(crate) folder: PathBuf,
}

impl Settings {
    /// Starts an agent; it may not have logged in yet.
    pub(crate) fn start(&self) -> Result<Agent, Box<dyn Error>> {
        self.start_under(&[])
    }

    /// Starts an agent by way of another program that becomes the agent, such as one that takes rights away.
    pub(crate) fn start_under(&self, program: &[&str]) -> Result<Agent, Box<dyn Error>> {
        let port = Port::reserve()?;
        let socket = self.folder.join("agent.sock");
        let log = self.folder.join("agent.log");
        let file = self.folder.join("agent.toml");
        let Settings { address, auth, kv, more, .. } = self;
        let text = format!(
            r#"{auth}
[pod]
name = "test-pod"
uid = "0001"
[vault]
address = "{address}"
ca_file = "{}"
timeout = "1s"
longest_retry = "500ms"
[kv]
{kv}
[socket]
path = "{}"
{}
[admin]
listen = "{}"
[log]
level = "trace"
{more}"#,
            self.ca_file.display(),
            socket.display(),
            self.socket,
            self.admin.unwrap_or(port.address()),
        );
        fs::write(&file, text)?;
        let agent = env!("CARGO_BIN_EXE_secrets-agent");
        let (first, rest) =
            program.split_first().map_or((agent, [].as_slice()), |(first, rest)| (*first, rest));
        let process = Program::new("secrets-agent", first)
            .arguments(rest.iter().copied().chain((!program.is_empty()).then_some(agent)))
            .arguments(["--config".as_ref(), file.as_os_str()])
            .log(&log)
            .start()?;
        let admin = Client::new(Target::Tcp(port.address()));
        Ok(Agent { process, socket: Client::new(Target::unix(&socket)), admin, _port: port, log })
    }
}

/// A running agent.
pub(crate) struct Agent {
    pub(crate) process: Process,
    pub(crate) socket: Client,
    pub(crate) admin: Client,
    _port: Port,
    log: PathBuf,
}

impl Agent {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) async fn status(&self) -> Result<Status, Box<dyn Error>> {
        self.process.check_running()?;
        Ok(self.admin.get("/v1/status").await?.json()?)
    }

    pub(crate) async fn secret(&self) -> Result<SecretStatus, Box<dyn Error>> {
        self.status().await?.secrets.into_iter().next().ok_or_else(|| "no secret is configured".into())
    }

    pub(crate) async fn nudge(&self, version: Option<u64>) -> Result<Answer, Box<dyn Error>> {
        Ok(self.admin.json(Method::POST, "/v1/nudge", &json!({"name": "config", "version": version})).await?)
    }

    /// Waits until this version of `config` is delivered.
    pub(crate) async fn delivered(&self, version: u64) -> Outcome {
        wait_until(format!("version {version} to be delivered"), SOON, async || {
            let secret = self.secret().await.map_err(|error| error.to_string())?;
            if secret.version == Some(version) { Ok(()) } else { Err(format!("{secret:?}")) }
        })
        .await?;
        Ok(())
    }

    /// Waits until `config` shows an error with these words, and gives it whole.
    pub(crate) async fn error(&self, words: &str) -> Result<String, Box<dyn Error>> {
        let found = wait_until(format!("an error with {words:?}"), SOON, async || {
            let secret = self.secret().await.map_err(|error| error.to_string())?;
            secret.error.clone().filter(|error| error.contains(words)).ok_or_else(|| format!("{secret:?}"))
        });
        Ok(found.await?)
    }

    /// Waits until `config` is fresh again and Vault is well.
    pub(crate) async fn recovered(&self) -> Outcome {
        wait_until("the agent to recover", SOON, async || {
            let status = self.status().await.map_err(|error| error.to_string())?;
            let fresh =
                status.secrets.iter().all(|secret| secret.error.is_none() && secret.version.is_some());
            if fresh && status.vault.state == VaultState::Ok { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await?;
        Ok(())
    }

    /// Waits until Vault is seen in this state.
    pub(crate) async fn sees(&self, state: VaultState) -> Outcome {
        wait_until(format!("Vault to be seen as {state:?}"), SOON, async || {
            let vault = self.status().await.map_err(|error| error.to_string())?.vault;
            if vault.state == state { Ok(()) } else { Err(format!("{vault:?}")) }
        })
        .await?;
        Ok(())
    }

    /// What the socket serves as `config`.
    pub(crate) async fn value(&self) -> Result<String, Box<dyn Error>> {
        let answer = self.socket.get("/v1/secrets/config").await?.expect(200.try_into()?)?;
        Ok(answer.value()?["data"]["value"].as_str().unwrap_or_default().to_owned())
    }

    /// The value of one line of `/metrics`, 0 when it is not there.
    pub(crate) async fn metric(&self, line: &str) -> Result<f64, Box<dyn Error>> {
        let text = self.admin.get("/metrics").await?.text();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        Ok(value.map_or(Ok(0.0), str::parse)?)
    }
}
