//! Secrets change in every region while clients ask, and none of them may notice.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use local_region::documents::CLIENT;
use local_region::load::Load;
use local_region::programs::program;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{interval, timeout};

use crate::load::{nobody_notices, nobody_notices_with};
use crate::world::{ENVIRONMENT, World};

/// A rotation takes seconds by the ceilings of the local catalogue; the machine may be slow.
const LONG: Duration = Duration::from_secs(600);

/// How often the client looks for its secret: more often than a token lives.
const LOOKS: Duration = Duration::from_millis(500);

/// How many rotations `make soak` makes of each secret.
const MANY: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn nobody_notices_that_the_signing_key_changes() {
    let world = World::open().await;
    signing_keys(&world, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn nobody_notices_that_the_clients_secret_changes() {
    let world = World::open().await;
    clients(&world, 1).await;
}

/// `make soak`.
mod soak {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "make soak"]
    async fn a_hundred_signing_keys() {
        let world = World::open().await;
        signing_keys(&world, MANY).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "make soak"]
    async fn a_hundred_secrets_of_clients() {
        let world = World::open().await;
        clients(&world, MANY).await;
    }
}

async fn signing_keys(world: &World, times: u32) {
    let before = keys(world).await;
    let what = format!("signing-keys, {times} rotations");
    nobody_notices(world, &what, rotate(world, "signing-keys", times)).await;
    let after = keys(world).await;
    assert_eq!(after.len(), 1, "the same key in every region: {after:?}");
    assert_ne!(before, after);
}

async fn clients(world: &World, times: u32) {
    let before = world.environment.secret().await.unwrap();
    let what = format!("clients, {times} rotations");
    nobody_notices_with(world, &what, async |load: Arc<Load>| {
        // The client looks for its secret as any other does, by what it may read.
        tokio::select! {
            never = follow(world, &load) => never,
            () = rotate(world, "clients", times) => {}
        }
    })
    .await;
    let after = world.environment.secret().await.unwrap();
    assert_ne!(before.expose_secret(), after.expose_secret());
    for region in &world.environment.regions {
        let vault = world.environment.vault(region, "root").await.unwrap();
        let document = vault.read("kv", "service/clients", None).await.unwrap().data;
        let secrets = document["clients"][CLIENT]["secrets"].as_array().map(Vec::len);
        assert_eq!(secrets, Some(1), "{}: the former hash is gone", region.name);
    }
}

/// Uses whatever secret the client finds.
async fn follow(world: &World, load: &Load) {
    let first = &world.environment.regions[0];
    let mut looks = interval(LOOKS);
    loop {
        looks.tick().await;
        // A look that fails is followed by another.
        if let Ok(vault) = world.environment.vault(first, "promoter").await
            && let Ok(own) = vault.read("kv", &format!("client/{CLIENT}"), None).await
            && let Some(secret) = own.data["secret"].as_str()
        {
            load.use_secret(secret.into());
        }
    }
}

/// The ids of the keys that the regions' Vaults hold.
async fn keys(world: &World) -> Vec<String> {
    let mut ids = Vec::new();
    for region in &world.environment.regions {
        let vault = world.environment.vault(region, "root").await.unwrap();
        let document = vault.read("kv", "service/signing-keys", None).await.unwrap().data;
        ids.extend(document["keys"].as_object().unwrap().keys().cloned());
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Rotates a secret so many times, one after the other, and prints how long each phase took.
async fn rotate(world: &World, secret: &str, times: u32) {
    let mut took: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for number in 1..=times {
        let report = rotate_once(world, secret).await;
        assert_eq!(report["outcome"], "done", "{report}");
        let mut line = format!("{secret} {number}:");
        let mut whole = 0.0;
        for phase in report["phases"].as_array().unwrap() {
            let name = phase["phase"].as_str().unwrap();
            let seconds = |key: &str| phase[key].as_f64();
            let (written, all) = (seconds("written_s").unwrap(), seconds("took_s").unwrap());
            let adopted =
                seconds("adopted_s").map_or_else(|| "-".to_owned(), |adopted| format!("{adopted:.2}"));
            line.push_str(&format!(" {name} {written:.2}/{adopted}/{all:.2}"));
            took.entry(name.to_owned()).or_default().push(all);
            whole += all;
        }
        took.entry("whole".to_owned()).or_default().push(whole);
        println!("{line} whole {whole:.2}  (s: written/adopted/left)");
    }
    for (phase, mut seconds) in took {
        seconds.sort_by(f64::total_cmp);
        let (middle, last) = (seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
        println!("{secret} {phase}: n {}, median {middle:.2} s, longest {last:.2} s", seconds.len());
    }
}

/// `regions rotate`, and its report.
async fn rotate_once(world: &World, secret: &str) -> Value {
    let environment = &world.environment;
    let catalogue = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalogue");
    let mut command = Command::new(program("regions").unwrap());
    command.arg("--catalogue").arg(catalogue).args(["--output", "json"]);
    command.args(["rotate", secret, "--env", ENVIRONMENT, "--again", "--vault-ca"]);
    command.arg(environment.vault_authorities.as_ref().unwrap());
    command.arg("--kubeconfig").arg(&environment.kubeconfig);
    for region in &environment.regions {
        let token = &region.vault.as_ref().unwrap().tokens["rotator"];
        command.arg("--vault-token").arg(format!("{}={}", region.name, token.display()));
    }
    let child = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = timeout(LONG, child).await.expect("a rotation ends").unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&ended.stdout));
    serde_json::from_slice(&ended.stdout).unwrap()
}
