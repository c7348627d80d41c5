//! Two regions, each with a Vault, two pods and a watcher, and a catalogue that names them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::Method;
use local_region::documents::{self, KeyState, Rotation, SigningKey};
use local_region::http::StatusCode;
use local_region::pki::{Ca, write_private};
use local_region::pod::{Pod, Site};
use local_region::vault::{Admin, Storage, VaultServer};
use local_region::wait::wait_until;
use local_region::watcher::{Watched, Watcher};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::run::{self, Ran};

/// Every secret of the catalogue.
pub(crate) const SECRETS: [&str; 4] = ["config", "clients", "signing-keys", "tls"];

/// What pods are waited for.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A region.
pub(crate) struct Region {
    pub(crate) name: &'static str,
    pub(crate) vault: VaultServer,
    pub(crate) pods: Vec<Pod>,
    pub(crate) watcher: Watcher,
}

/// Two regions, and what a command needs for them.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) eu: Region,
    pub(crate) us: Region,
    logs: PathBuf,
    /// Values that must be found nowhere but in Vaults.
    pub(crate) canaries: Vec<String>,
}

impl World {
    /// With so many pods in each region.
    pub(crate) async fn start(pods: usize) -> Self {
        Self::with(pods, Storage::Memory).await
    }

    /// With Vaults that can be started again.
    pub(crate) async fn that_lasts(pods: usize) -> Self {
        Self::with(pods, Storage::Raft).await
    }

    async fn with(pods: usize, storage: Storage) -> Self {
        let folder = tempfile::Builder::new().prefix("mr-").tempdir().unwrap();
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).unwrap();
        copy_catalogue(folder.path());
        let public_ca = Ca::new("public").unwrap();
        let certificate = public_ca.issue(&["localhost", "127.0.0.1"]).unwrap();
        let (secret, key) =
            (documents::client_secret().unwrap(), SigningKey::make(KeyState::Active).unwrap());
        let first = Rotation::new("first", "write");
        let mut contents = [
            ("config", documents::config(&first, 3)),
            ("clients", documents::clients(&first, &[(&secret, None)])),
            ("signing-keys", documents::signing_keys(&first, &[&key])),
            ("tls", documents::tls(&first, &public_ca, &certificate)),
        ];
        // They are what people wrote: nobody has to end a rotation that brought them.
        for (_, document) in &mut contents {
            document.as_object_mut().unwrap().remove("rotation");
        }
        let pem = public_ca.pem();
        let site = Site {
            environment: "production",
            folder: folder.path(),
            logs: &logs,
            public_ca: &pem,
            release: "test",
        };
        let (eu, us) = tokio::join!(
            region("eu", &site, &contents, &secret, pods, storage),
            region("us", &site, &contents, &secret, pods, storage)
        );
        let private = contents[2].1["keys"][&key.kid]["private_pem"].as_str().unwrap();
        // A service that asks for a key in PEM names the words, and shows none.
        let header = "-----BEGIN PRIVATE KEY".to_owned();
        let canaries = vec![secret.expose_secret().to_owned(), line_of(private), header];
        Self { eu, us, logs, canaries, folder }
    }

    pub(crate) fn region(&self, name: &str) -> &Region {
        if name == "eu" { &self.eu } else { &self.us }
    }

    pub(crate) fn regions(&self) -> [&Region; 2] {
        [&self.eu, &self.us]
    }

    /// Changes a file of the environment.
    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        edit(self.folder.path(), file, change);
    }

    /// `regions rotate` on a secret with further arguments, not yet begun.
    pub(crate) async fn rotating(&self, secret: &str, further: &[&str]) -> Command {
        let authorities = self.folder.path().join("authorities.pem");
        let pem = |vault: &VaultServer| fs::read_to_string(vault.ca_file()).unwrap();
        if !authorities.exists() {
            fs::write(&authorities, [pem(&self.eu.vault), pem(&self.us.vault)].concat()).unwrap();
        }
        let mut arguments = vec!["rotate".to_owned(), secret.to_owned(), "--env=production".to_owned()];
        arguments.push(format!("--vault-ca={}", authorities.display()));
        for region in self.regions() {
            let file = self.folder.path().join(format!("{}.token", region.name));
            if !file.exists() {
                let token = json!({"policies": ["rotator"], "no_default_policy": true, "ttl": "1h"});
                let token = region.vault.admin().create_token(token).await.unwrap();
                write_private(&file, token.expose_secret().as_bytes()).unwrap();
            }
            arguments.push(format!("--vault-token={}={}", region.name, file.display()));
        }
        arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = run::bare(&self.catalogue(), self.folder.path(), &arguments);
        command.env("USER", "ada");
        command
    }

    /// `regions rotate` on a secret whose document comes on standard input, begun.
    pub(crate) async fn feed(&self, secret: &str, document: &str, further: &[&str]) -> Child {
        let mut command = self.rotating(secret, &[&["--from-stdin"], further].concat()).await;
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(document.as_bytes()).await.unwrap();
        child
    }

    /// `regions rotate` on a secret, to its end. No value is ever in what it says.
    pub(crate) async fn rotate(&self, secret: &str, further: &[&str]) -> Ran {
        let started = Instant::now();
        let ran = run::end(self.rotating(secret, further).await.spawn().unwrap(), started).await;
        self.canaries.iter().for_each(|canary| {
            ran.says_not(canary);
        });
        ran.says_not("hvs.");
        ran
    }

    pub(crate) fn catalogue(&self) -> PathBuf {
        self.folder.path().join("local/catalogue")
    }

    /// The current document of both regions; they must be the same.
    pub(crate) async fn same(&self, secret: &str) -> Value {
        let (eu, us) = (self.eu.read(secret).await, self.us.read(secret).await);
        assert_eq!(eu, us, "{secret} in eu and us");
        eu
    }

    /// No log of an agent, a service or a watcher holds a value.
    pub(crate) fn logs_hold_no_value(&self) {
        for entry in fs::read_dir(&self.logs).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
            assert!(!text.contains("hvs."));
            assert!(self.canaries.iter().all(|canary| !text.contains(canary.as_str())));
        }
    }
}

