//! SIGKILL at every write, before and after it reaches the API server; and run again.
//!
//! By default a run is killed once at each kind of write. `make kills` kills it at each single one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::Method;
use local_region::http::Target;
use local_region::kubernetes::{Kubeconfig, KubernetesApi};
use local_region::proxy::{AnswerProxy, Rule};
use rustix::process::{Pid, Signal, kill_process};

use crate::charts::good;
use crate::run::{self, Ran};
use crate::world::{EU, US, World, audited, contents, records, unnumbered};

/// At which of a run's writes it is killed.
#[derive(Clone, Copy, Default)]
enum Spring {
    #[default]
    Never,
    /// The one of this number, from one on.
    At(usize),
    /// The first one of a kind at which nobody was killed yet.
    New,
    /// The first one of a name at which nobody was killed yet.
    Missed,
}

/// How much is proven.
#[derive(Clone, Copy, PartialEq)]
enum Proof {
    /// One write of each kind.
    Kinds,
    /// Each write of the audit log.
    Complete,
}

impl Proof {
    /// Where a run is killed after this many others.
    fn spring(self, at: usize) -> Spring {
        match self {
            Self::Kinds => Spring::New,
            Self::Complete => Spring::At(at),
        }
    }
}

/// Watches the writes of a run over both regions, and kills it at one of them.
#[derive(Default)]
pub(crate) struct Trap {
    pid: AtomicI32,
    spring: Mutex<Spring>,
    /// The writes at which it sprang, as [`crate::world::audited`] names them.
    sprang: Mutex<BTreeSet<String>>,
}

impl Trap {
    /// One that springs at this write.
    pub(crate) fn armed(at: usize) -> Arc<Self> {
        let trap = Arc::<Self>::default();
        trap.set(Spring::At(at));
        trap
    }

    /// Whether it has sprung.
    pub(crate) fn sprang(&self) -> bool {
        !self.sprang.lock().unwrap().is_empty()
    }

    /// Whom it kills.
    pub(crate) fn aims_at(&self, child: &tokio::process::Child) {
        self.pid.store(i32::try_from(child.id().unwrap()).unwrap(), Ordering::SeqCst);
    }

    /// Every write in the audit log was one at which a run was killed, or one of its kind was.
    fn saw_all(&self, proof: Proof, audited: &BTreeSet<String>) {
        let sprang = self.sprang.lock().unwrap().clone();
        let met = |write: &&String| match proof {
            Proof::Complete => sprang.contains(*write),
            Proof::Kinds => sprang.iter().any(|other| kind(other) == kind(write)),
        };
        let missed: Vec<&String> = audited.iter().filter(|write| !met(write)).collect();
        assert!(missed.is_empty(), "nobody was killed at {missed:?}; at these: {sprang:?}");
    }

    /// Whether this request is the write at which the run is killed. Dry runs and reviews write nothing, and Leases are
    /// renewed all the time.
    fn springs(&self, method: &Method, path: &str) -> bool {
        let renewal = path.contains("/leases/");
        let write = method != Method::GET
            && !renewal
            && !path.contains("dryRun=All")
            && !path.contains("selfsubjectreviews");
        if !write {
            return false;
        }
        let name = named(method, path);
        let mut sprang = self.sprang.lock().unwrap();
        let mut spring = self.spring.lock().unwrap();
        let now = match &mut *spring {
            Spring::Never => false,
            Spring::At(left) => {
                *left -= 1;
                *left == 0
            }
            Spring::New => !sprang.iter().any(|other| kind(other) == kind(&name)),
            Spring::Missed => !sprang.contains(&name),
        };
        if now {
            *spring = Spring::Never;
            sprang.insert(name);
            if let Some(pid) = Pid::from_raw(self.pid.load(Ordering::SeqCst)) {
                kill_process(pid, Signal::KILL).unwrap();
            }
        }
        now
    }

    fn set(&self, spring: Spring) {
        *self.spring.lock().unwrap() = spring;
    }

