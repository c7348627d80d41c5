//! Kubeconfig files with a context for each of several API servers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::KubernetesApi;
use crate::pki::{self, write_private};

/// A kubeconfig that is about to be written.
#[derive(Default)]
pub struct Kubeconfig {
    clusters: Vec<Value>,
    users: Vec<Value>,
    contexts: Vec<Value>,
}

impl Kubeconfig {
    /// One with no context.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a context with the administrator's rights.
    #[must_use]
    pub fn context(self, name: &str, api: &KubernetesApi) -> Self {
        self.context_via(name, api, api.address(), api.admin_token())
    }

    /// Adds a context for another user, by way of another address, such as a proxy's.
    #[must_use]
    pub fn context_via(
        mut self,
        name: &str,
        api: &KubernetesApi,
        via: SocketAddr,
        token: &SecretString,
    ) -> Self {
        let authority = api.ca_bundle();
        let server = format!("https://{via}");
        let cluster = json!({"server": server, "certificate-authority-data": authority});
        self.clusters.push(json!({"name": name, "cluster": cluster}));
        self.users.push(json!({"name": name, "user": {"token": token.expose_secret()}}));
        self.contexts.push(json!({"name": name, "context": {"cluster": name, "user": name}}));
        self
    }

    /// Adds a context whose user is given as in a kubeconfig, such as one with a credential plugin.
    #[must_use]
    pub fn context_as(mut self, name: &str, api: &KubernetesApi, user: Value) -> Self {
        self = self.context(name, api);
        if let Some(entry) = self.users.last_mut() {
            entry["user"] = user;
        }
        self
    }

    /// Writes it to a file that only its owner may read.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<PathBuf, pki::Error> {
        let current = self.contexts.first().map(|context| context["name"].clone());
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": self.clusters,
            "users": self.users,
            "contexts": self.contexts,
            "current-context": current,
        });
        write_private(path, config.to_string().as_bytes())
    }
}
