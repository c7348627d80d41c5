//! Rotations that are taken back.

use std::time::Instant;

use local_region::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};

use crate::kinds::{secret_of, token};
use crate::run;
use crate::world::{SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_signed_verifies_until_its_last_token_has_ended() {
    let world = World::start(1).await;
    let before = world.same("signing-keys").await;
    let old = before["keys"].as_object().unwrap().keys().next().unwrap().clone();
    let child = world.rotating("signing-keys", &[]).await.spawn().unwrap();
    let active = async || {
        let document = world.us.read("signing-keys").await;
        (document["keys"][&old]["state"] == "retiring").then_some(())
    };
    wait_until("the new key to sign in us", SOON, active).await.unwrap();
    // The first signal asks for an end where that is safe.
    kill_process(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap(), Signal::INT).unwrap();
    run::end(child, Instant::now()).await.expect(4).says("stopped by a signal");
    world.us.uses("signing-keys").await;
    let secret = secret_of(&world.us).await;
    let issued = token(&world.us.pods[0], &secret).await.unwrap();

    let ran = world.rotate("signing-keys", &["--abort"]).await.expect(0);
    ran.says("is taken back").says("withdraw").says("return").says("remove");
    let after = world.same("signing-keys").await;
    assert_eq!(after["keys"].as_object().unwrap().len(), 1);
    assert_eq!(after["keys"][&old]["state"], "active");
    assert_eq!(after["keys"][&old]["private_pem"], before["keys"][&old]["private_pem"]);
    // It had its whole life.
    assert!(!crate::kinds::verifies(&issued, &world.eu.pods[0]).await);
    world.rotate("signing-keys", &["--abort"]).await.expect(0).says("nothing to do");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn clients_find_their_former_secret_again() {
    let world = World::start(1).await;
    let old = secret_of(&world.eu).await;
    let child = world.rotating("clients", &["--grace=1h"]).await.spawn().unwrap();
    let handed = async || (secret_of(&world.us).await != old).then_some(());
    wait_until("the new secret in us", SOON, handed).await.unwrap();
    kill_process(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap(), Signal::INT).unwrap();
    run::end(child, Instant::now()).await.expect(4);
    let new = secret_of(&world.us).await;
    world.rotate("clients", &["--abort", "--grace=1s"]).await.expect(0).says("done");
    for region in world.regions() {
        assert_eq!(secret_of(region).await, old);
        assert!(token(&region.pods[0], &old).await.is_some());
        assert!(token(&region.pods[0], &new).await.is_none());
    }
}
