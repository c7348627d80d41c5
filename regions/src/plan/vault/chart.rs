//! What the official chart of Vault is given for a region, where its Vault runs in its cluster.
//!
//! The keys are those of <https://developer.hashicorp.com/vault/docs/deploy/kubernetes/helm/configuration>.

use serde_json::{Value, json};

use crate::catalogue::Environment;
use crate::catalogue::region::Region;

/// The chart's name.
pub const CHART: &str = "vault";

/// The version whose values these are; its Vault is 1.21
/// (<https://github.com/hashicorp/vault-helm/releases/tag/v0.32.0>).
pub const VERSION: &str = "0.32.0";

/// Servers of a region: one may be away while another is updated.
const SERVERS: u8 = 3;

/// Where a server finds its certificate, its key and its authority.
const TLS: &str = "/vault/userconfig/tls";

/// Where Vault stands in a cluster: namespace, and name of its Service.
pub fn service(region: &Region) -> (&str, &str) {
    // A Service of the active server alone belongs to the same StatefulSet.
    let (namespace, name) = region.vault.value.service().unwrap_or(("vault", "vault"));
    (namespace, name.strip_suffix("-active").unwrap_or(name))
}

/// The Secret with `ca.crt`, `tls.crt` and `tls.key`, which is not made here: nothing that `regions` applies is a
/// Secret.
pub fn tls_secret(region: &Region) -> String {
    format!("{}-tls", service(region).1)
}

/// The names that the certificate in it is for.
pub fn tls_names(region: &Region) -> [String; 2] {
    let (namespace, name) = service(region);
    [format!("{name}.{namespace}.svc"), format!("*.{name}-internal")]
}

/// Whether a packaged chart is the one that these values are for.
pub fn is_chart(name: &str, version: &str) -> bool {
    // Build metadata says where a chart was packaged, not what it is (SemVer 2.0, 10).
    name == CHART && version.split('+').next() == Some(VERSION)
}

/// The values.
pub fn values(environment: &Environment, region: &Region) -> Value {
    let (_, name) = service(region);
    let project = environment.settings.project.as_str();
    let account = format!("vault-{}@{project}.iam.gserviceaccount.com", region.name);
    let selector = json!({"matchLabels": {"app.kubernetes.io/name": CHART, "component": "server"}});
    json!({
        "fullnameOverride": name,
        "global": {"tlsDisable": false},
        "injector": {"enabled": false},
        "csi": {"enabled": false},
        "ui": {"enabled": false},
        "server": {
            "logFormat": "json",
            "includeConfigAnnotation": true,
            "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
            "serviceAccount": {"annotations": {"iam.gke.io/gcp-service-account": account}},
            "authDelegator": {"enabled": true},
            "dataStorage": {"enabled": true, "size": "10Gi"},
            "extraEnvironmentVars": {
                "VAULT_CACERT": format!("{TLS}/ca.crt"),
                "VAULT_TLS_SERVER_NAME": tls_names(region)[0],
            },
            "volumes": [{"name": "tls", "secret": {"secretName": tls_secret(region), "defaultMode": 0o440}}],
            "volumeMounts": [{"name": "tls", "mountPath": TLS, "readOnly": true}],
            // Spot nodes go away three at a time, and with them the quorum.
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "cloud.google.com/gke-spot", "operator": "DoesNotExist"}]},
                ]}},
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"},
                ]},
            },
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector,
            }],
            "statefulSet": {"securityContext": {
                "pod": {
                    "runAsNonRoot": true, "runAsUser": 100, "runAsGroup": 1000, "fsGroup": 1000,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "container": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }},
            "ha": {
                "enabled": true,
                "replicas": SERVERS,
                "raft": {"enabled": true, "setNodeId": true, "config": configuration(environment, region)},
            },
        },
    })
}

/// The servers' configuration, which holds no secret: the seal's key is Cloud KMS's, reached as the pods' own
/// identity. Raft's times are the ones that HashiCorp recommends for production, a fifth of the default: another server
/// takes over from a lost one in a second or two (<https://developer.hashicorp.com/vault/docs/configuration/storage/raft>).
fn configuration(environment: &Environment, region: &Region) -> String {
    let (_, name) = service(region);
    let server = &tls_names(region)[0];
    let mut text = format!(
        r#"ui = false
disable_mlock = true

listener "tcp" {{
  address         = "[::]:8200"
  cluster_address = "[::]:8201"
  tls_cert_file   = "{TLS}/tls.crt"
  tls_key_file    = "{TLS}/tls.key"
  tls_min_version = "tls13"
}}

storage "raft" {{
  path                   = "/vault/data"
  performance_multiplier = 1
"#
    );
    for server_number in 0..SERVERS {
        text.push_str(&format!(
            r#"
  retry_join {{
    leader_api_addr         = "https://{name}-{server_number}.{name}-internal:8200"
    leader_ca_cert_file     = "{TLS}/ca.crt"
    leader_tls_servername   = "{server}"
  }}
"#
        ));
    }
    text.push_str(&format!(
        r#"}}

seal "gcpckms" {{
  project    = "{}"
  region     = "{}"
  key_ring   = "{}"
  crypto_key = "vault"
}}

service_registration "kubernetes" {{}}
"#,
        environment.settings.project.as_str(),
        region.location.as_str(),
        region.cluster(),
    ));
    text
}
