//! Each region's watcher: it sees what its Vault holds, nudges agents, and looks at pods by the real round.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use regions::plan::rotation::mark::Mark;
use regions::plan::view::{Health, HealthState, Round, Secret, Service, View, Watcher};
use regions::watch::round::{Addresses, Answer, Member, Workload, look};
use secrets_agent_client::Version;
use secrets_agent_client::wire::{Adopted, Instance, SecretStatus, Status, VaultState, VaultStatus};
use tokio::time::sleep;

use crate::documents::{self, keys};
use crate::pods::Pod;
use crate::world::{PATH, SECRET, World};

/// Watches a region for as long as the schedule plays.
pub(crate) fn start(world: &World, region: usize) {
    let world = world.clone();
    tokio::task::spawn_local(async move {
        loop {
            poll(&world, region).await;
            sleep(Duration::from_secs(1)).await;
        }
    });
}

/// Looks for a new version, and nudges the agents if there is one.
pub(crate) async fn poll(world: &World, region: usize) {
    sleep(world.between(1, 10)).await;
    let new = {
        let mut inner = world.get();
        let state = &mut inner.regions[region];
        if !state.watcher || !state.vault.up {
            return;
        }
        let current = state.vault.current(PATH);
        let version =
            current.map(|current| Version { version: current.version, created_time: current.created_time });
        let new = version > state.floor;
        state.floor = state.floor.max(version);
        new
    };
    if new && !world.fault("a nudge is lost", 5) {
        let inner = world.get();
        inner.regions[region].pods.iter().for_each(|pod| pod.nudged.notify_one());
    }
}

/// What the watcher answers; nothing where it does not.
pub(crate) async fn view(world: &World, region: usize) -> Result<View, String> {
    if !world.get().regions[region].watcher {
        return Err("the watcher does not answer".into());
    }
    let began = world.get().clock(region);
    poll(world, region).await;
    let asked = Pods { world: world.clone(), region, answered: Cell::default() };
    let pods = look(&asked).await?;
    let mut inner = world.get();
    let inner = &mut *inner;
    inner.ledger.looked(&inner.regions[region], asked.answered.get(), &pods);
    let state = &inner.regions[region];
    let current = state.vault.current(PATH);
    let secret = Secret {
        current: current
            .as_ref()
            .map(|current| Version { version: current.version, created_time: current.created_time }),
        mark: current.as_ref().and_then(|current| Mark::of(current.expose())),
        absence: None,
        floor: state.floor,
    };
    Ok(View {
        environment: "production".into(),
        region: state.name.clone(),
        watcher: Watcher { name: state.name.clone(), start: Timestamp::UNIX_EPOCH, leads: true },
        round: Round { began, ended: inner.clock(region) },
        vault: Health { state: HealthState::Ok, last_contact: None, error: None },
        secrets: BTreeMap::from([(SECRET.to_owned(), secret)]),
        pods,
        operators: Vec::new(),
    })
}

/// A region's pods, for the real round.
struct Pods {
    world: World,
    region: usize,
    /// When the last of them answered.
    answered: Cell<Duration>,
}

impl Workload for Pods {
    async fn list(&self) -> Result<Vec<Member>, String> {
        sleep(self.world.between(1, 20)).await;
        let inner = self.world.get();
        let state = &inner.regions[self.region];
        if !state.api {
            return Err("the API server does not answer".into());
        }
        let member = |pod: &Pod| Member {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            node: None,
            phase: pod.phase.into(),
            terminating: pod.terminating,
            addresses: Some(Addresses { agent: String::new(), admin: String::new(), public: String::new() }),
        };
        Ok(state.pods.iter().map(member).collect())
    }

    async fn ask(&self, member: &Member) -> Answer {
        let answer = self.answer(member).await;
        self.answered.set(self.world.get().now());
        answer
    }
}

impl Pods {
    async fn answer(&self, member: &Member) -> Answer {
        sleep(self.world.between(1, 50)).await;
        if self.world.fault("a pod answers slowly", 20) {
            sleep(self.world.between(50, 900)).await;
        }
        let answer = {
            let inner = self.world.get();
            let pods = &inner.regions[self.region].pods;
            let own = pods.iter().find(|pod| pod.uid == member.uid);
            let there = own.and_then(|own| own.address_of.as_ref());
            // Somebody else's address may be where its own was.
            let found = there.and_then(|uid| pods.iter().find(|pod| pod.uid == *uid)).or(own);
            match found {
                Some(pod) if there.is_some() || !pod.cut_from_watcher => Ok(answer(pod)),
                Some(_) => Err("no answer within 1 s"),
                None => Err("the connection is refused"),
            }
        };
        match answer {
            Ok(answer) => answer,
            Err(why) => {
                sleep(Duration::from_secs(1)).await;
                Answer { agent_error: Some(why.into()), ..Answer::default() }
            }
        }
    }
}

fn answer(pod: &Pod) -> Answer {
    let (instances, adopted) = match &pod.agent.instance {
        Some((id, adopted)) => {
            let said = adopted.map(|Version { version, created_time }| Adopted {
                version,
                created_time,
                instance: *id,
            });
            (vec![Instance { id: *id, start: pod.agent.start }], said.into_iter().collect())
        }
        None => (Vec::new(), Vec::new()),
    };
    let held = pod.agent.held.as_ref();
    let status = Status {
        pod: pod.name.clone(),
        pod_uid: pod.uid.clone(),
        agent_start: pod.agent.start,
        instances,
        vault: VaultStatus { state: VaultState::Ok, last_contact: None, error: None },
        secrets: vec![SecretStatus {
            name: SECRET.into(),
            version: held.map(|(version, _)| version.version),
            created_time: held.map(|(version, _)| version.created_time),
            rotation_id: held.and_then(|(_, document)| documents::rotation(document)),
            delivered: None,
            adopted,
            age_s: None,
            error: pod.agent.error.clone(),
        }],
    };
    let service = pod.service.as_ref().map(|service| {
        let used = service.used.as_ref();
        let kids = used.map(|(_, document)| keys(document).0.into_iter().collect());
        let documents = used.map(|(version, _)| (SECRET.to_owned(), version.version)).into_iter().collect();
        let created =
            used.map(|(version, _)| (SECRET.to_owned(), version.created_seconds())).into_iter().collect();
        Service { kids, documents, created, ready: used.is_some(), ..Service::default() }
    });
    let service_error = is_mute(pod).then(|| "no answer within 1 s".to_owned());
    let service = service.filter(|_| service_error.is_none());
    Answer { agent: Some(status), agent_error: None, service, service_error }
}

/// Whether a pod's service cannot be asked now. One that has acknowledged what it does not use always can: nothing else
/// says so of a secret that shows nowhere.
fn is_mute(pod: &Pod) -> bool {
    let acknowledged = pod.agent.instance.as_ref().and_then(|(_, adopted)| *adopted);
    let used = pod.service.as_ref().and_then(|service| service.used.as_ref()).map(|(version, _)| *version);
    pod.mute && !pod.lies && (acknowledged.is_none() || acknowledged == used)
}
