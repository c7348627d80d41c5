//! One Vault with everything that a service needs, and agents of both kinds.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_region::documents::{self, KeyState, Rotation, SigningKey};
use local_region::http::{Client, Target};
use local_region::pki::{Ca, write_private};
use local_region::ports::Port;
use local_region::process::{Process, Program};
use local_region::programs::program;
use local_region::vault::{Admin, AppRole, Storage, VaultServer};
use local_region::{tools, wait};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Result;

pub(crate) const SOON: Duration = Duration::from_secs(30);
const POLICY: &str = r#"
path "kv/data/service/*" { capabilities = ["read"] }
path "kv/metadata/service/*" { capabilities = ["read"] }
"#;
const WATCHER_POLICY: &str = r#"
path "kv/subkeys/service/*" { capabilities = ["read"] }
path "kv/metadata/service/*" { capabilities = ["read"] }
"#;

/// A Vault with a role of least rights and every document of a service.
pub(crate) struct Region {
    pub(crate) folder: TempDir,
    pub(crate) ca: Ca,
    pub(crate) admin: Admin,
    pub(crate) vault: VaultServer,
    pub(crate) vault_program: PathBuf,
    pub(crate) agent_program: PathBuf,
    pub(crate) service_program: PathBuf,
    pub(crate) bare_program: PathBuf,
    pub(crate) regions_program: PathBuf,
    /// The document `config`, as it was written first.
    pub(crate) config: Value,
    role: AppRole,
    watcher: AppRole,
}

/// A running agent of ours.
pub(crate) struct Agent {
    pub(crate) process: Process,
    pub(crate) socket: PathBuf,
    pub(crate) tcp: Client,
    _port: Port,
}

impl Region {
    pub(crate) async fn start(programs: Option<&Path>) -> Result<Self> {
        // Each program starts in a folder of its own, from where a path in ours leads nowhere.
        let programs = programs.map(std::path::absolute).transpose()?;
        let ours = |name| programs.as_ref().map_or_else(|| program(name), |folder| Ok(folder.join(name)));
        let folder = tempfile::Builder::new().prefix("meridian-bench-").tempdir()?;
        let ca = Ca::new("the benchmark's authority")?;
        let vault = VaultServer::named("bench").storage(Storage::Raft).start(&ca).await?;
        let admin = vault.admin();
        admin.mount_kv("kv").await?;
        admin.write_policy("service", POLICY).await?;
        admin.enable_auth("approle", "approle").await?;
        let role = admin
            .create_approle("service", json!({"token_policies": ["service"], "token_ttl": "1h"}))
            .await?;
        admin.write_policy("watcher", WATCHER_POLICY).await?;
        let watcher = admin
            .create_approle("watcher", json!({"token_policies": ["watcher"], "token_ttl": "1h"}))
            .await?;
        let rotation = Rotation::new("bench-1", "write");
        let config = documents::config(&rotation, 3);
        let key = SigningKey::make(KeyState::Active)?;
        let secret = documents::client_secret()?;
        let certificate = ca.issue(&["localhost"])?;
        for (name, document) in [
            ("config", config.clone()),
            ("clients", documents::clients(&rotation, &[(&secret, None)])),
            ("signing-keys", documents::signing_keys(&rotation, &[&key])),
            ("tls", documents::tls(&rotation, &ca, &certificate)),
            ("probe", json!({"value": "0"})),
        ] {
            admin.put("kv", &format!("service/{name}"), &document, Some(0)).await?;
        }
        write_private(&folder.path().join("role-id"), role.role_id.as_bytes())?;
        write_private(&folder.path().join("secret-id"), role.secret_id.expose_secret().as_bytes())?;
        certificate.write(folder.path(), "service")?;
        Ok(Region {
            vault_program: tools::vault()?,
            agent_program: ours("secrets-agent")?,
            service_program: ours("service")?,
            bare_program: ours("bare-hyper")?,
            regions_program: ours("regions")?,
            config,
            folder,
            ca,
            admin,
            vault,
            role,
            watcher,
        })
    }

