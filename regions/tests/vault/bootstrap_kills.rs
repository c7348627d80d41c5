//! SIGKILL at every write of a bootstrap, before and after it reaches a Vault; and run again.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use local_region::http::Target;
use local_region::pki::Ca;
use local_region::proxy::{AnswerProxy, Rule};
use local_region::vault::{Admin, VaultServer};
use local_region::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret as _, SecretString};

use crate::run;
use crate::terminal::{Terminal, shares};
use crate::third::{Third, bundle};

/// Region, method and path of a write.
type Write = (&'static str, String);

/// Ends a run at one of its writes to any of the three Vaults.
#[derive(Default)]
struct Killer {
    victim: AtomicI32,
    /// How many writes pass; the one after the last is the run's end. No write ends it at 0.
    left: AtomicUsize,
    /// How many writes there were.
    count: AtomicUsize,
    /// Whether that write never arrives.
    lost: AtomicBool,
    all: std::sync::Mutex<BTreeSet<Write>>,
    fatal: std::sync::Mutex<Vec<(bool, Write)>>,
}

impl Killer {
    /// The run after this is killed at its so many-th write.
    fn arm(&self, at: usize, lost: bool) {
        self.victim.store(0, Ordering::SeqCst);
        self.lost.store(lost, Ordering::SeqCst);
        self.left.store(at, Ordering::SeqCst);
    }

    fn disarm(&self) {
        self.arm(0, false);
    }

    fn springs(&self, region: &'static str, method: &Method, path: &str) -> bool {
        if !is_write(method) {
            return false;
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        let write = (region, format!("{method} {path}"));
        self.all.lock().unwrap().insert(write.clone());
        let count = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) != Ok(1) {
            return false;
        }
        let lost = self.lost.load(Ordering::SeqCst);
        self.fatal.lock().unwrap().push((lost, write));
        // The write may come before the test knows the process.
        let pid = loop {
            match Pid::from_raw(self.victim.load(Ordering::SeqCst)) {
                Some(pid) => break pid,
                None => std::thread::yield_now(),
            }
        };
        kill_process(pid, Signal::KILL).unwrap();
        lost
    }
}

/// A third region whose command reaches every Vault through a proxy.
struct World {
    third: Third,
    killer: Arc<Killer>,
    proxies: Vec<AnswerProxy>,
    ca: Ca,
}

impl World {
    async fn start() -> Self {
        let third = Third::start().await;
        let mut world =
            Self { third, killer: Arc::default(), proxies: Vec::new(), ca: Ca::new("proxy").unwrap() };
        let file = bundle(&world.third.world);
        let text = fs::read_to_string(&file).unwrap() + &world.ca.pem();
        fs::write(&file, text).unwrap();
        for region in ["eu", "us", "ap"] {
            world.interpose(region).await;
        }
        world
    }

    fn vault(&self, region: &str) -> &VaultServer {
        match region {
            "eu" => &self.third.world.eu,
            "us" => &self.third.world.us,
            _ => &self.third.ap,
        }
    }

    async fn interpose(&mut self, region: &'static str) {
        let vault = self.vault(region);
        let authority = fs::read_to_string(vault.ca_file()).unwrap();
        let target = Target::localhost(vault.address(), &authority).unwrap();
        let issued = self.ca.issue(&["localhost", "127.0.0.1"]).unwrap();
        let proxy = AnswerProxy::start(&issued, target).await.unwrap();
        let killer = Arc::clone(&self.killer);
        proxy.add(Rule::when(move |method, path| killer.springs(region, method, path), 503));
        let (direct, via) = (vault.url(), format!("https://localhost:{}", proxy.address().port()));
        self.third.world.edit(&format!("{region}.yaml"), |text| text.replace(&direct, &via));
        self.proxies.push(proxy);
    }

    /// A run on a terminal, killed at its so many-th write.
    fn terminal(&self, at: usize, lost: bool) -> Terminal {
        self.killer.arm(at, lost);
        let terminal = Terminal::start(self.third.command(&[]));
        self.killer.victim.store(terminal.pid(), Ordering::SeqCst);
        terminal
    }

    /// Waits until every write that passed has been answered, if to nobody.
    async fn settled(&self) {
        let written = |proxy: &AnswerProxy| proxy.seen().iter().filter(|seen| is_write(&seen.method)).count();
        let answered = async || {
            let all = self.killer.count.load(Ordering::SeqCst);
            let done: usize = self.proxies.iter().map(written).sum();
            if all == done { Ok(()) } else { Err(format!("{done} of {all}")) }
        };
        wait_until("an answer to every write", Duration::from_secs(30), answered).await.unwrap();
    }

    /// A run with a token, killed at its so many-th write. Its exit code, if it has one.
    async fn with_token(&self, token: &str, at: usize, lost: bool) -> Option<i32> {
        self.killer.arm(at, lost);
        let started = Instant::now();
        let child = self.third.command(&["--vault-token", token]).spawn().unwrap();
        self.killer.victim.store(i32::try_from(child.id().unwrap()).unwrap(), Ordering::SeqCst);
        let ran = run::end(child, started).await;
        self.third.shows_no_secret(&format!("{}{}", ran.out, ran.err));
        assert!(ran.code.is_none_or(|code| code == 0), "{}", ran.err);
        self.settled().await;
        ran.code
    }

    /// A run on a terminal, given shares, that is killed at its so many-th write.
    async fn typing(&self, shares: &[String], at: usize, lost: bool) {
        let mut terminal = self.terminal(at, lost);
        terminal.shows("unseal key 1 of 3", 1).await;
        // All in one piece, as they come out of a clipboard.
        terminal.types(&shares.join("\n"));
        let (code, screen) = terminal.end().await;
        assert_eq!(code, None, "write {at}, lost {lost}: {screen}");
        self.settled().await;
        assert!(shares.iter().all(|share| !screen.contains(share.as_str())), "{screen}");
    }

    /// A whole run on a terminal that nothing ends. Gives the shares.
    async fn whole(&self) -> Vec<String> {
        self.killer.disarm();
        let mut terminal = Terminal::start(self.third.command(&[]));
        terminal.shows("Press Enter", 1).await;
        terminal.types("");
        let (code, screen) = terminal.end().await;
        assert_eq!(code, Some(0), "{screen}");
        shares(&screen)
    }
}

/// Waits until a Vault that has its shares takes calls.
async fn awake(vault: &Admin) {
    let health = async || vault.call(Method::GET, "sys/health", None).await;
    wait_until("a leader", Duration::from_secs(30), health).await.unwrap();
}

fn is_write(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::DELETE, Method::PATCH].contains(method)
}

