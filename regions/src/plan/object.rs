//! What an object is called, and the marks that this tool leaves on it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Prefix of every label and annotation that this platform owns.
pub const DOMAIN: &str = "meridian.internal/";

/// Label of every object that `regions` applied; only objects that carry it are ever pruned.
pub const OWNER_LABEL: &str = "meridian.internal/owner";

/// Value of [`OWNER_LABEL`], and the field manager of every write.
pub const OWNER: &str = "regions";

/// Annotation of a pod template: the digest of the release that the pod runs.
pub const RELEASE_ANNOTATION: &str = "meridian.internal/release";

/// Annotation of all that this tool applied: the transitions of the Lease under which it was. A policy of the API
/// server refuses a lower one than stands there.
pub const FENCE: &str = "meridian.internal/fence";

/// The fence on an object; 0 where there is none.
pub fn fence_of(live: &Value) -> u64 {
    let fence = live["metadata"]["annotations"][FENCE].as_str();
    fence.and_then(|fence| fence.parse().ok()).unwrap_or(0)
}

/// Identity of an object in a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectRef {
    /// Group and version, such as `apps/v1`; the core group is `v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Absent for objects of the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
}

impl ObjectRef {
    /// The API group, empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The version inside the group.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(self.api_version.as_str(), |(_, version)| version)
    }

    /// Whether both name the same stored object: one object is served under each version of its group.
    pub fn same_object(&self, other: &Self) -> bool {
        (self.group(), &self.kind, &self.namespace, &self.name)
            == (other.group(), &other.kind, &other.namespace, &other.name)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// An object as the chart renders it, with its identity read out.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its identity.
    pub id: ObjectRef,
    /// The whole object.
    pub value: Value,
}

impl Object {
    /// Puts this tool's marks on the object: the owner label, and on the pod template, where there is one,
    /// the digest of the release, so that a pod can say which release it runs.
    pub fn mark(&mut self, digest: &str) {
        set(&mut self.value, &["metadata", "labels", OWNER_LABEL], OWNER);
        if self.value.pointer("/spec/template/spec/containers").is_some() {
            set(
                &mut self.value,
                &["spec", "template", "metadata", "annotations", RELEASE_ANNOTATION],
                digest,
            );
        }
    }
}

impl Object {
    /// Puts the fence on the object; 0 takes it away.
    pub fn fence(&mut self, fence: u64) {
        if fence > 0 {
            set(&mut self.value, &["metadata", "annotations", FENCE], &fence.to_string());
        } else if let Some(annotations) =
            self.value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
        {
            annotations.remove(FENCE);
        }
    }
}

/// Sets a text below `value`, making the maps on the way.
fn set(value: &mut Value, path: &[&str], text: &str) {
    let mut at = value;
    for key in path {
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        at = &mut at[*key];
    }
    *at = Value::String(text.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Object {
        let value = json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": []}}}});
        Object { id: id("apps/v1", "Deployment"), value }
    }

    fn id(api_version: &str, kind: &str) -> ObjectRef {
        ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: Some("meridian".into()),
            name: "a".into(),
        }
    }

    #[test]
    fn marks_object_and_pod_template() {
        let mut object = deployment();
        object.mark("sha256:ab");
        assert_eq!(object.value["metadata"]["labels"][OWNER_LABEL], OWNER);
        let template = &object.value["spec"]["template"]["metadata"];
        assert_eq!(template["annotations"][RELEASE_ANNOTATION], "sha256:ab");
    }

    #[test]
    fn an_object_without_pods_gets_no_release() {
        let mut object = Object { id: id("v1", "Service"), value: json!({"metadata": {}, "spec": {}}) };
        object.mark("sha256:ab");
        assert_eq!(object.value, json!({"metadata": {"labels": {OWNER_LABEL: OWNER}}, "spec": {}}));
    }

    #[test]
    fn versions_of_one_group_are_one_object() {
        assert!(id("autoscaling/v1", "HPA").same_object(&id("autoscaling/v2", "HPA")));
        assert!(!id("extensions/v1", "Ingress").same_object(&id("networking.k8s.io/v1", "Ingress")));
    }
}
