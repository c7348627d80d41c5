//! What a region holds, as its API server keeps it: versions, fences, Leases and release records.

use std::collections::BTreeMap;

use regions::cluster::leases::Lease;
use regions::plan::Stored;
use regions::plan::object::{FENCE, Object, ObjectRef, fence_of};
use regions::plan::record::Record;
use serde_json::Value;
use tokio::time::Instant;

use crate::rollout::Rollout;

/// Why a write is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Somebody else wrote it meanwhile.
    Conflict,
    /// The fence's policy.
    Fenced(u64, u64),
    /// It is not there.
    Absent,
}

#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) id: ObjectRef,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) stored: Stored,
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) manifest: String,
    pub(crate) fence: u64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) namespace: Option<u64>,
    pub(crate) lease: Lease,
    pub(crate) objects: BTreeMap<String, Live>,
    pub(crate) records: BTreeMap<u64, Kept>,
    pub(crate) rollout: Rollout,
    /// The API server answers nobody until then.
    pub(crate) away: Option<Instant>,
    /// Calls have no answer until then.
    pub(crate) hangs: Option<Instant>,
    /// When the Lease was written last.
    pub(crate) leased: Option<Instant>,
    /// The transitions of the Lease of the latest run that has written.
    pub(crate) wrote: u64,
    version: u64,
}

impl State {
    fn next(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    pub(crate) fn object(&self, id: &ObjectRef) -> Option<&Live> {
        self.objects.get(&key(id))
    }

    /// Server-side apply. Whether anything changed.
    pub(crate) fn apply(&mut self, object: &Object, fence: u64) -> Result<bool, Refused> {
        let former = self.object(&object.id).cloned();
        let stands = former.as_ref().map_or(self.namespace.unwrap_or(0), |live| fence_of(&live.value));
        judge(stands, fence)?;
        let wanted = object.value["metadata"]["uid"].as_str().map(str::to_owned);
        let uid = former.as_ref().map(|live| live.value["metadata"]["uid"].as_str().unwrap().to_owned());
        if wanted.is_some() && wanted != uid {
            return Err(Refused::Conflict);
        }
        let version = self.next();
        let mut object = object.clone();
        object.fence(fence);
        object.value["metadata"]["uid"] = uid.unwrap_or_else(|| format!("uid-{version}")).into();
        object.value["metadata"]["resourceVersion"] = version.to_string().into();
        let same = former.is_some_and(|live| bare(&live.value) == bare(&object.value));
        self.objects.insert(key(&object.id), Live { id: object.id.clone(), value: object.value });
        Ok(!same)
    }

    /// Deletes an object. Whether it was there.
    pub(crate) fn delete(&mut self, id: &ObjectRef, uid: &str, version: &str) -> Result<bool, Refused> {
        let Some(live) = self.object(id) else { return Ok(false) };
        let metadata = &live.value["metadata"];
        if metadata["uid"] != uid || metadata["resourceVersion"] != version {
            return Err(Refused::Conflict);
        }
        self.objects.remove(&key(id));
        Ok(true)
    }

    /// The release that its Deployment asks for.
    pub(crate) fn target(&self) -> String {
        let deployment = self.objects.get("Deployment service").map(|live| &live.value);
        deployment.map(crate::release::digest_of).unwrap_or_default()
    }

    pub(crate) fn records(&self) -> Vec<Stored> {
        self.records.values().rev().map(|kept| kept.stored.clone()).collect()
    }

    /// Writes a record: a new one where `over` is nothing.
    pub(crate) fn write(
        &mut self,
        record: &Record,
        over: Option<&str>,
        contents: Option<(BTreeMap<String, String>, String)>,
        fence: u64,
    ) -> Result<Stored, Refused> {
        let former = self.records.get(&record.number).cloned();
        let stands = match (&former, over) {
            (Some(kept), _) => kept.fence,
            (None, Some(_)) => return Err(Refused::Absent),
            (None, None) => self.namespace.unwrap_or(0),
        };
        judge(stands, fence)?;
        let matches = former.as_ref().map(|kept| kept.stored.resource_version.as_str()) == over;
        if !matches {
            // A write whose answer was lost is there already.
            let done = former.filter(|kept| kept.stored.record == *record);
            return done.map(|kept| kept.stored).ok_or(Refused::Conflict);
        }
        let stored = Stored { record: record.clone(), resource_version: self.next().to_string() };
        let (values, manifest) =
            contents.or_else(|| former.map(|kept| (kept.values, kept.manifest))).unwrap_or_default();
        self.records.insert(record.number, Kept { stored: stored.clone(), values, manifest, fence });
        Ok(stored)
    }

    /// Deletes a record. Whether it was there.
    pub(crate) fn drop_record(&mut self, stored: &Stored) -> Result<bool, Refused> {
        let Some(kept) = self.records.get(&stored.record.number) else { return Ok(false) };
        if kept.stored.resource_version != stored.resource_version {
            return Err(Refused::Conflict);
        }
        self.records.remove(&stored.record.number);
        Ok(true)
    }

    pub(crate) fn write_lease(&mut self, over: &Lease, holder: &str, seconds: u32) -> Result<Lease, Refused> {
        if over.version != self.lease.version {
            return Err(Refused::Conflict);
        }
        let transitions = over.transitions + u64::from(!holder.is_empty() && holder != over.holder);
        let (holder, version) = (holder.to_owned(), self.next().to_string());
        self.lease = Lease { holder, renewed: version.clone(), seconds, transitions, version };
        self.leased = Some(Instant::now());
        Ok(self.lease.clone())
    }

    /// Stamps one thing; which, counts from 0: the namespace, the records, the objects.
    pub(crate) fn stamp(&mut self, place: usize, objects: &[ObjectRef], fence: u64) -> Result<bool, Refused> {
        let version = self.next().to_string();
        let newer = |stands: u64| if stands > fence { Err(Refused::Conflict) } else { Ok(()) };
        if place == 0 {
            newer(self.namespace.unwrap_or(0))?;
            self.namespace = self.namespace.map(|_| fence);
            return Ok(true);
        }
        let numbers: Vec<u64> = self.records.keys().copied().collect();
        if let Some(kept) = numbers.get(place - 1).and_then(|number| self.records.get_mut(number)) {
            newer(kept.fence)?;
            if kept.fence != fence {
                (kept.fence, kept.stored.resource_version) = (fence, version);
            }
            return Ok(true);
        }
        let Some(id) = objects.get(place - 1 - numbers.len()) else { return Ok(false) };
        if let Some(live) = self.objects.get_mut(&key(id)) {
            newer(fence_of(&live.value))?;
            if fence_of(&live.value) != fence {
                live.value["metadata"]["annotations"][FENCE] = fence.to_string().into();
                live.value["metadata"]["resourceVersion"] = version.into();
            }
        }
        Ok(true)
    }
}

fn judge(stands: u64, given: u64) -> Result<(), Refused> {
    if given < stands { Err(Refused::Fenced(given, stands)) } else { Ok(()) }
}

pub(crate) fn key(id: &ObjectRef) -> String {
    format!("{} {}", id.kind, id.name)
}

/// Without what the API server keeps for itself, and the fence.
fn bare(value: &Value) -> Value {
    let mut value = value.clone();
    let metadata = value["metadata"].as_object_mut().unwrap();
    metadata.remove("resourceVersion");
    metadata.remove("uid");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(FENCE);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    value
}
