//! What a watcher is told: by flags, or by variables of the environment, as a pod has them.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::vault::session::{Login, Settings};

const EXAMPLES: &str = "\
In a pod it finds the region's API server by itself, and watches the pods that are labelled
app.kubernetes.io/name=service. With --agents it watches the machines that a file lists, and needs no cluster:

  [{\"name\": \"eu-1\", \"agent\": \"http://10.0.0.1:9091\", \"admin\": \"http://10.0.0.1:9090\",
    \"public\": \"https://10.0.0.1:8443\"}]

Example:
  regions watch --env production --region us-east4 --secrets config,tls,signing-keys,clients \\
      --vault-address https://vault:8200 --vault-ca vault-ca.pem --vault-token-file watcher.token --agents agents.json

Exit codes: 0 ended by a signal · 1 it cannot listen · 2 usage or configuration";

/// Which region is watched, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The environment
    #[arg(long = "env", value_name = "ENVIRONMENT", env = "WATCH_ENVIRONMENT")]
    pub environment: String,
    /// The region
    #[arg(long, value_name = "REGION", env = "WATCH_REGION")]
    pub region: String,
    /// The secrets, as the catalogue names them
    #[arg(long, value_name = "NAME,…", env = "WATCH_SECRETS", value_delimiter = ',', required = true)]
    pub secrets: Vec<String>,
    /// Address of the region's Vault
    #[arg(long, value_name = "URL", env = "WATCH_VAULT_ADDRESS")]
    pub vault_address: String,
    /// PEM certificates of the authorities that vouch for the Vault; no others do
    #[arg(long, value_name = "FILE", env = "WATCH_VAULT_CA_FILE")]
    pub vault_ca: PathBuf,
    /// How the watcher logs in
    #[command(flatten)]
    pub login: LoginArgs,
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", env = "WATCH_LISTEN", default_value = "0.0.0.0:9092")]
    pub listen: SocketAddr,
    /// The name by which it is known among watchers [default: the machine's]
    #[arg(long, value_name = "NAME", env = "WATCH_NAME")]
    pub name: Option<String>,
    /// A file that lists the machines to watch, instead of a cluster's pods; it is read at each look
    #[arg(long, value_name = "FILE", env = "WATCH_AGENTS")]
    pub agents: Option<PathBuf>,
    /// With --agents: a folder in which the highest versions are kept, one file for each secret, for agents to read
    /// (floor.dir)
    #[arg(long, value_name = "DIR", env = "WATCH_FLOOR_DIR", requires = "agents")]
    pub floor_dir: Option<PathBuf>,
    /// The least severe level that is logged
    #[arg(long, value_name = "LEVEL", env = "WATCH_LOG", default_value = "info")]
    pub log: tracing::Level,
}

/// How the watcher logs in: by exactly one of these ways.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct LoginArgs {
    /// File with the token of a ServiceAccount, or another JWT
    #[arg(long, value_name = "FILE", env = "WATCH_VAULT_JWT_FILE")]
    pub vault_jwt_file: Option<PathBuf>,
    /// Where the method that takes the JWT is mounted
    #[arg(long, value_name = "MOUNT", env = "WATCH_VAULT_JWT_MOUNT", default_value = "kubernetes")]
    pub vault_jwt_mount: String,
    /// The role that the JWT is for
    #[arg(long, value_name = "ROLE", env = "WATCH_VAULT_ROLE", default_value = "watcher")]
    pub vault_role: String,
    /// File with the role id of an AppRole
    #[arg(long, value_name = "FILE", env = "WATCH_VAULT_ROLE_ID_FILE", requires = "vault_secret_id_file")]
    pub vault_role_id_file: Option<PathBuf>,
    /// File with a secret id of that AppRole
    #[arg(long, value_name = "FILE", env = "WATCH_VAULT_SECRET_ID_FILE", requires = "vault_role_id_file")]
    pub vault_secret_id_file: Option<PathBuf>,
    /// File with a token that somebody else keeps alive
    #[arg(long, value_name = "FILE", env = "WATCH_VAULT_TOKEN_FILE")]
    pub vault_token_file: Option<PathBuf>,
}

impl Args {
    /// Where the Vault is, and how it is logged in to.
    ///
    /// # Errors
    /// It is not exactly one way.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let LoginArgs { vault_jwt_file, vault_jwt_mount, vault_role, .. } = &self.login;
        let jwt = vault_jwt_file.clone().map(|file| Login::Jwt {
            mount: vault_jwt_mount.trim_matches('/').to_owned(),
            role: vault_role.clone(),
            file,
        });
        let approle = self.login.vault_role_id_file.clone().zip(self.login.vault_secret_id_file.clone());
        let approle = approle.map(|(role_id, secret_id)| Login::AppRole { role_id, secret_id });
        let token = self.login.vault_token_file.clone().map(|file| Login::Token { file });
        let mut ways = [jwt, approle, token].into_iter().flatten();
        match (ways.next(), ways.next()) {
            (Some(login), None) => {
                Ok(Settings { address: self.vault_address.clone(), ca_file: self.vault_ca.clone(), login })
            }
            _ => Err("name one way to log in to Vault: --vault-jwt-file, --vault-role-id-file with \
                      --vault-secret-id-file, or --vault-token-file"
                .into()),
        }
    }
}
