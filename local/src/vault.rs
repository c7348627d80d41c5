//! A real Vault server: never `-dev`, TLS by an own authority, initialised and unsealed here.

mod admin;
mod config;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{self, Client, StatusCode, Target};
use crate::pki::{self, Ca};
use crate::ports::Port;
use crate::process::{self, Process, Program};
use crate::tools;
use crate::wait::{NotInTime, wait_until};

pub use admin::{Admin, AppRole, Kv};

/// How long a server may take to listen, or to become active. Two seconds are usual.
const START: Duration = Duration::from_secs(60);
/// How long a server may take to end in order.
const GRACE: Duration = Duration::from_secs(10);

/// Why a Vault server, or a call of it, failed. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program `vault` could not be had.
    #[error(transparent)]
    Tool(#[from] tools::Error),
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] pki::Error),
    /// The server's process failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The server's folder or port could not be had.
    #[error("prepare the Vault server {name}")]
    Prepare {
        /// The server's name.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No answer came.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The server did not get so far in time.
    #[error(transparent)]
    NotInTime(#[from] NotInTime),
    /// Vault refused.
    #[error("{call}: Vault answered {status}: {}", .errors.join("; "))]
    Refused {
        /// Method and path.
        call: String,
        /// The status.
        status: StatusCode,
        /// What Vault said.
        errors: Vec<String>,
    },
    /// Vault's answer lacks what was asked for.
    #[error("{call}: Vault's answer has no {field}")]
    Lacks {
        /// Method and path.
        call: String,
        /// What is missing.
        field: &'static str,
    },
}

/// Where a server keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Memory: the quickest. It ends with the process.
    Memory,
    /// Integrated storage, as in production, which outlives a restart.
    Raft,
}

/// A server that is about to be started.
#[derive(Debug)]
pub struct Builder {
    name: String,
    storage: Storage,
    folder: Option<PathBuf>,
    address: Option<SocketAddr>,
    audit: bool,
    log: Option<PathBuf>,
    empty: bool,
    seal: Option<Value>,
}

impl Builder {
    /// Chooses the storage; files otherwise.
    #[must_use]
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// Keeps everything in this folder, which is made and stays. Otherwise in one that is removed at the end.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Listens there instead of on a reserved loopback port. The caller sees to it that it is free.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Writes the server's output there instead of to `vault.log` in its folder.
    #[must_use]
    pub fn log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// Writes an audit log to `audit.log` in its folder.
    #[must_use]
    pub fn audit(mut self) -> Self {
        self.audit = true;
        self
    }

    /// Leaves it as it is before anybody has initialised it.
    #[must_use]
    pub fn empty(mut self) -> Self {
        self.empty = true;
        self
    }

    /// Lets it unseal itself by a key in the transit engine of another server, as Cloud KMS does in production.
    ///
    /// # Errors
    /// The other server refused to make the key.
    pub async fn sealed_by(mut self, other: &VaultServer) -> Result<Self, Error> {
        let admin = other.admin();
        let (post, key) = (::http::Method::POST, format!("unseal-{}", self.name));
        if admin.call(::http::Method::GET, "sys/mounts/transit", None).await.is_err() {
            admin.call(post.clone(), "sys/mounts/transit", Some(json!({"type": "transit"}))).await?;
        }
        admin.call(post, &format!("transit/keys/{key}"), None).await?;
        self.seal = Some(json!({"transit": {
            "address": other.url(), "token": other.root_token().expose_secret(), "key_name": key,
            "mount_path": "transit/", "tls_ca_cert": other.ca_file(),
        }}));
        Ok(self)
    }

    /// Starts the server, initialises it with one share, and unseals it. About 2 s.
    ///
    /// # Errors
    /// The program cannot be had, or the server does not come up; its log's last lines are in the error.
    pub async fn start(self, ca: &Ca) -> Result<VaultServer, Error> {
        let program = tools::vault()?;
        let prepare = |source| Error::Prepare { name: self.name.clone(), source };
        let (folder, temporary) = match &self.folder {
            Some(folder) => (folder.clone(), None),
            None => {
                let made = tempfile::Builder::new().prefix("meridian-vault-").tempdir().map_err(prepare)?;
                (made.path().to_owned(), Some(made))
            }
        };
        fs::create_dir_all(folder.join("data")).map_err(prepare)?;
        let port = match self.address {
            None => Some(Port::reserve().map_err(prepare)?),
            Some(_) => None,
        };
        let address = self.address.or(port.as_ref().map(Port::address)).unwrap_or(([127, 0, 0, 1], 0).into());
        let cluster = Port::reserve().map_err(prepare)?;
        let ip = address.ip().to_string();
        let files = ca.issue(&["localhost", &ip])?.write(&folder, "vault")?;
        let ca_file = ca.write(folder.join("ca.pem"))?;
        let mut config = config::render(self.storage, &folder, &files, address, cluster.address());
        if let Some(seal) = self.seal {
            config["seal"] = seal;
        }
        pki::write_private(&folder.join("vault.json"), config.to_string().as_bytes())?;
        let program = Program::new(format!("vault {}", self.name), program)
            .argument("server")
            .argument(format!("-config={}", folder.join("vault.json").display()))
            .variable("HOME", &folder)
            .folder(&folder)
            .log(self.log.unwrap_or_else(|| folder.join("vault.log")));
        let client = Client::new(Target::localhost(address, &ca.pem()).map_err(prepare)?);
        let process = program.start()?;
        let mut server = VaultServer {
            name: self.name,
            program,
            process,
            client,
            address,
            ca_file,
            root: SecretString::default(),
            key: SecretString::default(),
            folder,
            _ports: (port, cluster),
            _temporary: temporary,
        };
        if self.empty {
            server.listening().await?;
            return Ok(server);
        }
        server.initialise().await?;
        server.unseal().await?;
        if self.audit {
            let options = json!({"file_path": server.audit_log(), "mode": "0600"});
            let device = json!({"type": "file", "options": options});
            server.admin().call(::http::Method::PUT, "sys/audit/log", Some(device)).await?;
        }
        Ok(server)
    }
}

