//! The configuration file of a server.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::Storage;
use crate::pki::Files;

pub(super) fn render(
    storage: Storage,
    folder: &Path,
    files: &Files,
    address: SocketAddr,
    cluster: SocketAddr,
) -> Value {
    let data = folder.join("data");
    let storage = match storage {
        Storage::Memory => json!({"inmem": {}}),
        // One server has nobody to wait for: the shortest timeouts that Vault takes.
        Storage::Raft => json!({"raft": {"path": data, "node_id": "one", "performance_multiplier": 1}}),
    };
    let listener = json!({"tcp": {
        "address": address.to_string(),
        "cluster_address": cluster.to_string(),
        "tls_cert_file": files.certificate,
        "tls_key_file": files.key,
    }});
    json!({
        "storage": storage,
        "listener": listener,
        "api_addr": format!("https://{address}"),
        "cluster_addr": format!("https://{cluster}"),
        // The memory-lock limit of a developer's machine is too small for it.
        "disable_mlock": true,
        "log_level": "info",
    })
}
