//! Reading, applying and deleting the objects of a release.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList, LabelSelector};
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::params::ValidationDirective;
use kube::core::{Request, Status};
use serde_json::{Value, json};

use super::error::{Cause, ClusterError};
use super::{Cluster, NAMESPACE, WORKLOAD};
use crate::plan::conflict::Conflict;
use crate::plan::object::{OWNER, OWNER_LABEL, Object, ObjectRef};
use crate::plan::readiness::View;

/// As whom something is made before its data are written: a manager whose apply owns no field takes none away.
pub(super) const MAKER: &str = "regions-make";

/// What came of an apply.
#[derive(Debug)]
pub enum Applied {
    /// The object as it is now, or would be.
    Done(Box<Value>),
    /// Others own fields that the apply would change; nothing was written.
    Conflicts(Vec<Conflict>),
}

impl Cluster {
    /// Places an object as the region stores it: in this namespace when its kind lives in one and it names
    /// none, and in no namespace when its kind does not.
    ///
    /// # Errors
    /// When the region does not serve the kind.
    pub async fn place(&self, object: &mut Object, namespace: &str) -> Result<(), ClusterError> {
        let resource = self.resource(&object.id).await?;
        let own = object.id.namespace.take();
        if resource.namespaced {
            let namespace = own.unwrap_or_else(|| namespace.to_owned());
            object.value["metadata"]["namespace"] = namespace.as_str().into();
            object.id.namespace = Some(namespace);
        }
        Ok(())
    }

    /// The object, or nothing when it is not there or its kind is not served.
    ///
    /// # Errors
    /// When the region cannot be asked.
    pub async fn get(&self, id: &ObjectRef) -> Result<Option<Value>, ClusterError> {
        let path = self.path(id).await?;
        let answer =
            self.call("get", &id.to_string(), || Ok(path.get(&id.name, &GetParams::default())?)).await;
        absent_is_none(answer)
    }

