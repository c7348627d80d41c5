//! The HorizontalPodAutoscaler, on what the region measures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use local_region::load::{Load, Target};
use local_region::wait::wait_until;
use tokio::sync::watch;

use crate::world::World;

/// Requests a second: more than two pods are to have.
const RATE: u32 = 300;

/// Until it scales up, and until it has scaled down again: five quiet minutes, then a pod a minute.
const UP: Duration = Duration::from_secs(180);
const DOWN: Duration = Duration::from_secs(900);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn pods_come_with_the_load_and_go_after_it() {
    let world = World::open().await;
    let eu = world.eu();
    let desired = async || {
        let path = "/apis/autoscaling/v2/namespaces/meridian/horizontalpodautoscalers/service";
        // Under this load a call may take too long; the next one will do.
        let scaler = eu.cluster.call(Method::GET, path, None).await.unwrap_or_default();
        scaler["status"]["desiredReplicas"].as_u64().unwrap_or_default()
    };
    // Each request with a handshake of its own, which is what costs.
    let entry = world.environment.entry(&eu.region).await.unwrap();
    let target = Target::before(&eu.region.name, &eu.region.name, entry).fresh();
    let secret = world.environment.secret().await.unwrap();
    let load = Load::new(vec![target], &world.environment.issuer(), secret);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(Arc::clone(&load).run(RATE, stopped));
    let begun = Instant::now();
    let more = wait_until("more than two pods", UP, async || {
        let desired = desired().await;
        if desired > 2 && eu.pods().await.len() > 2 { Ok(desired) } else { Err(format!("{desired} desired")) }
    });
    let (more, up) = (more.await.unwrap(), begun.elapsed());
    stop.send_replace(true);
    running.await.unwrap();
    let begun = Instant::now();
    wait_until("two pods again", DOWN, async || {
        let desired = desired().await;
        if desired == 2 { Ok(()) } else { Err(format!("{desired} desired")) }
    })
    .await
    .unwrap();
    eu.settled(2).await;
    println!(
        "2 pods → {more} after {:.0} s → 2 after {:.0} s more",
        up.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
}
