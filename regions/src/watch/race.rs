//! Two watchers of one region at the same time, on a real API server, with no rights but the chart's.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use local_region::kubernetes::{Kubeconfig, KubernetesApi};
use local_region::wait::wait_until;
use secrecy::ExposeSecret as _;
use secrets_agent_client::Version;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::floor::Floors;
use super::{CALLS, lead};
use crate::cluster::{Cluster, NAMESPACE, access};

const SOON: Duration = Duration::from_secs(30);

/// How often each raises what is kept.
const RAISES: u64 = 30;

/// The rules of the watcher's Role, as the chart has them.
fn rules() -> Value {
    let template = include_str!("../../../k8s/chart/templates/watcher-identity.yaml");
    let (_, rules) = template.split_once("\nrules:\n").unwrap();
    serde_saphyr::from_str(rules.split_once("\n---").unwrap().0).unwrap()
}

async fn api() -> KubernetesApi {
    let api = KubernetesApi::named("watchers").without_controllers().user("watcher", "watchers");
    let api = api.start().await.unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let _ = api.call(Method::POST, "/api/v1/namespaces", Some(namespace)).await;
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}");
    let metadata = json!({"name": "watcher"});
    let role = json!({"metadata": metadata, "rules": rules()});
    api.call(Method::POST, &format!("{rbac}/roles"), Some(role)).await.unwrap();
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "watcher"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "watcher"}],
    });
    api.call(Method::POST, &format!("{rbac}/rolebindings"), Some(binding)).await.unwrap();
    api
}

/// The region as one watcher reaches it.
async fn cluster(api: &KubernetesApi) -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let user = json!({"token": api.token("watcher").expose_secret()});
    let file = Kubeconfig::new().context_as("eu", api, user).write(&folder.path().join("config")).unwrap();
    let kubeconfig = access::kubeconfig(Some(&file)).unwrap();
    Cluster::connect("eu", "eu", kubeconfig, CALLS).await.unwrap()
}

/// What was written to the region by watchers: verb, plural, and the code that was answered.
fn written(api: &KubernetesApi) -> Vec<(String, String, u16)> {
    let own = api.writes().unwrap().into_iter().filter(|write| write.user == "watcher");
    own.map(|write| (write.verb, write.resource, write.code)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_leads_and_the_other_takes_over() {
    let api = api().await;
    let clusters = [cluster(&api).await, cluster(&api).await];
    let started = ["one", "two"].into_iter().zip(&clusters).map(|(name, cluster)| {
        let ((lead, leads), (stop, stopped)) = (watch::channel(false), watch::channel(false));
        let run = lead::run(cluster.clone(), name.to_owned(), lead, stopped);
        (name, leads, stop, tokio::spawn(run))
    });
    let watchers: Vec<_> = started.collect();
    let leading = || watchers.iter().filter(|(_, leads, ..)| *leads.borrow()).map(|(name, ..)| *name);
    let one_leads = async || {
        let leading: Vec<&str> = leading().collect();
        assert!(leading.len() < 2, "two lead");
        let holder = clusters[0].lease("watcher").await.map_err(|error| error.to_string())?.holder;
        if leading == [holder.as_str()] { Ok(holder) } else { Err(format!("{leading:?}, {holder:?}")) }
    };
    let first = wait_until("one to lead", SOON, one_leads).await.unwrap();
    let (_, _, stop, _) = watchers.iter().find(|(name, ..)| *name == first).unwrap();
    stop.send_replace(true);
    let other_leads = async || {
        let now = one_leads().await?;
        if now == first { Err(now) } else { Ok(()) }
    };
    wait_until("the other to lead", SOON, other_leads).await.unwrap();
    assert_eq!(clusters[0].lease("watcher").await.unwrap().transitions, 2);
    for (_, _, stop, run) in watchers {
        stop.send_replace(true);
        run.await.unwrap();
    }
    assert_eq!(clusters[0].lease("watcher").await.unwrap().holder, "");
    for (verb, resource, code) in written(&api) {
        assert_eq!((verb.as_str(), resource.as_str()), ("patch", "leases"));
        assert!([200, 201, 409].contains(&code), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floors_that_two_raise_at_once_only_rise() {
    let api = api().await;
    let at = |number| Version { version: number, created_time: jiff::Timestamp::UNIX_EPOCH };
    let raising = [0, 1].map(async |who| {
        let floors = Floors::Cluster(cluster(&api).await);
        for round in 1..=RAISES {
            // Each is ahead with one secret, and behind with the other.
            let (ahead, behind) = if who == 0 { ("config", "tls") } else { ("tls", "config") };
            let higher = BTreeMap::from([(ahead.to_owned(), at(2 * round)), (behind.to_owned(), at(round))]);
            // Whoever is overtaken too often tries again, as the watcher does.
            while floors.raise(&higher).await.is_err() {}
            let kept = floors.read().await.unwrap();
            assert!(higher.iter().all(|(name, floor)| kept[name] >= *floor), "{kept:?} {higher:?}");
        }
    });
    let reader = Floors::Cluster(cluster(&api).await);
    let watched = async {
        let mut former = BTreeMap::new();
        loop {
            let kept = reader.read().await.unwrap();
            assert!(former.iter().all(|(name, floor)| kept.get(name) >= Some(floor)), "{former:?} {kept:?}");
            former = kept;
        }
    };
    tokio::select! {
        _ = futures_util::future::join_all(raising) => {}
        () = watched => {}
    }
    let kept = reader.read().await.unwrap();
    let last = at(2 * RAISES);
    assert_eq!(kept, BTreeMap::from([("config".to_owned(), last), ("tls".to_owned(), last)]));
    let written = written(&api);
    assert!(written.iter().all(|(verb, resource, _)| verb == "patch" && resource == "configmaps"));
    // They did race: each write is over the version that was read.
    assert!(written.iter().any(|(_, _, code)| *code == 409), "{written:?}");
}
