//! What is asked of a region, and written there, when it goes out of traffic or comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::config::Kubeconfig;
use serde_json::json;
use tokio::time::Instant;

use super::Args;
use super::report::{Report, Wrote};
use crate::cluster::error::ClusterError;
use crate::cluster::{Cluster, NAMESPACE, access};
use crate::ending::Ending;
use crate::plan::object::ObjectRef;
use crate::plan::promotion::capacity::Carrying;
use crate::plan::traffic::{Answers, Traffic, answers, came, takes};
use crate::plan::view::View;
use crate::probe::door::Roots;
use crate::promote::live::{Live, Outside, seen};
use crate::promote::targets::{Environment, Target};
use crate::promote::{CALLS, FIRST_CALLS};

/// A region that could be asked.
pub(super) struct Asked<'a> {
    pub target: &'a Target,
    pub cluster: Cluster,
    /// The same, for what a Lease is held by.
    pub live: Live,
    /// How it stood when it was asked first.
    pub stand: Stand,
}

/// How a region stands to traffic.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    pub traffic: Traffic,
    /// Pods that are ready, of those that clients reach.
    pub ready: u32,
    /// The version of the ConfigMap that says so.
    version: String,
}

/// Answers over a span of time.
pub(super) struct Rate {
    /// A second.
    pub per_second: f64,
    /// By pod and route.
    pub came: Answers,
    pub over: Duration,
}

/// How the regions' clusters are reached. Nothing where that cannot be read; the report says why.
pub(super) fn kubeconfig(args: &Args, report: &mut Report) -> Option<Kubeconfig> {
    let read = access::kubeconfig(args.clusters.kubeconfig.as_deref());
    read.map_err(|error| report.errors.push(error.to_string())).ok()
}

/// Asks a region how it stands to traffic.
///
/// # Errors
/// It cannot be asked, or has no release.
pub(super) async fn ask<'a>(
    args: &Args,
    environment: &Environment,
    target: &'a Target,
    kubeconfig: &Kubeconfig,
) -> Result<Asked<'a>, String> {
    let told = |error: ClusterError| error.to_string();
    let cluster = Cluster::connect(&target.region, &target.context, kubeconfig.clone(), FIRST_CALLS);
    let cluster = cluster.await.map_err(told)?;
    cluster.version().await.map_err(told)?;
    let stand = stand(&cluster).await?;
    let cluster = cluster.patient(CALLS);
    let roots = match &args.public_ca {
        Some(file) => Roots::read(file)?,
        None => Roots::System,
    };
    let outside = Outside { host: environment.host(&target.region), issuer: environment.issuer(), roots };
    let live = Live::new(cluster.clone(), target.watcher.clone(), outside, None);
    Ok(Asked { target, cluster, live, stand })
}

