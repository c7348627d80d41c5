//! `regions status`: what each region of an environment runs, read now and from the regions themselves.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use kube::config::Kubeconfig;
use serde::Serialize;
use tokio::time::timeout;

use crate::cluster::error::ClusterError;
use crate::cluster::{Cluster, Patience};
use crate::plan::readiness::Pods;
use crate::plan::record::{Record, State};
use crate::promote::targets::{Environment, Target};

/// Bound of one call, and of all that is asked of one region: a region that answers nothing is shown as such
/// within 3 s, and holds up no other.
const CALLS: Patience = Patience { call: Duration::from_millis(2_500), tries: 1 };
const REGION: Duration = Duration::from_millis(2_800);

/// What to show.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Exit codes: 0, or 4 when a region cannot be read, or 2 for usage and configuration")]
pub struct Args {
    /// The environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub environment: String,
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
    /// What was read there; absent when it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What was read in a region.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The API server's version.
    pub kubernetes: String,
    /// The newest release record; absent when nothing was promoted yet.
    pub release: Option<Running>,
    /// Pods of the Deployments that this tool applied.
    pub pods: Pods,
}

/// The release that a region was promoted to last.
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
        if self.regions.iter().all(|region| region.found.is_some()) { 0 } else { 4 }
    }

    /// As a table. What cannot be read, and why a release failed, stands below it.
    pub fn table(&self, now: Timestamp) -> String {
        let mut rows =
            vec![["REGION", "WAVE", "KUBERNETES", "RELEASE", "STATE", "PODS", "SINCE"].map(str::to_owned)];
        let mut below = String::new();
        for own in &self.regions {
            let (region, wave) = (own.region.clone(), own.wave.clone());
            let none = || "-".to_owned();
            rows.push(match &own.found {
                None => [region, wave, none(), none(), "unreadable".into(), none(), none()],
                Some(found) => {
                    let pods = format!("{}/{}", found.pods.ready, found.pods.desired);
                    let kubernetes = found.kubernetes.clone();
                    match &found.release {
                        None => [region, wave, kubernetes, none(), "nothing yet".into(), pods, none()],
                        Some(running) => [
                            region,
                            wave,
                            kubernetes,
                            format!("{} {}", running.version, short(&running.digest)),
                            running.state.as_str().into(),
                            pods,
                            ago(running.since, now),
                        ],
                    }
                }
            });
            let failure = own.found.as_ref().and_then(|found| found.release.as_ref()?.failure.as_ref());
            if let Some(failure) = failure {
                below += &format!("\n{}: {failure}", own.region);
            }
            if let Some(error) = &own.error {
                below += &format!("\n{error}");
            }
        }
        let mut text = columns(&rows);
        if !below.is_empty() {
            text.push_str(&below);
            text.push('\n');
        }
        text
    }
}

/// Reads every region of an environment at the same time.
pub async fn read(environment: &Environment, kubeconfig: &Kubeconfig) -> Status {
    let targets =
        environment.waves.iter().flat_map(|wave| wave.targets.iter().map(|target| (&wave.name, target)));
    let regions = join_all(targets.map(async |(wave, target)| {
        let (found, error) = match timeout(REGION, region(target, kubeconfig)).await {
            Ok(Ok(found)) => (Some(found), None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(_) => (None, Some(format!("{}: no answer within {} s", target.region, REGION.as_secs_f64()))),
        };
        let (region, context) = (target.region.clone(), target.context.clone());
        RegionStatus { region, wave: wave.clone(), context, found, error }
    }));
    Status { environment: environment.name.clone(), regions: regions.await }
}

async fn region(target: &Target, kubeconfig: &Kubeconfig) -> Result<Found, ClusterError> {
    let cluster = Cluster::connect(&target.region, &target.context, kubeconfig.clone(), CALLS).await?;
    let (kubernetes, records, deployments) =
        tokio::try_join!(cluster.version(), cluster.records(), cluster.deployments())?;
    let pods = deployments.iter().fold(Pods::default(), |sum, deployment| {
        let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
        Pods { ready: sum.ready + ready, desired: sum.desired + desired }
    });
    let release = records.into_iter().next().map(|stored| running(stored.record));
    Ok(Found { kubernetes, release, pods })
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

/// The first 12 digits of a digest, as they are shown everywhere.
pub fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

/// How long ago, in the largest unit that says enough.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str, found: Option<Found>, error: Option<&str>) -> RegionStatus {
        let (wave, context) = ("first".into(), format!("meridian-qa-{name}"));
        RegionStatus { region: name.into(), wave, context, found, error: error.map(str::to_owned) }
    }

    #[test]
    fn the_table_shows_what_runs_and_what_cannot_be_read() {
        let release = Running {
            number: 3,
            digest: format!("sha256:{}", "ab".repeat(32)),
            version: "1.2.0".into(),
            state: State::Failed,
            since: Timestamp::UNIX_EPOCH,
            who: "somebody".into(),
            failure: Some("it will not become ready".into()),
        };
        let pods = Pods { ready: 1, desired: 2 };
        let found = |release| Some(Found { kubernetes: "v1.36.3".into(), release, pods });
        let status = Status {
            environment: "qa".into(),
            regions: vec![
                region("eu", found(Some(release)), None),
                region("new", found(None), None),
                region("us", None, Some("us: get /version: unreachable")),
            ],
        };
        let expected = "\
REGION  WAVE   KUBERNETES  RELEASE             STATE        PODS  SINCE
eu      first  v1.36.3     1.2.0 abababababab  failed       1/2   3m
new     first  v1.36.3     -                   nothing yet  1/2   -
us      first  -           -                   unreadable   -     -

eu: it will not become ready
us: get /version: unreachable
";
        assert_eq!(status.table(Timestamp::from_second(200).unwrap()), expected);
        assert_eq!(status.code(), 4);
    }

    #[test]
    fn ages_are_short() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let ages = [-5, 0, 119, 120, 7_199, 7_200, 172_800]
            .map(|age| ago(Timestamp::from_second(1_000_000 - age).unwrap(), now));
        assert_eq!(ages, ["0s", "0s", "119s", "2m", "119m", "2h", "2d"]);
    }
}
