//! One schedule: a world, a rotation in it, and what must be in the end.

use std::time::Duration;

use fastrand::Rng;
use jiff::SignedDuration;
use regions::catalogue::types::SecretKind;
use regions::plan::rotation::notes::Notes;
use regions::plan::rotation::times::Times;
use regions::rotate::carry::Ended;
use regions::vault::kv::Document;
use serde_json::Value;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::documents::{self, CLIENTS};
use crate::ledger::{Client, Ledger};
use crate::operator::{self, Operator};
use crate::schedules::Counts;
use crate::vault::Vault;
use crate::world::{Inner, Lock, PATH, RegionState, World};
use crate::{chaos, hand, pods, watcher};

/// What came of a schedule.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) counts: Counts,
    pub(crate) story: Vec<String>,
}

/// Plays the schedule of a seed.
pub(crate) fn play(seed: u64, told: bool) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let outcome = runtime.block_on(LocalSet::new().run_until(async {
        let world = world(seed, told);
        let ended = schedule(&world).await;
        let mut inner = world.get();
        if let Err(what) = ended {
            inner.ledger.violation(what);
        }
        Outcome {
            violations: std::mem::take(&mut inner.ledger.violations),
            counts: std::mem::take(&mut inner.counts),
            story: inner.story.take().unwrap_or_default(),
        }
    }));
    // Tasks hold the world, and the world the tasks.
    runtime.shutdown_background();
    outcome
}

fn world(seed: u64, told: bool) -> World {
    let mut rng = Rng::with_seed(seed);
    let seconds = |rng: &mut Rng, least, most| Duration::from_secs(rng.u64(least..=most));
    let token_life = seconds(&mut rng, 5, 120);
    let times = Times {
        token_life,
        jwks_max_age: seconds(&mut rng, 1, 60).min(token_life),
        leeway: seconds(&mut rng, 1, 5),
        skew: seconds(&mut rng, 2, 5),
    };
    let kind = [SecretKind::Keyset, SecretKind::Keyset, SecretKind::Clients, SecretKind::Value];
    let kind = kind[rng.usize(0..kind.len())];
    let count = rng.usize(1..=3);
    let regions = ["eu", "us", "ap"][..count].iter().map(|name| {
        let most = i64::try_from(times.skew.as_millis() / 4).unwrap();
        RegionState {
            name: (*name).to_owned(),
            wave: rng.usize(0..2),
            vault: Vault::new(SignedDuration::from_millis(rng.i64(-most..=most))),
            pods: Vec::new(),
            floor: None,
            api: true,
            watcher: true,
            reachable: true,
            drained: false,
            restored: false,
            lock: Lock::default(),
        }
    });
    let regions = regions.collect();
    let start = Instant::now();
    let story = told.then(Vec::new);
    let ledger = Ledger::of(kind);
    World::new(Inner {
        rng,
        kind,
        times,
        regions,
        ledger,
        counts: Counts::new(),
        chaos: false,
        start,
        story,
        pods_born: 0,
        made: 0,
    })
}

async fn schedule(world: &World) -> Result<(), String> {
    populate(world).await;
    world.get().chaos = true;
    let long = world.between(10_000, 600_000);
    let (first, second) = (world.clone(), world.clone());
    let others = world.one_in(3);
    let ada = tokio::task::spawn_local(async move { troubled(&first, Operator::new("ada"), long).await });
    let bob = tokio::task::spawn_local(async move {
        if others {
            second.get().count("two operators");
            sleep(second.between(0, 60_000)).await;
            let mut bob = Operator::new("bob");
            bob.abort = second.one_in(2);
            troubled(&second, bob, long).await;
        }
    });
    chaos::play(world, long).await;
    chaos::heal(world);
    let _ = (ada.await, bob.await);
    settle(world).await?;
    // Agents that were not nudged look again by themselves.
    sleep(Duration::from_secs(120)).await;
    check(world)
}

