//! Regions in memory: what a plan says is done at once, and pods use what they are told to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrets_agent_client::Version;
use secrets_agent_client::wire::{Adopted, Instance, SecretStatus, Status, VaultState, VaultStatus};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::catalogue::types::{Generator, SecretKind};
use crate::plan::rotation::facts::{Kept, Salt, Stored, of_client, of_document, sha256};
use crate::plan::rotation::mark::{Mark, Phase};
use crate::plan::rotation::notes::Notes;
use crate::plan::rotation::recipe::{Made, Need, Source};
use crate::plan::rotation::times::Times;
use crate::plan::rotation::{Held, Observed, Plan, Request, Step, Traffic, Waiting, Write, plan};
use crate::plan::view::{Health, HealthState, Pod, Round, Secret, Service, View, Watcher};

pub(super) const PATH: &str = "service/secret";

/// Token life 100 s, max-age 10 s, leeway 2 s, skew 1 s.
pub(super) fn times() -> Times {
    let seconds = Duration::from_secs;
    Times { token_life: seconds(100), jwks_max_age: seconds(10), leeway: seconds(2), skew: seconds(1) }
}

/// A region.
#[derive(Clone)]
pub(super) struct Region {
    pub(super) name: &'static str,
    pub(super) wave: usize,
    pub(super) secrets: BTreeMap<String, Vec<(Timestamp, Option<Value>)>>,
    pub(super) custom: Map<String, Value>,
    /// What its pods use.
    pub(super) used: Option<(Version, Value)>,
    pub(super) floor: Option<Version>,
    /// What the services of its pods show, if they do.
    pub(super) shown: Option<Version>,
    /// What this run wrote.
    pub(super) fenced: BTreeMap<String, u64>,
    pub(super) vault: Result<(), String>,
    pub(super) view: Result<(), String>,
    pub(super) traffic: Traffic,
    pub(super) out_for: Duration,
    pub(super) ahead: SignedDuration,
}

/// All of them, and what is asked for.
#[derive(Clone)]
pub(super) struct World {
    pub(super) regions: Vec<Region>,
    pub(super) request: Request,
    pub(super) now: Timestamp,
    pub(super) made: u64,
}

pub(super) fn key(state: &str, name: &str) -> Value {
    json!({"state": state, "private_pem": format!("private of {name}"), "public_jwk": {}, "since": "x"})
}

impl World {
    /// Two regions in two waves, with a document of the kind.
    pub(super) fn of(kind: SecretKind) -> Self {
        let first = match kind {
            SecretKind::Value => json!({"value": "first"}),
            SecretKind::Keyset => json!({"keys": {"old": key("active", "old")}}),
            SecretKind::Clients => json!({"clients": {
                "a": {"secrets": [{"sha256": sha256("first of a")}], "scopes": []},
                "b": {"secrets": [{"sha256": sha256("first of b")}], "scopes": []},
            }}),
        };
        let generator = match kind {
            SecretKind::Keyset => Generator::EcP256,
            _ => Generator::Random,
        };
        let request = Request {
            secret: "secret".into(),
            environment: "qa".into(),
            kind,
            generator: Some(generator),
            input: None,
            abort: false,
            settle: false,
            id: None,
            fresh: "r-1".into(),
            again: false,
            compromised: false,
            without: BTreeSet::new(),
            overwrite: BTreeSet::new(),
            restored: BTreeSet::new(),
            give_up: BTreeSet::new(),
            grace: None,
            clients: BTreeSet::new(),
            ceilings: times(),
            members: ["eu".to_owned(), "us".to_owned()].into(),
        };
        let region = |name, wave| Region {
            name,
            wave,
            secrets: BTreeMap::new(),
            custom: Map::new(),
            used: None,
            floor: None,
            shown: None,
            fenced: BTreeMap::new(),
            vault: Ok(()),
            view: Ok(()),
            traffic: Traffic::In("it serves".into()),
            out_for: Duration::MAX,
            ahead: SignedDuration::ZERO,
        };
        let regions = vec![region("eu", 0), region("us", 1)];
        let mut world =
            Self { regions, request, now: Timestamp::from_second(1_800_000_000).unwrap(), made: 0 };
        for place in 0..2 {
            world.put(place, PATH, &first);
            if kind == SecretKind::Clients {
                for client in ["a", "b"] {
                    let document = json!({"secret": format!("first of {client}")});
                    world.put(place, &format!("client/{client}"), &document);
                }
            }
        }
        world.use_all();
        world
    }

