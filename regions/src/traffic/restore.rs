//! A region comes back into global traffic: only when it is well, and its secrets are those of the others.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join_all, try_join};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Args;
use super::held::{Cut, Held, stopped, until, whole};
use super::region::{Asked, Stand, ask, kubeconfig, others, own};
use super::report::Report;
use crate::ending::Ending;
use crate::output::{Line, Progress};
use crate::plan::traffic::{behind, serving, takes, unfit};
use crate::plan::view::View;
use crate::probe::door::{Door, Roots};
use crate::probe::report::found;
use crate::promote::live::address;
use crate::promote::lock::{Holder, LockError};
use crate::promote::targets::Environment;
use crate::who;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Requests that are made through the LoadBalancer before it is said to be well.
const ASKED: usize = 20;

/// What a region is compared with: another one, or why that cannot be asked.
type Others<'a> = [Result<Asked<'a>, String>];

pub(super) async fn run(
    args: &Args,
    environment: &Environment,
    report: &mut Report,
    stop: &watch::Receiver<bool>,
) {
    let progress = Progress::new();
    let line = progress.region(&report.region);
    let looked = tokio::select! {
        looked = look(args, environment, report, &progress, &line) => looked,
        () = stopped(stop) => return report.cut(&Cut::Stopped),
    };
    let Some((own, others)) = looked else { return };
    let mut held = Held::none(Holder { name: who::own(), life: args.lease });
    let waits = |by: &str| line.say(&format!("waits to see whether {by} is still at work there"));
    let taken = tokio::select! {
        taken = held.take(&own.target.region, &own.live, waits) => taken,
        () = stopped(stop) => return report.cut(&Cut::Stopped),
    };
    if let Err(error) = taken {
        report.refuse(error.to_string());
        if matches!(error, LockError::Held { .. }) {
            report.outcome = Ending::Locked;
        }
        return;
    }
    {
        let mut cut = pin!(held.cut(stop));
        let ended = async {
            let cut = &mut cut;
            let looked = until(cut, look_again(args, environment, &own, &others, &held, report, &line));
            let Some(now) = looked.await? else { return Ok(()) };
            if now.traffic.drained {
                let data = serving();
                let (written, cut) = whole(cut, own.write(&data, &now, report)).await;
                if let Some(cut) = cut {
                    return Err(cut);
                }
                if !written {
                    return Ok(());
                }
            }
            until(cut, back(args, environment, &own, report, &line)).await
        }
        .await;
        if let Err(cut) = ended {
            report.cut(&cut);
        }
    }
    held.give_back().await;
}

/// Looks at everything and asks; nothing is held or written before. Nothing where it ends here.
async fn look<'a>(
    args: &Args,
    environment: &'a Environment,
    report: &mut Report,
    progress: &Progress,
    line: &Line,
) -> Option<(Asked<'a>, Vec<Result<Asked<'a>, String>>)> {
    let kubeconfig = kubeconfig(args, report)?;
    let target = own(environment, &report.region)?;
    let own = match ask(args, environment, target, &kubeconfig).await {
        Ok(own) => own,
        Err(why) => {
            report.refuse(why);
            return None;
        }
    };
    let others = others(environment, &report.region).into_iter();
    let others = join_all(others.map(|target| ask(args, environment, target, &kubeconfig))).await;
    line.say("looks whether it is well");
    if !may_come_back(args, environment, &own, &others, report).await {
        return None;
    }
    let question =
        own.stand.traffic.drained.then(|| format!("Restore {}/{}?", environment.name, report.region));
    report.begins(args, question.as_deref(), progress).await.then_some((own, others))
}

/// Looks once more, right before it is written: much may have come about while somebody was asked, or waited for. Gives
/// how the region stands; nothing where it ends here.
async fn look_again(
    args: &Args,
    environment: &Environment,
    own: &Asked<'_>,
    others: &Others<'_>,
    held: &Held<'_>,
    report: &mut Report,
    line: &Line,
) -> Option<Stand> {
    let now = async {
        if let Some(fence) = held.fence(&own.target.region) {
            own.mark(fence).await?;
        }
        own.now().await
    };
    let now = match now.await {
        Ok(now) => now,
        Err(why) => {
            report.refuse(why);
            return None;
        }
    };
    line.say("looks once more whether it is well");
    let may = !now.traffic.drained || may_come_back(args, environment, own, others, report).await;
    may.then_some(now)
}

