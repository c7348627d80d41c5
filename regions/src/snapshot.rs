//! Observes a region: what it holds of a release, and what its API server would make of an apply.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use crate::cluster::error::ClusterError;
use crate::cluster::{Applied, Cluster, NAMESPACE};
use crate::plan::conflict::Conflict;
use crate::plan::object::{Object, ObjectRef, fence_of};
use crate::plan::record::Wanted;
use crate::plan::{Observed, Snapshot, Stored};

/// Calls to one API server at a time.
const AT_ONCE: usize = 8;

/// Observes a region, and asks its API server for a dry run of every object. Writes nothing.
///
/// # Errors
/// Every error that was met: all objects are looked at before it returns.
pub async fn observe(
    cluster: &Cluster,
    objects: Vec<Object>,
    wanted: Wanted,
) -> Result<Snapshot, Vec<ClusterError>> {
    let one = |error| vec![error];
    let fence = cluster.namespace_fence().await.map_err(one)?;
    let (namespace_exists, fence) = (fence.is_some(), fence.unwrap_or(0).max(cluster.fence()));
    let records = if namespace_exists { cluster.records().await.map_err(one)? } else { Vec::new() };

    let looked = stream::iter(objects)
        .map(|object| look(cluster, object, namespace_exists, fence))
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let (mut observed, mut conflicts, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for result in looked {
        match result {
            Ok((object, found)) => {
                observed.push(object);
                conflicts.extend(found);
            }
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let left_over = left_over(cluster, &records, &observed).await.map_err(one)?;
    Ok(Snapshot {
        region: cluster.region().to_owned(),
        namespace_exists,
        wanted,
        objects: observed,
        records,
        left_over,
        conflicts,
    })
}

async fn look(
    cluster: &Cluster,
    mut object: Object,
    namespace_exists: bool,
    fence: u64,
) -> Result<(Observed, Vec<Conflict>), ClusterError> {
    cluster.place(&mut object, NAMESPACE).await?;
    let live = cluster.get(&object.id).await?;
    if let Some(live) = &live {
        // Whoever deletes it meanwhile does not want it back.
        object.value["metadata"]["uid"] = live["metadata"]["uid"].clone();
    }
    // The fence is no part of the difference: the one that stands there, or that a new object would be judged by.
    object.fence(live.as_ref().map_or(fence, fence_of));
    let in_missing_namespace = !namespace_exists && object.id.namespace.as_deref() == Some(NAMESPACE);
    if in_missing_namespace {
        return Ok((Observed { object, live, applied: None }, Vec::new()));
    }
    match cluster.apply(&object, live.as_ref(), true).await? {
        Applied::Done(value) => Ok((Observed { object, live, applied: Some(*value) }, Vec::new())),
        Applied::Conflicts(conflicts) => Ok((Observed { object, live, applied: None }, conflicts)),
    }
}

/// Live objects that a record names and the release does not. Every record counts: a run that was killed may
/// have made objects that no later release knows.
async fn left_over(
    cluster: &Cluster,
    records: &[Stored],
    observed: &[Observed],
) -> Result<Vec<(ObjectRef, Value)>, ClusterError> {
    let mut ids: Vec<ObjectRef> = Vec::new();
    for id in records.iter().flat_map(|stored| &stored.record.objects) {
        let wanted = observed.iter().any(|observed| observed.object.id.same_object(id));
        if !wanted && !ids.iter().any(|other| other.same_object(id)) {
            ids.push(id.clone());
        }
    }
    stream::iter(ids)
        .map(|id| async move {
            if !cluster.serves(&id).await? {
                return Ok(None);
            }
            Ok(cluster.get(&id).await?.map(|live| (id, live)))
        })
        .buffered(AT_ONCE)
        .try_filter_map(|found| async move { Ok(found) })
        .try_collect()
        .await
}
