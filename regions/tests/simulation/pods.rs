//! Pods: an agent that takes the document from its Vault, and a service that uses it and says so.

use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use secrets_agent_client::Version;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::world::{PATH, World};

/// How long a Vault that is away keeps an agent waiting.
const RETRY: Duration = Duration::from_secs(5);

/// A pod.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) born: Duration,
    pub(crate) phase: &'static str,
    pub(crate) terminating: bool,
    pub(crate) agent: Agent,
    pub(crate) service: Option<Service>,
    /// Whether its agent reaches Vault.
    pub(crate) cut_from_vault: bool,
    /// Whether the watcher reaches it.
    pub(crate) cut_from_watcher: bool,
    /// Whether its service says that it uses what it does not.
    pub(crate) lies: bool,
    /// Whether the watcher cannot ask its service.
    pub(crate) mute: bool,
    /// Whether its service uses nothing new.
    pub(crate) stuck: bool,
    /// Another pod that answers at its address.
    pub(crate) address_of: Option<String>,
    pub(crate) nudged: Rc<Notify>,
    pub(crate) delivered: Rc<Notify>,
    tasks: Vec<AbortHandle>,
}

/// A pod's agent.
pub(crate) struct Agent {
    pub(crate) start: Timestamp,
    pub(crate) held: Option<(Version, Rc<Value>)>,
    pub(crate) error: Option<String>,
    /// The instance that watches, and what it acknowledged.
    pub(crate) instance: Option<(Uuid, Option<Version>)>,
}

