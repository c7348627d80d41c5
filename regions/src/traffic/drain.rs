//! A region goes out of global traffic.

use std::pin::pin;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Args;
use super::held::{Cut, Held, stopped, until, whole};
use super::region::{Asked, Rate, Stand, ask, carrier, kubeconfig, others, own, reason};
use super::report::{Remaining, Report};
use crate::ending::Ending;
use crate::output::{Line, Progress};
use crate::plan::promotion::capacity::{Carrier, Carrying, others_carry};
use crate::plan::traffic::{drained, is_quiet};
use crate::promote::lock::{Holder, LockError};
use crate::promote::targets::{Environment, Target};
use crate::who;

/// Pause between two looks at whether the pods have seen it.
const LOOK: std::time::Duration = std::time::Duration::from_millis(500);

/// How often it is tried to count what clients ask for, before it is drained without knowing that.
const TRIES: u32 = 4;

/// A region of the environment beside the one that is drained.
struct Other<'a> {
    target: &'a Target,
    /// Why it cannot be asked, or why it counts as one that cannot.
    asked: Result<Asked<'a>, String>,
}

pub(super) async fn run(
    args: &Args,
    environment: &Environment,
    report: &mut Report,
    stop: &watch::Receiver<bool>,
) {
    let progress = Progress::new();
    let looked = tokio::select! {
        looked = look(args, environment, report, &progress) => looked,
        () = stopped(stop) => return report.cut(&Cut::Stopped),
    };
    let Some((own, others)) = looked else { return };
    let line = progress.region(&report.region);
    let mut held = Held::none(Holder { name: who::own(), life: args.lease });
    let mut untaken = Vec::new();
    let taken = tokio::select! {
        taken = take(args, &own, &others, &mut held, &mut untaken, report, &line) => taken,
        () = stopped(stop) => {
            report.cut(&Cut::Stopped);
            false
        }
    };
    if taken {
        let mut cut = pin!(held.cut(stop));
        let ended = async {
            let cut = &mut cut;
            let looked = until(cut, look_again(args, &own, &others, &held, &untaken, report, &line)).await?;
            let Some(now) = looked else { return Ok(()) };
            if !now.traffic.drained {
                let data = drained(&reason(args, who::person(&who::own())), report.before);
                let (written, cut) = whole(cut, own.write(&data, &now, report)).await;
                if let Some(cut) = cut {
                    return Err(cut);
                }
                if !written {
                    return Ok(());
                }
            }
            // A run that goes on leaves the reason that stands there.
            until(cut, gone(args, &own, report, &line)).await
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
) -> Option<(Asked<'a>, Vec<Other<'a>>)> {
    let kubeconfig = kubeconfig(args, report)?;
    let target = own(environment, &report.region)?;
    let others = others(environment, &report.region).into_iter();
    let own = ask(args, environment, target, &kubeconfig);
    let others = join_all(others.map(async |target| {
        let asked = ask(args, environment, target, &kubeconfig).await;
        Other { target, asked }
    }));
    let (own, others) = futures_util::future::join(own, others).await;
    let own = match own {
        Ok(own) => own,
        Err(why) => {
            report.refuse(format!(
                "{why}\na region that cannot be asked cannot be drained from here; the entry leaves one that does not answer by \
                 itself"
            ));
            return None;
        }
    };
    let first = &own.stand;
    report.before = first.traffic.before;
    if !first.traffic.drained {
        let stands = others.iter().map(|other| match &other.asked {
            Ok(asked) => Ok(asked.stand.clone()),
            Err(why) => Err(why.clone()),
        });
        if !capacity(args, first.ready, &others, stands.collect(), report).await {
            return None;
        }
    }
    let question = (!first.traffic.drained).then(|| format!("Drain {}/{}?", environment.name, report.region));
    report.begins(args, question.as_deref(), progress).await.then_some((own, others))
}

/// Takes the Lease of every region, in the order of names, as every run takes them. Those that could not be had are told
/// in `untaken`. Whether it goes on.
async fn take<'a>(
    args: &Args,
    own: &'a Asked<'a>,
    others: &'a [Other<'a>],
    held: &mut Held<'a>,
    untaken: &mut Vec<(&'a str, String)>,
    report: &mut Report,
    line: &Line,
) -> bool {
    let asked = others.iter().filter_map(|other| other.asked.as_ref().ok());
    let mut regions: Vec<&Asked<'_>> = [own].into_iter().chain(asked).collect();
    regions.sort_unstable_by(|one, other| one.target.region.cmp(&other.target.region));
    for region in regions {
        let name = region.target.region.as_str();
        let waits = |by: &str| line.say(&format!("waits to see whether {by} is still at work in {name}"));
        match held.take(name, &region.live, waits).await {
            Ok(()) => {}
            // Who works there may drain it just now.
            Err(error) if name != own.target.region || args.force.is_some() => {
                untaken.push((name, error.to_string()));
            }
            Err(error) => {
                report.outcome =
                    if matches!(error, LockError::Held { .. }) { Ending::Locked } else { Ending::Refused };
                report.errors.push(error.to_string());
                return false;
            }
        }
    }
    true
}

/// Whether the others carry what this region carries; with force it is said, and no more.
async fn capacity(
    args: &Args,
    leaving: u32,
    others: &[Other<'_>],
    stands: Vec<Result<Stand, String>>,
    report: &mut Report,
) -> bool {
    let carriers = others.iter().zip(stands).map(async |(other, stand)| {
        let state = match (&other.asked, stand) {
            (Ok(asked), Ok(stand)) => carrier(asked, &stand).await,
            (_, Err(why)) => Carrying::Out(why),
            (Err(why), _) => Carrying::Out(why.clone()),
        };
        Carrier { region: other.target.region.clone(), state }
    });
    let carriers = join_all(carriers).await;
    report.notes.clear();
    report.plan.clear();
    for carrier in &carriers {
        match carrier.state {
            Carrying::Out(_) => report.notes.push(format!("does not count: {carrier}")),
            Carrying::Serving { .. } => report.plan.push(format!("carries on: {carrier}")),
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

/// Looks once more, now that nobody else drains, and counts what clients ask for. Gives how the region stands; nothing
/// where it ends here.
async fn look_again(
    args: &Args,
    own: &Asked<'_>,
    others: &[Other<'_>],
    held: &Held<'_>,
    untaken: &[(&str, String)],
    report: &mut Report,
    line: &Line,
) -> Option<Stand> {
    let mark = async |asked: &Asked<'_>| match held.fence(&asked.target.region) {
        Some(fence) => asked.mark(fence).await,
        None => Ok(()),
    };
    // Marks come before any look: whoever looked before them writes nothing any more.
    let marks = others.iter().map(async |other| match &other.asked {
        Ok(asked) => match untaken.iter().find(|(region, _)| *region == asked.target.region) {
            Some((_, why)) => Err(why.clone()),
            None => mark(asked).await,
        },
        Err(why) => Err(why.clone()),
    });
    let (marked, marks) = futures_util::future::join(mark(own), join_all(marks)).await;
    let now = match marked {
        Ok(()) => own.now().await,
        Err(why) => Err(why),
    };
    let now = match now {
        Ok(now) => now,
        Err(why) => {
            report.refuse(why);
            return None;
        }
    };
    if now.traffic.drained {
        report.before = now.traffic.before;
        return Some(now);
    }
    line.say("counts what clients ask for");
    let before = before(args, own, line).await;
    let stands = others.iter().zip(marks).map(async |(other, mark)| match (&other.asked, mark) {
        (Ok(asked), Ok(())) => asked.now().await,
        (_, Err(why)) => Err(why),
        (Err(why), _) => Err(why.clone()),
    });
    let stands = join_all(stands).await;
    if !capacity(args, now.ready, others, stands, report).await {
        return None;
    }
    let forced = untaken.iter().find(|(region, _)| *region == own.target.region);
    report.notes.extend(forced.map(|(_, why)| format!("{why}; drained all the same")));
    match before {
        Ok(rate) => report.before = Some(rate.per_second),
        Err(why) => report.notes.push(format!("what clients asked for before is not known: {why}")),
    }
    Some(now)
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
    report.next = Some(report.again());
    let mut hurried = report.wrote.is_yes();
    if report.wrote.is_yes() {
        report.notes.extend(own.hurry().await);
    }
    loop {
        let why = match own.not_yet(true).await {
            Ok(pods) if pods.is_empty() => break,
            Ok(pods) => {
                // A run that was killed may have hurried nobody.
                if !std::mem::replace(&mut hurried, true) {
                    report.notes.extend(own.hurry().await);
                }
                format!("not yet drained: {}", pods.join(", "))
            }
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
                    report.outcome = if report.wrote.is_yes() { Ending::Done } else { Ending::NoChange };
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
