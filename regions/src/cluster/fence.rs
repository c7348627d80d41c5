//! Stamps what a region holds with the fence of a new holder of its Lease, before that one writes anything else:
//! what an earlier holder still has on the way is refused from then on.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{GetParams, Patch, PatchParams};
use kube::core::Request;
use serde_json::{Value, json};

use super::error::{Cause, ClusterError, FENCE_POLICY};
use super::{Cluster, NAMESPACE};
use crate::plan::object::{FENCE, OWNER, OWNER_LABEL, ObjectRef, fence_of};

/// Calls to one API server at a time.
const AT_ONCE: usize = 8;

impl Cluster {
    /// The fence that the namespace carries, which new objects are judged by; nothing where there is no namespace.
    ///
    /// # Errors
    /// When the region cannot be asked.
    pub async fn namespace_fence(&self) -> Result<Option<u64>, ClusterError> {
        Ok(self.get(&namespace()).await?.map(|live| fence_of(&live)))
    }

    /// Whether the region has the policy that makes the fence hold.
    ///
    /// # Errors
    /// When the region cannot be asked.
    pub async fn has_fence_policy(&self) -> Result<bool, ClusterError> {
        let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
        let path = Request::new(path);
        let answer: Result<Value, _> =
            self.call("get", FENCE_POLICY, || Ok(path.get(FENCE_POLICY, &GetParams::default())?)).await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) if error.cause.status().is_some_and(|status| matches!(status.code, 403 | 404)) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Stamps the namespace, then these objects and every release record, as far as they are there and this tool's.
    ///
    /// # Errors
    /// When another run stamped them since, or the region cannot be asked.
    pub async fn stamp(&self, objects: &[ObjectRef]) -> Result<(), ClusterError> {
        match self.stamp_one(&namespace(), false).await {
            // Who may not write namespaces does without: it is there for a Lease that was deleted and counts anew.
            Err(error)
                if error.cause.status().is_some_and(|status| status.code == 403)
                    && !error.cause.is_fenced() => {}
            answer => answer?,
        }
        let records = self.record_names().await?.into_iter().map(|name| ObjectRef {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: Some(NAMESPACE.into()),
            name,
        });
        // Records first: whoever was fenced off cannot close them any more.
        let all: Vec<(ObjectRef, bool)> =
            records.map(|id| (id, false)).chain(objects.iter().cloned().map(|id| (id, true))).collect();
        stream::iter(all)
            .map(|(id, if_own)| async move { self.stamp_one(&id, if_own).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn stamp_one(&self, id: &ObjectRef, if_own: bool) -> Result<(), ClusterError> {
        let fence = self.fence();
        for _ in 0..3 {
            let live = match self.get(id).await {
                Err(ClusterError { cause: Cause::Unserved(_), .. }) => return Ok(()),
                live => live?,
            };
            let Some(live) = live else { return Ok(()) };
            let own = live["metadata"]["labels"][OWNER_LABEL] == OWNER;
            if fence_of(&live) == fence || (if_own && !own) {
                return Ok(());
            }
            if fence_of(&live) > fence {
                let why =
                    format!("its fence is {}, and this run's {fence} ({FENCE_POLICY})", fence_of(&live));
                let status = kube::core::Status::failure(&why, "Conflict").with_code(409).boxed();
                return Err(self.error("stamp", &id.to_string(), Cause::Api(status)));
            }
            let patch = json!({"metadata": {
                "uid": live["metadata"]["uid"], "resourceVersion": live["metadata"]["resourceVersion"],
                "annotations": {FENCE: fence.to_string()},
            }});
            let how = PatchParams { field_manager: Some(OWNER.to_owned()), ..PatchParams::default() };
            let (path, patch) = (self.path(id).await?, Patch::Merge(&patch));
            let answer: Result<Value, _> =
                self.call("stamp", &id.to_string(), || Ok(path.patch(&id.name, &how, &patch)?)).await;
            match answer {
                Ok(_) => return Ok(()),
                Err(error) if error.cause.status().is_some_and(kube::core::Status::is_not_found) => {
                    return Ok(());
                }
                // Controllers write all the time: it is looked at again.
                Err(error) if error.cause.status().is_some_and(|status| status.code == 409) => {}
                Err(error) => return Err(error),
            }
        }
        let why = "others write it again and again".to_owned();
        Err(self.error("stamp", &id.to_string(), Cause::Unexpected(why)))
    }
}

fn namespace() -> ObjectRef {
    ObjectRef { api_version: "v1".into(), kind: "Namespace".into(), namespace: None, name: NAMESPACE.into() }
}
