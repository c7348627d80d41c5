//! What a region's watcher writes: one ConfigMap, and events.

use kube::api::{GetParams, PostParams};
use kube::core::Request;
use serde_json::{Map, Value, json};

use super::Cluster;
use super::error::ClusterError;
use super::objects::MAKER;

/// As whom the watcher writes.
const MANAGER: &str = "regions-watch";

impl Cluster {
    /// A ConfigMap; nothing where there is none.
    ///
    /// # Errors
    /// The region cannot be asked.
    pub(crate) async fn configmap(&self, namespace: &str, name: &str) -> Result<Option<Value>, ClusterError> {
        let path = configmaps(namespace);
        let what = format!("ConfigMap {namespace}/{name}");
        let answer = self.call("get", &what, || Ok(path.get(name, &GetParams::default())?)).await;
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.cause.status().is_some_and(kube::core::Status::is_not_found) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a ConfigMap without data, where there is none.
    ///
    /// # Errors
    /// The region cannot be asked.
    pub(crate) async fn make_configmap(&self, namespace: &str, name: &str) -> Result<(), ClusterError> {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
        });
        self.impose(&configmaps(namespace), name, &body, MAKER).await.map(drop)
    }

    /// Writes a ConfigMap's data over the version that was read.
    ///
    /// # Errors
    /// Somebody else wrote it meanwhile, or the region cannot be asked.
    pub(crate) async fn write_configmap(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        data: Map<String, Value>,
    ) -> Result<(), ClusterError> {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": version}, "data": data,
        });
        self.impose(&configmaps(namespace), name, &body, MANAGER).await.map(drop)
    }

    /// Writes an event.
    ///
    /// # Errors
    /// The region refuses it or cannot be asked.
    pub(crate) async fn write_event(&self, namespace: &str, event: &Value) -> Result<(), ClusterError> {
        let path = Request::new(format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"));
        let how = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let bytes = event.to_string().into_bytes();
        let written: Result<Value, _> =
            self.call_once("create", "an event", || Ok(path.create(&how, bytes.clone())?)).await;
        written.map(drop)
    }
}

fn configmaps(namespace: &str) -> Request {
    Request::new(format!("/api/v1/namespaces/{namespace}/configmaps"))
}
