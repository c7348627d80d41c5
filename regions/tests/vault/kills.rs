//! SIGKILL at every write of an apply, before and after it reaches Vault; and run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Instant;

use http::Method;
use local_region::http::Target;
use local_region::pki::Ca;
use local_region::proxy::{AnswerProxy, Rule};
use local_region::vault::VaultServer;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;

use crate::run;
use crate::world::{World, contents};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn killed_before_any_write_arrives_it_converges() {
    killed_at_every_write(true).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn killed_after_any_write_arrived_it_converges() {
    killed_at_every_write(false).await;
}

/// Each write is the last of one run; the Vault goes on from what that run left, and is wiped when it is whole.
async fn killed_at_every_write(lost: bool) {
    let world = World::start().await;
    world.apply("us", &[]).await.expect(0);
    let good = contents(&world.us.admin()).await;
    let vault = &world.eu;
    let (left, victim) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicI32::new(0)));
    let proxy = proxy(vault, &left, &victim, lost).await;
    let ca = world.folder.path().join("proxy.pem");
    let root = world.token_file("root", vault.root_token().expose_secret());
    let (direct, via) = (vault.url(), format!("https://localhost:{}", proxy.0.address().port()));
    proxy.1.write(&ca).unwrap();
    let mut killed = 0;
    for at in 1.. {
        world.edit("eu.yaml", |text| text.replace(&direct, &via));
        left.store(at, Ordering::SeqCst);
        let started = Instant::now();
        let child = world.applying("eu", &root, &ca, &[]).spawn().unwrap();
        victim.store(i32::try_from(child.id().unwrap()).unwrap(), Ordering::SeqCst);
        let ran = run::end(child, started).await;
        world.edit("eu.yaml", |text| text.replace(&via, &direct));
        if ran.code == Some(0) {
            break;
        }
        assert_eq!(ran.code, None, "write {at}: {}", ran.err);
        killed += 1;
        world.apply("eu", &[]).await.expect(0);
        world.apply("eu", &["--prune"]).await.expect(0).says("no change");
        assert_eq!(contents(&vault.admin()).await, good, "killed at write {at}");
        wipe(vault).await;
    }
    // A mount, an inventory, and then every other object.
    let objects = world.apply("us", &["--dry-run", "--output", "json"]).await.expect(0).json();
    assert_eq!(objects["steps"], serde_json::json!([]));
    println!("killed at {killed} writes");
    assert!(killed > 20, "{killed}");
}

async fn proxy(
    vault: &VaultServer,
    left: &Arc<AtomicUsize>,
    victim: &Arc<AtomicI32>,
    lost: bool,
) -> (AnswerProxy, Ca) {
    let ca = Ca::new("proxy").unwrap();
    let target =
        Target::localhost(vault.address(), &std::fs::read_to_string(vault.ca_file()).unwrap()).unwrap();
    let proxy = AnswerProxy::start(&ca.issue(&["localhost", "127.0.0.1"]).unwrap(), target).await.unwrap();
    let (left, victim) = (Arc::clone(left), Arc::clone(victim));
    let springs = move |method: &Method, _: &str| {
        let write = [Method::POST, Method::PUT, Method::DELETE, Method::PATCH].contains(method);
        let last = write && left.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && let Some(pid) = Pid::from_raw(victim.load(Ordering::SeqCst)) {
            kill_process(pid, Signal::KILL).unwrap();
        }
        last && lost
    };
    proxy.add(Rule::when(springs, 503));
    (proxy, ca)
}

/// Takes away all that an apply made.
async fn wipe(vault: &VaultServer) {
    let admin = vault.admin();
    let mut paths = vec!["sys/mounts/kv".to_owned(), "sys/audit/file".into()];
    paths.extend(["approle", "jwt"].map(|method| format!("sys/auth/{method}")));
    for folder in ["sys/policies/acl", "sys/quotas/rate-limit"] {
        let list = admin.call(Method::GET, &format!("{folder}?list=true"), None).await;
        let names = list.map(|list| list["data"]["keys"].as_array().cloned().unwrap()).unwrap_or_default();
        let names = names
            .iter()
            .map(|name| name.as_str().unwrap())
            .filter(|name| !["root", "default"].contains(name));
        paths.extend(names.map(|name| format!("{folder}/{name}")));
    }
    for path in paths {
        admin.call(Method::DELETE, &path, None).await.unwrap();
    }
    let off = serde_json::json!({"enable_rate_limit_response_headers": false});
    admin.call(Method::POST, "sys/quotas/config", Some(off)).await.unwrap();
}
