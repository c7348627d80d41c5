//! A run that stood still while another one took its regions over: it writes nothing any more.

use std::time::Instant;

use local_region::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};

use crate::charts::good;
use crate::run;
use crate::world::{SOON, World, contents, records, writes};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_stopped_past_its_lease_writes_nothing_any_more() {
    let world = World::start().await;
    world.promote(&world.release(&good("1.0.0")).await, &[]).await.expect(0);
    // It stands in the middle of its first wave, with its last object still to come.
    let late = world.release(&good("1.1.0").with("image", "pending.invalid/service")).await;
    let started = Instant::now();
    let mut child = world.promotion(&late, &["--yes"]).spawn().unwrap();
    let begun = async || records(&world.eu).await.len() == 2;
    run::meanwhile(&mut child, wait_until("the second record", SOON, begun)).await.unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();

    // Its Lease lives for 4 s; nobody tells the other that it is not at work.
    let other = world.release(&good("1.2.0")).await;
    world.promote(&other, &[]).await.expect(0);
    let (eu, us) = (
        (contents(&world.eu).await, records(&world.eu).await),
        (contents(&world.us).await, records(&world.us).await),
    );
    let taken = |api| writes(api).into_iter().filter(|write| write.code < 300).count();
    let before = (taken(&world.eu), taken(&world.us));

    world.nodes.let_pending_start();
    kill_process(pid, Signal::CONT).unwrap();
    let ran = run::end(child, started).await;
    assert!(matches!(ran.code, Some(4 | 5)), "{:?}\n{}", ran.code, ran.err);
    // Either its Lease tells it, or, where it stood in the middle of a write, the fence that refuses that one.
    let told =
        ["another run of regions has taken this region over", "was taken over by another run of regions"];
    assert!(told.iter().any(|told| ran.err.contains(told)), "{}", ran.err);
    assert!(ran.err.contains("eu (wave first) failed, us (wave second) untouched"), "{}", ran.err);
    assert_eq!(before, (taken(&world.eu), taken(&world.us)), "{}", ran.err);
    assert_eq!(eu, (contents(&world.eu).await, records(&world.eu).await));
    assert_eq!(us, (contents(&world.us).await, records(&world.us).await));
}
