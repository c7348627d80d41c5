//! A region as it is: its API server, its watcher, and its LoadBalancer as clients reach it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::Value;
use zeroize::Zeroizing;

use super::recorder::Recorder;
use super::region::Region;
use crate::cluster::error::{Cause, ClusterError};
use crate::cluster::leases::Lease;
use crate::cluster::{Applied, Cluster, NAMESPACE, NewRecord};
use crate::execute::site::Site;
use crate::plan::gate::limits::Limits;
use crate::plan::gate::sample::{self, Counts, Sample};
use crate::plan::object::{Object, ObjectRef, RELEASE_ANNOTATION};
use crate::plan::readiness::{self, View};
use crate::plan::record::{Record, Wanted};
use crate::plan::{Snapshot, Stored, view};
use crate::probe::door::{Door, Roots};
use crate::probe::prober::{Prober, Transactions};
use crate::snapshot;

/// The Lease under which a region is written to.
const LEASE: &str = "regions";

/// The watcher's Service, and its port.
const WATCHER: (&str, u16) = ("watcher", 9092);

/// The Service that clients reach a region by.
const SERVICE: &str = "service";

/// Bound of one call of a watcher that is reached at an address of its own.
const ASKED: Duration = Duration::from_secs(10);

/// How a region is asked from outside.
#[derive(Debug, Clone)]
pub struct Outside {
    /// The name that its certificate is for.
    pub host: String,
    /// The issuer of its tokens.
    pub issuer: String,
    /// Who vouches for its certificate.
    pub roots: Roots,
}

/// A region.
pub struct Live {
    cluster: Cluster,
    fence: Cell<u64>,
    watcher: Option<String>,
    outside: Outside,
    secret: Option<Arc<Zeroizing<String>>>,
    prober: RefCell<Option<Prober>>,
    recorder: Option<Rc<Recorder>>,
}

impl Live {
    /// A region at an API server.
    pub fn new(
        cluster: Cluster,
        watcher: Option<String>,
        outside: Outside,
        secret: Option<Arc<Zeroizing<String>>>,
    ) -> Self {
        let (fence, prober) = (Cell::new(0), RefCell::new(None));
        Self { cluster, fence, watcher, outside, secret, prober, recorder: None }
    }

    /// What gates see of it is kept, too.
    pub fn record(&mut self, recorder: &Rc<Recorder>) {
        self.recorder = Some(Rc::clone(recorder));
    }

    /// The same API server, whose writes carry the fence.
    fn fenced(&self) -> Cluster {
        self.cluster.fenced(self.fence.get())
    }

    /// What the region's watcher sees.
    ///
    /// # Errors
    /// It does not answer as it should.
    pub async fn seen(&self) -> Result<view::View, String> {
        seen(&self.cluster, self.watcher.as_deref()).await
    }

    /// The release of each pod, by its uid; nothing of pods that their Deployment has gone on from: the same release with
    /// other values makes other pods.
    async fn releases(&self) -> Result<BTreeMap<String, Option<String>>, ClusterError> {
        let pods = self.cluster.list::<Pod>("api/v1", "pods", NAMESPACE, "");
        let sets = self.cluster.list::<ReplicaSet>("apis/apps/v1", "replicasets", NAMESPACE, "");
        let (workload, pods, sets) = tokio::try_join!(self.cluster.workload(), pods, sets)?;
        let current = workload.map(|workload| readiness::current(&workload, &sets)).unwrap_or_default();
        let release = |pod: Pod| {
            let is_current = readiness::is_of(&pod, &current);
            let annotations = pod.metadata.annotations.unwrap_or_default();
            let release = annotations.get(RELEASE_ANNOTATION).filter(|_| is_current).cloned();
            Some((pod.metadata.uid?, release))
        };
        Ok(pods.into_iter().filter_map(release).collect())
    }

    /// Begins own transactions, once the region has an address.
    async fn probed(&self, limits: &Limits) -> sample::Own {
        if self.prober.borrow().is_none() {
            let Ok(Some(address)) = address(&self.cluster).await else { return sample::Own::default() };
            let Ok(door) = Door::new(&self.outside.host, Some(address), &self.outside.roots) else {
                return sample::Own::default();
            };
            let transactions = Transactions {
                door,
                region: self.cluster.region().to_owned(),
                issuer: self.outside.issuer.clone(),
                secret: self.secret.clone(),
                limit: limits.latency,
            };
            *self.prober.borrow_mut() = Some(Prober::begin(transactions, limits.rate()));
        }
        self.prober.borrow().as_ref().map(Prober::take).unwrap_or_default()
    }

    /// Why an own transaction failed, the last one that did.
    pub fn last_failure(&self) -> Option<String> {
        self.prober.borrow().as_ref().and_then(Prober::last_failure)
    }
}

/// What a region's watcher sees.
///
/// # Errors
/// It does not answer as it should.
pub async fn seen(cluster: &Cluster, watcher: Option<&str>) -> Result<view::View, String> {
    let path = "/v1/region";
    let text = match watcher {
        None => {
            let (service, port) = WATCHER;
            let answer = cluster.proxied(NAMESPACE, service, port, path).await;
            answer.map_err(|error| error.to_string())?
        }
        Some(address) => {
            let told =
                |error: reqwest::Error| format!("ask the watcher at {address}: {}", error.without_url());
            // Whoever was first is as good: there is one provider in this program.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let client = reqwest::Client::builder().no_proxy().timeout(ASKED).build().map_err(told)?;
            let answer = client.get(format!("{address}{path}")).send().await.map_err(told)?;
            let answer = answer.error_for_status().map_err(told)?;
            answer.text().await.map_err(told)?
        }
    };
    serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!(
            "{}: its watcher's answer is not what it should be (line {line}, column {column})",
            cluster.region()
        )
    })
}

