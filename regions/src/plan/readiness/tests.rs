use super::*;
use serde_json::{Value, json};

const PATIENCE: Patience =
    Patience { unschedulable: Duration::from_secs(60), doubtful: Duration::from_secs(10) };

/// A Deployment of two pods whose new ReplicaSet has one pod with the given status.
fn view(status: &Value, pod: &Value) -> View {
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "app"}]}});
    let mut with_hash = template.clone();
    with_hash["metadata"]["labels"]["pod-template-hash"] = "abc".into();
    let mut old = with_hash.clone();
    old["spec"]["containers"][0]["image"] = "old".into();
    let set = |uid: &str, template: &Value| {
        json!({
            "metadata": {"uid": uid, "ownerReferences": [owner("d")]},
            "spec": {"selector": {}, "template": template},
        })
    };
    View {
        deployment: from(json!({
            "metadata": {"name": "service", "uid": "d", "generation": 2},
            "spec": {"replicas": 2, "selector": {}, "template": template},
            "status": status,
        })),
        replica_sets: vec![from(set("new", &with_hash)), from(set("old", &old))],
        pods: vec![
            from(json!({"metadata": {"name": "p-new", "ownerReferences": [owner("new")]}, "status": pod})),
            from(
                json!({"metadata": {"name": "p-old", "ownerReferences": [owner("old")]}, "status": crashing()}),
            ),
        ],
    }
}

fn owner(uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "A", "name": "a", "uid": uid, "controller": true})
}

fn crashing() -> Value {
    container(&json!({"reason": "CrashLoopBackOff", "message": "back-off 10s"}))
}

fn container(waiting: &Value) -> Value {
    json!({"containerStatuses": [{
        "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"waiting": waiting},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }]})
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn coming_up() -> Value {
    json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2})
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn ready_only_when_every_pod_is_new_and_available() {
    let mut judge = Judge::new(PATIENCE, 0);
    let mut verdict = |status: Value| judge.judge(&view(&status, &json!({})), at(0));
    let ready = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
    assert_eq!(verdict(ready), Verdict::Ready(Pods { ready: 2, desired: 2 }));
    for (status, why) in [
        (
            json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
            "not seen",
        ),
        (json!({}), "not seen"),
        (coming_up(), "1 of 2 pods made"),
        (
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 1}),
            "1 of 2 pods available",
        ),
        (
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}),
            "1 pods of the former",
        ),
    ] {
        match verdict(status) {
            Verdict::Waiting(_, said) => assert!(said.contains(why), "{said}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_deployment_that_its_autoscaler_has_not_seen_is_not_ready() {
    let one = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
    let verdict = Judge::new(PATIENCE, 3).judge(&view(&one, &json!({})), at(0));
    assert!(matches!(verdict, Verdict::Waiting(Pods { ready: 2, desired: 3 }, _)), "{verdict:?}");
}

#[test]
fn a_terminal_reason_of_a_new_pod_ends_the_wait_at_once() {
    for reason in TERMINAL {
        let pod = container(&json!({"reason": reason, "message": "because"}));
        let verdict = Judge::new(PATIENCE, 0).judge(&view(&coming_up(), &pod), at(0));
        let Verdict::Failed(problems) = verdict else { panic!("{reason}: {verdict:?}") };
        assert_eq!(
            problems[0].to_string(),
            format!(
                "Pod p-new, container app: {reason}: because; it ended with exit code 137 (OOMKilled), 3 restarts"
            )
        );
        assert_eq!(problems.len(), 1, "the old pod that crashes does not count");
    }
}

#[test]
fn sidecars_are_looked_at_too() {
    let mut pod = crashing();
    pod["initContainerStatuses"] = pod["containerStatuses"].take();
    let verdict = Judge::new(PATIENCE, 0).judge(&view(&coming_up(), &pod), at(0));
    assert!(matches!(verdict, Verdict::Failed(_)), "{verdict:?}");
}

#[test]
fn an_ordinary_start_is_waited_for() {
    for waiting in [json!({"reason": "ContainerCreating"}), json!({"reason": "PodInitializing"}), json!({})] {
        let verdict = Judge::new(PATIENCE, 0).judge(&view(&coming_up(), &container(&waiting)), at(1000));
        assert!(matches!(verdict, Verdict::Waiting(..)), "{verdict:?}");
    }
}

#[test]
fn an_unschedulable_pod_is_borne_for_a_while() {
    let pod = |message: &str| {
        json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
        ]})
    };
    let mut judge = Judge::new(PATIENCE, 0);
    assert!(matches!(judge.judge(&view(&coming_up(), &pod("0/3 nodes")), at(100)), Verdict::Waiting(..)));
    assert!(matches!(judge.judge(&view(&coming_up(), &pod("0/4 nodes")), at(159)), Verdict::Waiting(..)));
    let Verdict::Failed(problems) = judge.judge(&view(&coming_up(), &pod("0/4 nodes")), at(160)) else {
        panic!()
    };
    assert_eq!(problems[0].reason, "Unschedulable");
}

