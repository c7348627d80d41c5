//! `regions promote`: one release, by digest, into every region of an environment, wave by wave.
//!
//! First everything is looked at: the release, every region's API server, the exact difference there. Only
//! when nothing speaks against it is the first region written to. A region that fails ends the promotion:
//! later waves are not touched, and running the same command again goes on where it ended.

mod prepare;
mod report;
pub mod targets;
mod waves;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::cluster::{Patience, access};
use crate::execute::Limits;
use crate::helm::Helm;
use crate::output::Progress;
use crate::plan::readiness;
use crate::plan::record::Provenance;
use crate::release;
use crate::signature;
use crate::vault::reach::Clusters;
use crate::vault::secrets::Access;

use prepare::{Common, Prepared, Refusal, prepare};
use report::{RegionReport, RegionState, chain, describe};
use targets::Environment;

pub use report::{Ending, Report};

/// Bound of one call to an API server, and how often it is made when no answer comes.
const CALLS: Patience = Patience { call: Duration::from_secs(10), tries: 3 };

/// Bound for looking at a region before anything is written: an unreachable one is to be found soon.
const FIRST_CALLS: Patience = Patience { call: Duration::from_secs(5), tries: 3 };

/// How long states are borne that may pass by themselves, a lack of nodes aside.
const DOUBTFUL: Duration = Duration::from_secs(15);

/// What each ending means for this verb.
const ENDINGS: &str = "\
Exit codes:
  0  every region runs the release and is ready (or --dry-run)
  1  refused: nothing was changed in any region
  2  the command line, catalogue, kubeconfig or Helm is not in order; nothing was changed
  4  some regions do not run the release, or are not ready: run again, or promote the former release
  5  another promotion writes the same region's release record

A region that fails is not undone by this verb: no promotion ends with 3.";

/// What to promote, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = ENDINGS)]
pub struct Args {
    /// The environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub environment: String,
    /// The release: a packaged chart (CHART.tgz) or oci://REPOSITORY@sha256:DIGEST, never a tag
    #[arg(long, value_name = "RELEASE")]
    pub release: String,
    /// Show what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask before the first region is written to
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the release record
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// The build that runs this, for the release record
    #[arg(long, value_name = "URL", env = "CIRCLE_BUILD_URL")]
    pub build: Option<String>,
    /// Regions of a wave that are promoted to at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub parallel: u8,
    /// How long the workloads of a region may take to become ready
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
    /// How long a pod may wait for a node to be made for it
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = duration)]
    pub unschedulable_after: Duration,
    /// Look first whether each region's Vault has the release's secrets, logging in with the JWT in this file
    /// (auth/jwt, role promoter)
    #[arg(long, value_name = "FILE", requires = "vault_ca")]
    pub vault_jwt_file: Option<PathBuf>,
    /// PEM certificates of the authorities that vouch for the Vaults; no others do
    #[arg(long, value_name = "FILE", requires = "vault_jwt_file")]
    pub vault_ca: Option<PathBuf>,
    /// The Helm program [default: `helm` from PATH]
    #[arg(long, value_name = "FILE")]
    pub helm: Option<PathBuf>,
    /// The regions' clusters
    #[command(flatten)]
    pub clusters: Clusters,
}

/// Promotes. Progress goes to standard error, the plan (unless `quiet`) to standard output.
///
/// Once `stop` is true, the write in flight is ended and no other is begun.
pub async fn run(args: &Args, environment: &Environment, quiet: bool, stop: watch::Receiver<bool>) -> Report {
    let progress = Progress::new();
    let mut report = Report {
        environment: environment.name.clone(),
        release: None,
        outcome: Ending::Misconfigured,
        regions: untouched(environment),
        error: None,
        next: None,
    };
    let mut stopped = stop.clone();
    let readied = tokio::select! {
        readied = ready(args, environment, &mut report, quiet) => readied,
        _ = stopped.wait_for(|stop| *stop) => {
            (report.outcome, report.error) = (Ending::Refused, Some("stopped by a signal; nothing was written".into()));
            return report;
        }
    };
    let Some((common, prepared)) = readied else { return report };
    let limits = Limits {
        ready: args.timeout,
        patience: readiness::Patience { unschedulable: args.unschedulable_after, doubtful: DOUBTFUL },
    };
    let common = Common { patience: CALLS, ..common };
    waves::run(&common, environment, limits, usize::from(args.parallel), stop, &progress, &mut report).await;
    let former = prepared.iter().find_map(|prepared| prepared.former.as_ref());
    report.next = Some(match report.outcome {
        Ending::Done | Ending::NoChange => match &environment.next {
            Some(next) => format!("regions promote --env {next} --release {}", args.release),
            None => format!("regions status --env {}", environment.name),
        },
        _ => {
            let again = command(args, environment, true);
            match former {
                Some(former) => format!(
                    "{again}\n   or back to {}: regions promote --env {} --release {}",
                    former.release.version, environment.name, former.release.reference
                ),
                None => again,
            }
        }
    });
    report
}

/// All that comes before the first write. Nothing when the promotion ends here; the report says why.
async fn ready(
    args: &Args,
    environment: &Environment,
    report: &mut Report,
    quiet: bool,
) -> Option<(Common, Vec<Prepared>)> {
    let common = match common(args, environment, report).await {
        Ok(common) => common,
        Err(error) => {
            report.error = Some(error);
            return None;
        }
    };
    let prepared = look(args, &common, environment, report, quiet).await?;
    if args.dry_run {
        report.outcome = Ending::Planned;
        report.next = Some(command(args, environment, false));
        return None;
    }
    let writes = prepared.iter().any(|prepared| prepared.plan.writes());
    if writes
        && !args.yes
        && let Err(why) = confirm(environment, &prepared).await
    {
        (report.outcome, report.error) = (Ending::Refused, Some(why));
        return None;
    }
    Some((common, prepared))
}

