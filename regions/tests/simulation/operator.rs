//! Operators, who run the real executor, are interrupted, and do what it tells them; and clients, who look for their
//! secrets now and then.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regions::catalogue::types::{Generator, SecretKind};
use regions::plan::rotation::facts::{Fingerprint, Salt};
use regions::plan::rotation::notes::Note;
use regions::plan::rotation::{Plan, Request, Step};
use regions::rotate::Maker;
use regions::rotate::carry::{Asked, Audience, Ended, Patience, Rotator};
use regions::rotate::region::{Asking, Region as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::documents::{self, CLIENTS};
use crate::hand;
use crate::region::Simulated;
use crate::world::{SECRET, World};

/// An operator, and what he has been told so far.
#[derive(Default, Clone)]
pub(crate) struct Operator {
    pub(crate) name: String,
    pub(crate) abort: bool,
    /// Whether he ends what is under way with what he wrote by hand.
    pub(crate) settle: bool,
    pub(crate) id: Option<String>,
    without: BTreeSet<String>,
    overwrite: BTreeSet<String>,
    restored: BTreeSet<String>,
    give_up: BTreeSet<String>,
    runs: u32,
    /// How often he has taken each way.
    tried: BTreeMap<String, u32>,
}

/// Hears what a run says, and notes what it claims.
struct Ear<'a>(&'a World, String);

impl Audience for Ear<'_> {
    async fn planned(&self, _: &Plan) -> Result<(), String> {
        Ok(())
    }

    fn taking(&self, step: &Step) {
        let mut inner = self.0.get();
        inner.tell(|| format!("{}: {step:?}", self.1));
        if let Step::Note { region, note: Note::Barrier(version, _) } = step {
            let inner = &mut *inner;
            let region = inner.regions.iter().find(|own| own.name == *region).unwrap();
            inner.ledger.claim(region, *version);
        }
    }

    fn taken(&self, _: &Step) {}

    fn waiting(&self, _: &Plan) {}
}

impl Operator {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Runs the command once; for so long at most.
    pub(crate) async fn run(&mut self, world: &World, within: Option<Duration>) -> Option<Ended> {
        self.runs += 1;
        let run = format!("{}-{}", self.name, self.runs);
        let request = self.request(world, &run);
        let regions = regions(world);
        let asking = Asking { who: self.name.clone(), run: run.clone(), secret: SECRET.into() };
        let own = world.clone();
        let maker = Maker::new(move |need| Ok(documents::make(&own, need)));
        let salt = Salt::new([world.get().rng.u8(..); 32]);
        let ear = Ear(world, run.clone());
        let (_stop, stopped) = watch::channel(false);
        let patience = Patience { adoption: Duration::from_secs(120), ..Patience::default() };
        world.tell(|| format!("{run} begins: {request:?}"));
        let mut rotator =
            Rotator::new(Asked { request, asking, patience }, &regions, maker, salt, &ear, stopped);
        let ended = match within {
            Some(within) => timeout(within, rotator.run()).await.ok(),
            None => Some(rotator.run().await),
        };
        world.tell(|| format!("{run} ends: {ended:?}"));
        ended
    }

    fn request(&self, world: &World, run: &str) -> Request {
        let inner = world.get();
        let kind = inner.kind;
        Request {
            secret: SECRET.into(),
            environment: "production".into(),
            kind,
            generator: Some(match kind {
                SecretKind::Keyset => Generator::EcP256,
                _ => Generator::Random,
            }),
            input: None::<Fingerprint>,
            abort: self.abort,
            settle: self.settle,
            id: self.id.clone(),
            fresh: format!("rotation-{run}"),
            again: false,
            compromised: false,
            without: self.without.clone(),
            overwrite: self.overwrite.clone(),
            restored: self.restored.clone(),
            give_up: self.give_up.clone(),
            grace: None,
            clients: BTreeSet::new(),
            ceilings: inner.times,
            members: inner.regions.iter().map(|region| region.name.clone()).collect(),
        }
    }

    /// Does what a run that ended told him to.
    pub(crate) fn heed(&mut self, world: &World, ended: &Ended) {
        self.come_back(world);
        let Ended::Refused(refused) = ended else {
            self.id = None;
            return;
        };
        // The command that is told has all that was given before.
        if refused.iter().any(|refusal| !refusal.ways.is_empty()) {
            (self.id, self.overwrite, self.restored) = (None, BTreeSet::new(), BTreeSet::new());
        }
        // Of several ways to the same end, the first or the second; and where none has led on for long, what was tried
        // least.
        let weary = self.runs > 8 && !world.get().chaos;
        let which = usize::from(world.one_in(3));
        for refusal in refused {
            let tried = |way: &&String| self.tried.get(*way).copied().unwrap_or_default();
            let way = match weary {
                true => refusal.ways.iter().min_by_key(tried),
                false => refusal.ways.get(which).or(refusal.ways.first()),
            };
            let Some(way) = way else { continue };
            *self.tried.entry(way.clone()).or_default() += 1;
            self.take(world, way);
        }
        let by_hand = ["is published in it", "are not the same"];
        if refused.iter().any(|refusal| by_hand.iter().any(|words| refusal.why.contains(words))) {
            hand::repair(world);
        }
        let late = refused.iter().any(|refusal| refusal.why.contains("too late"));
        self.abort &= !late;
    }