    pub(super) fn put(&mut self, place: usize, path: &str, document: &Value) {
        // No two versions have the same time.
        self.now += SignedDuration::from_nanos(1);
        let versions = self.regions[place].secrets.entry(path.to_owned()).or_default();
        versions.push((self.now, Some(document.clone())));
        let version = Version { version: versions.len() as u64, created_time: self.now };
        if path == PATH {
            self.regions[place].floor = self.regions[place].floor.max(Some(version));
        }
    }

    /// The current document of a region.
    pub(super) fn document(&self, place: usize) -> Value {
        self.at(place, PATH).expect("there is a document")
    }

    /// The current document at a path, if it can be read.
    pub(super) fn at(&self, place: usize, path: &str) -> Option<Value> {
        self.regions[place].secrets.get(path)?.last()?.1.clone()
    }

    /// Every pod of a region uses its current document.
    pub(super) fn use_in(&mut self, place: usize) {
        let versions = &self.regions[place].secrets[PATH];
        let (created_time, document) = versions.last().unwrap().clone();
        let version = Version { version: versions.len() as u64, created_time };
        self.regions[place].used = document.map(|document| (version, document));
    }

    pub(super) fn use_all(&mut self) {
        (0..self.regions.len()).for_each(|place| self.use_in(place));
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub(super) fn plan(&self) -> Plan {
        let observed: Vec<Observed> = self.regions.iter().map(|region| self.observed(region)).collect();
        plan(&self.request, &observed)
    }

    /// Does what can be done now, once. Gives the plan.
    pub(super) fn step(&mut self) -> Plan {
        let plan = self.plan();
        assert_eq!(plan.refused, [], "refused");
        plan.steps.iter().for_each(|step| self.take(step));
        plan
    }

    /// Goes on, with pods that use everything at once, until only time is waited for or nothing is left.
    pub(super) fn go_on(&mut self) -> Plan {
        for _ in 0..100 {
            let plan = self.step();
            let pods = plan.waits.iter().any(|waiting| matches!(waiting, Waiting::Pods { .. }));
            if plan.steps.is_empty() && !pods {
                return plan;
            }
            self.use_all();
        }
        panic!("it never rests");
    }

    /// Goes on to the end, whatever time that takes.
    pub(super) fn finish(&mut self) {
        for _ in 0..20 {
            if self.go_on().is_empty() {
                return;
            }
            self.pass(300);
        }
        panic!("it does not end: {:?}", self.plan());
    }

    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::Write(write) => self.write(write),
            Step::Note { region, note } => {
                let place = self.place(region);
                for (key, value) in note.entries(self.now) {
                    match value {
                        Value::Null => self.regions[place].custom.remove(&key),
                        value => self.regions[place].custom.insert(key, value),
                    };
                }
            }
            Step::Destroy(destroy) => {
                let place = self.place(&destroy.region);
                let versions = self.regions[place].secrets.get_mut(&destroy.path).unwrap();
                for version in &destroy.versions {
                    let number = usize::try_from(version.version).unwrap();
                    assert!(
                        destroy.path != PATH || number < versions.len(),
                        "the current version is destroyed"
                    );
                    versions[number - 1].1 = None;
                }
            }
        }
    }

    fn write(&mut self, write: &Write) {
        let read = |source: &Source| {
            let versions = &self.regions[self.place(&source.region)].secrets[&source.path];
            let (created, document) = &versions[usize::try_from(source.version.version).unwrap() - 1];
            assert_eq!(*created, source.version.created_time);
            document.clone().expect("a source can be read")
        };
        let sources: Vec<Value> = write.recipe.sources.iter().map(read).collect();
        let sources: Vec<&Value> = sources.iter().collect();
        let made = write.recipe.change.need().map(|need| self.make(&need));
        let document = write.recipe.make(&sources, made.as_ref(), self.now).unwrap();
        let place = self.place(&write.region);
        let there = self.regions[place].secrets.get(&write.path).map_or(0, Vec::len) as u64;
        assert_eq!(write.over, there, "check-and-set");
        self.put(place, &write.path, &document);
        self.regions[place].fenced.insert(write.path.clone(), there + 1);
    }

    fn make(&mut self, need: &Need) -> Made {
        self.made += 1;
        match need {
            Need::Key => Made::Key {
                kid: format!("new{}", self.made),
                private_pem: Zeroizing::new("private".into()),
                public_jwk: json!({}),
            },
            Need::Secret(_) => Made::Secret(Zeroizing::new(format!("new{}", self.made))),
            Need::Document => Made::Document(json!({"value": format!("new{}", self.made)})),
        }
    }

    pub(super) fn place(&self, name: &str) -> usize {
        self.regions.iter().position(|region| region.name == name).unwrap()
    }

    fn observed(&self, region: &Region) -> Observed {
        Observed {
            region: region.name.into(),
            wave: region.wave,
            vault: region.vault.clone().map(|()| self.held(region)),
            view: region.view.clone().map(|()| self.view(region)),
            fenced: region.fenced.clone(),
            traffic: region.traffic.clone(),
            out_for: region.out_for,
        }
    }

    fn held(&self, region: &Region) -> Held {
        let salt = Salt::new([1; 32]);
        let stored = region.secrets.iter().map(|(path, versions)| {
            let kept = versions.iter().enumerate().map(|(place, (created, document))| {
                let facts = document.as_ref().map(|document| match path.starts_with("service/") {
                    true => of_document(self.request.kind, document, &salt),
                    false => of_client(document, &salt),
                });
                (place as u64 + 1, Kept { created: *created, destroyed: facts.is_none(), facts })
            });
            (path.clone(), Stored { current: versions.len() as u64, versions: kept.collect() })
        });
        Held {
            now: self.now + region.ahead,
            ahead: region.ahead,
            path: PATH.into(),
            stored: stored.collect(),
            notes: Notes::read(&region.custom),
        }
    }

    fn view(&self, region: &Region) -> View {
        let pod = |number: u32| {
            let instance = Uuid::from_u128(u128::from(number));
            let used = region.used.as_ref();
            let adopted = used.map(|(Version { version, created_time }, _)| Adopted {
                version: *version,
                created_time: *created_time,
                instance,
            });
            let secret = SecretStatus {
                name: "secret".into(),
                version: used.map(|(version, _)| version.version),
                created_time: used.map(|(version, _)| version.created_time),
                rotation_id: used.and_then(|(_, document)| Mark::of(document)).map(|mark| mark.id),
                delivered: None,
                adopted: adopted.into_iter().collect(),
                age_s: None,
                error: None,
            };
            let status = Status {
                pod: format!("{}-{number}", region.name),
                pod_uid: format!("uid-{}-{number}", region.name),
                agent_start: self.now,
                instances: vec![Instance { id: instance, start: self.now }],
                vault: VaultStatus { state: VaultState::Ok, last_contact: None, error: None },
                secrets: vec![secret],
            };
            let kids = used.and_then(|(_, document)| {
                Some(document["keys"].as_object()?.keys().cloned().collect::<BTreeSet<_>>())
            });
            Pod {
                name: status.pod.clone(),
                uid: status.pod_uid.clone(),
                node: None,
                phase: "Running".into(),
                terminating: false,
                agent: Some(status),
                agent_error: None,
                service: Some(Service {
                    kids,
                    ready: true,
                    documents: region
                        .shown
                        .map(|shown| ("secret".into(), shown.version))
                        .into_iter()
                        .collect(),
                    created: region
                        .shown
                        .map(|shown| ("secret".into(), shown.created_seconds()))
                        .into_iter()
                        .collect(),
                    ..Service::default()
                }),
                service_error: None,
            }
        };
        let secret = Secret { floor: region.floor, ..Secret::default() };
        View {
            environment: "qa".into(),
            region: region.name.into(),
            watcher: Watcher { name: "w".into(), start: self.now, leads: true },
            round: Round { began: self.now, ended: self.now },
            vault: Health { state: HealthState::Ok, last_contact: None, error: None },
            secrets: BTreeMap::from([("secret".to_owned(), secret)]),
            pods: vec![pod(1), pod(2)],
            operators: Vec::new(),
        }
    }
}

/// The phase that a region's document has.
pub(super) fn phase(document: &Value) -> Option<Phase> {
    Mark::of(document)?.phase()
}

/// The states of a keyset's keys.
pub(super) fn states(document: &Value) -> BTreeMap<String, String> {
    let keys = document["keys"].as_object().unwrap().iter();
    keys.map(|(kid, key)| (kid.clone(), key["state"].as_str().unwrap().to_owned())).collect()
}