/// What every region shares; the release is in the report as soon as it is known.
async fn common(args: &Args, environment: &Environment, report: &mut Report) -> Result<Common, String> {
    let helm = Helm::find(args.helm.as_deref()).map_err(|error| chain(&error))?;
    let kubeconfig =
        access::kubeconfig(args.clusters.kubeconfig.as_deref()).map_err(|error| chain(&error))?;
    let packaged = release::resolve(&args.release, &helm).await.map_err(|error| {
        if error.is_refusal() {
            report.outcome = Ending::Refused;
        }
        chain(&error)
    })?;
    report.release = Some(packaged.release.clone());
    signature::verify(&packaged.release, &environment.signers).await.map_err(|error| {
        report.outcome = Ending::Refused;
        chain(&error)
    })?;
    let vault = match (&args.vault_jwt_file, &args.vault_ca) {
        (Some(jwt), Some(authority)) => {
            Some(Access::read(jwt, authority, args.clusters.clone()).map_err(|error| chain(&error))?)
        }
        _ => None,
    };
    let provenance = Provenance { who: String::new(), why: args.why.clone(), build: args.build.clone() };
    Ok(Common { packaged, helm, kubeconfig, vault, provenance, patience: FIRST_CALLS })
}

/// Looks at every region at once, and says of all of them what speaks against the promotion.
async fn look(
    args: &Args,
    common: &Common,
    environment: &Environment,
    report: &mut Report,
    quiet: bool,
) -> Option<Vec<Prepared>> {
    let targets = environment.waves.iter().flat_map(|wave| &wave.targets);
    let looked: Vec<Result<Prepared, Refusal>> = stream::iter(targets)
        .map(|target| prepare(common, target))
        .buffered(usize::from(args.parallel).max(8))
        .collect()
        .await;
    let mut prepared = Vec::new();
    let mut refusals = Vec::new();
    for (own, looked) in report.regions.iter_mut().zip(looked) {
        match looked {
            Ok(found) => {
                own.kubernetes = Some(found.kubernetes.clone());
                own.changes.clone_from(&found.plan.changes);
                own.state = if found.plan.writes() { RegionState::Planned } else { RegionState::NoChange };
                prepared.push(found);
            }
            Err(refusal) => {
                own.error = Some(chain(&refusal));
                refusals.push(refusal);
            }
        }
    }
    if !quiet {
        show(environment, report, &prepared);
    }
    if refusals.is_empty() {
        return Some(prepared);
    }
    for own in &mut report.regions {
        own.state = RegionState::Untouched;
    }
    let configuration = refusals.iter().all(Refusal::is_configuration);
    report.outcome = if configuration { Ending::Misconfigured } else { Ending::Refused };
    report.next = Some(command(args, environment, true));
    None
}

/// Prints the plan of every region that could be looked at.
fn show(environment: &Environment, report: &Report, prepared: &[Prepared]) {
    let mut out = std::io::stdout().lock();
    if let Some(release) = &report.release {
        let _ = writeln!(out, "release {} {}  {}", release.chart, release.version, release.digest);
    }
    for wave in &environment.waves {
        let _ = writeln!(out, "{} wave {}", environment.name, wave.name);
        for target in &wave.targets {
            let found = prepared.iter().find(|prepared| prepared.plan.region == target.region);
            let _ = match found {
                Some(found) => write!(out, "{}", describe(&target.region, &found.kubernetes, &found.plan)),
                None => writeln!(out, "  {}  cannot be promoted to, see below", target.region),
            };
        }
    }
}

/// Asks on the terminal. Where nobody can be asked, nothing is written.
async fn confirm(environment: &Environment, prepared: &[Prepared]) -> Result<(), String> {
    if !std::io::stdin().is_terminal() {
        return Err("nobody can be asked here; look at the plan above, then add --yes".into());
    }
    let regions: Vec<&str> =
        prepared.iter().filter(|p| p.plan.writes()).map(|p| p.plan.region.as_str()).collect();
    let mut err = std::io::stderr();
    let _ = write!(err, "Promote {} in {}? [y/N] ", regions.join(", "), environment.name);
    let _ = err.flush();
    let read = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = read.await.ok().and_then(Result::ok).unwrap_or_default();
    let yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if yes { Ok(()) } else { Err("not confirmed".into()) }
}

fn untouched(environment: &Environment) -> Vec<RegionReport> {
    let targets =
        environment.waves.iter().flat_map(|wave| wave.targets.iter().map(move |target| (wave, target)));
    targets
        .map(|(wave, target)| RegionReport {
            region: target.region.clone(),
            wave: wave.name.clone(),
            state: RegionState::Untouched,
            kubernetes: None,
            changes: Vec::new(),
            pods: None,
            error: None,
        })
        .collect()
}

fn command(args: &Args, environment: &Environment, as_before: bool) -> String {
    let dry_run = if args.dry_run && as_before { " --dry-run" } else { "" };
    format!("regions promote --env {} --release {}{dry_run}", environment.name, args.release)
}

/// A duration such as `90s` or `10m`, above zero and at most a day.
fn duration(text: &str) -> Result<Duration, String> {
    let read: SignedDuration =
        text.parse().map_err(|_| format!("{text} is not a duration such as 90s or 10m"))?;
    let read = Duration::try_from(read).map_err(|_| format!("{text} is below zero"))?;
    let bounds = Duration::from_secs(1)..=Duration::from_secs(86_400);
    if bounds.contains(&read) { Ok(read) } else { Err(format!("{text} is not between 1s and 24h")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "10", "0s", "-1s", "25h", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
