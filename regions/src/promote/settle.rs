//! `regions promote --settle`: ends what a run left that was killed or cancelled.

use jiff::Timestamp;
use tokio::sync::watch;

use super::args::Args;
use super::carry::{Aim, Job, Outcome, carry};
use super::live::{Live, Outside};
use super::lock::Holder;
use super::region::Region as _;
use super::report::{Ending, RegionState, Report, chain};
use super::targets::Environment;
use super::{CALLS, FIRST_CALLS, limits, name};
use crate::cluster::{Cluster, access};
use crate::output::Progress;
use crate::plan::promotion::{Standing, standing};
use crate::probe::door::Roots;
use crate::who;

/// Settles. Once `stop` is true, the write in flight is ended and no other is begun.
pub(super) async fn run(args: &Args, environment: &Environment, stop: watch::Receiver<bool>) -> Report {
    let progress = Progress::new();
    let mut report = Report::new(environment);
    let regions = match connect(args, environment, &mut report).await {
        Ok(regions) => regions,
        Err(why) => {
            report.errors.push(why);
            return report;
        }
    };
    let mut records = Vec::new();
    for (own, region) in report.regions.iter_mut().zip(&regions) {
        match region.records().await {
            Ok(found) => records.push(found),
            Err(error) => own.error = Some(error.to_string()),
        }
    }
    if records.len() < regions.len() {
        report.outcome = Ending::Refused;
        report.next = Some(args.command(environment, true));
        return report;
    }
    for (own, records) in report.regions.iter_mut().zip(&records) {
        own.former = standing::before(records).map(|record| record.release.clone());
    }
    let Some((_, standings)) = standing::settle(&records) else {
        report.outcome = Ending::NoChange;
        return report;
    };
    let open =
        records.iter().filter_map(|records| records.first()).find(|stored| stored.record.state.is_open());
    report.release = open.map(|stored| stored.record.release.clone());
    for (own, standing) in report.regions.iter_mut().zip(&standings) {
        let what = match standing {
            Standing::Passed => "its gates had passed, and it stays",
            Standing::Bad(_) => "goes back to what ran before",
            _ => continue,
        };
        own.state = RegionState::Planned;
        progress.note(&format!("  {}: {what}", own.region));
    }
    if args.dry_run {
        report.outcome = Ending::Planned;
        report.next = Some(args.command(environment, false));
        return report;
    }
    if !args.yes && !report.confirmed(&format!("Settle {}?", environment.name)).await {
        return report;
    }
    let job = Job {
        regions: &regions,
        waves: environment.places(),
        work: vec![None; regions.len()],
        aim: Aim::Settle,
        promotion: name(),
        limits: limits(&args.how),
        gates: environment.gates.clone(),
        parallel: usize::from(args.how.parallel),
        holder: Holder { name: who::own(), life: args.how.lease },
        may_begin: &|| Err(format!("nothing is promoted by --settle ({})", Timestamp::now())),
    };
    let outcome = carry(&job, stop, &progress).await;
    let nothing = outcome == Outcome::Nothing;
    report.conclude(outcome);
    if report.outcome == Ending::Incomplete || (nothing && report.outcome != Ending::NoChange) {
        report.next = Some(args.command(environment, true));
    } else {
        report.next = Some(format!("regions history --env {}", environment.name));
    }
    report
}

/// The environment's regions, without anything of a release.
pub(crate) async fn connect(
    args: &Args,
    environment: &Environment,
    report: &mut Report,
) -> Result<Vec<Live>, String> {
    let how = &args.how;
    let kubeconfig = access::kubeconfig(how.clusters.kubeconfig.as_deref()).map_err(|error| chain(&error))?;
    let mut regions = Vec::new();
    for (target, own) in environment.targets().zip(&mut report.regions) {
        let cluster = Cluster::connect(&target.region, &target.context, kubeconfig.clone(), FIRST_CALLS);
        let cluster = cluster.await.map_err(|error| error.to_string())?;
        match cluster.version().await {
            Ok(version) => own.kubernetes = Some(version),
            Err(error) => {
                report.outcome = Ending::Refused;
                return Err(error.to_string());
            }
        }
        let outside = Outside {
            host: environment.host(&target.region),
            issuer: environment.issuer(),
            roots: Roots::System,
        };
        regions.push(Live::new(cluster.patient(CALLS), target.watcher.clone(), outside, None));
    }
    Ok(regions)
}