/// A running Vault server, killed when it is dropped. Its root token and its unseal key live in memory only.
#[derive(Debug)]
pub struct VaultServer {
    name: String,
    program: Program,
    process: Process,
    client: Client,
    address: SocketAddr,
    ca_file: PathBuf,
    root: SecretString,
    key: SecretString,
    folder: PathBuf,
    _ports: (Option<Port>, Port),
    _temporary: Option<TempDir>,
}

impl VaultServer {
    /// A server that errors and logs will call `name`.
    pub fn named(name: &str) -> Builder {
        let name = name.to_owned();
        Builder {
            name,
            storage: Storage::Memory,
            folder: None,
            address: None,
            audit: false,
            log: None,
            empty: false,
            seal: None,
        }
    }

    /// A server for one test: in memory, with its own folder and its own port.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start(ca: &Ca) -> Result<Self, Error> {
        VaultServer::named("test").start(ca).await
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as Vault's clients take it; the certificate is for this name.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The file with the certificate of the authority that vouches for it.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The audit log, when [`Builder::audit`] asked for one.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The root token.
    pub fn root_token(&self) -> &SecretString {
        &self.root
    }

    /// Its API, as root.
    pub fn admin(&self) -> Admin {
        self.with_token(&self.root)
    }

    /// Its API, with this token.
    pub fn with_token(&self, token: &SecretString) -> Admin {
        Admin::of(self.client.clone(), token)
    }

    /// Seals it: it answers 503 to everything until [`VaultServer::unseal`].
    ///
    /// # Errors
    /// Vault refused.
    pub async fn seal(&self) -> Result<(), Error> {
        self.admin().call(::http::Method::PUT, "sys/seal", None).await.map(drop)
    }

    /// Unseals it and waits until it is active.
    ///
    /// # Errors
    /// Vault refused, or it does not become active.
    pub async fn unseal(&self) -> Result<(), Error> {
        self.listening().await?;
        let key = json!({"key": self.key.expose_secret()});
        self.admin().call(::http::Method::PUT, "sys/unseal", Some(key)).await?;
        let what = format!("{} to be active", self.process.name());
        wait_until(what, START, async || match self.client.get("/v1/sys/health").await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(()),
            Ok(answer) => Err(format!("GET /v1/sys/health answered {}", answer.status)),
            Err(error) => Err(error.to_string()),
        })
        .await?;
        Ok(())
    }

    /// A root token made from shares, as `vault operator generate-root` makes one.
    ///
    /// # Errors
    /// As [`Admin::generate_root`].
    pub async fn generate_root(&self, shares: &[SecretString]) -> Result<SecretString, Error> {
        self.with_token(&SecretString::default()).generate_root(shares).await
    }

    /// Freezes it (SIGSTOP): connections are taken by the kernel, and nothing answers.
    ///
    /// # Errors
    /// As [`Process::pause`].
    pub async fn pause(&self) -> Result<(), Error> {
        Ok(self.process.pause().await?)
    }

    /// Ends a [`VaultServer::pause`].
    ///
    /// # Errors
    /// The system refused.
    pub fn resume(&self) -> Result<(), Error> {
        Ok(self.process.resume()?)
    }

    /// Kills it (SIGKILL); its address refuses connections then.
    pub async fn kill(&self) {
        self.process.kill().await;
    }

    /// Ends it in order.
    pub async fn stop(&self) {
        self.process.stop(GRACE).await;
    }

    /// Starts it again at the same address with the same data, and unseals it.
    ///
    /// # Errors
    /// It does not come up, or its storage was memory.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.restart_sealed().await?;
        self.unseal().await
    }

    /// Starts it again at the same address with the same data, and leaves it sealed.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart_sealed(&mut self) -> Result<(), Error> {
        self.process.stop(GRACE).await;
        self.process = self.program.start()?;
        self.listening().await.map(drop)
    }

    async fn initialise(&mut self) -> Result<(), Error> {
        self.listening().await?;
        let call = json!({"secret_shares": 1, "secret_threshold": 1});
        let answer = self.admin().call(::http::Method::PUT, "sys/init", Some(call)).await?;
        let lacks = |field| Error::Lacks { call: "PUT /v1/sys/init".to_owned(), field };
        self.key = answer["keys_base64"][0].as_str().ok_or_else(|| lacks("keys_base64"))?.into();
        self.root = answer["root_token"].as_str().ok_or_else(|| lacks("root_token"))?.into();
        Ok(())
    }

    /// Waits until the API answers; says so at once when the process has ended instead.
    async fn listening(&self) -> Result<Value, Error> {
        let what = format!("{} to listen on {}", self.process.name(), self.address);
        let answer = wait_until(what, START, async || {
            if let Err(ended) = self.process.check_running() {
                return Ok(Err(ended));
            }
            let answer = self.client.get("/v1/sys/seal-status").await?.expect(StatusCode::OK)?;
            Ok::<_, http::Error>(Ok(answer.value()?))
        });
        Ok(answer.await??)
    }
}