    /// Takes the flags of a command that a run has printed.
    fn take(&mut self, world: &World, way: &str) {
        let words: Vec<&str> = way.split(' ').collect();
        self.abort |= words.contains(&"--abort");
        if words.contains(&"--settle") {
            // He does so in peace alone: it takes all of the regions, and his time.
            self.settle = !world.get().chaos;
            self.abort &= !self.settle;
        }
        for pair in words.windows(2) {
            match *pair {
                ["--rotation", id] => self.id = Some(id.to_owned()),
                ["--restored", region] => drop(self.restored.insert(region.to_owned())),
                ["--give-up", kid] => self.let_go(world, kid),
                ["--overwrite", region] => drop(self.overwrite.insert(region.to_owned())),
                ["--without", region] if world.get().chaos && world.one_in(3) => {
                    self.leave_out(world, region);
                }
                _ => {}
            }
        }
    }

    /// Lets go what no Vault has: a key once no token of it is left, what clients have found once they need other secrets.
    /// Until then he thinks over which rotation to go on with.
    fn let_go(&mut self, world: &World, what: &str) {
        let mut inner = world.get();
        inner.settle_accounts();
        let ended = match inner.kind {
            SecretKind::Clients => !inner.turns_away(),
            _ => inner.ledger.has_ended(what, inner.now(), inner.times),
        };
        if ended {
            inner.count("what no Vault has is let go");
            self.give_up.insert(what.to_owned());
        } else {
            self.overwrite.clear();
        }
    }

    /// Takes a region out of traffic, and goes on without it.
    fn leave_out(&mut self, world: &World, region: &str) {
        let mut inner = world.get();
        let serving = inner.regions.iter().filter(|own| !own.drained).count();
        let Some(place) = inner.regions.iter().position(|own| own.name == region) else { return };
        if inner.regions[place].drained {
            self.without.insert(region.to_owned());
        } else if serving > 1 {
            inner.count("a region is left out");
            inner.tell(|| format!("{region} is drained"));
            inner.settle_accounts();
            inner.regions[place].drained = true;
            inner.settle_accounts();
            self.without.insert(region.to_owned());
        }
    }

    /// Takes regions in again that can be reached.
    fn come_back(&mut self, world: &World) {
        let inner = world.get();
        let back = |name: &String| {
            let region = inner.regions.iter().find(|region| region.name == *name).unwrap();
            region.reachable && region.vault.up && region.watcher && region.api
        };
        self.without.retain(|name| !back(name));
    }
}

/// Every region as an operator reaches it, in the order of waves.
pub(crate) fn regions(world: &World) -> Vec<Simulated> {
    let inner = world.get();
    let regions = inner.regions.iter().enumerate();
    let mut regions: Vec<Simulated> = regions
        .map(|(place, region)| Simulated {
            world: world.clone(),
            place,
            name: region.name.clone(),
            wave: region.wave,
            lock: Cell::default(),
        })
        .collect();
    regions.sort_by_key(|region| (region.wave(), region.name.clone()));
    regions
}

/// A client that looks for its secret in its region's Vault at least as often as it needs a token.
pub(crate) async fn client(world: World, place: usize, client: &'static str) {
    let path = format!("client/{client}");
    loop {
        {
            let mut inner = world.get();
            let now = inner.now();
            let region = &inner.regions[place];
            let found = region.vault.current(&path).filter(|_| region.vault.up && !region.restored);
            if let Some(found) = found {
                let secret = found.expose()["secret"].as_str().unwrap().to_owned();
                let known = inner.ledger.clients.get_mut(client).unwrap();
                let new = known.secret != secret;
                (known.secret, known.looked) = (secret, now);
                if new {
                    inner.tell(|| format!("the client {client} has found another secret"));
                    inner.settle_accounts();
                }
            }
        }
        let most = world.get().times.token_life.as_millis();
        sleep(world.between(100, u64::try_from(most).unwrap())).await;
    }
}

/// What each client finds at first.
pub(crate) fn hand_out(world: &World) {
    let mut inner = world.get();
    for place in 0..inner.regions.len() {
        let now = inner.clock(place);
        for client in CLIENTS {
            let document = json!({"secret": documents::secret(client)});
            inner.regions[place].vault.put(&format!("client/{client}"), &document, None, now);
        }
    }
}
