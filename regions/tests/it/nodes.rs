//! What a kubelet would say of a region's pods: there are no nodes, so the tests say it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use local_region::kubernetes::KubernetesApi;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Sets the status of each new pod by its image: `ready.…`, `missing.…`, `crashing.…`. `pending.…` stays
/// pending until it is let start.
pub(crate) struct Nodes {
    tasks: Vec<JoinHandle<()>>,
    start_pending: Arc<AtomicBool>,
}

impl Nodes {
    pub(crate) fn of(regions: &[&Arc<KubernetesApi>]) -> Self {
        let start_pending = Arc::new(AtomicBool::new(false));
        let task = |api: &Arc<KubernetesApi>| tokio::spawn(run(Arc::clone(api), Arc::clone(&start_pending)));
        Self { tasks: regions.iter().map(|api| task(api)).collect(), start_pending }
    }

    /// From now on, pods of `pending.…` images start too.
    pub(crate) fn let_pending_start(&self) {
        self.start_pending.store(true, Ordering::Relaxed);
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn run(api: Arc<KubernetesApi>, start_pending: Arc<AtomicBool>) {
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tick.tick().await;
        balance(&api).await;
        let Ok(pods) = api.call(Method::GET, "/api/v1/namespaces/meridian/pods", None).await else {
            continue;
        };
        for pod in pods["items"].as_array().into_iter().flatten() {
            let Some(status) = status(pod, start_pending.load(Ordering::Relaxed)) else { continue };
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let path = format!("/api/v1/namespaces/meridian/pods/{name}/status");
            // The pod may be gone by now.
            let _ = api.call(Method::PATCH, &path, Some(json!({"status": status}))).await;
        }
    }
}

/// A cloud would give the load balancer an address.
async fn balance(api: &KubernetesApi) {
    let path = "/api/v1/namespaces/meridian/services/service";
    let Ok(service) = api.call(Method::GET, path, None).await else { return };
    if service["spec"]["type"] == "LoadBalancer" && service["status"]["loadBalancer"].get("ingress").is_none()
    {
        let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}});
        let _ = api.call(Method::PATCH, &format!("{path}/status"), Some(address)).await;
    }
}

/// The status that a pod is still to get.
fn status(pod: &Value, start_pending: bool) -> Option<Value> {
    if pod["status"].get("containerStatuses").is_some() {
        return None;
    }
    let container = &pod["spec"]["containers"][0];
    let image = container["image"].as_str()?;
    let (ready, state) = match image.split('.').next()? {
        "pending" if !start_pending => return None,
        "ready" | "pending" => (true, json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})),
        "missing" => (
            false,
            json!({"waiting": {"reason": "ImagePullBackOff", "message": format!("Back-off pulling image \"{image}\"")}}),
        ),
        "crashing" => (
            false,
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}),
        ),
        _ => return None,
    };
    Some(json!({
        "phase": if ready { "Running" } else { "Pending" },
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "containerStatuses": [{
            "name": container["name"], "image": image, "imageID": "", "ready": ready, "restartCount": 0, "state": state,
        }],
    }))
}
