//! What a region's watcher writes: one ConfigMap, and events.

use kube::api::{GetParams, PostParams};
use kube::core::Request;
use serde_json::Value;

use super::Cluster;
use super::error::ClusterError;

/// As whom the watcher writes.
const MANAGER: &str = "regions-watch";

impl Cluster {
    /// A ConfigMap; nothing where there is none.
    ///
    /// # Errors
    /// The region cannot be asked.
    pub(crate) async fn configmap(&self, namespace: &str, name: &str) -> Result<Option<Value>, ClusterError> {
        let path = Request::new(format!("/api/v1/namespaces/{namespace}/configmaps"));
        let what = format!("ConfigMap {namespace}/{name}");
        let answer = self.call("get", &what, || Ok(path.get(name, &GetParams::default())?)).await;
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.cause.status().is_some_and(kube::core::Status::is_not_found) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a ConfigMap over the version that it says it is, or anew where it says none.
    ///
    /// # Errors
    /// Somebody else wrote it meanwhile, or the region cannot be asked.
    pub(crate) async fn write_configmap(
        &self,
        namespace: &str,
        name: &str,
        map: &Value,
    ) -> Result<(), ClusterError> {
        let path = Request::new(format!("/api/v1/namespaces/{namespace}/configmaps"));
        let what = format!("ConfigMap {namespace}/{name}");
        let how = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let bytes = map.to_string().into_bytes();
        let written: Result<Value, _> = match map.pointer("/metadata/resourceVersion") {
            Some(_) => {
                self.call_once("replace", &what, || Ok(path.replace(name, &how, bytes.clone())?)).await
            }
            None => self.call_once("create", &what, || Ok(path.create(&how, bytes.clone())?)).await,
        };
        written.map(drop)
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
