//! Releases that become ready and are not good, and what is looked at before any is promoted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use local_region::http::{Client, Target, client_tls};
use local_region::wait::wait_until;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::charts::good;
use crate::front::DOMAIN;
use crate::world::{SOON, World, contents, records, writes};

/// Clients of wave one that want tokens.
struct Clients {
    asked: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Clients {
    fn of(world: &World) -> Self {
        let config = client_tls(&std::fs::read_to_string(&world.public).unwrap()).unwrap();
        let address = ([127, 0, 0, 1], world.eu_front().port()).into();
        let client = Client::new(Target::Tls { address, name: format!("eu.{DOMAIN}"), config });
        let asked = Arc::<AtomicU64>::default();
        let count = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(40));
            loop {
                ticks.tick().await;
                let _ = client.form("/oauth2/token", "grant_type=client_credentials").await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { asked, task }
    }

    async fn have_asked(&self, times: u64) {
        let enough = async || self.asked.load(Ordering::Relaxed) >= times;
        wait_until("clients to ask", SOON, enough).await.unwrap();
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A release of such an image takes the place of a good one: it is undone, and wave two is not touched.
async fn is_undone(image: &str, why: &str) {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    let clients = Clients::of(&world);
    clients.have_asked(100).await;
    let (eu, us) = (contents(&world.eu).await, (contents(&world.us).await, records(&world.us).await));

    let bad = world.release(&good("1.1.0").with("image", format!("ready.invalid/{image}:1.1.0"))).await;
    let ran = world.promote(&bad, &[]).await.expect(3);
    ran.says(why).says("is not good, and was taken back from production");
    ran.says("us      second  untouched");
    assert!(ran.took < Duration::from_secs(90), "{:?}", ran.took);
    assert_eq!(eu, contents(&world.eu).await);
    assert_eq!(us, (contents(&world.us).await, records(&world.us).await));
    assert_eq!(records(&world.eu).await[1]["state"], "undone");
    let status = world.status(&["--output", "json"]).await.expect(0).json();
    let found = &status["regions"][0]["found"];
    assert_eq!(
        (&found["release"]["version"], &found["undone"]["version"]),
        (&"1.0.0".into(), &"1.1.0".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_new_pods_undo_the_release() {
    is_undone("failing", "status of 500 or above").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn tokens_that_are_refused_undo_the_release() {
    is_undone("refusing", "had a status from 400 to 499").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn slow_answers_undo_the_release() {
    is_undone("slow", "slower than latency_p99").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_watcher_that_is_silent_or_whose_vault_is_sealed_is_found_before_anything_is_written() {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    let next = world.release(&good("1.1.0")).await;
    let before = (writes(&world.eu), writes(&world.us));

    world.us_front().silence(true);
    let ran = world.promote(&next, &[]).await.expect(1);
    ran.says("us: its watcher does not answer, so nothing can be judged there");
    world.us_front().silence(false);
    world.us_front().vault("sealed");
    let ran = world.promote(&next, &[]).await.expect(1);
    ran.says("us: its Vault is sealed, as its watcher sees it").says("nothing was changed in production");
    assert_eq!(before, (writes(&world.eu), writes(&world.us)));
    assert!(world.us_front().requests() > 0, "own transactions were made before");

    // Whoever must go back is not held up by it.
    world.us_front().vault("ok");
    world.promote(&next, &[]).await.expect(0);
    world.us_front().vault("sealed");
    world.back(&["--to", "1.0.0"]).await.expect(0).says("production runs 1.0.0 again in eu, us");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_frozen_environment_is_promoted_to_only_with_a_reason() {
    let world = World::start().await;
    world.edit(
        "_environment.yaml",
        "waves: [first, second]",
        "waves: [first, second]\nfreezes: [{ from: '2020-01-01T00:00:00Z', until: '2099-01-01T00:00:00Z', why: the holidays }]",
    );
    let release = world.release(&good("1.0.0")).await;
    let ran = world.promote(&release, &[]).await.expect(1);
    ran.says("production is frozen until 2099-01-01T00:00:00Z: the holidays")
        .says("--override-freeze \"why\"");
    assert_eq!(writes(&world.eu), []);
    world.promote(&release, &["--override-freeze", "ticket 1"]).await.expect(0);
    let why = records(&world.eu).await[0]["provenance"]["why"].clone();
    assert_eq!(why, json!("freeze overridden: ticket 1"));
}
