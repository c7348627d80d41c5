//! A region comes back into global traffic: only when it is well, and its secrets are those of the others.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::Args;
use super::region::{Asked, ask, others, own};
use super::report::Report;
use crate::cluster::access;
use crate::confirm::{LOOK_FIRST, confirm};
use crate::ending::Ending;
use crate::output::{Line, Progress};
use crate::plan::traffic::{behind, serving, unfit};
use crate::plan::view::View;
use crate::probe::door::{Door, Roots};
use crate::promote::live::address;
use crate::promote::lock::{Holder, LockError, give_back, keep, take};
use crate::promote::targets::Environment;
use crate::who;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Requests that are made through the LoadBalancer before it is said to be well.
const ASKED: usize = 20;

pub(super) async fn run(args: &Args, environment: &Environment, report: &mut Report) {
    let kubeconfig = match access::kubeconfig(args.clusters.kubeconfig.as_deref()) {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => return report.errors.push(error.to_string()),
    };
    let Some(target) = own(environment, &report.region) else { return };
    let own = match ask(args, environment, target, &kubeconfig).await {
        Ok(own) => own,
        Err(why) => return report.refuse(why),
    };
    let line_of = Progress::new();
    let line = line_of.region(&report.region);
    let others = others(environment, &report.region);
    let asked = join_all(others.iter().map(|target| ask(args, environment, target, &kubeconfig))).await;
    line.say("looks whether it is well");
    let why = not_well(args, environment, &own, &asked, report).await;
    if !why.is_empty() {
        let why: Vec<String> = why.into_iter().map(|why| format!("{}: {why}", report.region)).collect();
        if args.force.is_none() {
            why.into_iter().for_each(|why| report.refuse(why));
            report.next = Some(format!(
                "let it catch up, then: regions restore {}/{}, or all the same with --force \"why\"",
                report.environment, report.region
            ));
            return;
        }
        report.notes.extend(why.into_iter().map(|why| format!("{why}; restored all the same")));
    }
    if args.dry_run {
        report.outcome = Ending::Planned;
        return;
    }
    if !args.yes
        && own.stand.traffic.drained
        && let Err(why) =
            confirm(&format!("Restore {}/{}?", environment.name, report.region), LOOK_FIRST).await
    {
        return report.refuse(why);
    }
    let holder = Holder { name: who::own(), life: args.lease };
    let waits = |by: &str| line.say(&format!("waits to see whether {by} is still at work there"));
    let hold = match take(&own.live, &holder, waits).await {
        Ok(hold) => hold,
        Err(error) => {
            report.refuse(error.to_string());
            if matches!(error, LockError::Held { .. }) {
                report.outcome = Ending::Locked;
            }
            return;
        }
    };
    let held = [(&own.live, &hold)];
    tokio::select! {
        () = go(args, environment, &own, report, &line) => {}
        region = keep(&held, &holder) => {
            report.outcome = Ending::Locked;
            report.errors.push(format!("{region}: another run of regions has taken its Lease over; run again"));
        }
    }
    give_back(&own.live, &hold, &holder).await;
}

/// Why the region may not come back.
async fn not_well(
    args: &Args,
    environment: &Environment,
    own: &Asked<'_>,
    others: &[Result<Asked<'_>, String>],
    report: &mut Report,
) -> Vec<String> {
    let mut why = Vec::new();
    match own.seen().await {
        Err(error) => why.push(format!("its watcher does not answer: {error}")),
        Ok(view) => {
            why.extend(unfit(&view));
            let seen = join_all(others.iter().map(async |other| match other {
                Ok(other) => other.seen().await,
                Err(error) => Err(error.clone()),
            }));
            let mut views: Vec<View> = Vec::new();
            for seen in seen.await {
                match seen {
                    Ok(view) => views.push(view),
                    // It may be the one that is ill, and this one the only one that is well.
                    Err(error) => report.notes.push(format!("its secrets cannot be compared with: {error}")),
                }
            }
            why.extend(behind(&view, &views.iter().collect::<Vec<_>>()));
        }
    }
    match door(args, environment, own).await {
        Err(error) => why.push(error),
        Ok(door) => {
            for _ in 0..ASKED {
                match door.server().await {
                    Ok(answered) if answered.value.region == own.target.region => {}
                    Ok(answered) => {
                        why.push(format!("{} is answered by {}", door.host(), answered.value.region));
                        break;
                    }
                    Err(error) => {
                        why.push(error);
                        break;
                    }
                }
            }
        }
    }
    why
}

async fn door(args: &Args, environment: &Environment, own: &Asked<'_>) -> Result<Door, String> {
    let roots = match &args.public_ca {
        Some(file) => Roots::read(file)?,
        None => Roots::System,
    };
    let address = address(&own.cluster).await.map_err(|error| error.to_string())?;
    let address = address.ok_or("its LoadBalancer has no address")?;
    Door::new(&environment.host(&own.target.region), Some(address), &roots)
}

/// Writes it, and waits until the entry is told so.
async fn go(args: &Args, environment: &Environment, own: &Asked<'_>, report: &mut Report, line: &Line) {
    if own.stand.traffic.drained {
        match own.write(&serving()).await {
            Ok(notes) => report.notes.extend(notes),
            Err(error) => return report.refuse(error.to_string()),
        }
        report.wrote = true;
    }
    report.outcome = Ending::Incomplete;
    report.next = Some(format!("regions restore {}/{}", report.environment, report.region));
    let deadline = Instant::now() + args.timeout;
    loop {
        let why = match own.not_yet(false).await {
            Ok(pods) if pods.is_empty() => match door(args, environment, own).await {
                Ok(door) => match door.trafficz().await {
                    Ok(200) => break,
                    Ok(status) => format!("GET /trafficz at {}: {status}", door.host()),
                    Err(why) => why,
                },
                Err(why) => why,
            },
            Ok(pods) => format!("do not yet take traffic: {}", pods.join(", ")),
            Err(why) => why,
        };
        line.say(&why);
        if Instant::now() >= deadline {
            return report.errors.push(why);
        }
        sleep(LOOK).await;
    }
    report.outcome = if report.wrote { Ending::Done } else { Ending::NoChange };
    report.next = Some(format!("regions status --env {}", report.environment));
}
