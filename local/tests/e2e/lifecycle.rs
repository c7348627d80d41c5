//! The order in which a pod's two containers begin and end.

use local_region::wait::wait_until;
use serde_json::{Value, json};

use crate::world::{PODS, SOON, World, container, name};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn the_agent_begins_before_the_service_and_ends_after_it() {
    let world = World::open().await;
    let eu = world.eu();
    let pod = eu.pods().await.remove(0);
    let path = format!("{PODS}/{}", name(&pod));
    let began = |which| container(&pod, which)["state"]["running"]["startedAt"].as_str().unwrap().to_owned();
    assert!(began("secrets-agent") <= began("service"));
    // Kept after its end, to be looked at.
    let held = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    eu.cluster.merge(&path, &held(json!(["meridian.test/held"]))).await.unwrap();
    eu.delete(&path).await;
    let ended = wait_until("both containers to have ended", SOON, async || {
        let pod = eu.get(&path).await;
        let ends =
            ["service", "secrets-agent"].map(|which| container(&pod, which)["state"]["terminated"].clone());
        ends.iter().all(Value::is_object).then_some(ends)
    });
    let [service, agent] = ended.await.unwrap();
    eu.cluster
        .merge(&path, &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["meridian.test/held"]}}))
        .await
        .unwrap();
    assert_eq!((&service["exitCode"], &agent["exitCode"]), (&json!(0), &json!(0)));
    let at = |end: &Value| end["finishedAt"].as_str().unwrap().to_owned();
    assert!(at(&service) <= at(&agent), "{} and {}", at(&service), at(&agent));
    eu.settled(2).await;
}