    /// Lets a promotion run into it. A run that it did not kill came to its end.
    async fn meets(&self, world: &World, release: &str, spring: Spring) -> Ran {
        self.set(spring);
        let started = Instant::now();
        let child = world.promotion(release, &["--yes"]).spawn().unwrap();
        self.aims_at(&child);
        let ran = run::end(child, started).await;
        let sprang = !matches!(*self.spring.lock().unwrap(), Spring::At(1..) | Spring::New | Spring::Missed);
        let expected = if sprang { None } else { Some(0) };
        assert_eq!(ran.code, expected, "sprang: {sprang}\n--- out\n{}\n--- err\n{}", ran.out, ran.err);
        ran
    }
}

/// A write without the name of its object, unless that is a release's record.
fn kind(write: &str) -> &str {
    match write.split_once('/') {
        Some((kind, name)) if name != "release" => kind,
        _ => write,
    }
}

/// A request as the audit log has it.
fn named(method: &Method, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let resource = path.rsplit('/').nth(1).unwrap_or_default();
    match method.as_str() {
        "POST" => format!("create {name}"),
        "DELETE" => format!("delete {resource}/{}", unnumbered(name)),
        "PUT" => format!("update {resource}/{}", unnumbered(name)),
        _ => format!("patch {resource}/{}", unnumbered(name)),
    }
}

/// A proxy before a region; `lost` says whether the write at which the run dies is lost with it.
pub(crate) async fn proxy(api: &KubernetesApi, trap: &Arc<Trap>, lost: bool) -> AnswerProxy {
    let certificate = api.ca().issue(&["localhost", "127.0.0.1"]).unwrap();
    let target = Target::localhost(api.address(), &api.ca().pem()).unwrap();
    let proxy = AnswerProxy::start(&certificate, target).await.unwrap();
    let trap = Arc::clone(trap);
    proxy.add(Rule::when(move |method, path| trap.springs(method, path) && lost, 503));
    proxy
}

