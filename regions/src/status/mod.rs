//! `regions status`: what each region of an environment runs, read now and from the regions themselves.

mod table;
mod watched;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use kube::config::Kubeconfig;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::cluster::error::ClusterError;
use crate::cluster::{Cluster, Patience, access};
use crate::plan::readiness::Pods;
use crate::plan::record::{Record, State};
use crate::promote::targets::{Environment, Target};
use crate::rotate::watcher::{self, Watcher};

pub use table::{short, without};
pub use watched::{SecretStatus, Watched};

/// Bound of one call, and of all that is asked of one region: a region that answers nothing is shown as such
/// within 3 s, and holds up no other.
const CALLS: Patience = Patience { call: Duration::from_millis(2_400), tries: 1 };
const REGION: Duration = Duration::from_millis(2_600);

/// Between two looks, where they go on.
pub const WATCH: Duration = Duration::from_secs(2);

/// What to show.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub environment: String,
    /// Look again and again, until a signal ends it
    #[arg(long, short)]
    pub watch: bool,
    /// The kubeconfig with every region's context [default: KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// What an environment runs.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The environment.
    pub environment: String,
    /// Its regions, in the order of waves.
    pub regions: Vec<RegionStatus>,
}

/// What a region runs.
#[derive(Debug, Serialize)]
pub struct RegionStatus {
    /// Its name.
    pub region: String,
    /// Its wave.
    pub wave: String,
    /// Its kubeconfig context.
    pub context: String,
    /// What its cluster says; absent when that cannot be read, or there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// What its watcher says; absent when that cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watched: Option<Watched>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why its watcher cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwatched: Option<String>,
}

/// What was read in a region.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The API server's version.
    pub kubernetes: String,
    /// The release that runs, or is being promoted to; absent when nothing was promoted yet.
    pub release: Option<Running>,
    /// The one that was promoted to last, where that was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone: Option<Running>,
    /// Pods of the Deployment that clients reach.
    pub pods: Pods,
}

/// A release of a region, by its record.
#[derive(Debug, Serialize)]
pub struct Running {
    /// Its number in the region.
    pub number: u64,
    /// Its digest.
    pub digest: String,
    /// The chart's version.
    pub version: String,
    /// How far it came.
    pub state: State,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// Who promoted it.
    pub who: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Status {
    /// Exit code: 0, or 4 when a region cannot be read.
    pub fn code(&self) -> u8 {
        if self.regions.iter().all(|region| region.error.is_none()) { 0 } else { 4 }
    }
}

/// What every look at an environment needs.
pub struct Reader<'a> {
    environment: &'a Environment,
    kubeconfig: Option<Kubeconfig>,
    http: reqwest::Client,
}

impl<'a> Reader<'a> {
    /// Reads the kubeconfig. Watchers alone are asked where each has an address and the environment has no context: then
    /// nobody meant clusters. One region whose context is missing beside others is an error of that region.
    ///
    /// # Errors
    /// It cannot be read, and was named or is needed.
    pub fn new(args: &Args, environment: &'a Environment) -> Result<Self, String> {
        let targets = || environment.waves.iter().flat_map(|wave| &wave.targets);
        let watched = targets().all(|target| target.watcher.is_some());
        let named = args.kubeconfig.is_some() || std::env::var_os("KUBECONFIG").is_some();
        let kubeconfig = match access::kubeconfig(args.kubeconfig.as_deref()) {
            Ok(kubeconfig) => Some(kubeconfig),
            Err(_) if watched && !named => None,
            Err(error) => return Err(error.to_string()),
        };
        let kubeconfig = kubeconfig.filter(|kubeconfig| {
            let known =
                |target: &Target| kubeconfig.contexts.iter().any(|known| known.name == target.context);
            !watched || targets().any(known)
        });
        Ok(Self { environment, kubeconfig, http: watcher::http(None)? })
    }

