//! What a plan is carried out on: the few calls of a region's API server that its steps are made of.

#![expect(async_fn_in_trait, reason = "the futures stay on the task that made them")]

use k8s_openapi::api::core::v1::Service;
use serde_json::Value;

use crate::cluster::error::ClusterError;
use crate::cluster::{Applied, Cluster, NAMESPACE, NewRecord};
use crate::plan::Stored;
use crate::plan::object::{Object, ObjectRef};
use crate::plan::readiness::View;
use crate::plan::record::Record;

/// A region's API server.
pub trait Site {
    /// Makes the release's namespace.
    async fn create_namespace(&self) -> Result<(), ClusterError>;
    /// Writes a new record.
    async fn create_record(&self, new: &NewRecord) -> Result<Stored, ClusterError>;
    /// Writes over a record, if nobody else did since that version.
    async fn replace_record(&self, new: &NewRecord, over: &str) -> Result<Stored, ClusterError>;
    /// Writes a record's new state, if nobody wrote it since that version.
    async fn update_record(&self, record: &Record, over: &str) -> Result<Stored, ClusterError>;
    /// Deletes a record, if nobody wrote it since.
    async fn delete_record(&self, stored: &Stored) -> Result<(), ClusterError>;
    /// Applies an object on the server's side, without force. One that was there before is not made anew.
    async fn apply(&self, object: &Object) -> Result<Applied, ClusterError>;
    /// The object, or nothing when it is not there.
    async fn get(&self, id: &ObjectRef) -> Result<Option<Value>, ClusterError>;
    /// Deletes an object, if it is still this one.
    async fn delete(&self, id: &ObjectRef, uid: &str, version: &str) -> Result<(), ClusterError>;
    /// A Service.
    async fn service(&self, id: &ObjectRef) -> Result<Service, ClusterError>;
    /// A Deployment with its ReplicaSets and pods.
    async fn view(&self, id: &ObjectRef) -> Result<View, ClusterError>;
    /// Whether a live object was stamped by a run that came later than this one.
    fn is_newer(&self, live: &Value) -> bool;
}

impl Site for Cluster {
    async fn create_namespace(&self) -> Result<(), ClusterError> {
        self.create_namespace(NAMESPACE).await
    }

    async fn create_record(&self, new: &NewRecord) -> Result<Stored, ClusterError> {
        self.create_record(new).await
    }

    async fn replace_record(&self, new: &NewRecord, over: &str) -> Result<Stored, ClusterError> {
        self.replace_record(new, over).await
    }

    async fn update_record(&self, record: &Record, over: &str) -> Result<Stored, ClusterError> {
        self.update_record(record, over).await
    }

    async fn delete_record(&self, stored: &Stored) -> Result<(), ClusterError> {
        self.delete_record(stored).await
    }

    async fn apply(&self, object: &Object) -> Result<Applied, ClusterError> {
        self.apply(object, None, false).await
    }

    async fn get(&self, id: &ObjectRef) -> Result<Option<Value>, ClusterError> {
        self.get(id).await
    }

    async fn delete(&self, id: &ObjectRef, uid: &str, version: &str) -> Result<(), ClusterError> {
        self.delete(id, uid, version).await
    }

    async fn service(&self, id: &ObjectRef) -> Result<Service, ClusterError> {
        self.service(id).await
    }

    async fn view(&self, id: &ObjectRef) -> Result<View, ClusterError> {
        self.view(id).await
    }

    fn is_newer(&self, live: &Value) -> bool {
        crate::plan::object::fence_of(live) > self.fence()
    }
}
