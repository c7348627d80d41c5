//! A region goes out of global traffic.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::Args;
use super::region::{Asked, Rate, Stand, ask, carrier, others, own, reason};
use super::report::{Remaining, Report};
use crate::cluster::access;
use crate::confirm::{LOOK_FIRST, confirm};
use crate::ending::Ending;
use crate::output::{Line, Progress};
use crate::plan::promotion::capacity::{Carrier, Carrying, others_carry};
use crate::plan::traffic::{drained, is_quiet};
use crate::promote::lock::{Hold, Holder, LockError, give_back, keep, take};
use crate::promote::targets::{Environment, Target};
use crate::who;

/// Pause between two looks at whether the pods have seen it.
const LOOK: std::time::Duration = std::time::Duration::from_millis(500);

/// How often it is tried to count what clients ask for, before it is drained without knowing that.
const TRIES: u32 = 4;

pub(super) async fn run(args: &Args, environment: &Environment, report: &mut Report) {
    let kubeconfig = match access::kubeconfig(args.clusters.kubeconfig.as_deref()) {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => return report.errors.push(error.to_string()),
    };
    let Some(target) = own(environment, &report.region) else { return };
    let others = others(environment, &report.region);
    let own = ask(args, environment, target, &kubeconfig);
    let asked = join_all(others.iter().map(|target| ask(args, environment, target, &kubeconfig)));
    let (own, asked) = futures_util::future::join(own, asked).await;
    let own = match own {
        Ok(own) => own,
        Err(why) => {
            return report.refuse(format!(
                "{why}\na region that cannot be asked cannot be drained from here; the entry leaves one that does not answer by \
                 itself"
            ));
        }
    };
    report.before = own.stand.traffic.before;
    let progress = Progress::new();
    let stands = asked.iter().map(|asked| asked.as_ref().map(|asked| &asked.stand));
    if !own.stand.traffic.drained && !capacity(args, own.stand.ready, &others, stands, report) {
        return;
    }
    if args.dry_run {
        report.outcome = Ending::Planned;
        return;
    }
    if !args.yes
        && !own.stand.traffic.drained
        && let Err(why) = confirm(&format!("Drain {}/{}?", environment.name, report.region), LOOK_FIRST).await
    {
        return report.refuse(why);
    }
    let holder = Holder { name: who::own(), life: args.lease };
    let line = progress.region(&report.region);
    // In the order of names, as every run takes them.
    let mut holds: BTreeMap<&str, Hold> = BTreeMap::new();
    let mut asked: BTreeMap<&str, Result<Asked<'_>, String>> =
        others.iter().map(|target| target.region.as_str()).zip(asked).collect();
    let mut names: Vec<&str> = environment.targets().map(|target| target.region.as_str()).collect();
    names.sort_unstable();
    for name in names {
        let region = if name == own.target.region { Some(&own) } else { asked[name].as_ref().ok() };
        let Some(region) = region else { continue };
        let waits = |by: &str| line.say(&format!("waits to see whether {by} is still at work in {name}"));
        let taken = take(&region.live, &holder, waits).await;
        match taken {
            Ok(hold) => drop(holds.insert(name, hold)),
            // Who works there may drain it just now.
            Err(error) if name != own.target.region => drop(asked.insert(name, Err(error.to_string()))),
            Err(error) if args.force.is_some() => report.notes.push(format!("{error}; drained all the same")),
            Err(error) => {
                report.outcome =
                    if matches!(error, LockError::Held { .. }) { Ending::Locked } else { Ending::Refused };
                report.errors.push(error.to_string());
                break;
            }
        }
    }
    if report.errors.is_empty() {
        let held: Vec<_> = [&own]
            .into_iter()
            .chain(asked.values().flatten())
            .filter_map(|region| Some((&region.live, holds.get(region.target.region.as_str())?)))
            .collect();
        let asked: Vec<_> = others.iter().map(|target| &asked[target.region.as_str()]).collect();
        tokio::select! {
            () = go(args, &own, &others, &asked, report, &line) => {}
            region = keep(&held, &holder), if !held.is_empty() => {
                report.outcome = Ending::Locked;
                report.errors.push(format!("{region}: another run of regions has taken its Lease over; run again"));
            }
        }
    }
    for region in [&own].into_iter().chain(asked.values().flatten()) {
        if let Some(hold) = holds.get(region.target.region.as_str()) {
            give_back(&region.live, hold, &holder).await;
        }
    }
}

