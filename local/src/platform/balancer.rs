//! The controller that gives Services of type LoadBalancer an address, as a cloud's would.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use ipnet::Ipv4Net;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::kubernetes::{Error, KubernetesApi};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);

/// Gives addresses until it is dropped. kube-proxy serves what stands in a Service's status.
pub(super) async fn balance(api: Arc<KubernetesApi>, addresses: Ipv4Net) {
    loop {
        // An API server that is away now is there again later.
        let _ = look(&api, addresses).await;
        sleep(LOOK).await;
    }
}

async fn look(api: &KubernetesApi, addresses: Ipv4Net) -> Result<(), Error> {
    let services = api.call(Method::GET, "/api/v1/services", None).await?;
    let services = services["items"].as_array().cloned().unwrap_or_default();
    let balanced = |service: &&Value| service["spec"]["type"] == "LoadBalancer";
    let address = |service: &Value| -> Option<Ipv4Addr> {
        service.pointer("/status/loadBalancer/ingress/0/ip")?.as_str()?.parse().ok()
    };
    let mut taken: BTreeSet<Ipv4Addr> = services.iter().filter(balanced).filter_map(address).collect();
    for service in services.iter().filter(balanced).filter(|service| address(service).is_none()) {
        let Some(free) = addresses.hosts().find(|address| !taken.contains(address)) else { return Ok(()) };
        taken.insert(free);
        let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let path = format!(
            "/api/v1/namespaces/{}/services/{}/status",
            text("/metadata/namespace"),
            text("/metadata/name")
        );
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": free.to_string()}]}}});
        api.call(Method::PATCH, &path, Some(status)).await?;
    }
    Ok(())
}
