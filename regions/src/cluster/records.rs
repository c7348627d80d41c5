//! Release records in a region: one ConfigMap each, with what was given to Helm and what came out.

use std::collections::BTreeMap;

use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Cause, ClusterError};
use super::{Cluster, NAMESPACE};
use crate::plan::Stored;
use crate::plan::object::{FENCE, OWNER, OWNER_LABEL};
use crate::plan::record::Record;

/// Label of every record, with [`KIND`] as its value.
const LABEL: &str = "meridian.internal/record";
const KIND: &str = "release";

/// Label that shows a record's state: `kubectl get configmap -L meridian.internal/state`.
const STATE_LABEL: &str = "meridian.internal/state";

/// What a record is written with.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The record.
    pub record: Record,
    /// The files that Helm was given, by name.
    pub values: BTreeMap<String, String>,
    /// The objects that were applied, as YAML.
    pub manifest: String,
}

#[derive(Deserialize)]
struct ConfigMap {
    metadata: Metadata,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    resource_version: String,
}

impl Cluster {
    /// Every release record of the region, newest first.
    ///
    /// # Errors
    /// When the region cannot be asked, or a record cannot be understood.
    pub async fn records(&self) -> Result<Vec<Stored>, ClusterError> {
        let maps: Vec<Value> =
            self.list("api/v1", "configmaps", NAMESPACE, &format!("{LABEL}={KIND}")).await?;
        let mut records = maps.into_iter().map(|map| self.read_record(map)).collect::<Result<Vec<_>, _>>()?;
        records.sort_by_key(|stored| std::cmp::Reverse(stored.record.number));
        Ok(records)
    }

    /// The names of every release record.
    ///
    /// # Errors
    /// When the region cannot be asked.
    pub(super) async fn record_names(&self) -> Result<Vec<String>, ClusterError> {
        let maps: Vec<Value> =
            self.list("api/v1", "configmaps", NAMESPACE, &format!("{LABEL}={KIND}")).await?;
        Ok(maps.iter().filter_map(|map| map["metadata"]["name"].as_str().map(str::to_owned)).collect())
    }

    /// What a record keeps beside itself: the files that Helm was given, by name, and what it rendered.
    ///
    /// # Errors
    /// When the region cannot be asked, or there is no such record.
    pub async fn kept(&self, number: u64) -> Result<(BTreeMap<String, String>, String), ClusterError> {
        let name = name(number);
        let map: ConfigMap = self
            .call("get", &shown(&name), || Ok(path().get(&name, &kube::api::GetParams::default())?))
            .await?;
        let mut values = map.data;
        values.remove("record.json");
        let manifest = values.remove("manifest.yaml");
        let lacks = || Cause::Unexpected("the record lacks manifest.yaml".into());
        let manifest = manifest.ok_or_else(|| self.error("read", &shown(&name), lacks()))?;
        Ok((values, manifest))
    }

    /// Writes a new record.
    ///
    /// # Errors
    /// When another run wrote one with this number, or the region cannot be asked.
    pub async fn create_record(&self, new: &NewRecord) -> Result<Stored, ClusterError> {
        let body = body(new, None, self.fence());
        let name = name(new.record.number);
        let how = PostParams { field_manager: Some(OWNER.to_owned()), ..PostParams::default() };
        let answer = self.call("create", &shown(&name), || Ok(path().create(&how, bytes(&body))?)).await;
        self.written(answer, &new.record).await
    }

    /// Writes over a record, if nobody else did since that version.
    ///
    /// # Errors
    /// When somebody else did, or the region cannot be asked.
    pub async fn replace_record(&self, new: &NewRecord, over: &str) -> Result<Stored, ClusterError> {
        let body = body(new, Some(over), self.fence());
        let name = name(new.record.number);
        let how = PostParams { field_manager: Some(OWNER.to_owned()), ..PostParams::default() };
        let answer =
            self.call("replace", &shown(&name), || Ok(path().replace(&name, &how, bytes(&body))?)).await;
        self.written(answer, &new.record).await
    }

