//! Clients of all regions at once, while something happens.

use std::sync::Arc;
use std::time::Duration;

use local_region::load::{Figures, Load, Target};
use local_region::wait::wait_until;
use serde_json::Value;
use tokio::sync::watch;

use crate::world::World;

/// Requests of a test at least.
const REQUESTS: u64 = 10_000;

/// Requests a second, over both regions and both kinds of clients.
const RATE: u32 = 200;

/// When an answer counts as lost. Everything runs on the same few processors as the load itself; how fast answers
/// come is the benchmark's to say.
const LATE: Duration = Duration::from_secs(15);

/// What happened to the objects of the service.
const EVENTS: &str = "/api/v1/namespaces/meridian/events";

/// Until enough requests have come due after what was to happen has happened.
const ENOUGH: Duration = Duration::from_secs(120);

/// Lets something happen while clients ask: those that keep their connections, and those that open one for each
/// request, through the LoadBalancer of every region. None of them may notice.
pub(crate) async fn nobody_notices<T>(world: &World, what: &str, happens: impl Future<Output = T>) -> T {
    nobody_notices_with(world, what, async move |_| happens.await).await
}

/// The same, of something that has to do with the clients themselves.
pub(crate) async fn nobody_notices_with<T>(
    world: &World,
    what: &str,
    happens: impl AsyncFnOnce(Arc<Load>) -> T,
) -> T {
    let (happened, load) = under_load(world, what, happens).await;
    nothing_is_lost(world, &load).await;
    happened
}

/// Sees that every request was answered, and every token verified.
pub(crate) async fn nothing_is_lost(world: &World, load: &Load) {
    let (figures, refusals) = (Figures::of(load), load.verdicts.refusals());
    if figures.failed > 0 {
        tell_events(world).await;
    }
    assert_eq!((figures.failed, figures.failures), (0, Vec::new()));
    assert_eq!(refusals, Vec::<String>::new());
}

/// Lets something happen while clients ask, tells what they saw, and gives them.
pub(crate) async fn under_load<T>(
    world: &World,
    what: &str,
    happens: impl AsyncFnOnce(Arc<Load>) -> T,
) -> (T, Arc<Load>) {
    let load = load(world).await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(Arc::clone(&load).run(RATE, stopped));
    let happened = happens(Arc::clone(&load)).await;
    comes_due(&load, REQUESTS).await;
    stop.send_replace(true);
    running.await.unwrap();
    let figures = Figures::of(&load);
    println!(
        "{what}: {} requests, {} lost ({} kept connections found closed); {} verifications, {} refused; ms: median \
         {:.1}, 99 % {:.1}, longest {:.0}",
        figures.requests,
        figures.failed,
        load.targets.iter().map(|target| target.repeated()).sum::<u64>(),
        load.verdicts.verified(),
        load.verdicts.unverifiable_so_far(),
        figures.latency_ms.p50,
        figures.latency_ms.p99,
        figures.latency_ms.max
    );
    assert!(load.verdicts.verified() > 0);
    (happened, load)
}

/// Prints what the clusters say that happened, the last of it last, to be held against the times of what was lost.
async fn tell_events(world: &World) {
    for place in world.places() {
        let events = place.get(EVENTS).await;
        let mut lines: Vec<String> = events["items"].as_array().into_iter().flatten().map(line).collect();
        lines.sort_unstable();
        println!("events of {}:\n  {}", place.region.name, lines.join("\n  "));
    }
}

fn line(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let last = text("/series/lastObservedTime").or(text("/lastTimestamp")).or(text("/eventTime"));
    let of = |pointer: &str| text(pointer).unwrap_or("-");
    format!(
        "{} {} {} {}: {}",
        last.unwrap_or("-"),
        of("/involvedObject/kind"),
        of("/involvedObject/name"),
        of("/reason"),
        of("/message")
    )
}

/// Waits until so many requests have come due since the load began.
pub(crate) async fn comes_due(load: &Load, requests: u64) {
    let enough = async || {
        let due = load.due();
        if due >= requests { Ok(()) } else { Err(format!("{due} requests")) }
    };
    wait_until(format!("{requests} requests"), ENOUGH, enough).await.unwrap();
}

async fn load(world: &World) -> Arc<Load> {
    let environment = &world.environment;
    let mut targets = Vec::new();
    for region in &environment.regions {
        let entry = environment.entry(region).await.unwrap();
        let name = |kind: &str| format!("{} {kind}", region.name);
        targets.push(Target::before(&name("kept"), &region.name, entry.clone()).patience(LATE).again());
        targets.push(Target::before(&name("fresh"), &region.name, entry).patience(LATE).fresh());
    }
    Load::new(targets, &environment.issuer(), environment.secret().await.unwrap())
}
