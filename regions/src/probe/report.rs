//! `regions probe`: every region from outside, through its LoadBalancer and the global entry, as clients meet it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kube::config::Kubeconfig;
use serde::Serialize;

use super::door::{Door, Roots, Server};
use crate::cluster::{Cluster, access};
use crate::print::columns;
use crate::promote::FIRST_CALLS;
use crate::promote::live::address;
use crate::promote::targets::{Environment, Target};
use crate::status::short;

/// Requests by which latency is measured; the median counts.
const ASKED: usize = 5;

/// By how much a server's clock may differ from this one's.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// What the door to all regions is called.
const ENTRY: &str = "entry";

/// For how long a certificate must still hold.
const HOLDS: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What to ask, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  regions probe --env production
  regions probe --env production --region us-east4 --without-entry
  regions probe --env production --by-name --output json

Without --by-name, a region's address is read from its cluster, so that DNS can be told from the region itself.
A region that is drained is well; an entry that leads to one is not.

Exit codes: 0 all is well · 4 something is not · 2 usage or configuration")]
pub struct Args {
    /// The environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub environment: String,
    /// These regions alone
    #[arg(long, value_name = "REGION")]
    pub region: Vec<String>,
    /// Find the regions by their DNS names; no cluster is asked
    #[arg(long)]
    pub by_name: bool,
    /// The global entry's address, where DNS does not know it
    #[arg(long, value_name = "IP:PORT")]
    pub entry: Option<SocketAddr>,
    /// Ask no global entry
    #[arg(long, conflicts_with = "entry")]
    pub without_entry: bool,
    /// PEM certificates of the authorities that vouch for what clients are shown [default: those of this machine]
    #[arg(long, value_name = "FILE")]
    pub public_ca: Option<PathBuf>,
    /// The kubeconfig with every region's context [default: KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// An environment from outside.
#[derive(Debug, Serialize)]
pub struct Probe {
    /// The environment.
    pub environment: String,
    /// What clients ask: each region, then the entry.
    pub doors: Vec<Found>,
}

/// What was found behind one name.
#[derive(Debug, Serialize)]
pub struct Found {
    /// `entry`, or the region's name.
    pub door: String,
    /// The name that was asked.
    pub host: String,
    /// The status of `/trafficz`, which the entry goes by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<u16>,
    /// Milliseconds of the median answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// The region that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The release that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// When the certificate ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_end: Option<Timestamp>,
    /// Whole days until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_days: Option<i64>,
    /// Seconds by which its clock is ahead of this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_ahead_s: Option<f64>,
    /// What is not well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Asks everybody at the same time.
///
/// # Errors
/// A file of the caller's cannot be used.
pub async fn read(args: &Args, environment: &Environment) -> Result<Probe, String> {
    let roots = match &args.public_ca {
        Some(file) => Roots::read(file)?,
        None => Roots::System,
    };
    let kubeconfig = if args.by_name {
        None
    } else {
        Some(access::kubeconfig(args.kubeconfig.as_deref()).map_err(|error| error.to_string())?)
    };
    let regions = environment.targets().map(async |target| {
        let host = environment.host(&target.region);
        let address = match &kubeconfig {
            Some(kubeconfig) => balancer(target, kubeconfig).await,
            None => Ok(None),
        };
        match address {
            Ok(address) => found(&target.region, &host, address, &roots, &environment.name, ASKED).await,
            Err(why) => Found { problems: vec![why], ..nothing(&target.region, &host) },
        }
    });
    let mut doors = join_all(regions).await;
    if !args.without_entry {
        doors.push(found(ENTRY, &environment.domain, args.entry, &roots, &environment.name, ASKED).await);
    }
    Ok(Probe { environment: environment.name.clone(), doors })
}

/// The address of a region's LoadBalancer.
async fn balancer(target: &Target, kubeconfig: &Kubeconfig) -> Result<Option<SocketAddr>, String> {
    let cluster = Cluster::connect(&target.region, &target.context, kubeconfig.clone(), FIRST_CALLS);
    let cluster = cluster.await.map_err(|error| error.within_region())?;
    let found = address(&cluster).await.map_err(|error| error.within_region())?;
    found.map(Some).ok_or_else(|| "its LoadBalancer has no address yet".into())
}

fn nothing(door: &str, host: &str) -> Found {
    Found {
        door: door.to_owned(),
        host: host.to_owned(),
        traffic: None,
        latency_ms: None,
        region: None,
        release: None,
        certificate_end: None,
        certificate_days: None,
        clock_ahead_s: None,
        problems: Vec::new(),
    }
}

/// Asks one door so many times, or until it does not answer.
pub(crate) async fn found(
    name: &str,
    host: &str,
    address: Option<SocketAddr>,
    roots: &Roots,
    environment: &str,
    asked: usize,
) -> Found {
    let mut found = nothing(name, host);
    let door = match Door::new(host, address, roots) {
        Ok(door) => door,
        Err(why) => return Found { problems: vec![why], ..found },
    };
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..asked {
        match door.server().await {
            Ok(answered) => {
                took.push(answered.took);
                found.certificate_end = answered.certificate_end.or(found.certificate_end);
                found.clock_ahead_s = answered.ahead.map(|ahead| ahead.as_secs_f64()).or(found.clock_ahead_s);
                found.answered(answered.value, environment);
            }
            Err(why) => {
                found.problems.push(why);
                break;
            }
        }
    }
    took.sort_unstable();
    found.latency_ms = took.get(took.len() / 2).map(|took| took.as_secs_f64() * 1000.0);
    match door.trafficz().await {
        Ok(status) => found.traffic = Some(status),
        Err(why) => found.problems.push(why),
    }
    found.judge(Timestamp::now());
    found
}

impl Found {
    /// Notes who answered, and whether it is not who should.
    fn answered(&mut self, server: Server, environment: &str) {
        if server.environment != environment {
            self.problems.push(format!("it is answered by the environment {}", server.environment));
        }
        if self.door != ENTRY && server.region != self.door {
            self.problems.push(format!("it is answered by the region {}", server.region));
        }
        self.region = Some(server.region);
        self.release = server.release.or(self.release.take());
    }

