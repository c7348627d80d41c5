//! The ConfigMap `traffic` of a region, whose data `drain` and `restore` own, and the pods that read it.

use std::collections::BTreeMap;

use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::{Value, json};

use super::error::ClusterError;
use super::{Cluster, NAMESPACE};
use crate::plan::object::ObjectRef;

/// The field manager of the data, beside the one of releases.
const MANAGER: &str = "regions-traffic";

/// Annotation of `traffic`: the fence of the run that looked at it last under the region's Lease, and when.
const MARK: &str = "meridian.internal/traffic-fence";

/// Annotation of a pod: when kubelet was asked to look at its volumes at once.
const HURRIED: &str = "meridian.internal/traffic";

impl Cluster {
    /// Marks `traffic`, so that it has another version from then on.
    ///
    /// # Errors
    /// When the region refuses it or cannot be asked.
    pub async fn mark_traffic(&self, id: &ObjectRef, mark: &str) -> Result<(), ClusterError> {
        let path = self.path(id).await?;
        let patch = json!({"metadata": {"annotations": {MARK: mark}}});
        let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&patch);
        let answer: Result<Value, _> =
            self.call("mark", &id.to_string(), || Ok(path.patch(&id.name, &how, &patch)?)).await;
        answer.map(drop)
    }

    /// Writes the data of `traffic` whole over the version that was read: what a person wrote there by hand goes.
    ///
    /// # Errors
    /// Somebody else wrote it meanwhile, or the region refuses it or cannot be asked.
    pub async fn set_traffic(
        &self,
        id: &ObjectRef,
        data: &BTreeMap<String, String>,
        over: &str,
    ) -> Result<(), ClusterError> {
        let path = self.path(id).await?;
        let body = json!({
            "apiVersion": id.api_version, "kind": id.kind,
            "metadata": {"name": id.name, "namespace": NAMESPACE, "resourceVersion": over}, "data": data,
        });
        let how = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&body);
        let answer: Result<Value, _> =
            self.call("apply", &id.to_string(), || Ok(path.patch(&id.name, &how, &patch)?)).await;
        answer.map(drop)
    }

    /// Touches a pod, so that its kubelet brings its volumes up to date at once.
    ///
    /// # Errors
    /// When the region refuses it or cannot be asked.
    pub async fn hurry(&self, pod: &str, now: &str) -> Result<(), ClusterError> {
        let patch = json!({"metadata": {"annotations": {HURRIED: now}}});
        let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let path = Request::new(format!("/api/v1/namespaces/{NAMESPACE}/pods"));
        let patch = Patch::Merge(&patch);
        let answer: Result<Value, _> = self
            .call("touch", &format!("Pod {NAMESPACE}/{pod}"), || Ok(path.patch(pod, &how, &patch)?))
            .await;
        answer.map(drop)
    }
}