    /// Starts an agent of ours that keeps these secrets. Nothing is waited for.
    pub(crate) fn agent(&self, name: &str, secrets: &[&str], kv: &str) -> Result<Agent> {
        let port = Port::reserve()?;
        let socket = self.folder.path().join(format!("{name}.sock"));
        let text = format!(
            r#"pod = {{ name = "{name}", uid = "{name}" }}
admin.listen = "{}"
socket.path = "{}"
kv.secrets = {secrets:?}
{kv}
[vault]
address = "{}"
ca_file = "{}"
[auth.approle]
role_id = "{}"
secret_id_file = "{}"
"#,
            port.address(),
            socket.display(),
            self.vault.url(),
            self.vault.ca_file().display(),
            self.role.role_id,
            self.folder.path().join("secret-id").display(),
        );
        let file = write_private(&self.folder.path().join(format!("{name}.toml")), text.as_bytes())?;
        let process = Program::new(name, &self.agent_program)
            .argument("--config")
            .argument(file)
            .log(self.folder.path().join(format!("{name}.log")))
            .start()?;
        Ok(Agent { process, socket, tcp: Client::new(Target::Tcp(port.address())), _port: port })
    }

    /// Writes the watcher's credentials to two files of a folder.
    pub(crate) fn watcher_role(&self, folder: &Path) -> Result<(PathBuf, PathBuf)> {
        let role_id = write_private(&folder.join("role-id"), self.watcher.role_id.as_bytes())?;
        let secret_id = self.watcher.secret_id.expose_secret().as_bytes();
        Ok((role_id, write_private(&folder.join("secret-id"), secret_id)?))
    }

    /// Starts a `vault agent` that renders these secrets to files named after them, in a folder of its own.
    /// An empty `interval` leaves Vault's default.
    pub(crate) fn vault_agent(
        &self,
        name: &str,
        secrets: &[&str],
        interval: &str,
    ) -> Result<(Process, PathBuf)> {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder)?;
        let (base, out) = (self.folder.path().display(), folder.display());
        let templates: String = secrets
            .iter()
            .map(|secret| {
                format!(
                    r#"template {{
  contents = "{{{{ with secret \"kv/data/service/{secret}\" }}}}{{{{ .Data.data | toJSON }}}}{{{{ end }}}}"
  destination = "{out}/{secret}"
}}
"#
                )
            })
            .collect();
        let interval = match interval {
            "" => String::new(),
            interval => format!("template_config {{ static_secret_render_interval = \"{interval}\" }}\n"),
        };
        let text = format!(
            r#"vault {{
  address = "{}"
  ca_cert = "{}"
}}
auto_auth {{
  method "approle" {{
    config = {{
      role_id_file_path = "{base}/role-id"
      secret_id_file_path = "{base}/secret-id"
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
{interval}{templates}"#,
            self.vault.url(),
            self.vault.ca_file().display(),
        );
        let file = write_private(&folder.join("agent.hcl"), text.as_bytes())?;
        let process = Program::new(name, &self.vault_program)
            .argument("agent")
            .argument(format!("-config={}", file.display()))
            .variable("HOME", &folder)
            .log(folder.join("log"))
            .start()?;
        Ok((process, folder))
    }
}

/// Waits until `look` holds, looking each millisecond, and gives how long it took since `start`, in
/// milliseconds.
pub(crate) async fn until(
    what: &str,
    within: Duration,
    start: std::time::Instant,
    look: impl AsyncFnMut() -> bool,
) -> Result<f64> {
    let pause = Duration::from_millis(1);
    wait::wait_pausing(what, within, pause..=pause, look).await?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// As [`until`], within half a minute.
pub(crate) async fn soon(
    what: &str,
    start: std::time::Instant,
    look: impl AsyncFnMut() -> bool,
) -> Result<f64> {
    until(what, SOON, start, look).await
}