    /// Writes a record's new state and keeps what else is stored with it, if nobody wrote it since.
    ///
    /// # Errors
    /// When somebody did, or the region cannot be asked.
    pub async fn update_record(&self, record: &Record, over: &str) -> Result<Stored, ClusterError> {
        let name = name(record.number);
        let mut patch = json!({
            "metadata": {"resourceVersion": over, "labels": labels(record)},
            "data": {"record.json": text(record)},
        });
        fence(&mut patch, self.fence());
        let how = kube::api::PatchParams { field_manager: Some(OWNER.to_owned()), ..Default::default() };
        let patch = kube::api::Patch::Merge(&patch);
        let answer = self.call("update", &shown(&name), || Ok(path().patch(&name, &how, &patch)?)).await;
        self.written(answer, record).await
    }

    /// Deletes a record, if nobody wrote it since.
    ///
    /// # Errors
    /// When somebody did, or the region cannot be asked.
    pub async fn delete_record(&self, stored: &Stored) -> Result<(), ClusterError> {
        let name = name(stored.record.number);
        let only = Preconditions { resource_version: Some(stored.resource_version.clone()), uid: None };
        let how = DeleteParams::default().preconditions(only);
        let answer: Result<Value, _> =
            self.call("delete", &shown(&name), || Ok(path().delete(&name, &how)?)).await;
        match answer {
            Err(error) if error.cause.status().is_some_and(kube::core::Status::is_not_found) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The stored record after a write. A write whose answer was lost is refused when it is tried again, so a
    /// refusal counts as done when what is stored is what was to be written.
    async fn written(
        &self,
        answer: Result<Value, ClusterError>,
        record: &Record,
    ) -> Result<Stored, ClusterError> {
        match answer {
            Ok(map) => self.read_record(map),
            Err(error) if error.cause.status().is_some_and(|status| status.code == 409) => {
                let stored = self.records().await?.into_iter().find(|stored| stored.record == *record);
                stored.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    fn read_record(&self, map: Value) -> Result<Stored, ClusterError> {
        let what = |name: &str, why: &str| {
            self.error(
                "read",
                &shown(name),
                Cause::Unexpected(format!("{why}; was it written by a newer `regions`?")),
            )
        };
        let map: ConfigMap = serde_json::from_value(map)
            .map_err(|_| what("?", "the ConfigMap of a release record is not whole"))?;
        let json = map.data.get("record.json").map(String::as_str).unwrap_or_default();
        let record =
            serde_json::from_str(json).map_err(|error| what(&map.metadata.name, &error.to_string()))?;
        Ok(Stored { record, resource_version: map.metadata.resource_version })
    }
}

fn path() -> Request {
    Request::new(format!("/api/v1/namespaces/{NAMESPACE}/configmaps"))
}

fn name(number: u64) -> String {
    format!("release-{number:06}")
}

fn shown(name: &str) -> String {
    format!("release record {NAMESPACE}/{name}")
}

fn text(record: &Record) -> String {
    // A record holds only texts, numbers and lists of them, which always have a JSON form.
    serde_json::to_string_pretty(record).unwrap_or_default()
}

fn bytes(body: &Value) -> Vec<u8> {
    body.to_string().into_bytes()
}

/// Records carry the owner's label, so that the region's fence judges them as well; no release names them, so
/// nothing ever prunes them.
fn labels(record: &Record) -> Value {
    json!({LABEL: KIND, STATE_LABEL: record.state.as_str(), OWNER_LABEL: OWNER})
}

fn fence(body: &mut Value, fence: u64) {
    if fence > 0 {
        body["metadata"]["annotations"][FENCE] = fence.to_string().into();
    }
}

fn body(new: &NewRecord, over: Option<&str>, fenced: u64) -> Value {
    let mut data: BTreeMap<&str, &str> = new.values.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let record = text(&new.record);
    data.insert("record.json", &record);
    data.insert("manifest.yaml", &new.manifest);
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name(new.record.number),
            "namespace": NAMESPACE,
            "labels": labels(&new.record),
        },
        "data": data,
    });
    fence(&mut body, fenced);
    if let Some(over) = over {
        body["metadata"]["resourceVersion"] = over.into();
    }
    body
}