#[test]
fn patience_starts_anew_when_the_state_passed() {
    let pod = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
    let mut judge = Judge::new(PATIENCE, 0);
    judge.judge(&view(&coming_up(), &pod), at(0));
    judge.judge(&view(&coming_up(), &json!({})), at(30));
    assert!(matches!(judge.judge(&view(&coming_up(), &pod), at(61)), Verdict::Waiting(..)));
}

#[test]
fn the_deployments_own_conditions_count() {
    let mut status = coming_up();
    status["conditions"] = json!([
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"},
    ]);
    let verdict = Judge::new(PATIENCE, 0).judge(&view(&status, &json!({})), at(0));
    let Verdict::Failed(problems) = verdict else { panic!("{verdict:?}") };
    assert_eq!(problems[0].to_string(), "Deployment service: ProgressDeadlineExceeded: timed out");

    status["conditions"] = json!([
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "forbidden: quota"},
    ]);
    let mut judge = Judge::new(PATIENCE, 0);
    assert!(matches!(judge.judge(&view(&status, &json!({})), at(0)), Verdict::Waiting(..)));
    assert!(matches!(judge.judge(&view(&status, &json!({})), at(10)), Verdict::Failed(_)));
}

#[test]
fn a_paused_deployment_is_said_to_be_paused() {
    let mut paused = view(&coming_up(), &json!({}));
    paused.deployment.spec.as_mut().unwrap().paused = Some(true);
    let verdict = Judge::new(PATIENCE, 0).judge(&paused, at(0));
    let Verdict::Failed(problems) = verdict else { panic!("{verdict:?}") };
    assert_eq!(problems[0].reason, "Paused");
}

#[test]
fn a_load_balancer_needs_an_address() {
    let service = |kind: &str, ingress: Value| -> Service {
        from(json!({"spec": {"type": kind}, "status": {"loadBalancer": {"ingress": ingress}}}))
    };
    assert!(lacks_address(&service("LoadBalancer", json!([]))));
    assert!(!lacks_address(&service("LoadBalancer", json!([{"ip": "10.0.0.1"}]))));
    assert!(!lacks_address(&service("ClusterIP", json!([]))));
}

#[test]
fn pods_of_the_current_template_run_what_was_applied_last() {
    let mut view = view(&coming_up(), &json!({}));
    // Another Deployment has the same template.
    let mut other = view.replica_sets[0].clone();
    (other.metadata.uid, other.metadata.owner_references) =
        (Some("other".into()), Some(vec![from(owner("e"))]));
    view.replica_sets.push(other);
    let found = current(&view.deployment, &view.replica_sets);
    assert_eq!(found, ["new"]);
    assert!(is_of(&view.pods[0], &found) && !is_of(&view.pods[1], &found));
    // Of a template that no ReplicaSet was made of yet there are no pods.
    assert!(current(&view.deployment, &view.replica_sets[1..]).is_empty());
}