/// A pod's service.
pub(crate) struct Service {
    pub(crate) instance: Uuid,
    pub(crate) used: Option<(Version, Rc<Value>)>,
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Starts a pod in a region.
pub(crate) fn start(world: &World, region: usize) {
    let (name, uid) = {
        let mut inner = world.get();
        inner.pods_born += 1;
        let number = inner.pods_born;
        let name = format!("{}-{number}", inner.regions[region].name);
        let uid = format!("uid-{number}");
        inner.tell(|| format!("{name} is born"));
        let pod = Pod {
            name: name.clone(),
            uid: uid.clone(),
            born: inner.now(),
            phase: "Pending",
            terminating: false,
            agent: Agent { start: Timestamp::UNIX_EPOCH, held: None, error: None, instance: None },
            service: None,
            cut_from_vault: false,
            cut_from_watcher: false,
            lies: false,
            mute: false,
            stuck: false,
            address_of: None,
            nudged: Rc::default(),
            delivered: Rc::default(),
            tasks: Vec::new(),
        };
        inner.regions[region].pods.push(pod);
        (name, uid)
    };
    let own = (world.clone(), region, uid.clone());
    let task = tokio::task::spawn_local(async move {
        let (world, region, uid) = own;
        sleep(world.between(10, 500)).await;
        world.tell(|| format!("{name} runs"));
        with(&world, region, &uid, |pod| pod.phase = "Running");
        start_service(&world, region, &uid);
        keep(&world, region, &uid).await;
    });
    with(world, region, &uid, |pod| pod.tasks.push(task.abort_handle()));
}

/// Does something with a pod, if it is still there.
pub(crate) fn with<T>(
    world: &World,
    region: usize,
    uid: &str,
    with: impl FnOnce(&mut Pod) -> T,
) -> Option<T> {
    let mut inner = world.get();
    inner.regions[region].pods.iter_mut().find(|pod| pod.uid == uid).map(with)
}

/// Ends a pod at once.
pub(crate) fn kill(world: &World, region: usize, uid: &str) {
    let mut inner = world.get();
    // Nobody fetches a JWKS from it from now on, and until now somebody may have.
    inner.settle_accounts();
    inner.tell(|| format!("{uid} is gone"));
    inner.regions[region].pods.retain(|pod| pod.uid != uid);
    inner.settle_accounts();
}

/// Starts a pod's service, in the place of one that ran.
pub(crate) fn start_service(world: &World, region: usize, uid: &str) {
    let instance = Uuid::from_u128(world.get().rng.u128(..));
    let own = (world.clone(), region, uid.to_owned());
    let task = tokio::task::spawn_local(async move {
        let (world, region, uid) = own;
        use_what_comes(&world, region, &uid, instance).await;
    });
    with(world, region, uid, |pod| {
        pod.service = Some(Service { instance, used: None });
        pod.agent.instance = None;
        pod.tasks.push(task.abort_handle());
    });
    world.get().settle_accounts();
}

/// The agent: takes what its Vault holds, at once when it is nudged.
async fn keep(world: &World, region: usize, uid: &str) {
    loop {
        sleep(world.between(1, 20)).await;
        let fetched = fetch(world, region, uid);
        if world.fault("an answer from Vault to an agent comes late", 20) {
            sleep(world.between(100, 10_000)).await;
        }
        let nudged = with(world, region, uid, |pod| Rc::clone(&pod.nudged));
        let Some(nudged) = nudged else { return };
        let pause = match fetched {
            Some(fetched) => {
                deliver(world, region, uid, fetched);
                world.between(20_000, 60_000)
            }
            None => RETRY,
        };
        let _ = timeout(pause, nudged.notified()).await;
    }
}

fn fetch(world: &World, region: usize, uid: &str) -> Option<(Version, Rc<Value>)> {
    let cut = with(world, region, uid, |pod| pod.cut_from_vault)?;
    let inner = world.get();
    let vault = &inner.regions[region].vault;
    let document = vault.current(PATH).filter(|_| vault.up && !cut)?;
    let version = Version { version: document.version, created_time: document.created_time };
    Some((version, Rc::new(document.expose().clone())))
}

/// Takes a version that is newer than what is held, and not older than what the region has seen.
fn deliver(world: &World, region: usize, uid: &str, (version, document): (Version, Rc<Value>)) {
    let floor = world.get().regions[region].floor;
    with(world, region, uid, |pod| {
        let held = pod.agent.held.as_ref().map(|(held, _)| *held);
        if held.max(floor) > Some(version) {
            pod.agent.error = Some("Vault holds something older".into());
        } else if held != Some(version) {
            pod.agent.error = None;
            pod.agent.held = Some((version, document));
            pod.delivered.notify_one();
        }
    });
}

/// The service: uses what its agent delivers, and says so.
async fn use_what_comes(world: &World, region: usize, uid: &str, instance: Uuid) {
    sleep(world.between(5, 200)).await;
    // A service that was started again is another one.
    let is_own = |pod: &mut Pod| pod.service.as_ref().is_some_and(|service| service.instance == instance);
    loop {
        if with(world, region, uid, is_own) != Some(true) {
            return;
        }
        let state = with(world, region, uid, |pod| {
            if pod.agent.instance.is_none() {
                pod.agent.instance = Some((instance, None));
            }
            (pod.agent.held.clone(), pod.lies, pod.stuck, Rc::clone(&pod.delivered))
        });
        let Some((held, lies, stuck, delivered)) = state else { return };
        if let Some((version, document)) = held
            && (!stuck || lies)
        {
            if lies {
                acknowledge(world, region, uid, instance, version).await;
            } else {
                adopt(world, region, uid, instance, version, document).await;
                acknowledge(world, region, uid, instance, version).await;
            }
        }
        let _ = timeout(world.between(500, 2_000), delivered.notified()).await;
    }
}

async fn adopt(
    world: &World,
    region: usize,
    uid: &str,
    instance: Uuid,
    version: Version,
    document: Rc<Value>,
) {
    sleep(world.between(1, 50)).await;
    if world.fault("a pod is slow to use a document", 10) {
        sleep(world.between(100, 20_000)).await;
    }
    let mut inner = world.get();
    let Some(pod) = inner.regions[region].pods.iter_mut().find(|pod| pod.uid == uid) else { return };
    let Some(service) = pod.service.as_mut().filter(|service| service.instance == instance) else { return };
    let used = service.used.as_ref().map(|(used, _)| *used);
    if used < Some(version) {
        service.used = Some((version, document));
        let name = pod.name.clone();
        inner.tell(|| format!("{name} uses version {}", version.version));
        inner.settle_accounts();
    }
}

async fn acknowledge(world: &World, region: usize, uid: &str, instance: Uuid, version: Version) {
    sleep(world.between(1, 20)).await;
    if world.fault("an acknowledgement is lost", 10) {
        return;
    }
    if world.fault("an acknowledgement comes late", 10) {
        sleep(world.between(100, 10_000)).await;
    }
    with(world, region, uid, |pod| {
        // As the real agent: only what it holds, and only from who watches.
        let holds = pod.agent.held.as_ref().is_some_and(|(held, _)| *held == version);
        if let Some((own, adopted)) = &mut pod.agent.instance
            && *own == instance
            && holds
        {
            *adopted = Some(version);
        }
    });
}