/// Whether the region may come back; with force it is said why not, and no more.
async fn may_come_back(
    args: &Args,
    environment: &Environment,
    own: &Asked<'_>,
    others: &Others<'_>,
    report: &mut Report,
) -> bool {
    report.notes.clear();
    report.plan.clear();
    let why = not_well(args, environment, own, others, report).await;
    if why.is_empty() {
        report.plan.push("its Vault, its pods and its LoadBalancer are well".into());
    }
    let why = why.into_iter().map(|why| format!("{}: {why}", own.target.region));
    if args.force.is_some() {
        report.notes.extend(why.map(|why| format!("{why}; restored all the same")));
        return true;
    }
    why.for_each(|why| report.refuse(why));
    if report.errors.is_empty() {
        return true;
    }
    report.next =
        Some(format!("let it catch up, then: {}, or all the same with --force \"why\"", report.again()));
    false
}

/// Why the region may not come back.
async fn not_well(
    args: &Args,
    environment: &Environment,
    own: &Asked<'_>,
    others: &Others<'_>,
    report: &mut Report,
) -> Vec<String> {
    let mut why = Vec::new();
    match own.seen().await {
        Err(error) => why.push(format!("its watcher does not answer: {error}")),
        Ok(view) => {
            why.extend(unfit(&view));
            let looked = join_all(others.iter().map(async |other| match other {
                Ok(other) => try_join(other.now(), other.seen()).await,
                Err(error) => Err(error.clone()),
            }));
            let (mut views, mut serves, mut unread): (Vec<View>, _, _) = (Vec::new(), false, false);
            for looked in looked.await {
                match looked {
                    Ok((stand, view)) => {
                        serves |= !stand.traffic.drained && takes(&view).is_ok();
                        views.push(view);
                    }
                    // It may be the one that is ill, and this one the only one that is well.
                    Err(error) => {
                        unread = true;
                        report.notes.push(format!("its secrets cannot be compared with: {error}"));
                    }
                }
            }
            if unread && !serves {
                why.push("its secrets could be compared with no region that takes traffic".into());
            }
            why.extend(behind(&view, &views.iter().collect::<Vec<_>>()));
            let compared: Vec<&str> = views.iter().map(|view| view.region.as_str()).collect();
            let compared = if compared.is_empty() { "no region".to_owned() } else { compared.join(", ") };
            report.plan.push(format!("its secrets and keys were compared with those of {compared}"));
        }
    }
    match outside(args, own).await {
        Ok((address, roots)) => {
            let host = environment.host(&own.target.region);
            let door = found(&own.target.region, &host, Some(address), &roots, &environment.name, ASKED);
            why.extend(door.await.problems);
        }
        Err(error) => why.push(error),
    }
    why
}

/// Where the region's LoadBalancer is, and who vouches for what is shown there.
async fn outside(args: &Args, own: &Asked<'_>) -> Result<(std::net::SocketAddr, Roots), String> {
    let roots = match &args.public_ca {
        Some(file) => Roots::read(file)?,
        None => Roots::System,
    };
    let address = address(&own.cluster).await.map_err(|error| error.to_string())?;
    Ok((address.ok_or("its LoadBalancer has no address")?, roots))
}

/// What the entry is told by the region.
async fn trafficz(args: &Args, environment: &Environment, own: &Asked<'_>) -> Result<(), String> {
    let (address, roots) = outside(args, own).await?;
    let door = Door::new(&environment.host(&own.target.region), Some(address), &roots)?;
    match door.trafficz().await? {
        200 => Ok(()),
        status => Err(format!("GET /trafficz at {}: {status}", door.host())),
    }
}

/// Waits until the entry is told that the region takes traffic.
async fn back(args: &Args, environment: &Environment, own: &Asked<'_>, report: &mut Report, line: &Line) {
    report.outcome = Ending::Incomplete;
    report.next = Some(report.again());
    let deadline = Instant::now() + args.timeout;
    let mut hurried = report.wrote.is_yes();
    if report.wrote.is_yes() {
        report.notes.extend(own.hurry().await);
    }
    loop {
        let why = match own.not_yet(false).await {
            Ok(pods) if pods.is_empty() => match trafficz(args, environment, own).await {
                Ok(()) => break,
                Err(why) => why,
            },
            Ok(pods) => {
                // A run that was killed may have hurried nobody.
                if !std::mem::replace(&mut hurried, true) {
                    report.notes.extend(own.hurry().await);
                }
                format!("do not yet take traffic: {}", pods.join(", "))
            }
            Err(why) => why,
        };
        line.say(&why);
        if Instant::now() >= deadline {
            return report.errors.push(why);
        }
        sleep(LOOK).await;
    }
    report.outcome = if report.wrote.is_yes() { Ending::Done } else { Ending::NoChange };
    report.next = Some(format!("regions status --env {}", report.environment));
}
