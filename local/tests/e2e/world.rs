//! The regions that every test finds, and leaves as it found them.

use std::time::Duration;

use http::Method;
use local_region::environment::{Environment, Region};
use local_region::kubernetes::Access;
use local_region::wait::wait_until;
use serde_json::{Value, json};

/// The environment that `make e2e` brings up.
pub(crate) const ENVIRONMENT: &str = "production";

pub(crate) const PODS: &str = "/api/v1/namespaces/meridian/pods";
pub(crate) const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/meridian/deployments/service";

/// Until a change of pods has come to its end.
pub(crate) const SETTLES: Duration = Duration::from_secs(180);

/// Until something of one pod has happened.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) environment: Environment,
}

/// A region and its cluster.
pub(crate) struct Place {
    pub(crate) region: Region,
    pub(crate) cluster: Access,
}

impl World {
    /// The environment, once every region runs two pods that are ready, and nothing else.
    pub(crate) async fn open() -> Self {
        let world = Self { environment: Environment::open(ENVIRONMENT).unwrap() };
        for place in world.places() {
            // A test that failed may have left one closed.
            for node in &place.region.nodes {
                place.cordon(node, false).await;
            }
            place.settled(2).await;
        }
        world
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        let place = |region: &Region| Place {
            region: region.clone(),
            cluster: self.environment.cluster(region).unwrap(),
        };
        self.environment.regions.iter().map(place).collect()
    }

    /// The first region, in which most things are tried.
    pub(crate) fn eu(&self) -> Place {
        self.places().remove(0)
    }

    /// It, as the catalogue has it.
    pub(crate) fn plan(&self) -> local_region::platform::Plan {
        self.environment.plans().unwrap().remove(0)
    }
}

impl Place {
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.cluster.call(Method::GET, path, None).await.unwrap()
    }

    pub(crate) async fn create(&self, path: &str, object: Value) -> Value {
        self.cluster.call(Method::POST, path, Some(object)).await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.cluster.call(Method::DELETE, path, None).await.unwrap();
    }

    /// The service's pods, those that are going among them, by name.
    pub(crate) async fn pods(&self) -> Vec<Value> {
        let selector = "?labelSelector=app.kubernetes.io/name%3Dservice";
        let found =
            self.cluster.call(Method::GET, &format!("{PODS}{selector}"), None).await.unwrap_or_default();
        let mut pods = found["items"].as_array().cloned().unwrap_or_default();
        pods.sort_by_key(|pod| name(pod).to_owned());
        pods
    }

    /// Waits until so many pods of the Deployment's current form are ready, and there are no others.
    pub(crate) async fn settled(&self, count: usize) -> Vec<Value> {
        let what = format!("{count} pods of {} to be ready", self.region.name);
        let settled = wait_until(what, SETTLES, async || {
            let deployment = self.cluster.call(Method::GET, DEPLOYMENT, None).await.unwrap_or_default();
            let (status, pods) = (&deployment["status"], self.pods().await);
            let current = status["observedGeneration"] == deployment["metadata"]["generation"];
            let updated = status["updatedReplicas"].as_u64() == u64::try_from(count).ok();
            let seen = pods.iter().map(|pod| format!("{} {}", name(pod), state(pod))).collect::<Vec<_>>();
            if current && updated && pods.len() == count && pods.iter().all(ready) {
                Ok(pods)
            } else {
                Err(seen.join(", "))
            }
        });
        settled.await.unwrap()
    }

    /// Closes a node to new pods, or opens it again.
    pub(crate) async fn cordon(&self, node: &str, closed: bool) {
        let patch = json!({"spec": {"unschedulable": closed}});
        self.cluster.merge(&format!("/api/v1/nodes/{node}"), &patch).await.unwrap();
    }

    /// Starts every pod anew, one after the other, as `kubectl rollout restart` does.
    pub(crate) async fn restart(&self) {
        let annotations = json!({"meridian.test/restart": uuid::Uuid::new_v4().to_string()});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        self.cluster.merge(DEPLOYMENT, &patch).await.unwrap();
    }
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether a pod is ready and stays.
pub(crate) fn ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let holds = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    conditions.iter().any(holds) && pod["metadata"]["deletionTimestamp"].is_null()
}

fn state(pod: &Value) -> &'static str {
    match (ready(pod), pod["metadata"]["deletionTimestamp"].is_null()) {
        (true, _) => "ready",
        (false, true) => "not ready",
        (false, false) => "going",
    }
}

/// A container's status, with those of sidecars.
pub(crate) fn container<'a>(pod: &'a Value, wanted: &str) -> &'a Value {
    let statuses = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array());
    let mut statuses = statuses.into_iter().flatten().flatten();
    statuses.find(|status| status["name"] == wanted).unwrap_or(&Value::Null)
}
