//! API servers that stumble, and networks that cut connections.

use std::collections::HashSet;
use std::sync::Mutex;

use http::Method;
use local_region::http::Target;
use local_region::kubernetes::Kubeconfig;
use local_region::proxy::{AnswerProxy, FaultProxy, Mode, Rule};

use crate::charts::good;
use crate::world::{EU, US, World, contents, records};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_call_that_fails_once_is_made_again() {
    let world = World::start().await;
    let certificate = world.us.ca().issue(&["localhost", "127.0.0.1"]).unwrap();
    let target = Target::localhost(world.us.address(), &world.us.ca().pem()).unwrap();
    let proxy = AnswerProxy::start(&certificate, target).await.unwrap();
    // Each call fails the first time, but for the one that finds out whether there is anybody.
    let seen = Mutex::new(HashSet::new());
    let first = move |method: &Method, path: &str| {
        path != "/version" && seen.lock().unwrap().insert((method.clone(), path.to_owned()))
    };
    proxy.add(Rule::when(first, 503).body("no healthy upstream"));
    let config = Kubeconfig::new().context(EU, &world.eu);
    config
        .context_via(US, &world.us, proxy.address(), world.us.admin_token())
        .write(&world.kubeconfig)
        .unwrap();

    let release = world.release(&good("1.0.0")).await;
    world.promote(&release, &[]).await.expect(0);
    assert!(proxy.seen().iter().filter(|seen| seen.status == 503).count() > 10);
    assert_eq!(records(&world.us).await[0]["state"], "applied");
    world.promote(&release, &[]).await.expect(0).says("no change");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn connections_that_are_cut_again_and_again_delay_it_only() {
    let world = World::start().await;
    let (first, second) = (world.release(&good("1.0.0")).await, world.release(&good("1.1.0")).await);
    world.promote(&first, &[]).await.expect(0);
    world.promote(&second, &[]).await.expect(0);
    let expected = contents(&world.us).await;
    world.promote(&first, &[]).await.expect(0);

    let proxy = FaultProxy::start(world.us.address()).await.unwrap();
    proxy.set(Mode::Cut { after: 120_000 }).await;
    let config = Kubeconfig::new().context(EU, &world.eu);
    config
        .context_via(US, &world.us, proxy.address(), world.us.admin_token())
        .write(&world.kubeconfig)
        .unwrap();
    world.promote(&second, &[]).await.expect(0);
    assert_eq!(contents(&world.us).await, expected);
    assert!(proxy.accepted() > 5, "{}", proxy.accepted());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn an_api_server_that_is_away_while_pods_start_does_not_end_the_promotion() {
    let world = World::start().await;
    let release = world.release(&good("1.0.0").with("image", "pending.invalid/service")).await;
    let proxy = FaultProxy::start(world.eu.address()).await.unwrap();
    let config = Kubeconfig::new().context_via(EU, &world.eu, proxy.address(), world.eu.admin_token());
    config.context(US, &world.us).write(&world.kubeconfig).unwrap();
    let started = std::time::Instant::now();
    let mut child = world.promotion(&release, &["--yes"]).spawn().unwrap();
    crate::run::meanwhile(&mut child, world.all_applied_in_wave_one()).await;
    proxy.set(Mode::Refuse).await;
    world.nodes.let_pending_start();
    world.eu_pods_ready().await;
    proxy.set(Mode::Pass).await;
    crate::run::end(child, started).await.expect(0).says("eu: applied, 2/2 pods ready");
}