/// Writes that belong to opening a Vault.
fn opens((_, call): &Write) -> bool {
    call.contains("/sys/init") || call.contains("/sys/unseal") || call.contains("/sys/generate-root/")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn killed_at_any_write_after_the_shares_were_shown_it_converges() {
    let clean = World::start().await;
    clean.whole().await;
    let world = World::start().await;
    // The shares are shown, and the first share never reaches the Vault.
    let mut terminal = world.terminal(2, true);
    terminal.shows("Press Enter", 1).await;
    terminal.types("");
    let (code, screen) = terminal.end().await;
    assert_eq!(code, None, "{screen}");
    let keys: Vec<SecretString> = shares(&screen).into_iter().map(SecretString::from).collect();
    let anonymous = world.third.ap.with_token(&SecretString::default());
    for key in &keys[..3] {
        let share = serde_json::json!({"key": key.expose_secret()});
        anonymous.call(Method::PUT, "sys/unseal", Some(share)).await.unwrap();
    }
    awake(&anonymous).await;
    let (ap, root) = world.third.root(&keys[2..]).await;
    world.killer.fatal.lock().unwrap().clear();
    // Each run loses the first write that is due, and the next is killed when that has arrived: so every write is
    // once the last of a run in either way.
    while world.with_token(&root, 1, true).await.is_none() {
        assert_eq!(world.with_token(&root, 1, false).await, None);
    }
    world.third.is_seeded(&ap).await;
    let fatal = world.killer.fatal.lock().unwrap().clone();
    let of = |lost| -> BTreeSet<Write> {
        fatal.iter().filter(|(was_lost, _)| *was_lost == lost).map(|(_, write)| write.clone()).collect()
    };
    let all = clean.killer.all.lock().unwrap().clone();
    let own = |write: &&Write| !opens(write) && !write.1.contains("revoke-self");
    let all: BTreeSet<Write> = all.iter().filter(own).cloned().collect();
    assert_eq!(of(true), all);
    assert_eq!(of(false), all);
    println!("killed {} times, at {} writes in either way", fatal.len(), all.len());
    assert!(all.len() > 35, "{}", all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_initialising_and_showing_the_shares_it_names_the_storage_to_wipe() {
    let world = World::start().await;
    let (code, screen) = world.terminal(1, true).end().await;
    assert_eq!(code, None, "{screen}");
    assert!(!world.third.initialised().await, "it never arrived");
    let (code, screen) = world.terminal(1, false).end().await;
    assert_eq!((code, shares(&screen).len()), (None, 0), "{screen}");
    let initialised = async || world.third.initialised().await;
    wait_until("the Vault to be initialised", Duration::from_secs(30), initialised).await.unwrap();
    world.killer.disarm();
    let ran = world.third.unattended(&[]).await.expect(1);

    ran.says(
        "nobody has them, it was never unsealed, and is empty: wipe the storage (inmem) of the Vault at",
    )
    .says("wipe the storage (inmem) of the Vault at https://localhost:");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn killed_while_a_root_token_is_made_it_converges() {
    let world = World::start().await;
    let mut terminal = world.terminal(2, false);
    terminal.shows("Press Enter", 1).await;
    terminal.types("");
    let (code, screen) = terminal.end().await;
    assert_eq!(code, None, "{screen}");
    let keys = shares(&screen);
    let anonymous = world.third.ap.with_token(&SecretString::default());
    // Three shares to unseal it; then an attempt given up, one begun, and three shares for it.
    for lost in [true, false] {
        for write in 1..=3 {
            let reset = serde_json::json!({"reset": true});
            anonymous.call(Method::PUT, "sys/unseal", Some(reset)).await.unwrap();
            world.typing(&keys[1..4], write, lost).await;
        }
    }
    awake(&anonymous).await;
    for lost in [true, false] {
        for write in 1..=5 {
            world.typing(&keys[write % 3..write % 3 + 3], write, lost).await;
        }
    }
    let fatal = world.killer.fatal.lock().unwrap().clone();
    let ends: Vec<&str> = fatal.iter().map(|(_, (_, call))| call.as_str()).collect();
    let (unseal, update) = ("PUT /v1/sys/unseal", "PUT /v1/sys/generate-root/update");
    let attempt = "/v1/sys/generate-root/attempt";
    let (given_up, begun) = (format!("DELETE {attempt}"), format!("PUT {attempt}"));
    let opening = [unseal; 6].into_iter();
    let made = [given_up.as_str(), begun.as_str(), update, update, update].repeat(2);
    assert_eq!(ends[1..], opening.chain(made).collect::<Vec<_>>());
    world.killer.disarm();
    let keys: Vec<SecretString> = keys.into_iter().map(SecretString::from).collect();
    let (ap, root) = world.third.root(&keys[..3]).await;
    world.third.unattended(&["--vault-token", &root]).await.expect(0).says("done");
    world.third.is_seeded(&ap).await;
}
