//! A release on its way through two waves.

use local_region::wait::wait_until;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use crate::charts::good;
use crate::run;
use crate::world::{World, contents, get, patch, records, versions, writes};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_comes_up_in_both_waves_and_again_is_no_change() {
    let world = World::start().await;
    let release = world.release(&good("1.0.0")).await;
    let ran = world.promote(&release, &["--why", "first", "--build", "https://ci.example/1"]).await.expect(0);
    ran.says("eu: applied, 2/2 pods ready").says("us: applied, 2/2 pods ready").says("next: regions status");
    for api in [&world.eu, &world.us] {
        let deployment = get(api, "deployments", "service").await.unwrap();
        let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
        assert!(annotations["meridian.internal/release"].as_str().unwrap().starts_with("sha256:"));
        let records = records(api).await;
        assert_eq!(records.len(), 1);
        let record = &records[0];
        assert_eq!((&record["state"], &record["number"]), (&json!("applied"), &json!(1)));
        assert_eq!(
            record["provenance"],
            json!({"who": "admin", "why": "first", "build": "https://ci.example/1"})
        );
        assert_eq!(record["release"]["version"], "1.0.0");
    }

    let before = (versions(&world.eu).await, versions(&world.us).await, writes(&world.eu), writes(&world.us));
    world.promote(&release, &[]).await.expect(0).says("no change: production already runs 1.0.0");
    let after = (versions(&world.eu).await, versions(&world.us).await, writes(&world.eu), writes(&world.us));
    assert_eq!(before, after);

    let status = world.status(&[]).await.expect(0);
    assert_eq!(status.out.matches("applied").count(), 2, "{}", status.out);
    assert_eq!(status.out.matches("2/2").count(), 2, "{}", status.out);
    let status = world.status(&["--output", "json"]).await.expect(0).json();
    assert_eq!(status["regions"][0]["found"]["kubernetes"], "v1.36.3");
    assert_eq!(status["regions"][1]["found"]["release"]["who"], "admin");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_change_is_shown_exactly_then_applied_and_what_is_left_over_goes() {
    let world = World::start().await;
    let first = world.release(&good("1.0.0").with("extra", "extra")).await;
    world.promote(&first, &[]).await.expect(0);
    assert!(get(&world.us, "configmaps", "extra").await.is_some());
    // What others set beside the release stays out of the diff, and stays.
    patch(&world.eu, "configmaps", "traffic", "regions-traffic", json!({"data": {"drained": "true"}})).await;

    let second = world.release(&good("1.1.0")).await;
    let before = (versions(&world.eu).await, writes(&world.eu));
    let shown = world.promote(&second, &["--dry-run"]).await.expect(0);
    shown.says("eu  Kubernetes v1.36.3  0 to create, 2 to change, 1 to prune");
    shown.says("-  greeting: \"1.0.0\"").says("+  greeting: \"1.1.0\"");
    shown
        .says("--- ConfigMap meridian/extra (live)")
        .says_not("resourceVersion")
        .says_not("meridian.internal/owner");
    shown.says_not("drained").says("dry run: nothing was written");
    assert_eq!(before, (versions(&world.eu).await, writes(&world.eu)));
    let shown = world.promote(&second, &["--dry-run", "--output", "json"]).await.expect(0).json();
    assert_eq!(shown["outcome"], "planned");
    let changes = shown["regions"][0]["changes"].as_array().unwrap().clone();
    let settings = changes.iter().find(|change| change["object"]["name"] == "settings").unwrap();
    let field = json!({"path": ".data.greeting", "before": "1.0.0", "after": "1.1.0"});
    assert_eq!(settings["fields"], json!([field]));
    assert!(shown.get("times").is_none(), "{}", shown["times"]);

    let looks = world.folder.path().join("looks.jsonl");
    let kept = ["--output", "json", "--record-looks", looks.to_str().unwrap()];
    let done = world.promote(&second, &kept).await.expect(0).json();
    let of = |time: &str| done["times"][time].as_f64().unwrap();
    let parts = of("starting_s") + of("baking_s") + of("own_s");
    assert!((of("whole_s") - parts).abs() < 0.001, "{}", done["times"]);
    assert!(of("baking_s") >= 2.0 && of("starting_s") > 0.0, "two waves of 1 s each: {}", done["times"]);
    let looks = std::fs::read_to_string(looks).unwrap();
    let looks: Vec<Value> = looks.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |region: &str| looks.iter().filter(|look| look["region"] == region).count();
    assert!(of("eu") >= 4 && of("us") >= 4, "{} looks at eu, {} at us", of("eu"), of("us"));
    let own: u64 = looks.iter().filter_map(|look| look["own"]["made"].as_u64()).sum();
    assert!(own > 0 && looks.iter().all(|look| look["pods"].is_array()), "{looks:?}");
    for api in [&world.eu, &world.us] {
        assert!(get(api, "configmaps", "extra").await.is_none());
        assert_eq!(get(api, "configmaps", "settings").await.unwrap()["data"]["greeting"], "1.1.0");
        assert_eq!(records(api).await.len(), 2);
    }
    assert_eq!(get(&world.eu, "configmaps", "traffic").await.unwrap()["data"]["drained"], "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_in_wave_one_is_seen_at_once_and_wave_two_is_not_touched() {
    let world = World::start().await;
    let first = world.release(&good("1.0.0")).await;
    world.promote(&first, &[]).await.expect(0);
    let untouched = (versions(&world.us).await, contents(&world.us).await);
    let before = contents(&world.eu).await;

    let bad = world.release(&good("1.1.0").with("image", "missing.invalid/service:1.1.0")).await;
    let ran = world.promote(&bad, &[]).await.expect(3);
    ran.says("container service: ImagePullBackOff: Back-off pulling image \"missing.invalid/service:1.1.0\"");
    ran.says("fixture 1.1.0").says("is not good, and was taken back from production");
    ran.says("eu      first   undone     1.0.0  2/2").says("us      second  untouched  1.0.0");
    assert!(ran.took < Duration::from_secs(30), "{:?}", ran.took);
    assert_eq!(untouched.1, contents(&world.us).await);
    assert_eq!(before, contents(&world.eu).await);
    let records = records(&world.eu).await;
    assert_eq!(records[1]["state"], "undone");
    assert!(records[1]["failure"].as_str().unwrap().contains("ImagePullBackOff"));
    world.status(&[]).await.expect(0).says("was taken back").says("ImagePullBackOff");
    world.promote(&first, &[]).await.expect(0).says("no change");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn pods_that_never_come_end_at_the_timeout_and_running_again_goes_on() {
    let world = World::start().await;
    let never = world.release(&good("1.0.0").with("image", "pending.invalid/service")).await;
    let ran = world.promote(&never, &["--timeout", "3s"]).await.expect(4);
    ran.says("Deployment meridian/service is not ready after 3 s: 0 of 2 pods available");

    // A region that is as the release wants it but is not ready is no success either.
    let ran = world.promote(&never, &["--timeout", "2s"]).await.expect(4);
    ran.says("not ready after 2 s");
    let records = records(&world.eu).await;
    assert_eq!((&records[0]["state"], &records[0]["attempt"]), (&json!("failed"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_signal_ends_it_between_two_writes_and_running_again_goes_on() {
    let world = World::start().await;
    let release = world.release(&good("1.0.0").with("image", "pending.invalid/service")).await;
    let started = Instant::now();
    let mut child = world.promotion(&release, &["--yes"]).spawn().unwrap();
    run::meanwhile(&mut child, world.all_applied_in_wave_one()).await;
    terminate(&child);
    let ran = run::end(child, started).await.expect(4);
    ran.says("stopped by a signal").says("us (wave second) untouched");
    assert_eq!(records(&world.eu).await[0]["state"], "applying");

    let good = world.release(&good("1.0.1")).await;
    world.promote(&good, &[]).await.expect(0);
    let states: Vec<_> = records(&world.eu).await.iter().map(|record| record["state"].clone()).collect();
    assert_eq!(states, ["failed", "applied"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn of_two_promotions_at_once_the_second_writes_nothing_and_says_who_is_at_work() {
    let world = World::start().await;
    let release = world.release(&good("1.0.0").with("image", "pending.invalid/service")).await;
    let started = Instant::now();
    let mut first = world.promotion(&release, &["--yes"]).spawn().unwrap();
    run::meanwhile(&mut first, world.all_applied_in_wave_one()).await;
    let before = (contents(&world.eu).await, records(&world.eu).await);
    let second = world.promote(&release, &[]).await.expect(5);
    second.says("is at work there (Lease meridian/regions); let it end, then run again");
    assert!(second.took < Duration::from_secs(15), "{:?}", second.took);
    assert_eq!(before, (contents(&world.eu).await, records(&world.eu).await));
    world.nodes.let_pending_start();
    run::end(first, started).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn regions_of_one_wave_go_at_the_same_time_and_what_fails_in_one_ends_it_in_all() {
    let world = World::start().await;
    world.in_one_wave();
    let release = world.release(&good("1.0.0").with("image", "pending.invalid/service")).await;
    let started = Instant::now();
    let mut child = world.promotion(&release, &["--yes"]).spawn().unwrap();
    for api in [&world.eu, &world.us] {
        let record = wait_until("the record", crate::world::SOON, async || records(api).await.len() == 1);
        run::meanwhile(&mut child, record).await.unwrap();
    }
    world.nodes.let_pending_start();
    run::end(child, started).await.expect(0).says("eu: applied").says("us: applied");

    // Nobody waits for a release to become ready elsewhere that is known not to be good.
    let never = json!({"spec": {"paused": true}});
    patch(&world.us, "deployments", "service", "somebody", never).await;
    let never_ready = world.release(&good("1.1.0").with("image", "never.invalid/service:1.1.0")).await;
    let ran = world.promote(&never_ready, &[]).await.expect(3);
    ran.says("us (wave first): it will not become ready: Deployment service: Paused: resume it");
    ran.says_not("eu: applied").says("back to the former release: eu, us");
    assert!(ran.took < Duration::from_secs(60), "{:?}", ran.took);
    assert_eq!(records(&world.eu).await[1]["state"], "undone");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_region_is_added_by_one_file_and_the_others_stay_as_they_are() {
    let world = World::start().await;
    world.in_one_wave();
    let file = world.catalogue.join("production/us.yaml");
    let added = std::fs::read_to_string(&file).unwrap();
    assert!(added.lines().count() <= 12, "{added}");
    std::fs::remove_file(&file).unwrap();
    let release = world.release(&good("1.0.0")).await;
    world.promote(&release, &[]).await.expect(0).says("eu: applied").says_not("us: applied");
    assert!(contents(&world.us).await.is_empty());
    let before = contents(&world.eu).await;

    std::fs::write(&file, added).unwrap();
    let ran = world.promote(&release, &[]).await.expect(0);
    ran.says("eu  Kubernetes v1.36.3  no change").says("us: applied, 2/2 pods ready");
    // Its Lease was held, and what it holds was stamped; nothing else was written.
    assert_eq!(before, contents(&world.eu).await);
    assert_eq!(records(&world.eu).await.len(), 1);
    let deployment = get(&world.us, "deployments", "service").await.unwrap();
    assert!(!contents(&world.us).await.is_empty() && deployment["status"]["availableReplicas"] == 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn pods_that_crash_or_may_not_be_made_end_the_wait() {
    let world = World::start().await;
    let crashing = world.release(&good("1.0.0").with("image", "crashing.invalid/service")).await;
    let ran = world.promote(&crashing, &[]).await.expect(4);
    ran.says("container service: CrashLoopBackOff: back-off 10s restarting failed container");
    assert!(ran.took < Duration::from_secs(30), "{:?}", ran.took);

    let forbidden = world.release(&good("1.1.0").with("escalate", true)).await;
    let ran = world.promote(&forbidden, &[]).await.expect(4);
    ran.says("Deployment service: FailedCreate").says("violates PodSecurity \"restricted:latest\"");
    assert!(ran.took < Duration::from_secs(60), "{:?}", ran.took);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn a_signal_before_the_first_write_ends_it_at_once() {
    let world = World::start().await;
    let release = world.release(&good("1.0.0")).await;
    world.us.pause().await.unwrap();
    let started = Instant::now();
    let mut child = world.promotion(&release, &["--yes"]).spawn().unwrap();
    let asked =
        async || world.eu.writes().unwrap().iter().any(|write| write.resource == "selfsubjectreviews");
    run::meanwhile(&mut child, wait_until("the look at the first region", crate::world::SOON, asked))
        .await
        .unwrap();
    terminate(&child);
    let ran = run::end(child, started).await.expect(1);
    world.us.resume().unwrap();
    ran.says("stopped by a signal; nothing was written");
    assert_eq!(writes(&world.eu), []);
}

fn terminate(child: &tokio::process::Child) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}
