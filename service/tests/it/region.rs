//! A real Vault and a real agent for one test.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use local_region::http::{Client, StatusCode, Target};
use local_region::pki::Ca;
use local_region::ports::Port;
use local_region::process::{Process, Program};
use local_region::programs::program;
use local_region::vault::{Admin, VaultServer};
use local_region::wait::wait_until;
use secrecy::ExposeSecret;
use secrets_agent_client::wire::{SecretStatus, Status};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pod::Pod;

/// Vault, the agent and a nudge are quick; a test machine may not be.
const WITHIN: Duration = Duration::from_secs(20);

const POLICY: &str = r#"
path "kv/data/service/*" { capabilities = ["read"] }
path "kv/metadata/service/*" { capabilities = ["read"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
"#;

pub(crate) struct Region {
    pub(crate) agent: Process,
    pub(crate) vault: VaultServer,
    pub(crate) ca: Ca,
    pub(crate) socket: PathBuf,
    agent_program: Program,
    agent_admin: Client,
    folder: TempDir,
    _port: Port,
}

impl Region {
    /// A region whose Vault holds these documents, and whose agent runs.
    pub(crate) async fn start(ca: Ca, documents: &[(&str, Value)]) -> Self {
        let folder = tempfile::Builder::new().prefix("service-region-").tempdir().unwrap();
        let vault = VaultServer::start(&ca).await.unwrap();
        let admin = vault.admin();
        admin.mount_kv("kv").await.unwrap();
        for (name, document) in documents {
            put(&admin, name, document).await;
        }
        admin.write_policy("service", POLICY).await.unwrap();
        admin.enable_auth("approle", "approle").await.unwrap();
        let role = admin.create_approle("service", json!({"token_policies": ["service"]})).await.unwrap();
        let secret_id = folder.path().join("secret-id");
        fs::write(&secret_id, role.secret_id.expose_secret()).unwrap();
        let port = Port::reserve().unwrap();
        let socket = folder.path().join("agent.sock");
        let toml = format!(
            "[pod]\nname = \"pod-1\"\nuid = \"uid-1\"\n[vault]\naddress = {:?}\nca_file = {:?}\n\
             [auth.approle]\nrole_id = {:?}\nsecret_id_file = {:?}\n[socket]\npath = {:?}\n[admin]\nlisten = \"{}\"\n",
            vault.url(),
            vault.ca_file(),
            role.role_id,
            secret_id,
            socket,
            port.address()
        );
        let config = folder.path().join("secrets-agent.toml");
        fs::write(&config, toml).unwrap();
        let agent_program = Program::new("secrets-agent", program("secrets-agent").unwrap())
            .argument("--config")
            .argument(&config)
            .log(folder.path().join("secrets-agent.log"));
        let agent = agent_program.start().unwrap();
        let agent_admin = Client::new(Target::Tcp(port.address()));
        Region { agent, vault, ca, socket, agent_program, agent_admin, folder, _port: port }
    }

    /// A service that uses every document of this region's agent, and has said so.
    pub(crate) async fn pod(&self, toml: &str) -> Pod {
        let pod = Pod::with_agent(&self.socket, &self.ca).configured(toml).start().await;
        pod.ready().await;
        for name in ["config", "clients", "signing-keys", "tls"] {
            self.is_adopted(name, 1).await;
        }
        pod
    }

    /// Writes a document into Vault, nudges the agent, and gives the version.
    pub(crate) async fn write(&self, name: &str, document: &Value) -> u64 {
        let version = put(&self.vault.admin(), name, document).await;
        let nudged = self
            .agent_admin
            .json(Method::POST, "/v1/nudge", &json!({"name": name, "version": version}))
            .await;
        assert!(nudged.unwrap().status.is_success());
        version
    }

    /// Destroys a version for good.
    pub(crate) async fn destroy(&self, name: &str, version: u64) {
        self.vault.admin().destroy("kv", &format!("service/{name}"), &[version]).await.unwrap();
    }

    /// What the agent says of a document.
    pub(crate) async fn status(&self, name: &str) -> Result<SecretStatus, String> {
        let answer = self.agent_admin.get("/v1/status").await.map_err(|error| error.to_string())?;
        let status: Status =
            answer.expect(StatusCode::OK).and_then(|answer| answer.json()).map_err(|e| e.to_string())?;
        status
            .secrets
            .into_iter()
            .find(|secret| secret.name == name)
            .ok_or_else(|| format!("{name} is not there"))
    }

    /// The versions that the instances say they use.
    pub(crate) async fn adopted(&self, name: &str) -> Vec<u64> {
        let status = self.status(name).await.map(|status| status.adopted).unwrap_or_default();
        status.into_iter().map(|adopted| adopted.version).collect()
    }

    /// Waits until one instance is there, and uses this version.
    pub(crate) async fn is_adopted(&self, name: &str, version: u64) {
        wait_until(format!("{name} version {version} to be adopted"), WITHIN, async || {
            let adopted = self.adopted(name).await;
            if adopted == [version] { Ok(()) } else { Err(format!("{adopted:?}")) }
        })
        .await
        .unwrap();
    }

    /// Writes a document and waits until the service uses it.
    pub(crate) async fn rotate(&self, name: &str, document: &Value) -> u64 {
        let version = self.write(name, document).await;
        self.is_adopted(name, version).await;
        version
    }

    /// Kills the agent, as a node short of memory would.
    pub(crate) async fn kill_agent(&self) {
        self.agent.kill().await;
    }

    pub(crate) fn start_agent(&mut self) {
        self.agent = self.agent_program.start().unwrap();
    }

    pub(crate) fn agent_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("secrets-agent.log")).unwrap()
    }
}

async fn put(admin: &Admin, name: &str, document: &Value) -> u64 {
    let mut document = document.clone();
    document["rotation"] = json!({"it-1": {"write": ""}});
    admin.put("kv", &format!("service/{name}"), &document, None).await.unwrap().version
}