/// What a region's cluster says now.
async fn stand(cluster: &Cluster) -> Result<Stand, String> {
    let told = |error: ClusterError| error.to_string();
    let map = cluster.get(&traffic_map()).await.map_err(told)?;
    let map = map.ok_or_else(|| {
        format!("{}: it has no ConfigMap traffic; promote a release there first", cluster.region())
    })?;
    let traffic = Traffic::read(&map).map_err(|why| format!("{}: {why}", cluster.region()))?;
    let workload = cluster.workload().await.map_err(told)?;
    let ready = workload.and_then(|workload| workload.status?.ready_replicas).unwrap_or(0);
    let version = map["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    Ok(Stand { traffic, ready: u32::try_from(ready).unwrap_or(0), version })
}

/// How another region stands to the traffic that comes to it: by its cluster, and by what its own pods say. A restore that
/// was killed may have left a region whose pods do not know of it.
pub(super) async fn carrier(asked: &Asked<'_>, stand: &Stand) -> Carrying {
    if stand.traffic.drained {
        let why = stand.traffic.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        return Carrying::Out(format!("it is drained{why}"));
    }
    if stand.ready == 0 {
        return Carrying::Out("no pod of it is ready".into());
    }
    let taken = match asked.seen().await {
        Ok(view) => takes(&view),
        Err(why) => Err(format!("its watcher does not answer: {why}")),
    };
    match taken {
        Ok(()) => Carrying::Serving { ready: stand.ready, most: asked.target.pods },
        Err(why) => Carrying::Out(why),
    }
}

impl Asked<'_> {
    /// How it stands to traffic now.
    pub(super) async fn now(&self) -> Result<Stand, String> {
        stand(&self.cluster).await
    }

    /// What the region's watcher sees.
    pub(super) async fn seen(&self) -> Result<View, String> {
        seen(&self.cluster, self.target.watcher.as_deref()).await
    }

    /// Counts what the pods answer, over a span of time.
    pub(super) async fn rate(&self, window: Duration) -> Result<Rate, String> {
        let then = answers(&self.seen().await?)?;
        let began = Instant::now();
        tokio::time::sleep(window).await;
        let came = came(&then, &answers(&self.seen().await?)?);
        let over = began.elapsed();
        let all: u64 = came.values().sum();
        Ok(Rate { per_second: all as f64 / over.as_secs_f64().max(0.001), came, over })
    }

    /// Marks the ConfigMap `traffic` as looked at under this Lease: a run that lost the Lease and read it before writes
    /// over it no more.
    pub(super) async fn mark(&self, fence: u64) -> Result<(), String> {
        let mark = format!("{fence} at {}", Timestamp::now());
        self.cluster.mark_traffic(&traffic_map(), &mark).await.map_err(|error| error.to_string())
    }

    /// Writes the data of the ConfigMap `traffic` over the version that was read. Whether it is known to be written; the
    /// report tells what else.
    pub(super) async fn write(
        &self,
        data: &BTreeMap<String, String>,
        over: &Stand,
        report: &mut Report,
    ) -> bool {
        report.wrote = Wrote::Unknown;
        let written = self.cluster.set_traffic(&traffic_map(), data, &over.version).await;
        let Err(error) = written else {
            report.wrote = Wrote::Yes;
            return true;
        };
        // The answer may have been lost, of this try or of one before it.
        let found = self.cluster.get(&traffic_map()).await;
        if matches!(&found, Ok(Some(map)) if map["data"] == json!(data)) {
            report.wrote = Wrote::Yes;
            return true;
        }
        if found.is_ok() && error.cause.is_answer() && !error.cause.is_transient() {
            report.wrote = Wrote::No;
            report.refuse(error.to_string());
        } else {
            report.outcome = Ending::Incomplete;
            report.errors.push(error.to_string());
            report.next = Some(report.again());
        }
        false
    }

    /// Hurries the pods' kubelets. Gives what could not be hurried.
    pub(super) async fn hurry(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let pods: Vec<Pod> = match self.cluster.list("api/v1", "pods", NAMESPACE, "").await {
            Ok(pods) => pods,
            Err(error) => return vec![format!("{error}; the pods see it in a minute or two all the same")],
        };
        let now = Timestamp::now();
        for pod in pods.iter().filter(|pod| mounts(pod)) {
            let Some(name) = &pod.metadata.name else { continue };
            match self.cluster.hurry(name, &format!("{now:.3}")).await {
                Ok(()) => {}
                // It has gone meanwhile.
                Err(error) if error.cause.status().is_some_and(kube::core::Status::is_not_found) => {}
                Err(error) => notes.push(format!("{error}; it sees it in a minute or two all the same")),
            }
        }
        notes
    }

    /// Pods that do not yet say what the region is; those that cannot be read among them.
    pub(super) async fn not_yet(&self, drained: bool) -> Result<Vec<String>, String> {
        let view = self.seen().await?;
        let pods = view.pods.iter().filter(|pod| !pod.terminating);
        let other = pods.filter(|pod| pod.read().is_none_or(|service| service.drained != drained));
        Ok(other.map(|pod| pod.name.clone()).collect())
    }
}

/// Whether a pod reads the ConfigMap `traffic`.
fn mounts(pod: &Pod) -> bool {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    volumes
        .into_iter()
        .flatten()
        .any(|volume| volume.config_map.as_ref().is_some_and(|map| map.name == "traffic"))
}

/// The ConfigMap `traffic`.
fn traffic_map() -> ObjectRef {
    ObjectRef {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: Some(NAMESPACE.into()),
        name: "traffic".into(),
    }
}

/// Why, by whom and when, in the one line that the pods read.
pub(super) fn reason(args: &Args, who: &str) -> String {
    let why =
        [args.why.as_deref(), args.force.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let why = if why.is_empty() { String::new() } else { format!("{why}, ") };
    format!("{why}{who}, {:.0}", Timestamp::now())
}

/// The environment's other regions.
pub(super) fn others<'a>(environment: &'a Environment, region: &str) -> Vec<&'a Target> {
    environment.targets().filter(|target| target.region != region).collect()
}

/// The region's own target.
pub(super) fn own<'a>(environment: &'a Environment, region: &str) -> Option<&'a Target> {
    environment.targets().find(|target| target.region == region)
}
