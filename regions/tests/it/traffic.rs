//! A region goes out of global traffic and comes back, under clients that go by what its pods say.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Method, header};
use local_region::http::{Client, Target};
use local_region::kubernetes::{Kubeconfig, KubernetesApi};
use local_region::proxy::{FaultProxy, Mode, Rule};
use local_region::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::process::Child;
use tokio::task::JoinHandle;

use crate::charts::good;
use crate::front::DOMAIN;
use crate::kills::{Trap, proxy};
use crate::run::{self, Ran};
use crate::world::{ENVIRONMENT, EU, SOON, UNASKED, US, World, get};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/meridian/leases/regions";

/// Clients that the entry sends to a region for as long as that says that it takes traffic.
struct Clients {
    answered: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Clients {
    /// `stubborn` ones come whatever the region says.
    fn of(world: &World, region: usize, stubborn: bool) -> Self {
        let (answered, lost) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let name = format!("{}.{DOMAIN}", ["eu", "us"][region]);
        let address = ([127, 0, 0, 1], world.fronts[region].port()).into();
        let config =
            local_region::http::client_tls(&std::fs::read_to_string(&world.public).unwrap()).unwrap();
        let client = Client::new(Target::Tls { address, name, config });
        let (counts, failures) = (Arc::clone(&answered), Arc::clone(&lost));
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                let sent = stubborn || client.get("/trafficz").await.is_ok_and(|answer| answer.status == 200);
                if sent {
                    match client.get("/v1/region").await {
                        Ok(answer) if answer.status == 200 => counts.fetch_add(1, Ordering::Relaxed),
                        _ => failures.fetch_add(1, Ordering::Relaxed),
                    };
                }
            }
        });
        Self { answered, lost, task }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    async fn came_since(&self, then: u64) {
        wait_until("clients to come", SOON, async || self.answered() > then).await.unwrap();
    }

    fn nothing_was_lost(&self) {
        assert_eq!(self.lost.load(Ordering::Relaxed), 0);
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn end(mut command: tokio::process::Command) -> Ran {
    run::end(command.spawn().unwrap(), Instant::now()).await
}

async fn state(world: &World) -> String {
    let map = get(&world.eu, "configmaps", "traffic").await.unwrap();
    map["data"]["state"].as_str().unwrap_or_default().to_owned()
}

async fn promoted() -> World {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0").with("watcher", true)).await, &[]).await.expect(0);
    world
}

/// Whether a request writes whether a region takes traffic.
fn is_data(method: &Method, path: &str) -> bool {
    *method == Method::PATCH && path.contains("/configmaps/traffic?") && path.contains("force=true")
}

/// What a run has sent arrives; the status of the answer.
async fn arrive(api: &KubernetesApi, path: &str, body: Vec<u8>) -> u16 {
    let request = http::Request::patch(path)
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, format!("Bearer {}", api.admin_token().expose_secret()))
        .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(body.into())
        .unwrap();
    let target = Target::localhost(api.address(), &api.ca().pem()).unwrap();
    Client::new(target).send(request).await.unwrap().status.as_u16()
}