    /// Reads every region at the same time.
    pub async fn read(&self) -> Status {
        let waves = self.environment.waves.iter();
        let targets = waves.flat_map(|wave| wave.targets.iter().map(|target| (&wave.name, target)));
        let regions = join_all(targets.map(|(wave, target)| self.region(wave, target)));
        Status { environment: self.environment.name.clone(), regions: regions.await }
    }

    async fn region(&self, wave: &str, target: &Target) -> RegionStatus {
        let late = || format!("{}: no answer within {} s", target.region, REGION.as_secs_f64());
        // One end for all of it: a credential plugin that is slow takes its time from what comes after.
        let end = Instant::now() + REGION;
        let cluster = self.cluster(target, end).await;
        let found = async {
            match &cluster {
                None => Ok(None),
                Some(Err(error)) => Err(error.clone()),
                Some(Ok(cluster)) => match timeout_at(end, found(cluster)).await {
                    Ok(Ok(found)) => Ok(Some(found)),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err(late()),
                },
            }
        };
        let seen = async {
            let watcher = match (&target.watcher, &cluster) {
                (Some(address), _) => Watcher::Address { http: self.http.clone(), address: address.clone() },
                (None, Some(Ok(cluster))) => Watcher::Cluster(cluster.clone()),
                (None, _) => return Err("its cluster cannot be reached".to_owned()),
            };
            match timeout_at(end, watcher.view(None)).await {
                Ok(view) => view.map(|view| watched::of(&view)).map_err(|unseen| unseen.to_string()),
                Err(_) => Err(format!("no answer within {} s", REGION.as_secs_f64())),
            }
        };
        let (found, seen) = tokio::join!(found, seen);
        let (found, mut error) = match found {
            Ok(found) => (found, None),
            Err(error) => (None, Some(error)),
        };
        let (watched, unwatched) = match seen {
            Ok(watched) => (Some(watched), None),
            Err(why) => (None, Some(why)),
        };
        // Where there is no cluster the watcher is all there is to read.
        if cluster.is_none() && watched.is_none() {
            error = unwatched.as_ref().map(|why| format!("{}: {why}", target.region));
        }
        RegionStatus {
            region: target.region.clone(),
            wave: wave.to_owned(),
            context: target.context.clone(),
            found,
            watched,
            error,
            unwatched,
        }
    }

    /// The region's cluster; nothing where watchers alone are asked.
    async fn cluster(&self, target: &Target, end: Instant) -> Option<Result<Cluster, String>> {
        let kubeconfig = self.kubeconfig.as_ref()?;
        let cluster = Cluster::connect(&target.region, &target.context, kubeconfig.clone(), CALLS);
        Some(match timeout_at(end, cluster).await {
            Ok(cluster) => cluster.map_err(|error| error.to_string()),
            Err(_) => Err(format!("{}: no answer within {} s", target.region, REGION.as_secs_f64())),
        })
    }
}

async fn found(cluster: &Cluster) -> Result<Found, ClusterError> {
    let (kubernetes, records, workload) =
        tokio::try_join!(cluster.version(), cluster.records(), cluster.workload())?;
    let pods = workload.map_or_else(Pods::default, |deployment| Pods {
        ready: deployment.status.and_then(|status| status.ready_replicas).unwrap_or(0),
        desired: deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1),
    });
    let (release, undone) = runs(records.into_iter().map(|stored| stored.record));
    Ok(Found { kubernetes, release, undone, pods })
}

/// What runs by these records, the newest first, and what was taken back last: then it is the release to which that went
/// back, if its record is still there.
fn runs(mut records: impl Iterator<Item = Record>) -> (Option<Running>, Option<Running>) {
    let Some(newest) = records.next() else { return (None, None) };
    let former = newest.former.filter(|_| newest.state == State::Undone);
    match former.and_then(|number| records.find(|record| record.number == number)) {
        Some(former) => (Some(running(former)), Some(running(newest))),
        None => (Some(running(newest)), None),
    }
}

fn running(record: Record) -> Running {
    Running {
        number: record.number,
        digest: record.release.digest,
        version: record.release.version,
        state: record.state,
        since: record.finished.unwrap_or(record.started),
        who: record.provenance.who,
        failure: record.failure,
    }
}