/// Where clients reach a region: the address that its LoadBalancer has, and the Service's port.
///
/// # Errors
/// The region cannot be asked.
pub async fn address(cluster: &Cluster) -> Result<Option<SocketAddr>, ClusterError> {
    let id = ObjectRef {
        api_version: "v1".into(),
        kind: "Service".into(),
        namespace: Some(NAMESPACE.into()),
        name: SERVICE.into(),
    };
    let service = match cluster.service(&id).await {
        Err(ClusterError { cause: Cause::Api(status), .. }) if status.code == 404 => return Ok(None),
        service => service?,
    };
    let port = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()?.first().map(|port| port.port));
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
    let ingress =
        service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref()?.first());
    let Some(ingress) = ingress else { return Ok(None) };
    if let Some(ip) = ingress.ip.as_ref().and_then(|ip| ip.parse::<IpAddr>().ok()) {
        return Ok(Some((ip, port).into()));
    }
    let Some(name) = &ingress.hostname else { return Ok(None) };
    let Ok(mut found) = tokio::net::lookup_host((name.as_str(), port)).await else { return Ok(None) };
    Ok(found.next())
}

impl Site for Live {
    async fn create_namespace(&self) -> Result<(), ClusterError> {
        self.fenced().create_namespace(NAMESPACE).await
    }

    async fn create_record(&self, new: &NewRecord) -> Result<Stored, ClusterError> {
        self.fenced().create_record(new).await
    }

    async fn replace_record(&self, new: &NewRecord, over: &str) -> Result<Stored, ClusterError> {
        self.fenced().replace_record(new, over).await
    }

    async fn update_record(&self, record: &Record, over: &str) -> Result<Stored, ClusterError> {
        self.fenced().update_record(record, over).await
    }

    async fn delete_record(&self, stored: &Stored) -> Result<(), ClusterError> {
        self.fenced().delete_record(stored).await
    }

    async fn apply(&self, object: &Object) -> Result<Applied, ClusterError> {
        self.fenced().apply(object, None, false).await
    }

    async fn get(&self, id: &ObjectRef) -> Result<Option<Value>, ClusterError> {
        self.cluster.get(id).await
    }

    async fn delete(&self, id: &ObjectRef, uid: &str, version: &str) -> Result<(), ClusterError> {
        self.fenced().delete(id, uid, version).await
    }

    async fn service(&self, id: &ObjectRef) -> Result<Service, ClusterError> {
        self.cluster.service(id).await
    }

    async fn view(&self, id: &ObjectRef) -> Result<View, ClusterError> {
        self.cluster.view(id).await
    }

    fn is_newer(&self, live: &Value) -> bool {
        self.fenced().is_newer(live)
    }
}

impl Region for Live {
    fn name(&self) -> &str {
        self.cluster.region()
    }

    async fn lease(&self) -> Result<Lease, ClusterError> {
        self.cluster.lease(LEASE).await
    }

    async fn write_lease(&self, over: &Lease, holder: &str, seconds: u32) -> Result<Lease, ClusterError> {
        self.cluster.write_lease(LEASE, over, holder, seconds).await
    }

    async fn namespace_fence(&self) -> Result<Option<u64>, ClusterError> {
        self.cluster.namespace_fence().await
    }

    fn set_fence(&self, fence: u64) {
        self.fence.set(fence);
    }

    async fn stamp(&self, objects: &[ObjectRef]) -> Result<(), ClusterError> {
        self.fenced().stamp(objects).await
    }

    async fn records(&self) -> Result<Vec<Stored>, ClusterError> {
        self.cluster.records().await
    }

    async fn kept(&self, number: u64) -> Result<(BTreeMap<String, String>, String), ClusterError> {
        self.cluster.kept(number).await
    }

    async fn observe(&self, objects: Vec<Object>, wanted: Wanted) -> Result<Snapshot, Vec<ClusterError>> {
        snapshot::observe(&self.fenced(), objects, wanted).await
    }

    async fn sample(&self, limits: &Limits) -> Result<Sample, String> {
        // Own transactions of a time in which the region could not be seen say nothing: this machine may be cut off.
        let own = self.probed(limits).await;
        let (seen, releases) = futures_util::future::join(self.seen(), self.releases()).await;
        let (seen, releases) = (seen?, releases.map_err(|error| error.to_string())?);
        let pod = |pod: &view::Pod| {
            let counts = Counts::of(pod.read()?, limits.latency);
            Some(sample::Pod {
                uid: pod.uid.clone(),
                release: releases.get(&pod.uid).cloned().flatten(),
                counts,
            })
        };
        let sample = Sample { pods: seen.pods.iter().filter_map(pod).collect(), own };
        if let Some(recorder) = &self.recorder {
            recorder.keep(self.cluster.region(), &sample);
        }
        Ok(sample)
    }
}
