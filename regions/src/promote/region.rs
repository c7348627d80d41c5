//! What a promotion asks of one region, beside what its plans are carried out on.

#![expect(async_fn_in_trait, reason = "the futures stay on the task that made them")]

use std::collections::BTreeMap;

use crate::cluster::error::ClusterError;
use crate::cluster::leases::Lease;
use crate::execute::site::Site;
use crate::plan::gate::limits::Limits;
use crate::plan::gate::sample::Sample;
use crate::plan::object::{Object, ObjectRef};
use crate::plan::record::Wanted;
use crate::plan::{Snapshot, Stored};

/// One region.
pub trait Region: Site {
    /// Its name.
    fn name(&self) -> &str;

    /// Its Lease; an empty one where nobody has ever held it.
    async fn lease(&self) -> Result<Lease, ClusterError>;

    /// Writes its Lease over the version that was read. It is tried once.
    async fn write_lease(&self, over: &Lease, holder: &str, seconds: u32) -> Result<Lease, ClusterError>;

    /// The fence that its namespace carries; nothing where there is no namespace.
    async fn namespace_fence(&self) -> Result<Option<u64>, ClusterError>;

    /// What all that is written from now on carries.
    fn set_fence(&self, fence: u64);

    /// Stamps the namespace, the release records and these objects with the fence.
    async fn stamp(&self, objects: &[ObjectRef]) -> Result<(), ClusterError>;

    /// Its release records, newest first.
    async fn records(&self) -> Result<Vec<Stored>, ClusterError>;

    /// What a record keeps beside itself: files of values, by name, and what Helm rendered.
    async fn kept(&self, number: u64) -> Result<(BTreeMap<String, String>, String), ClusterError>;

    /// What it holds of a release, and what its API server would make of an apply.
    async fn observe(&self, objects: Vec<Object>, wanted: Wanted) -> Result<Snapshot, Vec<ClusterError>>;

    /// What its pods have counted, and what came of own transactions since the look before.
    async fn sample(&self, limits: &Limits) -> Result<Sample, String>;
}