/// Who holds the Lease of a region.
async fn holder(api: &KubernetesApi) -> String {
    let lease = api.call(Method::GET, LEASE, None).await.unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// Somebody of another machine takes a region's Lease, and is not heard of again.
async fn held_by_a_stranger(api: &KubernetesApi) {
    let lease = json!({"spec": {"holderIdentity": "somebody@elsewhere"}});
    api.call(Method::PATCH, LEASE, Some(lease)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_goes_out_and_comes_back_and_its_clients_lose_nothing() {
    let world = promoted().await;
    let clients = Clients::of(&world, 0, false);
    clients.came_since(50).await;
    end(world.traffic("drain", "eu", &["--dry-run"])).await.expect(0).says("dry run: nothing was written");
    assert_eq!(state(&world).await, "");

    let ran = end(world.traffic("drain", "eu", &["--why", "ticket 9"])).await.expect(0);
    ran.says("production/eu is drained: 0.0 answers a second").says("next: regions restore production/eu");
    assert!(state(&world).await.starts_with("drained: ticket 9, "), "{}", state(&world).await);
    end(world.traffic("drain", "eu", &[])).await.expect(0).says("no change");
    let still = clients.answered();
    // A release leaves it as it is.
    world.promote(&world.release(&good("1.1.0")).await, &[]).await.expect(0);
    assert!(state(&world).await.starts_with("drained"));
    assert_eq!(clients.answered(), still);

    end(world.traffic("restore", "eu", &[])).await.expect(0).says("production/eu takes traffic again");
    assert_eq!(state(&world).await, "serving");
    clients.came_since(still).await;
    end(world.traffic("restore", "eu", &[])).await.expect(0).says("no change");
    clients.nothing_was_lost();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn the_last_region_is_not_drained_without_a_reason() {
    let world = promoted().await;
    end(world.traffic("drain", "us", &[])).await.expect(0);
    let ran = end(world.traffic("drain", "eu", &[])).await.expect(1);
    ran.says("does not count: us: it is drained")
        .says("no other region takes traffic")
        .says("--force \"why\"");
    assert_eq!(state(&world).await, "");
    end(world.traffic("restore", "us", &[])).await.expect(0);

    // One that cannot be asked counts as drained; so does one where others work.
    let proxy = FaultProxy::start(world.us.address()).await.unwrap();
    proxy.set(Mode::Refuse).await;
    let config = Kubeconfig::new().context(EU, &world.eu);
    config
        .context_via(US, &world.us, proxy.address(), world.us.admin_token())
        .write(&world.kubeconfig)
        .unwrap();
    end(world.traffic("drain", "eu", &[])).await.expect(1).says("us: get /version: unreachable");
    assert_eq!(state(&world).await, "");
    let ran = end(world.traffic("drain", "eu", &["--force", "it burns"])).await.expect(0);
    ran.says("drained all the same");
    assert!(state(&world).await.starts_with("drained: it burns, "));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_whose_watchers_alone_are_ready_carries_nothing() {
    let world = promoted().await;
    world.without_pods(&world.us).await;
    let watchers = get(&world.us, "deployments", "watcher").await.unwrap();
    assert_eq!(watchers["status"]["readyReplicas"], 2);
    let ran = end(world.traffic("drain", "eu", &[])).await.expect(1);
    ran.says("does not count: us: no pod of it is ready").says("no other region takes traffic");
    assert_eq!(state(&world).await, "");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn pods_that_go_while_a_drain_waits_for_leases_carry_nothing() {
    let world = promoted().await;
    held_by_a_stranger(&world.us).await;
    let mut child = world.traffic("drain", "eu", &["--lease", "6s"]).spawn().unwrap();
    // It takes the Leases in the order of names, once it has looked.
    let looked = async || (!holder(&world.eu).await.is_empty()).then_some(());
    run::meanwhile(&mut child, wait_until("the drain to have looked", SOON, looked)).await.unwrap();
    world.without_pods(&world.us).await;
    let ran = run::end(child, Instant::now()).await.expect(1);
    ran.says("us: no pod of it is ready");
    assert_eq!(state(&world).await, "");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn clients_that_remain_are_listed() {
    let world = promoted().await;
    let clients = Clients::of(&world, 0, true);
    clients.came_since(50).await;
    let ran = end(world.traffic("drain", "eu", &["--timeout", "4s"])).await.expect(4);
    ran.says("is still asked for /v1/region").says("it still serves them");
    assert!(state(&world).await.starts_with("drained"));
    // Those of before are remembered by a run that goes on.
    end(world.traffic("drain", "eu", &["--timeout", "2s"])).await.expect(4);
    clients.nothing_was_lost();
    drop(clients);
    end(world.traffic("drain", "eu", &[])).await.expect(0).says("no change");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_that_is_ill_or_lags_behind_stays_out() {
    let world = promoted().await;
    end(world.traffic("drain", "eu", &[])).await.expect(0);
    let secret = |mark: serde_json::Value| {
        json!({"tls": {
            "current": {"version": 3, "created_time": "2026-01-01T00:00:00Z"}, "mark": mark, "absence": null, "floor": null,
        }})
    };
    let refused = async |why: &str| {
        end(world.traffic("restore", "eu", &[])).await.expect(1).says(why).says("--force \"why\"");
        assert!(state(&world).await.starts_with("drained"), "{why}");
    };
    world.eu_front().vault("sealed");
    refused("eu: its Vault is sealed").await;
    world.eu_front().vault("ok");
    world.eu_front().secrets(secret(serde_json::Value::Null));
    world.us_front().secrets(secret(json!({"id": "r1", "phase": "write"})));
    refused("tls is of another rotation").await;
    world.eu_front().secrets(secret(json!({"id": "r1", "phase": "write"})));
    world.eu_front().silence(true);
    refused("its watcher does not answer").await;
    world.eu_front().silence(false);
    end(world.traffic("restore", "eu", &[])).await.expect(0);
}

/// Kills a drain or a restore at each of its writes in turn, before (`lost`) or after that arrived, and runs it again.
async fn killed_at_each_write(verb: &str, lost: bool, writes: usize) {
    let world = promoted().await;
    let (other, said) = if verb == "drain" { ("restore", "drained") } else { ("drain", "serving") };
    for at in 1..=writes + 1 {
        if verb == "restore" {
            end(world.traffic(other, "eu", &[])).await.expect(0);
        }
        let trap = Trap::armed(at);
        let proxies = (proxy(&world.eu, &trap, lost).await, proxy(&world.us, &trap, lost).await);
        let via = Kubeconfig::new()
            .context_via(EU, &world.eu, proxies.0.address(), world.eu.admin_token())
            .context_via(US, &world.us, proxies.1.address(), world.us.admin_token());
        via.write(&world.kubeconfig).unwrap();
        let child = world.traffic(verb, "eu", &[]).spawn().unwrap();
        trap.aims_at(&child);
        let ran = run::end(child, Instant::now()).await;
        Kubeconfig::new().context(EU, &world.eu).context(US, &world.us).write(&world.kubeconfig).unwrap();
        let (sprang, code) = if at > writes { (false, Some(0)) } else { (true, None) };
        assert_eq!((trap.sprang(), ran.code), (sprang, code), "write {at}: {}{}", ran.out, ran.err);
        let left = state(&world).await;
        assert!(
            ["", "serving", "drained"].iter().any(|whole| left.split(':').next() == Some(whole)),
            "{left}"
        );
        end(world.traffic(verb, "eu", &[])).await.expect(0);
        assert!(state(&world).await.starts_with(said), "write {at}");
        if verb == "drain" {
            end(world.traffic(other, "eu", &[])).await.expect(0);
        }
    }
}

// A drain marks both regions, writes one, and hurries two pods; a restore marks its own region alone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_drain_that_is_killed_before_any_write_arrives_is_gone_on_with() {
    killed_at_each_write("drain", true, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_drain_that_is_killed_after_any_write_arrived_is_gone_on_with() {
    killed_at_each_write("drain", false, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_restore_that_is_killed_before_any_write_arrives_is_gone_on_with() {
    killed_at_each_write("restore", true, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_restore_that_is_killed_after_any_write_arrived_is_gone_on_with() {
    killed_at_each_write("restore", false, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_drain_that_stood_still_does_not_write_after_another() {
    let world = promoted().await;
    let trap = Arc::<AtomicI32>::default();
    let eu = proxy(&world.eu, &Arc::default(), false).await;
    let (stops, (sends, sent)) = (Arc::clone(&trap), std::sync::mpsc::channel());
    let stop = move |method: &Method, path: &str, body: &[u8]| {
        is_data(method, path) && {
            // It is lost for now; this one, and what the run sends again, come late.
            sends.send((path.to_owned(), body.to_vec())).unwrap();
            let pid = Pid::from_raw(stops.load(Ordering::SeqCst)).unwrap();
            kill_process(pid, Signal::STOP).unwrap();
            true
        }
    };
    eu.add(Rule::read(stop, 503).times(1));
    let via = Kubeconfig::new().context(US, &world.us);
    let via = via.context_via(EU, &world.eu, eu.address(), world.eu.admin_token());
    via.write(&world.kubeconfig).unwrap();
    let mut child = world.traffic("drain", "eu", &[]).spawn().unwrap();
    trap.store(i32::try_from(child.id().unwrap()).unwrap(), Ordering::SeqCst);
    let stopped = async || eu.seen().iter().any(|seen| seen.status == 503).then_some(());
    run::meanwhile(&mut child, wait_until("the write", SOON, stopped)).await.unwrap();
    Kubeconfig::new().context(EU, &world.eu).context(US, &world.us).write(&world.kubeconfig).unwrap();
    end(world.traffic("drain", "us", &[])).await.expect(0);
    let (path, body) = sent.recv().unwrap();
    assert_eq!(arrive(&world.eu, &path, body).await, 409);
    let pid = Pid::from_raw(trap.load(Ordering::SeqCst)).unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    let ran = run::end(child, Instant::now()).await;
    assert!(matches!(ran.code, Some(1 | 5)), "{:?}\n{}", ran.code, ran.err);
    ran.says("nothing was changed in production/eu");
    assert_eq!(state(&world).await, "", "both regions are drained");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_drain_whose_write_arrives_without_an_answer_finds_that_it_did() {
    let world = promoted().await;
    let eu = proxy(&world.eu, &Arc::default(), false).await;
    let (api, runtime) = (Arc::clone(&world.eu), tokio::runtime::Handle::current());
    let lost = move |method: &Method, path: &str, body: &[u8]| {
        is_data(method, path) && {
            let arrived = arrive(&api, path, body.to_vec());
            tokio::task::block_in_place(|| runtime.block_on(arrived));
            true
        }
    };
    eu.add(Rule::read(lost, 503));
    let via = Kubeconfig::new().context(US, &world.us);
    let via = via.context_via(EU, &world.eu, eu.address(), world.eu.admin_token());
    via.write(&world.kubeconfig).unwrap();
    end(world.traffic("drain", "eu", &[])).await.expect(0).says("production/eu is drained");
    assert!(state(&world).await.starts_with("drained"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_drain_whose_write_is_not_answered_does_not_say_that_nothing_was_changed() {
    let world = promoted().await;
    let eu = proxy(&world.eu, &Arc::default(), false).await;
    eu.add(Rule::when(is_data, 503));
    let via = Kubeconfig::new().context(US, &world.us);
    let via = via.context_via(EU, &world.eu, eu.address(), world.eu.admin_token());
    via.write(&world.kubeconfig).unwrap();
    let ran = end(world.traffic("drain", "eu", &[])).await.expect(4);
    ran.says("it is not known whether the drain of production/eu was written")
        .says("next: regions drain production/eu")
        .says_not("nothing was changed");
    assert_eq!((holder(&world.eu).await, holder(&world.us).await), (String::new(), String::new()));
}

/// A drain that has written, and waits for clients that remain.
async fn written(world: &World) -> (Clients, Child) {
    let clients = Clients::of(world, 0, true);
    clients.came_since(50).await;
    let mut child = world.traffic("drain", "eu", &[]).spawn().unwrap();
    let written = async || state(world).await.starts_with("drained").then_some(());
    run::meanwhile(&mut child, wait_until("the write", SOON, written)).await.unwrap();
    (clients, child)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_drain_that_is_stopped_after_its_write_says_so_and_gives_its_leases_back() {
    let world = promoted().await;
    let (_clients, child) = written(&world).await;
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ran = run::end(child, Instant::now()).await.expect(4);
    ran.says("stopped by a signal")
        .says("the drain of production/eu was written, and not seen to its end")
        .says("next: regions drain production/eu");
    assert_eq!((holder(&world.eu).await, holder(&world.us).await), (String::new(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_drain_that_loses_a_lease_after_its_write_says_that_it_wrote() {
    let world = promoted().await;
    let (_clients, child) = written(&world).await;
    held_by_a_stranger(&world.us).await;
    let ran = run::end(child, Instant::now()).await.expect(5);
    ran.says("us: another run of regions has taken its Lease over")
        .says("the drain of production/eu was written, and not seen to its end")
        .says_not("nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn who_carries_on_is_shown_before_anybody_is_asked() {
    let world = promoted().await;
    let carries = "carries on: us: 2 pods ready, ";
    end(world.traffic("drain", "eu", &["--dry-run"])).await.expect(0).says(carries);
    let ran = end(world.traffic("drain", "eu", &[UNASKED])).await.expect(1);
    ran.says(carries).says("look at the plan above").says("nothing was changed in production/eu");
    end(world.traffic("drain", "eu", &[])).await.expect(0);
    let ran = end(world.traffic("restore", "eu", &[UNASKED])).await.expect(1);
    ran.says("its secrets and keys were compared with those of us").says("look at the plan above");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_whose_pods_do_not_know_yet_that_it_is_restored_carries_nothing() {
    let world = promoted().await;
    end(world.traffic("drain", "us", &[])).await.expect(0);
    world.us_front().stick(true);
    let ran = end(world.traffic("restore", "us", &["--timeout", "1s"])).await.expect(4);
    ran.says("do not yet take traffic");
    let ran = end(world.traffic("drain", "eu", &[])).await.expect(1);
    ran.says("does not count: us: ").says("still says that it is drained");
    assert_eq!(state(&world).await, "");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_that_falls_ill_while_its_restore_waits_stays_out() {
    let world = promoted().await;
    end(world.traffic("drain", "eu", &[])).await.expect(0);
    held_by_a_stranger(&world.eu).await;
    let asked = world.eu_front().requests();
    let mut child = world.traffic("restore", "eu", &["--lease", "4s"]).spawn().unwrap();
    // Its watcher is asked before its LoadBalancer.
    let looked = async || (world.eu_front().requests() > asked).then_some(());
    run::meanwhile(&mut child, wait_until("the restore to have looked", SOON, looked)).await.unwrap();
    world.eu_front().vault("sealed");
    let ran = run::end(child, Instant::now()).await.expect(1);
    ran.says("eu: its Vault is sealed").says("nothing was changed");
    assert!(state(&world).await.starts_with("drained"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_that_can_be_compared_with_none_stays_out() {
    let world = promoted().await;
    end(world.traffic("drain", "eu", &[])).await.expect(0);
    world.us_front().silence(true);
    let ran = end(world.traffic("restore", "eu", &[])).await.expect(1);
    ran.says("its secrets could be compared with no region that takes traffic").says("--force \"why\"");
    assert!(state(&world).await.starts_with("drained"));
    end(world.traffic("restore", "eu", &["--force", "us is lost"])).await.expect(0).says("all the same");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_whose_certificate_has_nearly_ended_stays_out() {
    let world = World::with_certificates_for(3).await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    end(world.traffic("drain", "eu", &[])).await.expect(0);
    end(world.traffic("restore", "eu", &[])).await.expect(1).says("eu: its certificate ends at ");
    assert!(state(&world).await.starts_with("drained"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn regions_are_probed_from_outside() {
    let world = promoted().await;
    let public = world.public.to_str().unwrap().to_owned();
    let probe = async |further: &[&str]| {
        let mut arguments = vec!["probe", "--env", ENVIRONMENT, "--public-ca", &public];
        arguments.extend(further);
        world.run(&arguments).await
    };
    let entry = format!("127.0.0.1:{}", world.us_front().port());
    let ran = probe(&["--entry", &entry]).await.expect(0);
    ran.says("entry").says("serving").says("days");
    let found = probe(&["--entry", &entry, "--output", "json"]).await.expect(0).json();
    let doors = found["doors"].as_array().unwrap();
    assert_eq!(
        (&doors[0]["door"], &doors[0]["region"], &doors[0]["traffic"]),
        (&json!("eu"), &json!("eu"), &json!(200))
    );
    assert_eq!((&doors[2]["door"], &doors[2]["region"]), (&json!("entry"), &json!("us")));
    end(world.traffic("drain", "eu", &[])).await.expect(0);
    wait_until("the region to be drained", SOON, async || {
        let ran = probe(&["--without-entry"]).await;
        (ran.code == Some(0) && ran.out.contains("drained")).then_some(())
    })
    .await
    .unwrap();
    let entry = format!("127.0.0.1:{}", world.eu_front().port());
    probe(&["--entry", &entry]).await.expect(4).says("entry: GET /trafficz answers 503");
    // A stranger's certificate is not taken.
    let ran = world.run(&["probe", "--env", ENVIRONMENT, "--without-entry"]).await.expect(4);
    ran.says("eu: ");
}
