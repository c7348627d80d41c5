//! `regions promote`: one release, by digest, into every region of an environment, wave by wave.
//!
//! First everything is looked at: the release, the environment before, every region's API server, Vault and watcher,
//! the exact difference there. Only when nothing speaks against it is the first region written to. A release that does
//! not become ready, or fails a gate, is taken back from every region, newest wave first.

pub mod args;
pub mod carry;
pub mod live;
pub mod lock;
mod look;
mod prepare;
pub mod recorder;
pub mod region;
pub mod report;
pub mod rollback;
mod screen;
pub mod settle;
pub mod targets;
mod times;

use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::cluster::Patience;
use crate::execute::Limits;
use crate::output::Progress;
use crate::plan::gate::limits::Limits as Gates;
use crate::plan::promotion::refusal;
use crate::plan::readiness;
use crate::who;

use carry::{Aim, Job, carry};
use live::Live;
use lock::Holder;
use prepare::Prepared;
use recorder::Recorder;
use report::RegionState;
use targets::Environment;

pub use args::Args;
pub use report::{Ending, Report, chain};

/// Bound of one call to an API server, and how often it is made when no answer comes.
pub(crate) const CALLS: Patience = Patience { call: Duration::from_secs(10), tries: 3 };

/// Bound for looking at a region before anything is written: an unreachable one is to be found soon.
pub(crate) const FIRST_CALLS: Patience = Patience { call: Duration::from_secs(5), tries: 3 };

/// How long states are borne that may pass by themselves, a lack of nodes aside.
pub(crate) const DOUBTFUL: Duration = Duration::from_secs(15);

/// Promotes. Progress goes to standard error, the plan (unless `quiet`) to standard output.
///
/// Once `stop` is true, the write in flight is ended and no other is begun.
pub async fn run(args: &Args, environment: &Environment, quiet: bool, stop: watch::Receiver<bool>) -> Report {
    if args.settle {
        return settle::run(args, environment, stop).await;
    }
    let progress = Progress::new();
    let mut report = Report::new(environment);
    let recorder = match args.record_looks.as_deref().map(Recorder::open).transpose() {
        Ok(recorder) => recorder.map(Rc::new),
        Err(error) => {
            report.errors.push(error);
            return report;
        }
    };
    let mut stopped = stop.clone();
    let readied = tokio::select! {
        readied = ready(args, environment, &mut report, quiet) => readied,
        _ = stopped.wait_for(|stop| *stop) => {
            report.refuse("stopped by a signal; nothing was written");
            return report;
        }
    };
    let Some(mut prepared) = readied else { return report };
    if let Some(recorder) = &recorder {
        prepared.iter_mut().for_each(|one| one.live.record(recorder));
    }
    let course = Course {
        environment,
        how: &args.how,
        aim: Aim::Release,
        gates: environment.gates.clone(),
        places: environment.places(),
    };
    course.run(prepared, &mut report, stop, &progress).await;
    report.next = Some(match report.outcome {
        Ending::Done | Ending::NoChange => match &environment.next {
            Some(next) => format!(
                "regions promote --env {next} --release {}",
                args.release.as_deref().unwrap_or_default()
            ),
            None => format!("regions status --env {}", environment.name),
        },
        Ending::Undone => format!("regions history --env {}", environment.name),
        Ending::Incomplete => format!(
            "{}\n   or end it: regions promote --env {} --settle",
            args.command(environment, true),
            environment.name
        ),
        _ => args.command(environment, true),
    });
    report
}

/// How regions come to run what was prepared for them.
struct Course<'a> {
    environment: &'a Environment,
    how: &'a args::How,
    aim: Aim,
    gates: Gates,
    /// Names of waves, and the places of their regions.
    places: Vec<(String, Vec<usize>)>,
}