impl Region {
    pub(crate) fn admin(&self) -> Admin {
        self.vault.admin()
    }

    /// The current document of a secret.
    pub(crate) async fn read(&self, secret: &str) -> Value {
        self.admin().read("kv", &format!("service/{secret}"), None).await.unwrap().data
    }

    /// The numbers of a secret's versions that can be read, and of the current one.
    pub(crate) async fn readable(&self, path: &str) -> (Vec<u64>, u64) {
        let metadata = self.admin().metadata("kv", path).await.unwrap();
        let versions: BTreeMap<String, Value> = serde_json::from_value(metadata["versions"].clone()).unwrap();
        let readable = versions
            .into_iter()
            .filter(|(_, version)| version["destroyed"] == false && version["deletion_time"] == "");
        let mut readable: Vec<u64> = readable.map(|(number, _)| number.parse().unwrap()).collect();
        readable.sort_unstable();
        (readable, metadata["current_version"].as_u64().unwrap())
    }

    /// The ids of the keys that each pod's own JWKS shows.
    pub(crate) async fn kids(&self) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        for pod in &self.pods {
            let jwks = pod.public.get("/.well-known/jwks.json").await.unwrap();
            let jwks: Value = jwks.expect(StatusCode::OK).unwrap().json().unwrap();
            let keys = jwks["keys"].as_array().unwrap().iter();
            all.push(keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect());
        }
        all
    }

    /// Waits until every pod uses the current version of a secret, by the watcher's word.
    pub(crate) async fn uses(&self, secret: &str) {
        let what = format!("every pod of {} to use the current {secret}", self.name);
        wait_until(what, SOON, async || {
            let view = self.watcher.view().await.map_err(|error| error.to_string())?;
            let current = view["secrets"][secret]["current"].clone();
            let pods = view["pods"].as_array().unwrap();
            let uses = |pod: &Value| {
                let secrets = pod["agent"]["secrets"].as_array().into_iter().flatten();
                let own = secrets.into_iter().find(|own| own["name"] == secret).cloned().unwrap_or_default();
                own["adopted"][0]["version"] == current["version"]
                    && own["adopted"][0]["created_time"] == current["created_time"]
            };
            if pods.iter().all(uses) { Ok(()) } else { Err(format!("{pods:?}")) }
        })
        .await
        .unwrap();
    }
}

async fn region(
    name: &'static str,
    site: &Site<'_>,
    contents: &[(&str, Value)],
    secret: &SecretString,
    pods: usize,
    storage: Storage,
) -> Region {
    let vault =
        VaultServer::named(name).storage(storage).audit().start(&Ca::new(name).unwrap()).await.unwrap();
    let address = vault.url();
    edit(site.folder, &format!("{name}.yaml"), |text| {
        format!("{text}vault: {{ address: '{address}', in_cluster: false }}\n")
    });
    apply(site.folder, name, &vault).await;
    let admin = vault.admin();
    for (name, content) in contents {
        admin.put("kv", &format!("service/{name}"), content, Some(0)).await.unwrap();
    }
    let clear = json!({"secret": secret.expose_secret()});
    admin.put("kv", "client/probe", &clear, Some(0)).await.unwrap();
    // Tests look at it more often than a watcher does.
    admin.unlimit_rate("meridian-kv").await.unwrap();
    let service = admin.create_approle("service", json!({})).await.unwrap();
    let role = admin.create_approle("watcher", json!({})).await.unwrap();
    let watched = Watched { region: name, vault: &vault, role: &role, secrets: &SECRETS };
    let watcher = Watcher::start(site, watched).unwrap();
    let url = watcher.url();
    edit(site.folder, &format!("{name}.yaml"), |text| format!("{text}watcher: {{ address: '{url}' }}\n"));
    let start = |number| Pod::start(site, name, &format!("{name}-{number}"), &vault, &service).unwrap();
    let pods: Vec<Pod> = (1..=pods).map(start).collect();
    for pod in &pods {
        pod.ready().await.unwrap();
    }
    watcher.watch(&pods).unwrap();
    watcher.ready().await.unwrap();
    let region = Region { name, vault, pods, watcher };
    for secret in SECRETS {
        region.uses(secret).await;
    }
    region
}

/// `regions vault apply` on a region.
async fn apply(folder: &Path, name: &str, vault: &VaultServer) {
    let token = folder.join(format!("{name}.root"));
    write_private(&token, vault.root_token().expose_secret().as_bytes()).unwrap();
    let region = format!("production/{name}");
    let mut arguments = vec!["vault", "apply", &region, "--vault-token-file", token.to_str().unwrap()];
    arguments.extend(["--vault-ca", vault.ca_file().to_str().unwrap()]);
    let child = run::bare(&folder.join("local/catalogue"), folder, &arguments).spawn().unwrap();
    run::end(child, Instant::now()).await.expect(0);
    let _ = vault.admin().call(Method::GET, "sys/mounts", None).await.unwrap();
}

fn copy_catalogue(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy(&from.join("schema"), &to.join("regions/schema"));
    copy(&from.join("../local/catalogue"), &to.join("local/catalogue"));
}

fn edit(folder: &Path, file: &str, change: impl FnOnce(String) -> String) {
    let file = folder.join("local/catalogue/production").join(file);
    fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A line of a key in PEM, as a canary.
fn line_of(pem: &str) -> String {
    pem.lines().nth(1).unwrap().to_owned()
}
