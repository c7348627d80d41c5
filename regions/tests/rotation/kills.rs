//! SIGKILL at the writes of a rotation, before and after each reaches a Vault; and run again.
//!
//! Every change is tested at one write of each path in each region. `make kills` does it at every write, and holds what
//! it has killed against what the Vaults' own audit logs tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use local_region::http::Target;
use local_region::pki::Ca;
use local_region::proxy::{AnswerProxy, Rule};
use local_region::vault::VaultServer;
use local_region::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::run;
use crate::world::World;

/// Region, and method and path of a write, with what it writes.
type Write = (&'static str, String);

/// Of a write that a run makes once more, since another has written the same.
const AGAIN: &str = " again";

/// Ends a run at one of its writes to either Vault.
#[derive(Default)]
struct Killer {
    victim: AtomicI32,
    /// How many writes pass before the one that is the run's end; no write ends it while it is not armed.
    left: AtomicUsize,
    armed: AtomicBool,
    /// Whether that write never arrives.
    lost: AtomicBool,
    /// Whether the lock's writes count, and no others do.
    locks: AtomicBool,
    /// Whether writes of one path are told apart by what they write.
    apart: AtomicBool,
    /// What each version that arrived is.
    arrived: Mutex<BTreeMap<(&'static str, String, u64), String>>,
    /// Whether the run is dead: what it has sent to another region meanwhile arrives no more.
    dead: AtomicBool,
    /// The write that was lost last, and that has to arrive next. Another region's, at the same time, waits for it.
    due: Mutex<Option<Write>>,
    passed: AtomicUsize,
    fatal: Mutex<Vec<(bool, Write)>>,
}

impl Killer {
    /// The next run is killed at its so many-th write that counts.
    fn arm(&self, at: usize, lost: bool) {
        self.victim.store(0, Ordering::SeqCst);
        self.lost.store(lost, Ordering::SeqCst);
        self.left.store(at, Ordering::SeqCst);
        self.dead.store(false, Ordering::SeqCst);
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Whether a write does not arrive. A run is killed once at each.
    fn springs(&self, region: &'static str, method: &Method, path: &str, body: &[u8]) -> bool {
        if !is_write(method) || path.contains("/auth/") {
            return false;
        }
        // One after the other, whichever region it is for.
        let mut fatal = self.fatal.lock().unwrap();
        if self.dead.load(Ordering::SeqCst) {
            return true;
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let what = self.what(region, path, &body);
        let told = if self.apart.load(Ordering::SeqCst) { what.as_str() } else { "" };
        let (lost, write) = (self.lost.load(Ordering::SeqCst), (region, format!("{method} {path}{told}")));
        let locks = self.locks.load(Ordering::SeqCst);
        let known = || fatal.iter().any(|known| *known == (lost, write.clone()));
        let counts = path.ends_with("/regions/lock") == locks && (locks || !known());
        let last =
            counts && self.armed.load(Ordering::SeqCst) && self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        if !last {
            self.passes(region, path, &body, what);
            return false;
        }
        let mut due = self.due.lock().unwrap();
        match (lost, due.take()) {
            (true, _) => *due = Some(write.clone()),
            (false, Some(other)) if other != write => {
                *due = Some(other);
                self.left.fetch_add(1, Ordering::SeqCst);
                return true;
            }
            _ => {}
        }
        self.armed.store(false, Ordering::SeqCst);
        self.dead.store(true, Ordering::SeqCst);
        fatal.push((lost, write));
        // The write may come before the test knows the process.
        let pid = loop {
            match Pid::from_raw(self.victim.load(Ordering::SeqCst)) {
                Some(pid) => break pid,
                None => std::thread::yield_now(),
            }
        };
        kill_process(pid, Signal::KILL).unwrap();
        if !lost {
            self.passes(region, path, &body, what);
        }
        lost
    }

    /// A write arrives.
    fn passes(&self, region: &'static str, path: &str, body: &Value, what: String) {
        self.passed.fetch_add(1, Ordering::SeqCst);
        if let Some(over) = body["options"]["cas"].as_u64() {
            let path = path.rsplit('/').next().unwrap_or_default().to_owned();
            self.arrived.lock().unwrap().insert((region, path, over + 1), what);
        }
    }

    /// What a write writes: the phase of a document, or what is noted, and of which phase.
    fn what(&self, region: &'static str, path: &str, body: &Value) -> String {
        let name = path.rsplit('/').next().unwrap_or_default();
        let arrived = self.arrived.lock().unwrap();
        if let Some(mark) = body["data"]["rotation"].as_object() {
            let phases = mark.values().filter_map(Value::as_object).flat_map(serde_json::Map::keys);
            let phase: String = phases.map(|phase| format!(" {phase}")).collect();
            let folder = path.rsplit('/').nth(1).unwrap_or_default();
            let what = format!(" {folder}{phase}");
            let again = arrived.iter().any(|((own, _, _), arrived)| *own == region && *arrived == what);
            return if again { what + AGAIN } else { what };
        }
        let Some(notes) = body["custom_metadata"].as_object() else { return String::new() };
        let barrier = notes.get("barrier").and_then(Value::as_str).and_then(|text| text.split(' ').next());
        let barrier = barrier.and_then(|number| number.parse().ok());
        let of = barrier.and_then(|number| arrived.get(&(region, name.to_owned(), number)).cloned());
        let notes: Vec<&str> = notes.keys().map(String::as_str).collect();
        format!(" {}{}", notes.join(","), of.unwrap_or_default())
    }
}

fn is_write(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::DELETE, Method::PATCH].contains(method)
}

/// A world whose command reaches every Vault through a proxy.
struct Guarded {
    world: World,
    killer: Arc<Killer>,
    proxies: Vec<AnswerProxy>,
}

impl Guarded {
    async fn start() -> Self {
        let world = World::start(1).await;
        // Made before the command is given the first time, with the proxies' authority in it.
        drop(world.rotating("config", &[]).await);
        let ca = Ca::new("proxy").unwrap();
        let file = world.folder.path().join("authorities.pem");
        fs::write(&file, fs::read_to_string(&file).unwrap() + &ca.pem()).unwrap();
        let mut guarded = Self { world, killer: Arc::default(), proxies: Vec::new() };
        for region in ["eu", "us"] {
            let proxy = guarded.interpose(region, &ca).await;
            guarded.proxies.push(proxy);
        }
        guarded
    }

    async fn interpose(&self, region: &'static str, ca: &Ca) -> AnswerProxy {
        let vault: &VaultServer = &self.world.region(region).vault;
        let authority = fs::read_to_string(vault.ca_file()).unwrap();
        let target = Target::localhost(vault.address(), &authority).unwrap();
        let issued = ca.issue(&["localhost", "127.0.0.1"]).unwrap();
        let proxy = AnswerProxy::start(&issued, target).await.unwrap();
        let killer = Arc::clone(&self.killer);
        proxy.add(Rule::read(move |method, path, body| killer.springs(region, method, path, body), 503));
        let (direct, via) = (vault.url(), format!("https://localhost:{}", proxy.address().port()));
        self.world.edit(&format!("{region}.yaml"), |text| text.replace(&direct, &via));
        proxy
    }

    /// A run that is killed at its so many-th write that counts. Its exit code, if it has one.
    async fn run(&self, secret: &str, further: &[&str], at: usize, lost: bool) -> Option<i32> {
        self.killer.arm(at, lost);
        let started = Instant::now();
        let child = self.world.rotating(secret, further).await.spawn().unwrap();
        self.killer.victim.store(i32::try_from(child.id().unwrap()).unwrap(), Ordering::SeqCst);
        let ran = run::end(child, started).await;
        assert!(ran.code.is_none_or(|code| code == 0), "{} {}", ran.out, ran.err);
        self.settled().await;
        ran.code
    }

    /// Waits until every write that passed has been answered, if to nobody.
    async fn settled(&self) {
        let answered = async || {
            let writes = |proxy: &AnswerProxy| {
                let seen = proxy.seen();
                let own = seen.iter().filter(|seen| is_write(&seen.method) && !seen.path.contains("/auth/"));
                own.filter(|seen| seen.status != 503).count()
            };
            let done: usize = self.proxies.iter().map(writes).sum();
            let passed = self.killer.passed.load(Ordering::SeqCst);
            if done >= passed { Ok(()) } else { Err(format!("{done} of {passed}")) }
        };
        wait_until("an answer to every write", Duration::from_secs(30), answered).await.unwrap();
    }

    /// What the rotator's token wrote, by each Vault's own audit log.
    fn audited(&self) -> BTreeMap<Write, usize> {
        let mut writes = BTreeMap::new();
        for region in ["eu", "us"] {
            let log = fs::read_to_string(self.world.region(region).vault.audit_log()).unwrap();
            for line in log.lines() {
                let entry: Value = serde_json::from_str(line).unwrap();
                let rotator = entry["auth"]["token_policies"]
                    .as_array()
                    .is_some_and(|policies| policies.iter().any(|policy| policy == "rotator"));
                let operation = entry["request"]["operation"].as_str().unwrap_or_default();
                let path = entry["request"]["path"].as_str().unwrap_or_default();
                let written = ["create", "update", "patch", "delete"].contains(&operation);
                if entry["type"] == "response" && rotator && written && !path.starts_with("auth/") {
                    *writes.entry((region, path.to_owned())).or_default() += 1;
                }
            }
        }
        writes
    }

    /// The writes at which runs were killed, by whether they arrived; and those that were made once more.
    fn killed(&self, lost: bool) -> (BTreeMap<Write, usize>, BTreeSet<Write>) {
        let (mut writes, mut again) = (BTreeMap::new(), BTreeSet::new());
        for (was_lost, (region, call)) in self.killer.fatal.lock().unwrap().iter() {
            if *was_lost != lost {
                continue;
            }
            if call.ends_with(AGAIN) {
                again.insert((*region, call.clone()));
                continue;
            }
            let call = call.split_once("/v1/").unwrap().1;
            let path = call.split(' ').next().unwrap_or_default().to_owned();
            *writes.entry((*region, path)).or_default() += 1;
        }
        (writes, again)
    }

    /// The writes of a rotation that nobody kills, but for those of the lock.
    async fn undisturbed(&self, secret: &str, further: &[&str]) -> BTreeMap<Write, usize> {
        let before = self.audited();
        self.world.rotate(secret, further).await.expect(0).says("done");
        self.settled().await;
        let mut writes = self.audited();
        for (write, count) in &mut writes {
            *count -= before.get(write).copied().unwrap_or_default();
        }
        writes.retain(|(_, path), count| *count > 0 && path != "kv/data/regions/lock");
        writes
    }

    /// Keys that were ever in the documents of either region.
    async fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for region in self.world.regions() {
            let (_, current) = region.readable("service/signing-keys").await;
            for number in 1..=current {
                let path = "service/signing-keys";
                let Ok(version) = region.admin().read("kv", path, Some(number)).await else { continue };
                keys.extend(version.data["keys"].as_object().unwrap().keys().cloned());
            }
        }
        keys
    }
}

/// At which writes runs are killed.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// At one of each path in each region.
    EachPath,
    /// At every one, and there are so many at least.
    Every { least: usize },
}

/// Each run loses the first write that is due, and the next is killed when that one has arrived: so every write that
/// counts is once the last of a run in either way.
async fn killed(secret: &str, further: &[&str], at: At) {
    let guarded = Guarded::start().await;
    guarded.killer.apart.store(at != At::EachPath, Ordering::SeqCst);
    let with = |id: &'static str| [further, &[id]].concat();
    // What is noted once for all is noted by the first.
    guarded.undisturbed(secret, &with("--rotation=first")).await;
    let mut writes = guarded.undisturbed(secret, &with("--rotation=second")).await;
    guarded.killer.arrived.lock().unwrap().clear();
    let before = guarded.world.same(secret).await;
    let mut keys = BTreeSet::new();
    let mut finished = false;
    while !finished {
        finished = guarded.run(secret, &with("--rotation=killed"), 1, true).await.is_some();
        if !finished {
            assert_eq!(guarded.run(secret, &with("--rotation=killed"), 1, false).await, None);
        }
        if secret == "signing-keys" {
            keys.extend(guarded.keys().await);
        }
    }
    let after = guarded.world.same(secret).await;
    assert_ne!(before, after);
    for region in guarded.world.regions() {
        assert_eq!(region.readable(&format!("service/{secret}")).await.0.len(), 1);
        region.uses(secret).await;
    }
    if secret == "signing-keys" {
        assert_eq!(keys.len(), 2, "the old one and one new one: {keys:?}");
    }
    let count: usize = writes.values().sum();
    if at == At::EachPath {
        writes.values_mut().for_each(|count| *count = 1);
    }
    let (arrived, again) = guarded.killed(false);
    let (lost, lost_again) = guarded.killed(true);
    assert_eq!(arrived, writes);
    assert_eq!(lost, writes, "each was lost once before it arrived");
    assert_eq!(again, lost_again);
    let killed: usize = writes.values().sum();
    println!(
        "{secret}: killed at {killed} of {count} writes, before and after each arrived, and at {again:?}"
    );
    if let At::Every { least } = at {
        assert!(killed >= least, "{killed}");
        let documents = again.iter().filter(|(_, call)| call.contains(&format!("/data/service/{secret} ")));
        assert_eq!(documents.count(), 2, "what the run before had written is written once more: {again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyset_that_is_killed_at_a_write_of_each_path_converges() {
    killed("signing-keys", &[], At::EachPath).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn clients_that_are_killed_at_a_write_of_each_path_converge() {
    killed("clients", &["--grace=1s"], At::EachPath).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "every write; make kills"]
async fn a_keyset_that_is_killed_at_any_write_converges() {
    killed("signing-keys", &[], At::Every { least: 16 }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "every write; make kills"]
async fn clients_that_are_killed_at_any_write_converge() {
    killed("clients", &["--grace=1s"], At::Every { least: 24 }).await;
}

/// Kills runs at these writes of the lock. Gives at how many one was killed.
async fn killed_at_locks(all: impl Iterator<Item = usize> + Clone) -> usize {
    let guarded = Guarded::start().await;
    guarded.killer.locks.store(true, Ordering::SeqCst);
    let mut kills = 0;
    // Those that arrive first: a lost one would have to be the next that does.
    for lost in [false, true] {
        for at in all.clone() {
            let id = format!("--rotation=locks-{lost}-{at}");
            let code = guarded.run("clients", &["--grace=0s", &id], at, lost).await;
            // What was left behind is finished by whoever comes next.
            guarded.killer.armed.store(false, Ordering::SeqCst);
            guarded.killer.dead.store(false, Ordering::SeqCst);
            guarded.world.rotate("clients", &["--grace=0s", &id]).await.expect(0);
            if code.is_some() {
                break;
            }
            kills += 1;
        }
    }
    let paths: BTreeSet<String> = guarded.killed(false).0.into_keys().map(|(_, path)| path).collect();
    assert_eq!(paths, ["kv/data/regions/lock".to_owned()].into());
    println!("killed at {kills} writes of the lock");
    kills
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_rotation_that_is_killed_as_it_takes_or_gives_back_its_lock_converges() {
    // The first takes one, and one of the third and the fourth gives one back.
    assert_eq!(killed_at_locks([1, 3].into_iter()).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "every write; make kills"]
async fn a_rotation_that_is_killed_at_any_write_of_its_lock_converges() {
    let kills = killed_at_locks(1..).await;
    assert!(kills >= 10, "{kills}");
}
