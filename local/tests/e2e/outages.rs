//! Vault is away: what runs goes on, what starts waits.

use std::time::Duration;

use local_region::platform::faults::{self, Which};
use local_region::wait::wait_until;
use serde_json::Value;

use crate::load::nobody_notices;
use crate::world::{PODS, SOON, World, container, name, ready};

fn vault() -> Which {
    Which { program: Some("vault".into()), node: None }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_pod_that_starts_while_vault_is_away_waits_and_the_others_stay_ready() {
    let world = World::open().await;
    let (eu, plan) = (world.eu(), world.plan());
    let pods = eu.pods().await;
    let (goes, stays) = (name(&pods[0]).to_owned(), name(&pods[1]).to_owned());
    nobody_notices(&world, "Vault away", async {
        assert_eq!(faults::freeze(&plan, &vault()).unwrap(), 1);
        eu.delete(&format!("{PODS}/{goes}")).await;
        let starts = wait_until("a new pod's service to run", SOON, async || {
            let pods = eu.pods().await;
            let new = |pod: &&Value| ![&goes, &stays].iter().any(|known| *known == name(pod));
            let pod = pods.iter().find(new).cloned()?;
            (!container(&pod, "service")["state"]["running"].is_null()).then_some(pod)
        });
        let new = name(&starts.await.unwrap()).to_owned();
        // Longer than a ready pod would need: probes come every two seconds.
        let unready = wait_until("the new pod to be ready", Duration::from_secs(15), async || {
            let pods = eu.pods().await;
            let of = |wanted: &str| pods.iter().find(|pod| name(pod) == wanted).is_some_and(ready);
            // A call that was not answered says nothing of either.
            assert!(pods.is_empty() || of(&stays), "{stays} needs no Vault");
            of(&new)
        });
        assert!(unready.await.is_err(), "{new} is ready without a secret");
        let pod = eu.get(&format!("{PODS}/{new}")).await;
        let restarts =
            ["service", "secrets-agent"].map(|which| container(&pod, which)["restartCount"].clone());
        assert_eq!(restarts, [0, 0], "nothing ends because Vault is away");
        assert_eq!(faults::thaw(&plan, &vault()).unwrap(), 1);
        eu.settled(2).await;
    })
    .await;
}
