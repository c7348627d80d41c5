//! Regions that cannot be reached, and callers that may not.

use std::time::Duration;

use local_region::kubernetes::Kubeconfig;
use local_region::proxy::{FaultProxy, Mode};
use secrecy::SecretString;
use serde_json::json;

use crate::charts::good;
use crate::world::{EU, US, World, writes};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_that_cannot_be_reached_is_found_before_anything_is_touched() {
    let world = World::start().await;
    let release = world.release(&good("1.0.0")).await;
    let proxy = FaultProxy::start(world.us.address()).await.unwrap();
    let admin = world.us.admin_token();
    let config = Kubeconfig::new().context(EU, &world.eu).context_via(US, &world.us, proxy.address(), admin);
    config.write(&world.kubeconfig).unwrap();

    for (mode, why) in
        [(Mode::Refuse, "unreachable"), (Mode::Hang, "us: get /version"), (Mode::Garble, "us: ")]
    {
        proxy.set(mode).await;
        let ran = world.promote(&release, &[]).await.expect(1);
        ran.says(why).says("kubectl --context meridian-production-us get --raw /readyz");
        ran.says("nothing was changed in production");
        assert!(ran.took < Duration::from_secs(12), "{mode:?}: {:?}", ran.took);
        assert_eq!(writes(&world.eu), [], "{mode:?}");
    }

    proxy.set(Mode::Hang).await;
    let status = world.status(&[]).await.expect(4);
    assert!(status.took < Duration::from_millis(3_500), "{:?}", status.took);
    status.says("us      second  -           -        unreadable").says("v1.36.3");

    proxy.set(Mode::Pass).await;
    world.promote(&release, &[]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn credentials_and_contexts_that_do_not_fit_are_said_to() {
    let world = World::start().await;
    let release = world.release(&good("1.0.0")).await;
    let write = |config: Kubeconfig| config.write(&world.kubeconfig).unwrap();
    let eu = || Kubeconfig::new().context(EU, &world.eu);
    let (address, us) = (world.us.address(), &world.us);

    let expired = SecretString::from("canary-expired");
    write(eu().context_via(US, us, address, &expired));
    let ran = world.promote(&release, &[]).await.expect(1);
    ran.says("us: get /version: the credentials are refused or have expired");
    ran.says("get new credentials for context meridian-production-us").says_not("canary");
    world.status(&[]).await.expect(4).says("the credentials are refused").says_not("canary");

    write(eu().context_via(US, us, address, us.stranger_token()));
    let ran = world.promote(&release, &[]).await.expect(1);
    ran.says("us: get Namespace meridian")
        .says("User \"stranger\" cannot get")
        .says("(403)")
        .says("auth can-i --list");

    write(eu());
    let ran = world.promote(&release, &[]).await.expect(2);
    ran.says("the kubeconfig has no context meridian-production-us (it has: meridian-production-eu)");
    world.status(&[]).await.expect(4).says("has no context").says("nothing yet");

    let plugin = |script: &str| {
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", script],
            "interactiveMode": "Never",
        }})
    };
    write(eu().context_as(US, us, plugin("echo canary-out; echo 'please log in' >&2; exit 1")));
    let ran = world.promote(&release, &[]).await.expect(2);
    ran.says("credential plugin failed (exit status: 1): please log in").says_not("canary");
    // One that hangs holds up neither the other region nor the end of the command.
    write(eu().context_as(US, us, plugin("exec sleep 60")));
    let status = world.status(&[]).await.expect(4);
    status.says("credential plugin gave nothing").says("nothing yet");
    assert!(status.took < Duration::from_millis(3_500), "{:?}", status.took);

    std::fs::write(&world.kubeconfig, "users: [canary").unwrap();
    world.promote(&release, &[]).await.expect(2).says("not a kubeconfig (line 1").says_not("canary");
    std::fs::remove_file(&world.kubeconfig).unwrap();
    world.status(&[]).await.expect(2).says("cannot be read").says("--kubeconfig or KUBECONFIG");
    assert_eq!(writes(&world.eu), []);
}