impl Course<'_> {
    /// Carries it out, and notes what came of it.
    async fn run(
        self,
        prepared: Vec<Prepared>,
        report: &mut Report,
        stop: watch::Receiver<bool>,
        progress: &Progress,
    ) {
        let credentials: Vec<refusal::Credential> =
            prepared.iter().flat_map(|prepared| prepared.credentials.clone()).collect();
        let may_begin = || {
            let ending = refusal::ending(&credentials, Timestamp::now(), needed(self.environment, self.how));
            ending.first().map_or(Ok(()), |refusal| Err(refusal.to_string()))
        };
        for (own, prepared) in report.regions.iter_mut().zip(&prepared) {
            own.former = prepared.former.as_ref().map(|record| record.release.clone());
        }
        let (regions, work): (Vec<Live>, Vec<_>) =
            prepared.into_iter().map(|prepared| (prepared.live, Some(prepared.work))).unzip();
        let job = Job {
            regions: &regions,
            waves: self.places,
            work,
            aim: self.aim,
            promotion: name(),
            limits: limits(self.how),
            gates: self.gates,
            parallel: usize::from(self.how.parallel),
            holder: Holder { name: who::own(), life: self.how.lease },
            may_begin: &may_begin,
        };
        let outcome = carry(&job, stop.clone(), progress).await;
        for (own, region) in report.regions.iter_mut().zip(&regions) {
            own.last_failure = region.last_failure();
        }
        report.conclude(outcome);
        if *stop.borrow() && report.outcome == Ending::Incomplete {
            report.errors.push("stopped by a signal".into());
        }
    }
}

/// How long credentials are needed from the begin of a wave: until its pods are ready, while they bake, and until those
/// of the former release are ready again.
fn needed(environment: &Environment, how: &args::How) -> SignedDuration {
    let needed = environment.gates.time.saturating_add(how.timeout.saturating_mul(2));
    SignedDuration::try_from(needed).unwrap_or(SignedDuration::MAX)
}

/// Bounds of a wait for readiness.
pub(crate) fn limits(how: &args::How) -> Limits {
    let patience = readiness::Patience { unschedulable: how.unschedulable_after, doubtful: DOUBTFUL };
    Limits { ready: how.timeout, patience }
}

/// A name that no other promotion has: when, and by which process of which machine.
pub(crate) fn name() -> String {
    let process = who::own();
    let process = process.rsplit('#').next().unwrap_or_default().to_owned();
    format!("{:.0}-{}", Timestamp::now(), &crate::release::hex_sha256(process.as_bytes())[..8])
}

/// All that comes before the first write. Nothing when the promotion ends here; the report says why.
async fn ready(
    args: &Args,
    environment: &Environment,
    report: &mut Report,
    quiet: bool,
) -> Option<Vec<Prepared>> {
    let prepared = look::look(args, environment, report, quiet).await?;
    let next = environment.next.as_ref().map(|next| {
        format!("regions promote --env {next} --release {}", args.release.as_deref().unwrap_or_default())
    });
    let question = Question { verb: "Promote", dry_run: args.dry_run, yes: args.yes, how: &args.how };
    let prepared = question.ask(environment, prepared, report, next).await;
    if report.outcome == Ending::Planned {
        report.next = Some(args.command(environment, false));
    }
    prepared
}

/// What is asked between the plan and the first write.
struct Question<'a> {
    verb: &'a str,
    dry_run: bool,
    yes: bool,
    how: &'a args::How,
}

impl Question<'_> {
    /// Whether there is anything to do, and it may be done. `next` is to be run where nothing is.
    async fn ask(
        &self,
        environment: &Environment,
        prepared: Vec<Prepared>,
        report: &mut Report,
        next: Option<String>,
    ) -> Option<Vec<Prepared>> {
        if self.dry_run {
            report.outcome = Ending::Planned;
            return None;
        }
        let to_write: Vec<&str> =
            prepared.iter().filter(|one| one.plan.writes()).map(|one| one.plan.region.as_str()).collect();
        let open = prepared.iter().any(|prepared| prepared.is_open);
        if to_write.is_empty() && !open {
            // Nothing is locked, stamped or written where there is nothing to do.
            if let Some(waits) = look::all_ready(&prepared, self.how).await {
                report.refuse(&waits);
                report.outcome = Ending::Incomplete;
            } else {
                report.outcome = Ending::NoChange;
                report.next = next;
            }
            return None;
        }
        let what = if to_write.is_empty() { environment.name.clone() } else { to_write.join(", ") };
        if !self.yes && !report.confirmed(&format!("{} {what} in {}?", self.verb, environment.name)).await {
            return None;
        }
        for own in &mut report.regions {
            own.state = RegionState::Untouched;
        }
        Some(prepared)
    }
}
