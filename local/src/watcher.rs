//! A watcher of pods that are processes on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::Value;

use crate::http::{Client, StatusCode, Target};
use crate::pki::write_private;
use crate::pod::{Error, Pod, Site};
use crate::ports::Port;
use crate::process::{Process, Program};
use crate::programs::program;
use crate::vault::{AppRole, VaultServer};
use crate::wait::wait_until;

/// From its start until it is ready.
const READY: Duration = Duration::from_secs(20);
/// For an end in order.
const GRACE: Duration = Duration::from_secs(5);

/// How a watcher is let in to its Vault, and what it watches.
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a> {
    /// The region.
    pub region: &'a str,
    /// Its Vault.
    pub vault: &'a VaultServer,
    /// The watcher's role there.
    pub role: &'a AppRole,
    /// The secrets that it watches.
    pub secrets: &'a [&'a str],
}

/// A running watcher of some machines, killed when it is dropped.
#[derive(Debug)]
pub struct Watcher {
    region: String,
    program: Program,
    process: Process,
    client: Client,
    machines: PathBuf,
    port: Port,
}

impl Watcher {
    /// Starts it; it watches nobody yet, and is not waited for.
    ///
    /// # Errors
    /// The program was not built, or the system refused something.
    pub fn start(site: &Site<'_>, watched: Watched<'_>) -> Result<Self, Error> {
        let Watched { region, vault, role, secrets } = watched;
        let name = format!("watcher-{region}");
        let prepare = |source| Error::Prepare { name: name.clone(), source };
        let (port, folder) = (Port::reserve().map_err(prepare)?, site.folder.join(&name));
        fs::create_dir(&folder).map_err(prepare)?;
        let role_id = write_private(&folder.join("role-id"), role.role_id.as_bytes())?;
        let secret_id = write_private(&folder.join("secret-id"), role.secret_id.expose_secret().as_bytes())?;
        let machines = write_private(&folder.join("machines.json"), b"[]")?;
        let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let program = Program::new(&name, program("regions")?)
            .argument("watch")
            .arguments([format!("--env={}", site.environment), format!("--region={region}")])
            .argument(format!("--secrets={}", secrets.join(",")))
            .argument(format!("--vault-address={}", vault.url()))
            .argument(flag("vault-ca", vault.ca_file()))
            .argument(flag("vault-role-id-file", &role_id))
            .argument(flag("vault-secret-id-file", &secret_id))
            .argument(flag("agents", &machines))
            .argument(flag("floor-dir", &site.folder.join(format!("floor-{region}"))))
            .arguments([format!("--listen={}", port.address()), "--log=debug".to_owned()])
            .folder(&folder)
            .log(site.logs.join(format!("{name}.log")));
        let client = Client::new(Target::Tcp(port.address()));
        let (region, process) = (region.to_owned(), program.start()?);
        Ok(Watcher { region, program, process, client, machines, port })
    }

    /// Tells it which pods there are.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn watch<'a>(&self, pods: impl IntoIterator<Item = &'a Pod>) -> Result<(), Error> {
        self.watch_also(pods, &[])
    }

    /// Tells it which pods there are, and which others stand beside them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn watch_also<'a>(
        &self,
        pods: impl IntoIterator<Item = &'a Pod>,
        others: &[Value],
    ) -> Result<(), Error> {
        let listed: Vec<Value> = pods.into_iter().map(Pod::listed).chain(others.iter().cloned()).collect();
        let prepare = |source| Error::Prepare { name: self.region.clone(), source };
        // Renamed into its place, so that it is never read by halves.
        let draft = self.machines.with_extension("draft");
        fs::write(&draft, Value::from(listed).to_string()).map_err(prepare)?;
        fs::rename(draft, &self.machines).map_err(prepare)
    }

    /// What it sees now.
    ///
    /// # Errors
    /// It does not answer as it should.
    pub async fn view(&self) -> Result<Value, Error> {
        Ok(self.client.get("/v1/region").await?.expect(StatusCode::OK)?.value()?)
    }

    /// Its address, as the catalogue has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Its HTTP interface.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// It has ended, or it takes too long.
    pub async fn ready(&self) -> Result<(), Error> {
        let ready = wait_until(format!("the watcher of {} to be ready", self.region), READY, async || {
            if let Err(ended) = self.process.check_running() {
                return Ok(Err(ended));
            }
            let answer = self.client.get("/readyz").await.map_err(|error| error.to_string())?;
            match answer.status {
                StatusCode::OK => Ok(Ok(())),
                status => Err(format!("{status}: {}", answer.text())),
            }
        });
        Ok(ready.await??)
    }

    /// Kills it (SIGKILL) and starts it again.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.process.kill().await;
        self.process = self.program.start()?;
        self.ready().await
    }

    /// Ends it in order.
    pub async fn stop(&self) {
        self.process.stop(GRACE).await;
    }
}