/// Whether the others carry what this region carries; with force it is said, and no more.
fn capacity<'a>(
    args: &Args,
    leaving: u32,
    others: &[&Target],
    stands: impl Iterator<Item = Result<&'a Stand, &'a String>>,
    report: &mut Report,
) -> bool {
    let carriers: Vec<Carrier> =
        others.iter().zip(stands).map(|(target, stand)| carrier(target, stand)).collect();
    for carrier in &carriers {
        if let Carrying::Out(_) = carrier.state {
            report.notes.push(format!("does not count: {carrier}"));
        }
    }
    let Err(why) = others_carry(leaving, &carriers) else { return true };
    if args.force.is_some() {
        report.notes.push(format!("{why}; drained all the same"));
        return true;
    }
    report.refuse(format!(
        "{why}; raise workload.max or restore another region, or drain it all the same with --force \"why\""
    ));
    false
}

/// Writes it, and waits until clients have gone. It is looked once more, now that nobody else drains.
async fn go(
    args: &Args,
    own: &Asked<'_>,
    others: &[&Target],
    asked: &[&Result<Asked<'_>, String>],
    report: &mut Report,
    line: &Line,
) {
    let was_drained = own.stand.traffic.drained;
    if !was_drained {
        report.notes.clear();
        let leaving = match own.now().await {
            Ok(now) => now.ready,
            Err(why) => return report.refuse(why),
        };
        let again = join_all(asked.iter().map(async |asked| match asked {
            Ok(asked) => asked.now().await,
            Err(why) => Err(why.clone()),
        }));
        let again = again.await;
        if !capacity(args, leaving, others, again.iter().map(Result::as_ref), report) {
            return;
        }
        line.say("counts what clients ask for");
        match before(args, own, line).await {
            Ok(rate) => report.before = Some(rate.per_second),
            Err(why) => report.notes.push(format!("what clients asked for before is not known: {why}")),
        }
    }
    let data = drained(&reason(args, who::person(&who::own())), report.before);
    // A run that goes on leaves the reason that stands there.
    if !was_drained {
        match own.write(&data).await {
            Ok(notes) => report.notes.extend(notes),
            Err(error) => return report.refuse(error.to_string()),
        }
        report.wrote = true;
    }
    gone(args, own, report, line).await;
    if report.outcome == Ending::Done && was_drained {
        report.outcome = Ending::NoChange;
    }
}

/// Counts what clients ask for before anything is written. A pod that cannot be read now may be a moment later.
async fn before(args: &Args, own: &Asked<'_>, line: &Line) -> Result<Rate, String> {
    for _ in 1..TRIES {
        match own.rate(args.window).await {
            Ok(rate) => return Ok(rate),
            Err(why) => line.say(&why),
        }
        sleep(LOOK).await;
    }
    own.rate(args.window).await
}

/// Waits until every pod says that the region is drained, and next to nobody asks any more.
async fn gone(args: &Args, own: &Asked<'_>, report: &mut Report, line: &Line) {
    let deadline = Instant::now() + args.timeout;
    report.outcome = Ending::Incomplete;
    report.next = Some(format!("regions drain {}/{}", report.environment, report.region));
    loop {
        let why = match own.not_yet(true).await {
            Ok(pods) if pods.is_empty() => break,
            Ok(pods) => format!("not yet drained: {}", pods.join(", ")),
            Err(why) => why,
        };
        line.say(&why);
        if Instant::now() >= deadline {
            return report.errors.push(why);
        }
        sleep(LOOK).await;
    }
    loop {
        match own.rate(args.window).await {
            Ok(Rate { per_second, came, over }) => {
                report.now = Some(per_second);
                let seconds = over.as_secs_f64().max(0.001);
                report.remaining = came
                    .into_iter()
                    .map(|((pod, path), count)| Remaining { pod, path, per_second: count as f64 / seconds })
                    .collect();
                if is_quiet(report.before, per_second) {
                    report.remaining.clear();
                    report.outcome = Ending::Done;
                    report.next = Some(format!("regions restore {}/{}", report.environment, report.region));
                    return;
                }
                line.say(&format!("{per_second:.1} answers a second"));
            }
            Err(why) => {
                line.say(&why);
                if Instant::now() >= deadline {
                    return report.errors.push(why);
                }
                sleep(LOOK).await;
            }
        }
        if Instant::now() >= deadline {
            return;
        }
    }
}