    /// Whether the region serves the kind of an object.
    ///
    /// # Errors
    /// When the region cannot be asked.
    pub async fn serves(&self, id: &ObjectRef) -> Result<bool, ClusterError> {
        match self.resource(id).await {
            Ok(_) => Ok(true),
            Err(ClusterError { cause: Cause::Unserved(_), .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Applies an object on the server's side as the manager `regions`, without force.
    ///
    /// With `dry_run`, the API server runs everything but the write, and answers with the object as it would be.
    ///
    /// # Errors
    /// When the API server refuses the object or cannot be asked.
    pub async fn apply(
        &self,
        object: &Object,
        live: Option<&Value>,
        dry_run: bool,
    ) -> Result<Applied, ClusterError> {
        let path = self.path(&object.id).await?;
        let mut how = PatchParams::apply(OWNER).validation(ValidationDirective::Strict);
        how.dry_run = dry_run;
        let verb = if dry_run { "apply (dry run)" } else { "apply" };
        let mut object = object.clone();
        if !dry_run {
            object.fence(self.fence);
        }
        let object = &object;
        let patch = Patch::Apply(&object.value);
        let answer =
            self.call(verb, &object.id.to_string(), || Ok(path.patch(&object.id.name, &how, &patch)?)).await;
        match answer {
            Ok(value) => Ok(Applied::Done(Box::new(value))),
            Err(error) => {
                let conflicts = conflicts(object, live, &error);
                if conflicts.is_empty() { Err(error) } else { Ok(Applied::Conflicts(conflicts)) }
            }
        }
    }

    /// The object as it would be if everything that it says were forced. Nothing is written.
    ///
    /// # Errors
    /// When the API server refuses the object or cannot be asked.
    pub async fn would_be(&self, object: &Object) -> Result<Value, ClusterError> {
        let path = self.path(&object.id).await?;
        let mut how = PatchParams::apply(OWNER).force();
        how.dry_run = true;
        let patch = Patch::Apply(&object.value);
        self.call("apply (dry run)", &object.id.to_string(), || {
            Ok(path.patch(&object.id.name, &how, &patch)?)
        })
        .await
    }

    /// Applies an object on the server's side, over the version that it names where it names one, whoever owned its
    /// fields before. An apply makes what is not there under a name that a role can grant; a POST has none yet. It is
    /// tried once: whoever gets no answer reads again.
    ///
    /// # Errors
    /// Somebody else wrote it meanwhile, or the region refuses it or cannot be asked.
    pub(super) async fn impose(
        &self,
        path: &Request,
        name: &str,
        object: &Value,
        manager: &str,
    ) -> Result<Value, ClusterError> {
        let how = PatchParams::apply(manager).force();
        let patch = Patch::Apply(object);
        let kind = object["kind"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let what = format!("{kind} {namespace}/{name}");
        self.call_once("apply", &what, || Ok(path.patch(name, &how, &patch)?)).await
    }

    /// That somebody else wrote something meanwhile, as the API server would say it.
    pub(super) fn overtaken(&self, what: &str) -> ClusterError {
        let status = Status::failure("somebody else wrote it meanwhile", "Conflict").with_code(409);
        self.error("apply", what, Cause::Api(status.boxed()))
    }

    /// Deletes an object if it is still the one with this uid and still carries this tool's label. What it
    /// owns goes with it in the background.
    ///
    /// # Errors
    /// When somebody replaced it meanwhile, or the region cannot be asked.
    pub async fn delete(&self, id: &ObjectRef, uid: &str, version: &str) -> Result<(), ClusterError> {
        let path = self.path(id).await?;
        let only = Preconditions { uid: Some(uid.to_owned()), resource_version: Some(version.to_owned()) };
        let how = DeleteParams::background().preconditions(only);
        let answer: Result<Value, _> =
            self.call("delete", &id.to_string(), || Ok(path.delete(&id.name, &how)?)).await;
        absent_is_none(answer).map(drop)
    }

    /// Whether a namespace is there.
    ///
    /// # Errors
    /// When the region cannot be asked.
    pub async fn has_namespace(&self, name: &str) -> Result<bool, ClusterError> {
        Ok(self.get(&namespace(name)).await?.is_some())
    }

    /// Makes a namespace, with the strictest level of pod security.
    ///
    /// # Errors
    /// When the region refuses it or cannot be asked.
    pub async fn create_namespace(&self, name: &str) -> Result<(), ClusterError> {
        let body = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {
                OWNER_LABEL: OWNER,
                "pod-security.kubernetes.io/enforce": "restricted",
            }},
        });
        let id = namespace(name);
        let path = self.path(&id).await?;
        let how = PostParams { field_manager: Some(OWNER.to_owned()), ..PostParams::default() };
        let body = body.to_string().into_bytes();
        let answer: Result<Value, _> =
            self.call("create", &id.to_string(), || Ok(path.create(&how, body.clone())?)).await;
        match answer {
            Err(error) if error.cause.status().is_some_and(Status::is_already_exists) => Ok(()),
            other => other.map(drop),
        }
    }

    /// A Deployment with its ReplicaSets and pods.
    ///
    /// # Errors
    /// When it is not there or the region cannot be asked.
    pub async fn view(&self, id: &ObjectRef) -> Result<View, ClusterError> {
        let deployment: Deployment = self.read(id).await?;
        let selector = deployment.spec.as_ref().map(|spec| selector(&spec.selector)).unwrap_or_default();
        let namespace = id.namespace.as_deref().unwrap_or(NAMESPACE);
        let replica_sets =
            self.list::<ReplicaSet>("apis/apps/v1", "replicasets", namespace, &selector).await?;
        let pods = self.list::<Pod>("api/v1", "pods", namespace, &selector).await?;
        Ok(View { deployment, replica_sets, pods })
    }

    /// The pods of a StatefulSet.
    ///
    /// # Errors
    /// When it is not there or the region cannot be asked.
    pub async fn members(&self, id: &ObjectRef) -> Result<(StatefulSet, Vec<Pod>), ClusterError> {
        let set: StatefulSet = self.read(id).await?;
        let labels = set.spec.as_ref().map(|spec| selector(&spec.selector)).unwrap_or_default();
        let namespace = id.namespace.as_deref().unwrap_or(NAMESPACE);
        let pods = self.list::<Pod>("api/v1", "pods", namespace, &labels).await?;
        Ok((set, pods))
    }

    /// A Service.
    ///
    /// # Errors
    /// When it is not there or the region cannot be asked.
    pub async fn service(&self, id: &ObjectRef) -> Result<Service, ClusterError> {
        self.read(id).await
    }

    /// What a Service's pod answers to a GET, through the API server's proxy. It is asked once.
    ///
    /// # Errors
    /// The API server, or whoever is behind it, does not answer as it should.
    pub async fn proxied(
        &self,
        namespace: &str,
        service: &str,
        port: u16,
        path: &str,
    ) -> Result<String, ClusterError> {
        let url = format!("/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy{path}");
        let request = http::Request::get(&url).body(Vec::new());
        let what = format!("{service} in {namespace}");
        let request =
            request.map_err(|error| self.error("ask", &what, Cause::Unexpected(error.to_string())))?;
        let cause = match tokio::time::timeout(self.patience.call, self.client.request_text(request)).await {
            Ok(Ok(text)) => return Ok(text),
            Ok(Err(error)) => Cause::from_client(error),
            Err(_) => Cause::TimedOut(self.patience.call),
        };
        Err(self.error("ask", &what, cause))
    }

    /// The Deployment whose pods clients reach; nothing where no release has made it.
    ///
    /// # Errors
    /// When the region cannot be asked.
    pub async fn workload(&self) -> Result<Option<Deployment>, ClusterError> {
        let path = Request::new(format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments"));
        let what = format!("Deployment {NAMESPACE}/{WORKLOAD}");
        let answer = self.call("get", &what, || Ok(path.get(WORKLOAD, &GetParams::default())?)).await;
        absent_is_none(answer)
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, id: &ObjectRef) -> Result<T, ClusterError> {
        let path = self.path(id).await?;
        self.call("get", &id.to_string(), || Ok(path.get(&id.name, &GetParams::default())?)).await
    }

    pub(crate) async fn list<T>(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<T>, ClusterError>
    where
        T: serde::de::DeserializeOwned + Clone,
    {
        let path = Request::new(format!("/{group}/namespaces/{namespace}/{plural}"));
        let only = ListParams::default().labels(selector);
        let list: Items<T> =
            self.call("list", &format!("{plural} in {namespace}"), || Ok(path.list(&only)?)).await?;
        Ok(list.items)
    }

    /// The address of the object's kind.
    pub(super) async fn path(&self, id: &ObjectRef) -> Result<Request, ClusterError> {
        let resource = self.resource(id).await?;
        let root = if id.group().is_empty() { "api" } else { "apis" };
        let namespace = match (&id.namespace, resource.namespaced) {
            (Some(namespace), true) => format!("namespaces/{namespace}/"),
            (None, true) => format!("namespaces/{NAMESPACE}/"),
            (_, false) => String::new(),
        };
        Ok(Request::new(format!("/{root}/{}/{namespace}{}", id.api_version, resource.name)))
    }

    /// How the region serves a kind; asked once per group and version.
    async fn resource(&self, id: &ObjectRef) -> Result<APIResource, ClusterError> {
        let mut served = self.served.lock().await;
        if !served.contains_key(&id.api_version) {
            let root = if id.group().is_empty() { "api" } else { "apis" };
            let path = format!("/{root}/{}", id.api_version);
            let answer: Result<APIResourceList, _> =
                self.call("get", &path, || Ok(http::Request::get(&path).body(Vec::new())?)).await;
            let resources = absent_is_none(answer)?.map_or_else(Vec::new, |list| list.resources);
            served.insert(id.api_version.clone(), resources);
        }
        let resources = served.get(&id.api_version).map(Vec::as_slice).unwrap_or_default();
        let found = resources.iter().find(|own| own.kind == id.kind && !own.name.contains('/'));
        let unserved =
            || Cause::Unserved(format!("the region does not serve {} {}", id.api_version, id.kind));
        found.cloned().ok_or_else(|| self.error("apply", &id.to_string(), unserved()))
    }
}

/// A list whose items are of one kind; everything else in it is passed over.
#[derive(serde::Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

fn namespace(name: &str) -> ObjectRef {
    ObjectRef { api_version: "v1".into(), kind: "Namespace".into(), namespace: None, name: name.into() }
}

fn absent_is_none<T>(answer: Result<T, ClusterError>) -> Result<Option<T>, ClusterError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        // A group that is not served is told in plain text, without a reason.
        Err(error) if error.cause.status().is_some_and(|status| status.code == 404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The fields that others own, when that is why an apply was refused.
fn conflicts(object: &Object, live: Option<&Value>, error: &ClusterError) -> Vec<Conflict> {
    let causes =
        error.cause.status().and_then(|status| status.details.as_ref()).map(|details| &details.causes);
    let causes = causes.into_iter().flatten().filter(|cause| cause.reason == "FieldManagerConflict");
    causes.map(|cause| Conflict::new(object, live, &cause.field, &cause.message)).collect()
}

fn selector(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let values = expression.values.as_deref().unwrap_or_default().join(",");
        match expression.operator.as_str() {
            "In" => format!("{} in ({values})", expression.key),
            "NotIn" => format!("{} notin ({values})", expression.key),
            "Exists" => expression.key.clone(),
            _ => format!("!{}", expression.key),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_written_as_a_query() {
        let read = serde_json::from_value::<LabelSelector>(json!({
            "matchLabels": {"a": "b", "c": "d"},
            "matchExpressions": [
                {"key": "e", "operator": "In", "values": ["f", "g"]},
                {"key": "h", "operator": "DoesNotExist"},
            ],
        }));
        assert_eq!(selector(&read.unwrap()), "a=b,c=d,e in (f,g),!h");
    }
}