    /// Says what is not well of all that was found.
    fn judge(&mut self, now: Timestamp) {
        match self.traffic {
            // A region that is drained is meant to be.
            None | Some(200) => {}
            Some(503) if self.door != ENTRY => {}
            Some(503) => self.problems.push(
                "GET /trafficz answers 503: DNS leads to a region that is drained; restore one, or wait until DNS has followed"
                    .into(),
            ),
            Some(status) => self.problems.push(format!(
                "GET /trafficz answers {status}, neither 200 nor 503: the entry leaves out who answers so; look at its pods"
            )),
        }
        if let Some(end) = self.certificate_end {
            let left = end.duration_since(now);
            self.certificate_days = Some(left.as_hours().div_euclid(24));
            if left < HOLDS {
                self.problems.push(format!("its certificate ends at {end:.0}; rotate the secret tls"));
            }
        }
        if let Some(ahead) = self.clock_ahead_s
            && ahead.abs() > SKEW.as_secs_f64()
        {
            self.problems.push(format!("its clock, or this machine's, is off by {ahead:.0} s"));
        }
        self.problems.dedup();
    }
}

impl Probe {
    /// Exit code: 0, or 4 when something is not well. A drained region is well.
    pub fn code(&self) -> u8 {
        if self.doors.iter().all(|door| door.problems.is_empty()) { 0 } else { 4 }
    }