/// Documents, pods, watchers and clients, before anything goes wrong.
async fn populate(world: &World) {
    let count = world.get().regions.len();
    let kind = world.get().kind;
    for place in 0..count {
        let now = world.get().clock(place);
        world.get().regions[place].vault.put(PATH, &documents::first(kind), None, now);
        watcher::start(world, place);
        let pods = world.get().rng.usize(1..=3);
        (0..pods).for_each(|_| pods::start(world, place));
    }
    if world.one_in(3) {
        lowered(world);
    }
    if kind == SecretKind::Clients {
        operator::hand_out(world);
        for client in CLIENTS {
            let place = world.get().rng.usize(0..count);
            let known = Client { secret: documents::secret(client), looked: Duration::ZERO };
            world.get().ledger.clients.insert(client.to_owned(), known);
            tokio::task::spawn_local(operator::client(world.clone(), place, client));
        }
    }
    sleep(Duration::from_secs(5)).await;
}

/// The ceilings were higher before, and the Vaults say so.
fn lowered(world: &World) {
    let mut inner = world.get();
    inner.count("ceilings were lowered");
    let former = Times { token_life: inner.times.token_life * 4, ..inner.times };
    inner.ledger.former = Some(former);
    for region in &mut inner.regions {
        let entry = ("ceilings".to_owned(), former.to_string().into());
        region.vault.note(PATH, &serde_json::Map::from_iter([entry]));
    }
}

/// An operator whose command is killed again and again, while things go wrong.
async fn troubled(world: &World, mut operator: Operator, long: Duration) {
    while world.get().now() < long {
        let within = world.between(500, 120_000);
        let ended = operator.run(world, Some(within)).await;
        match ended {
            Some(ended) => operator.heed(world, &ended),
            None => world.get().count("a command is killed"),
        }
        sleep(world.between(100, 20_000)).await;
    }
}

/// Nothing goes wrong any more: somebody finishes what was begun.
async fn settle(world: &World) -> Result<(), String> {
    let mut eve = Operator::new("eve");
    let mut last = None;
    for _ in 0..20 {
        let ended = eve.run(world, Some(Duration::from_secs(7200))).await;
        if let Some(Ended::Done) = ended {
            return Ok(());
        }
        if let Some(ended) = &ended {
            eve.heed(world, ended);
            if eve.settle {
                hand::agree(world).await;
            }
        }
        last = ended;
        sleep(Duration::from_secs(15)).await;
    }
    Err(format!("it does not come to an end: {last:?}"))
}

/// What must be in the end.
fn check(world: &World) -> Result<(), String> {
    let inner = world.get();
    let mut bodies = Vec::new();
    for region in &inner.regions {
        let name = &region.name;
        let Some(document) = region.vault.current(PATH) else {
            return Err(format!("{name} has no document"));
        };
        let secret = &region.vault.secrets[PATH];
        let readable = secret.versions.values().filter(|kept| kept.data.is_some()).count();
        let by_rotation = documents::rotation(document.expose()).is_some();
        if by_rotation && readable != 1 {
            return Err(format!("{name} has {readable} versions that can be read"));
        }
        for pod in &region.pods {
            let used = pod.service.as_ref().and_then(|service| service.used.as_ref());
            if used.is_none_or(|(used, _)| used.version != document.version) {
                return Err(format!("{} does not use the last version", pod.name));
            }
        }
        // What arrives when all is over goes with the next rotation, and nobody uses it until then.
        let late = |secret: &Document| {
            let ended = region.vault.metadata(PATH).and_then(|found| Notes::read(&found.custom).ended);
            documents::rotation(secret.expose()).is_some_and(|id| ended.is_some_and(|ended| ended.id == id))
        };
        let mut pending = region.vault.secrets.keys().filter(|path| path.starts_with("client-pending/"));
        if pending.any(|path| region.vault.current(path).is_some_and(|secret| !late(&secret))) {
            return Err(format!("{name} has a secret that is still pending"));
        }
        bodies.push(document.expose().clone());
    }
    let (first, rest) = bodies.split_first().unwrap();
    // Who wrote it may differ: somebody may have made a document the same by hand.
    let differs = |other: &Value| documents::unmarked(other) != documents::unmarked(first);
    if inner.kind != SecretKind::Value && rest.iter().any(differs) {
        return Err("the regions' documents are not the same".into());
    }
    if inner.kind == SecretKind::Keyset && documents::rotation(first).is_some() {
        let (kids, _) = documents::keys(first);
        if kids.iter().filter(|kid| !kid.starts_with("hand")).count() != 1 {
            return Err(format!("there are several keys in the end: {kids:?}"));
        }
    }
    Ok(())
}
