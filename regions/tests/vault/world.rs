//! Two regions' Vaults, and a catalogue that names them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use std::time::{Duration, Instant};

use http::Method;
use local_region::issuer::Issuer;
use local_region::pki::{Ca, write_private};
use local_region::vault::{Admin, Error, VaultServer};
use local_region::wait::wait_until;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::run::{self, Ran};

/// Ids in the catalogue of these tests.
pub(crate) const ORGANISATION: &str = "0f8b3c5e-1111-4e6a-9d2b-7c41a5e9d001";
pub(crate) const PROJECT: &str = "6d2f9a7c-1111-4b0e-8a53-1e9c3f7bd002";
pub(crate) const PROMOTES: &str = "a1e4c7d2-1111-4c8f-b6a9-52d0e8f4c003";
pub(crate) const ROTATES: &str = "c93b5f08-1111-4f1d-9e72-8b6d4a2fe004";

/// Two regions of one environment.
pub(crate) struct World {
    pub(crate) eu: VaultServer,
    pub(crate) us: VaultServer,
    pub(crate) issuer: Issuer,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let (eu, us) = (Ca::new("eu").unwrap(), Ca::new("us").unwrap());
        let (eu, us) = tokio::try_join!(VaultServer::start(&eu), VaultServer::start(&us)).unwrap();
        let world =
            Self { eu, us, issuer: Issuer::start().await.unwrap(), folder: tempfile::tempdir().unwrap() };
        world.write_catalogue();
        world
    }

    fn write_catalogue(&self) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&from.join("schema"), &self.folder.path().join("regions/schema"));
        copy(&from.join("../local/catalogue"), &self.folder.path().join("local/catalogue"));
        for (region, vault) in [("eu", &self.eu), ("us", &self.us)] {
            self.edit(&format!("{region}.yaml"), |text| {
                format!("{text}vault: {{ address: {}, in_cluster: false }}\n", vault.url())
            });
        }
        let issuer = self.issuer.url();
        self.edit("_environment.yaml", |text| {
            format!(
                "{text}pipeline:\n  organisation: {ORGANISATION}\n  project: {PROJECT}\n  \
                 contexts: {{ promoter: {PROMOTES}, rotator: {ROTATES} }}\n  issuer: {issuer}\n"
            )
        });
    }

    pub(crate) fn catalogue(&self) -> PathBuf {
        self.folder.path().join("local/catalogue")
    }

    /// Changes a file of the environment.
    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let file = self.catalogue().join("production").join(file);
        fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
    }

    /// A file with this token.
    pub(crate) fn token_file(&self, name: &str, token: &str) -> String {
        let file = self.folder.path().join(name);
        let _ = fs::remove_file(&file);
        write_private(&file, token.as_bytes()).unwrap().to_str().unwrap().to_owned()
    }

    /// `regions vault apply` on a region as root, to its end.
    pub(crate) async fn apply(&self, region: &str, further: &[&str]) -> Ran {
        let vault = if region == "eu" { &self.eu } else { &self.us };
        let token = self.token_file(region, vault.root_token().expose_secret());
        self.apply_as(region, &token, vault.ca_file(), further).await
    }

    /// `regions vault apply` with a token and an authority, to its end.
    pub(crate) async fn apply_as(&self, region: &str, token: &str, ca: &Path, further: &[&str]) -> Ran {
        let started = Instant::now();
        let ran = run::end(self.applying(region, token, ca, further).spawn().unwrap(), started).await;
        ran.says_not("hvs.");
        ran
    }

    /// `regions vault apply`, not yet begun.
    pub(crate) fn applying(
        &self,
        region: &str,
        token: &str,
        ca: &Path,
        further: &[&str],
    ) -> tokio::process::Command {
        let region = format!("production/{region}");
        let mut arguments = vec!["vault", "apply", &region, "--vault-token-file", token];
        arguments.extend(["--vault-ca", ca.to_str().unwrap()]);
        arguments.extend(further);
        run::bare(&self.catalogue(), self.folder.path(), &arguments)
    }
}

/// What a Vault holds that an apply could touch, as its API answers it. Identifiers that Vault draws are left out.
pub(crate) async fn contents(admin: &Admin) -> BTreeMap<String, Value> {
    let mut contents = BTreeMap::new();
    for table in ["sys/mounts", "sys/auth", "sys/audit"] {
        let mut found = read(admin, table).await;
        for (_, entry) in found.as_object_mut().unwrap() {
            for drawn in ["accessor", "uuid"] {
                entry.as_object_mut().unwrap().remove(drawn);
            }
        }
        contents.insert(table.to_owned(), found);
    }
    let mut paths =
        vec!["kv/config".to_owned(), "sys/quotas/config".to_owned(), "auth/jwt/config".to_owned()];
    for folder in ["sys/policies/acl", "sys/quotas/rate-limit", "auth/approle/role", "auth/jwt/role"] {
        let Ok(list) = admin.call(Method::GET, &format!("{folder}?list=true"), None).await else { continue };
        let names =
            list["data"]["keys"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        paths.extend(names.filter(|name| name != "root").map(|name| format!("{folder}/{name}")));
    }
    for path in paths {
        let found = read(admin, &path).await;
        contents.insert(path, found);
    }
    contents
}

/// The data at a path; null where there is nothing.
pub(crate) async fn read(admin: &Admin, path: &str) -> Value {
    let quota = Duration::from_secs(10);
    let answer = wait_until("a read that the quota lets pass", quota, async || {
        match admin.call(Method::GET, path, None).await {
            Err(Error::Refused { status, .. }) if status == 404 => Ok(Value::Null),
            Err(error @ Error::Refused { status, .. }) if status == 429 => Err(error),
            answer => Ok(answer.unwrap()),
        }
    });
    answer.await.unwrap()["data"].take()
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
