//! The pod of a region's Vault: what must be there before it, and how this machine reaches it.

use std::fs;
use std::os::unix::fs::chown;
use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use local_region::environment::{VAULT_NAME, vault_address};
use local_region::http::{Client, Target, client_tls};
use local_region::pki::{Ca, write_private};
use local_region::platform::Region;
use local_region::vault::{Admin, VaultServer};
use local_region::wait::wait_until;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::create;

/// The user and the group of its process, as `regions bootstrap` has them.
const USER: (u32, u32) = (100, 1000);

/// How long the helper may take to take keys.
const TAKES: Duration = Duration::from_secs(30);

/// Makes what a pod of Vault and the service's pods need, and the values that differ from a cloud's. Gives the
/// authority of its certificate.
pub(super) async fn prepare(region: &Region, helper: &VaultServer) -> Result<Ca> {
    let plan = region.plan();
    let ca = Ca::new(&format!("Vault of {}/{}", plan.environment, plan.name))?;
    let issued = ca.issue(&[VAULT_NAME, "*.vault-internal", "localhost", "127.0.0.1"])?;
    let token = seal(helper, &plan.name).await?;
    let namespace = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    let secret = |name: &str, data: Value| json!({"metadata": {"name": name}, "stringData": data});
    let (namespaces, secrets) = ("/api/v1/namespaces", "/api/v1/namespaces/vault/secrets");
    create(region, namespaces, namespace("vault", json!({}))).await?;
    let files = json!({
        "ca.crt": ca.pem(), "tls.crt": issued.certificate_pem, "tls.key": issued.key_pem.expose_secret(),
        "seal.crt": fs::read_to_string(helper.ca_file())?,
    });
    create(region, secrets, secret("vault-tls", files)).await?;
    create(region, secrets, secret("vault-seal", json!({"token": token.expose_secret()}))).await?;
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    create(region, namespaces, namespace("meridian", restricted)).await?;
    let authority = json!({"metadata": {"name": "vault-ca"}, "data": {"ca.crt": ca.pem()}});
    create(region, "/api/v1/namespaces/meridian/configmaps", authority).await?;
    let data = region.folder().join("vault-data");
    fs::create_dir_all(&data).and_then(|()| chown(&data, Some(USER.0), Some(USER.1)))?;
    let values = values(region, helper);
    write_private(&region.folder().join("vault-values.json"), values.to_string().as_bytes())?;
    Ok(ca)
}

/// A key in the helper, and a token that does nothing but use it.
async fn seal(helper: &VaultServer, region: &str) -> Result<SecretString> {
    let (admin, post) = (helper.admin(), Method::POST);
    if admin.call(Method::GET, "sys/mounts/transit", None).await.is_err() {
        // Another region's turn may be at the same time; the key tells whether it is there.
        let _ = admin.call(post.clone(), "sys/mounts/transit", Some(json!({"type": "transit"}))).await;
    }
    let made = async || admin.call(post.clone(), &format!("transit/keys/{region}"), None).await;
    wait_until("the helper's transit engine", TAKES, made).await?;
    let rules = ["encrypt", "decrypt"].map(|operation| {
        format!("path \"transit/{operation}/{region}\" {{ capabilities = [\"update\"] }}\n")
    });
    let policy = json!({"policy": rules.concat()});
    admin.call(Method::PUT, &format!("sys/policies/acl/{region}"), Some(policy)).await?;
    let parameters = json!({"policies": [region], "no_parent": true, "period": "24h"});
    Ok(admin.create_token(parameters).await?)
}

/// One server whose data outlives its pod, unsealed by the helper.
fn values(region: &Region, helper: &VaultServer) -> Value {
    let (tls, name) = ("/vault/userconfig/tls", &region.plan().name);
    let config = format!(
        r#"disable_mlock = true
listener "tcp" {{
  address         = "[::]:8200"
  cluster_address = "[::]:8201"
  tls_cert_file   = "{tls}/tls.crt"
  tls_key_file    = "{tls}/tls.key"
}}
storage "raft" {{
  path                   = "/vault/raft"
  performance_multiplier = 1
}}
seal "transit" {{
  address         = "https://{}"
  tls_ca_cert     = "{tls}/seal.crt"
  tls_server_name = "localhost"
  mount_path      = "transit/"
  key_name        = "{name}"
}}
service_registration "kubernetes" {{}}
"#,
        helper.address()
    );
    let volumes = json!([
        {"name": "tls", "secret": {"secretName": "vault-tls", "defaultMode": 0o440}},
        {"name": "raft", "hostPath": {"path": region.folder().join("vault-data"), "type": "Directory"}},
    ]);
    json!({"server": {
        "image": {"repository": "localhost/vault", "tag": "1.21.0", "pullPolicy": "Never"},
        "dataStorage": {"enabled": false},
        "volumes": volumes,
        "volumeMounts": [{"name": "tls", "mountPath": tls, "readOnly": true}, {"name": "raft", "mountPath": "/vault/raft"}],
        "extraSecretEnvironmentVars": [{"envName": "VAULT_TOKEN", "secretName": "vault-seal", "secretKey": "token"}],
        "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"memory": "1Gi"}},
        "ha": {"replicas": 1, "raft": {"config": config}},
    }})
}

/// It, as this machine reaches it: at its pod's address.
pub(super) async fn reach(region: &Region, authority: &Ca) -> Result<Admin> {
    let address = vault_address(&region.api().access()).await?;
    let config = client_tls(&authority.pem()).context("trust Vault's authority")?;
    let target = Target::Tls { address, name: VAULT_NAME.to_owned(), config };
    Ok(Admin::of(Client::new(target), &SecretString::default()))
}