    /// For people: a table, with what is not well below it.
    pub fn text(&self) -> String {
        let head = ["DOOR", "TRAFFIC", "LATENCY", "REGION", "RELEASE", "CERTIFICATE", "CLOCK"];
        let mut rows = vec![head.map(str::to_owned)];
        let mut below = String::new();
        let none = || "-".to_owned();
        for found in &self.doors {
            let traffic = match found.traffic {
                Some(200) => "serving".to_owned(),
                Some(503) => "drained".to_owned(),
                Some(status) => status.to_string(),
                None => none(),
            };
            rows.push([
                found.door.clone(),
                traffic,
                found.latency_ms.map_or_else(none, |ms| format!("{ms:.1} ms")),
                found.region.clone().unwrap_or_else(none),
                found.release.as_deref().map_or_else(none, |release| short(release).to_owned()),
                found.certificate_days.map_or_else(none, |days| format!("{days} days")),
                found.clock_ahead_s.map_or_else(none, |ahead| format!("{ahead:+.0} s")),
            ]);
            for problem in &found.problems {
                let _ = writeln!(below, "{}: {problem}", found.door);
            }
        }
        let mut text = columns(&rows);
        if !below.is_empty() {
            text = format!("{text}\n{below}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a door is said to have wrong with it, once all was found.
    fn problems(door: &str, change: impl FnOnce(&mut Found)) -> Vec<String> {
        let mut found = nothing(door, "eu.example.com");
        found.traffic = Some(200);
        change(&mut found);
        found.judge(Timestamp::UNIX_EPOCH);
        let said = found.problems.clone();
        let code = Probe { environment: "qa".into(), doors: vec![found] }.code();
        assert_eq!(code == 0, said.is_empty(), "{code}: {said:?}");
        said
    }

    fn server(environment: &str, region: &str) -> Server {
        Server { environment: environment.into(), region: region.into(), pod: "one".into(), release: None }
    }

    fn ends_in(hours: i64) -> Option<Timestamp> {
        Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_hours(hours)).ok()
    }

    #[test]
    fn a_region_that_is_drained_is_well() {
        assert!(problems("eu", |found| found.traffic = Some(503)).is_empty());
    }

    #[test]
    fn an_entry_that_leads_to_a_drained_region_is_not_well() {
        let said = problems(ENTRY, |found| found.traffic = Some(503));
        assert!(said[0].contains("DNS leads to a region that is drained"), "{said:?}");
    }

    #[test]
    fn any_other_status_is_a_problem_at_each_door() {
        for (door, status) in [("eu", 404), ("eu", 500), (ENTRY, 404), (ENTRY, 500)] {
            let said = problems(door, |found| found.traffic = Some(status));
            let wanted = format!("GET /trafficz answers {status}, neither 200 nor 503");
            assert!(said[0].starts_with(&wanted), "{door}: {said:?}");
        }
    }

    #[test]
    fn a_clock_may_differ_by_a_few_seconds() {
        for ahead in [5.0, -5.0] {
            assert!(problems("eu", |found| found.clock_ahead_s = Some(ahead)).is_empty());
        }
        let said = problems("eu", |found| found.clock_ahead_s = Some(-30.0));
        assert_eq!(said, ["its clock, or this machine's, is off by -30 s"]);
    }

    #[test]
    fn a_certificate_must_hold_for_a_week() {
        assert!(problems("eu", |found| found.certificate_end = ends_in(168)).is_empty());
        let said = problems("eu", |found| found.certificate_end = ends_in(167));
        assert_eq!(said, ["its certificate ends at 1970-01-07T23:00:00Z; rotate the secret tls"]);
    }

    #[test]
    fn another_region_is_a_problem_behind_a_regions_name_alone() {
        let said = problems("eu", |found| found.answered(server("qa", "us"), "qa"));
        assert_eq!(said, ["it is answered by the region us"]);
        assert!(problems(ENTRY, |found| found.answered(server("qa", "us"), "qa")).is_empty());
    }

    #[test]
    fn another_environment_is_a_problem_however_often_it_answers() {
        let said = problems(ENTRY, |found| {
            found.answered(server("staging", "eu"), "qa");
            found.answered(server("staging", "eu"), "qa");
        });
        assert_eq!(said, ["it is answered by the environment staging"]);
    }
}
