//! SIGKILL at every write, before and after it reaches the API server; and run again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::Method;
use local_region::http::Target;
use local_region::kubernetes::{Kubeconfig, KubernetesApi};
use local_region::proxy::{AnswerProxy, Rule};
use rustix::process::{Pid, Signal, kill_process};

use crate::charts::good;
use crate::run;
use crate::world::{EU, US, World, audited, contents, records, unnumbered};

/// Counts the writes of a run over both regions, and kills it at one of them.
#[derive(Default)]
pub(crate) struct Trap {
    pid: AtomicI32,
    left: AtomicUsize,
    /// The writes at which it sprang, as [`crate::world::audited`] names them.
    sprang: Mutex<BTreeSet<String>>,
}

impl Trap {
    /// One that springs at this write.
    pub(crate) fn armed(at: usize) -> Arc<Self> {
        let trap = Arc::<Self>::default();
        trap.set(at);
        trap
    }

    /// Whom it kills.
    pub(crate) fn aims_at(&self, child: &tokio::process::Child) {
        self.pid.store(i32::try_from(child.id().unwrap()).unwrap(), Ordering::SeqCst);
    }

    /// Every write in the audit log was one at which a run was killed.
    fn saw_all(&self, apis: &[&KubernetesApi]) {
        let sprang = self.sprang.lock().unwrap().clone();
        let audited: BTreeSet<String> = apis.iter().flat_map(|api| audited(api)).collect();
        let missed: Vec<&String> = audited.difference(&sprang).collect();
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
        let last = write && self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            self.sprang.lock().unwrap().insert(named(method, path));
        }
        if last && let Some(pid) = Pid::from_raw(self.pid.load(Ordering::SeqCst)) {
            kill_process(pid, Signal::KILL).unwrap();
        }
        last
    }

    fn set(&self, at: usize) {
        self.left.store(at, Ordering::SeqCst);
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

async fn killed_at_every_write(lost: bool) {
    let world = World::start().await;
    let releases =
        [world.release(&good("1.0.0").with("extra", "extra")).await, world.release(&good("1.1.0")).await];
    // What each release makes of a region, whatever ran before.
    let mut expected = Vec::new();
    for release in &releases {
        world.promote(release, &[]).await.expect(0);
        expected.push((contents(&world.eu).await, contents(&world.us).await));
    }

    let direct = Kubeconfig::new().context(EU, &world.eu).context(US, &world.us);
    let trap = Arc::new(Trap::default());
    let proxies = (proxy(&world.eu, &trap, lost).await, proxy(&world.us, &trap, lost).await);
    let via = Kubeconfig::new()
        .context_via(EU, &world.eu, proxies.0.address(), world.eu.admin_token())
        .context_via(US, &world.us, proxies.1.address(), world.us.admin_token());
    let mut killed = 0;
    for at in 1.. {
        let which = (at + 1) % 2;
        trap.set(at);
        via.write(&world.kubeconfig).unwrap();
        let started = Instant::now();
        let child = world.promotion(&releases[which], &["--yes"]).spawn().unwrap();
        trap.aims_at(&child);
        let ran = run::end(child, started).await;
        if ran.code == Some(0) {
            break;
        }
        assert_eq!(ran.code, None, "write {at}: {}", ran.err);
        killed += 1;
        direct.write(&world.kubeconfig).unwrap();
        world.promote(&releases[which], &[]).await.expect(0);
        let found = (contents(&world.eu).await, contents(&world.us).await);
        assert_eq!(found, expected[which], "killed at write {at}");
        for api in [&world.eu, &world.us] {
            let records = records(api).await;
            assert!(records.len() <= 11, "{}", records.len());
            assert!(records.iter().all(|record| record["state"] != "applying"), "killed at write {at}");
        }
        world.promote(&releases[which], &[]).await.expect(0).says("no change");
    }
    // Stamps, record, two objects that change, prune or create, three states of the record: in each of two regions.
    assert!(killed >= 16, "{killed}");
    println!("killed at {killed} writes: {:?}", trap.sprang.lock().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_any_write_arrives_it_converges() {
    killed_at_every_write(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_write_arrived_it_converges() {
    killed_at_every_write(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_is_killed_at_any_write_converges() {
    let world = World::start().await;
    let release = world.release(&good("1.0.0")).await;
    let trap = Arc::new(Trap::default());
    let proxy = proxy(&world.eu, &trap, false).await;
    let via = Kubeconfig::new()
        .context_via(EU, &world.eu, proxy.address(), world.eu.admin_token())
        .context(US, &world.us);
    let direct = Kubeconfig::new().context(EU, &world.eu).context(US, &world.us);
    let mut killed = 0;
    for at in 1.. {
        trap.set(at);
        via.write(&world.kubeconfig).unwrap();
        let started = Instant::now();
        let child = world.promotion(&release, &["--yes"]).spawn().unwrap();
        trap.aims_at(&child);
        let ran = run::end(child, started).await;
        if ran.code == Some(0) {
            break;
        }
        assert_eq!(ran.code, None, "write {at}: {}", ran.err);
        killed += 1;
        direct.write(&world.kubeconfig).unwrap();
        world.promote(&release, &[]).await.expect(0);
        world.promote(&release, &[]).await.expect(0).says("no change");
        assert_eq!(contents(&world.eu).await.len(), 6, "killed at write {at}");
        assert_eq!(records(&world.eu).await.len(), 1, "killed at write {at}");
        world.without_namespace().await;
    }
    println!("killed at {killed} writes: {:?}", trap.sprang.lock().unwrap());
    trap.saw_all(&[&world.eu]);
}

#[tokio::test(flavor = "multi_thread")]
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
        trap.set(at);
        via.write(&world.kubeconfig).unwrap();
        let started = Instant::now();
        let child = world.promotion(&release, &["--yes"]).spawn().unwrap();
        trap.aims_at(&child);
        assert_eq!(run::end(child, started).await.code, None, "write {at}");
        direct.write(&world.kubeconfig).unwrap();
        world.promote(&base, &[]).await.expect(0);
        assert_eq!(contents(&world.eu).await, expected, "killed at write {at}");
        assert!(
            records(&world.eu).await.iter().all(|record| record["state"] != "applying"),
            "killed at write {at}"
        );
    }
}