async fn killed(proof: Proof, lost: bool) {
    let world = World::start().await;
    let releases =
        [world.release(&good("1.0.0").with("extra", "extra")).await, world.release(&good("1.1.0")).await];
    // What each release makes of a region, whatever ran before.
    let mut expected = Vec::new();
    for release in &releases {
        world.promote(release, &[]).await.expect(0);
        expected.push((contents(&world.eu).await, contents(&world.us).await));
    }
    // What a run writes when nothing happens to it, in either direction.
    let before = [&world.eu, &world.us].map(|api| api.writes().unwrap().len());
    for release in &releases {
        world.promote(release, &[]).await.expect(0);
    }
    let mut writes = audited(&world.eu, before[0]);
    writes.extend(audited(&world.us, before[1]));

    let direct = Kubeconfig::new().context(EU, &world.eu).context(US, &world.us);
    let trap = Arc::new(Trap::default());
    let proxies = (proxy(&world.eu, &trap, lost).await, proxy(&world.us, &trap, lost).await);
    let via = Kubeconfig::new()
        .context_via(EU, &world.eu, proxies.0.address(), world.eu.admin_token())
        .context_via(US, &world.us, proxies.1.address(), world.us.admin_token());
    let mut killed = 0;
    // In turns to either release, each killed at its first write, its second one, and so on to its end. Writes that are
    // made at the same time have no place of their own among them: those at which nobody was killed so come after.
    let (mut ended, mut missed) = ([false; 2], false);
    for turn in 0.. {
        if ended == [true; 2] {
            if missed || proof == Proof::Kinds {
                break;
            }
            (ended, missed) = ([false; 2], true);
        }
        let (which, at) = (turn % 2, turn / 2 + 1);
        let spring = if missed { Spring::Missed } else { proof.spring(at) };
        via.write(&world.kubeconfig).unwrap();
        let ran = trap.meets(&world, &releases[which], spring).await;
        direct.write(&world.kubeconfig).unwrap();
        if ran.code == Some(0) {
            ended[which] = true;
            continue;
        }
        killed += 1;
        world.promote(&releases[which], &[]).await.expect(0);
        let found = (contents(&world.eu).await, contents(&world.us).await);
        assert_eq!(found, expected[which], "killed in turn {turn}");
        for api in [&world.eu, &world.us] {
            let records = records(api).await;
            assert!(records.len() <= 11, "{}", records.len());
            assert!(records.iter().all(|record| record["state"] != "applying"), "killed in turn {turn}");
        }
        world.promote(&releases[which], &[]).await.expect(0).says("no change");
    }
    println!("killed at {killed} writes: {:?}", trap.sprang.lock().unwrap());
    trap.saw_all(proof, &writes);
    if proof == Proof::Complete {
        // Stamps, record, two objects that change, prune or create, three states of the record: in each of two regions,
        // in both directions.
        assert!(killed >= 32, "{killed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn killed_before_a_write_of_any_kind_arrives_it_converges() {
    killed(Proof::Kinds, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_a_write_of_any_kind_arrived_it_converges() {
    killed(Proof::Kinds, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make kills"]
async fn complete_killed_before_any_write_arrives_it_converges() {
    killed(Proof::Complete, true).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make kills"]
async fn complete_killed_after_any_write_arrived_it_converges() {
    killed(Proof::Complete, false).await;
}

async fn a_first_release_is_killed(proof: Proof, lost: bool) {
    let world = World::start().await;
    let release = world.release(&good("1.0.0")).await;
    world.promote(&release, &[]).await.expect(0);
    let (expected, writes) = (contents(&world.eu).await, audited(&world.eu, 0));
    assert_eq!(expected.len(), 6);
    world.without_release().await;
    let trap = Arc::new(Trap::default());
    let proxy = proxy(&world.eu, &trap, lost).await;
    let via = Kubeconfig::new()
        .context_via(EU, &world.eu, proxy.address(), world.eu.admin_token())
        .context(US, &world.us);
    let direct = Kubeconfig::new().context(EU, &world.eu).context(US, &world.us);
    let mut killed = 0;
    for at in 1.. {
        via.write(&world.kubeconfig).unwrap();
        let ran = trap.meets(&world, &release, proof.spring(at)).await;
        direct.write(&world.kubeconfig).unwrap();
        if ran.code == Some(0) {
            break;
        }
        killed += 1;
        world.promote(&release, &[]).await.expect(0);
        world.promote(&release, &[]).await.expect(0).says("no change");
        assert_eq!(contents(&world.eu).await, expected, "killed at write {at}");
        assert_eq!(records(&world.eu).await.len(), 1, "killed at write {at}");
        world.without_release().await;
    }
    println!("killed at {killed} writes: {:?}", trap.sprang.lock().unwrap());
    trap.saw_all(proof, &writes);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_first_release_that_is_killed_at_a_write_of_any_kind_converges() {
    a_first_release_is_killed(Proof::Kinds, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make kills"]
async fn complete_a_first_release_that_is_killed_after_any_write_converges() {
    a_first_release_is_killed(Proof::Complete, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make kills"]
async fn complete_a_first_release_that_is_killed_before_any_write_converges() {
    a_first_release_is_killed(Proof::Complete, true).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn what_a_killed_run_made_goes_when_another_release_comes() {
    let world = World::start().await;
    let base = world.release(&good("1.0.0")).await;
    world.promote(&base, &[]).await.expect(0);
    let expected = contents(&world.eu).await;
    let trap = Arc::new(Trap::default());
    let proxy = proxy(&world.eu, &trap, false).await;
    let via = Kubeconfig::new()
        .context_via(EU, &world.eu, proxy.address(), world.eu.admin_token())
        .context(US, &world.us);
    let direct = Kubeconfig::new().context(EU, &world.eu).context(US, &world.us);
    // Record, settings, the object of its own, Deployment, record.
    for at in 1..=5 {
        let release = world.release(&good(&format!("1.{at}.0")).with("extra", format!("extra-{at}"))).await;
        via.write(&world.kubeconfig).unwrap();
        assert_eq!(trap.meets(&world, &release, Spring::At(at)).await.code, None, "write {at}");
        direct.write(&world.kubeconfig).unwrap();
        world.promote(&base, &[]).await.expect(0);
        assert_eq!(contents(&world.eu).await, expected, "killed at write {at}");
        assert!(
            records(&world.eu).await.iter().all(|record| record["state"] != "applying"),
            "killed at write {at}"
        );
    }
}
