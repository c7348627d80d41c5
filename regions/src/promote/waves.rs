//! Wave after wave: the regions of one at the same time, the next only when all of them are ready.

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;

use super::prepare::{Common, Prepared, prepare};
use super::report::{Ending, RegionState, Report, chain};
use super::targets::{Environment, Target};
use crate::execute::{self, Failure, Limits};
use crate::output::Progress;
use crate::plan::diff::Change;
use crate::plan::readiness::Pods;

/// How one region fared.
struct Fared {
    wrote: bool,
    result: Result<Pods, Why>,
}

/// Why a region failed.
struct Why {
    text: String,
    locked: bool,
    /// It is not known whether the region is as it was before.
    incomplete: bool,
}

/// Promotes wave by wave and writes into the report how far each region came.
pub(super) async fn run(
    common: &Common,
    environment: &Environment,
    limits: Limits,
    parallel: usize,
    stop: watch::Receiver<bool>,
    progress: &Progress,
    report: &mut Report,
) {
    let (mut wrote, mut failed, mut locked, mut incomplete) = (false, false, false, false);
    for own in &mut report.regions {
        own.state = RegionState::Untouched;
    }
    for wave in &environment.waves {
        if failed || *stop.borrow() {
            failed = true;
            break;
        }
        progress.note(&format!("wave {}", wave.name));
        let shown = |region: &str| {
            let own = report.regions.iter().find(|own| own.region == region);
            own.map(|own| own.changes.clone()).unwrap_or_default()
        };
        let work = wave.targets.iter().map(|target| (target, shown(&target.region)));
        let fared: Vec<(&Target, Fared)> = stream::iter(work)
            .map(|(target, shown)| {
                let stop = stop.clone();
                async move { (target, region(common, target, &shown, limits, stop, progress).await) }
            })
            .buffer_unordered(parallel)
            .collect()
            .await;
        for (target, fared) in fared {
            wrote |= fared.wrote;
            let Some(own) = report.regions.iter_mut().find(|own| own.region == target.region) else {
                continue;
            };
            match fared.result {
                Ok(pods) => {
                    own.state = if fared.wrote { RegionState::Applied } else { RegionState::NoChange };
                    own.pods = Some(pods);
                }
                Err(why) => {
                    failed = true;
                    locked |= why.locked;
                    incomplete |= why.incomplete;
                    own.state = if fared.wrote { RegionState::Failed } else { RegionState::Untouched };
                    own.error = Some(why.text);
                }
            }
        }
    }
    report.outcome = match (failed, wrote) {
        (true, _) if locked => Ending::Locked,
        (true, true) => Ending::Incomplete,
        (true, false) if incomplete => Ending::Incomplete,
        (true, false) => Ending::Refused,
        (false, true) => Ending::Done,
        (false, false) => Ending::NoChange,
    };
}

/// One region: it is looked at anew, since minutes may have passed since the plan was shown.
async fn region(
    common: &Common,
    target: &Target,
    shown: &[Change],
    limits: Limits,
    stop: watch::Receiver<bool>,
    progress: &Progress,
) -> Fared {
    let line = progress.region(&target.region);
    line.say("looking");
    let Prepared { cluster, plan, contents, .. } = match prepare(common, target).await {
        Ok(prepared) => prepared,
        Err(refusal) => {
            let why = Why { text: chain(&refusal), locked: false, incomplete: false };
            return Fared { wrote: false, result: Err(why) };
        }
    };
    if plan.changes != shown {
        progress.note(&format!(
            "  {}: the region changed since the plan was shown; the release is the same",
            target.region
        ));
    }
    let outcome = execute::execute(&cluster, &plan, &contents, limits, stop, &line).await;
    drop(line);
    let result = outcome.result.map_err(|failure| Why {
        locked: matches!(failure, Failure::Overtaken(_)),
        incomplete: matches!(failure, Failure::NotReady(_) | Failure::TimedOut { .. } | Failure::Stopped),
        text: format!("{}: {}", target.region, chain(&failure)),
    });
    match &result {
        Ok(pods) if outcome.wrote => {
            progress
                .note(&format!("  {}: applied, {}/{} pods ready", target.region, pods.ready, pods.desired));
        }
        Ok(pods) => {
            progress
                .note(&format!("  {}: no change, {}/{} pods ready", target.region, pods.ready, pods.desired));
        }
        Err(_) => progress.note(&format!("  {}: failed, see below", target.region)),
    }
    Fared { wrote: outcome.wrote, result }
}
