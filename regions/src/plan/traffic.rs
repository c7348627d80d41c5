//! Whether a region takes traffic, and whether it may go out or come back.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::view::{HealthState, View};

/// The key of the ConfigMap `traffic` that the pods read: `serving` or `drained`, and a reason after a colon.
pub const STATE: &str = "state";

/// The key with the answers a second of before the region was drained, for whoever goes on with a drain.
pub const BEFORE: &str = "before";

/// The share of the traffic of before that may be left where the entry sends no more.
pub const LEFT: f64 = 0.01;

/// Routes that are not clients of the region: the entry asks here all the time.
const ENTRY: &str = "/trafficz";

/// What the ConfigMap `traffic` says.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Traffic {
    /// Whether the region is drained.
    pub drained: bool,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Answers a second before it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
}

impl Traffic {
    /// As the object has it. What the pods do not understand keeps them as they are, and nobody knows how.
    ///
    /// # Errors
    /// The state is neither of the two.
    pub fn read(map: &Value) -> Result<Self, String> {
        let text = map["data"][STATE].as_str().unwrap_or("serving").trim();
        let (word, reason) = text.split_once(':').unwrap_or((text, ""));
        let drained = match word.trim_end() {
            "serving" => false,
            "drained" => true,
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(format!(
                    "the ConfigMap traffic says {shown:?}, which is neither serving nor drained"
                ));
            }
        };
        let reason = Some(reason.trim().to_owned()).filter(|reason| !reason.is_empty());
        let before = map["data"][BEFORE].as_str().and_then(|text| text.parse().ok());
        Ok(Self { drained, reason, before: before.filter(|before: &f64| before.is_finite()) })
    }
}

/// The data of the ConfigMap `traffic` for a drained region. The service reads one line of at most 1024 bytes.
pub fn drained(why: &str, before: Option<f64>) -> BTreeMap<String, String> {
    let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    let mut data = BTreeMap::from([(STATE.to_owned(), format!("drained: {why}"))]);
    data.extend(before.map(|before| (BEFORE.to_owned(), format!("{before:.3}"))));
    data
}

/// The data for a region that takes traffic.
pub fn serving() -> BTreeMap<String, String> {
    BTreeMap::from([(STATE.to_owned(), "serving".to_owned())])
}

/// Answers of a region's pods so far, by pod and route.
pub type Answers = BTreeMap<(String, String), u64>;

/// What a region's pods have answered, the entry's own questions left out.
///
/// # Errors
/// The counts of a pod are not known: it cannot be said that nobody asks it.
pub fn answers(view: &View) -> Result<Answers, String> {
    let mut answers = Answers::new();
    for pod in &view.pods {
        let service = pod.read().ok_or_else(|| {
            format!("{}: what {} has answered cannot be read: {}", view.region, pod.name, pod.why_unread())
        })?;
        for (route, by_status) in service.answers.iter().filter(|(route, _)| *route != ENTRY) {
            answers.insert((pod.name.clone(), route.clone()), by_status.values().sum());
        }
    }
    Ok(answers)
}

/// What came between two looks, by pod and route. A pod that was not there before, or began anew, counts whole.
pub fn came(then: &Answers, now: &Answers) -> Answers {
    let since = now.iter().map(|(key, now)| {
        let then = then.get(key).copied().unwrap_or(0);
        (key.clone(), now.checked_sub(then).unwrap_or(*now))
    });
    since.filter(|(_, came)| *came > 0).collect()
}

/// Whether so many answers a second are no more than what may be left of those of before.
pub fn is_quiet(before: Option<f64>, now: f64) -> bool {
    now <= before.unwrap_or(0.0) * LEFT
}

/// Whether a region's pods take what the entry sends, by what they say themselves.
///
/// # Errors
/// One of them says that the region is drained, or none that it is ready.
pub fn takes(view: &View) -> Result<(), String> {
    let pods = view.pods.iter().filter(|pod| !pod.terminating);
    let read: Vec<_> = pods.filter_map(|pod| Some((pod, pod.read()?))).collect();
    if let Some((pod, _)) = read.iter().find(|(_, service)| service.drained) {
        return Err(format!("{} still says that it is drained", pod.name));
    }
    if read.iter().any(|(_, service)| service.ready) {
        return Ok(());
    }
    Err("none of its pods says that it takes traffic".into())
}

/// Why a region is not fit to take traffic: what its watcher sees of its Vault and pods.
pub fn unfit(own: &View) -> Vec<String> {
    let mut why = Vec::new();
    if !matches!(own.vault.state, HealthState::Ok) {
        let error = own.vault.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        why.push(format!("its Vault is {}{error}", own.vault.state.as_str()));
    }
    if own.pods.is_empty() {
        why.push("it has no pods".into());
    }
    for pod in own.pods.iter().filter(|pod| !pod.terminating) {
        let Some(service) = pod.read() else {
            why.push(format!("{} cannot be read: {}", pod.name, pod.why_unread()));
            continue;
        };
        if !service.ready {
            why.push(format!("{} is not ready", pod.name));
        }
        if !service.degraded.is_empty() {
            why.push(format!("{} is degraded: {}", pod.name, service.degraded.join("; ")));
        }
    }
    why
}

/// In what a region's secrets lag behind: what its own pods do not use yet, and what other regions have already.
pub fn behind(own: &View, others: &[&View]) -> Vec<String> {
    let mut why = Vec::new();
    for (name, secret) in &own.secrets {
        if let Some(absence) = &secret.absence {
            why.push(format!("its secret {name} {absence}"));
        } else if secret.stepped_back() {
            why.push(format!("its Vault holds an older version of {name} than the region has seen"));
        }
        let Some(current) = secret.current else { continue };
        let pods = own.pods.iter().filter(|pod| !pod.terminating);
        for (pod, used) in
            pods.filter_map(|pod| Some((pod, pod.service.as_ref()?.other_than(name, current)?)))
        {
            why.push(format!("{}: its service uses {used} of {name}, and {current} is current", pod.name));
        }
    }
    for other in others {
        for (name, theirs) in &other.secrets {
            // Versions have other numbers in each Vault: the rotation that wrote them is what is compared.
            let ours = own.secrets.get(name);
            if theirs.mark.is_some() && ours.and_then(|ours| ours.mark.as_ref()) != theirs.mark.as_ref() {
                why.push(format!(
                    "{name} is of another rotation, or another phase of it, than in {}",
                    other.region
                ));
            }
        }
        let lacks: BTreeSet<String> = kids(other).difference(&kids_of_all(own)).cloned().collect();
        if !lacks.is_empty() {
            let lacks = lacks.into_iter().collect::<Vec<_>>().join(", ");
            why.push(format!("its pods do not publish all keys of {}: {lacks}", other.region));
        }
    }
    why
}

/// The keys that any pod publishes.
fn kids(view: &View) -> BTreeSet<String> {
    let pods = view.pods.iter().filter_map(|pod| pod.service.as_ref()?.kids.as_ref());
    pods.flatten().cloned().collect()
}

/// The keys that every pod publishes.
fn kids_of_all(view: &View) -> BTreeSet<String> {
    let pods = view.pods.iter().filter(|pod| !pod.terminating);
    let mut each =
        pods.map(|pod| pod.service.as_ref().and_then(|service| service.kids.clone()).unwrap_or_default());
    let first = each.next().unwrap_or_default();
    each.fold(first, |all, own| all.intersection(&own).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(region: &str) -> Value {
        let version = json!({"version": 3, "created_time": "2026-01-01T00:00:00Z"});
        let at = "2026-01-01T00:00:00Z";
        json!({
            "environment": "production", "region": region,
            "watcher": {"name": "w", "start": at, "leads": true}, "round": {"began": at, "ended": at},
            "vault": {"state": "ok", "last_contact": at, "error": null},
            "secrets": {"tls": {"current": version, "mark": null, "absence": null, "floor": null}},
            "pods": [{
                "name": "one", "uid": "1", "node": null, "phase": "Running", "terminating": false,
                "agent": null, "agent_error": null, "service_error": null,
                "service": {
                    "kids": ["a", "b"], "documents": {"tls": 3}, "rejected": [], "ready": true, "degraded": [],
                    "drained": false, "certificate_end": null, "settings": {}, "ceilings": {},
                    "answers": {"/v1/region": {"200": 40, "500": 2}, "/trafficz": {"200": 9}}, "latency": {},
                },
            }],
        })
    }

    fn read(value: Value) -> View {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_state_is_read_as_the_pods_read_it() {
        let read = |state: Value| Traffic::read(&json!({"data": {"state": state, "before": "12.5"}}));
        assert!(!read(Value::Null).unwrap().drained);
        let found = read(json!("drained: ticket 12: disk")).unwrap();
        assert_eq!((found.drained, found.reason.as_deref()), (true, Some("ticket 12: disk")));
        assert_eq!(found.before, Some(12.5));
        assert!(read(json!("drain")).unwrap_err().contains("neither serving nor drained"));
        assert_eq!(Traffic::read(&json!({})), Ok(Traffic::default()));
        let written = json!({"data": drained("a\nb", Some(1.0))});
        assert_eq!(Traffic::read(&written).unwrap().reason.as_deref(), Some("a b"));
    }

    #[test]
    fn what_came_is_told_from_what_was_there() {
        let then = answers(&read(view("eu"))).unwrap();
        assert_eq!(then.values().sum::<u64>(), 42, "the entry's own questions are no traffic");
        let mut later = view("eu");
        later["pods"][0]["service"]["answers"]["/v1/region"]["200"] = json!(45);
        assert_eq!(came(&then, &answers(&read(later)).unwrap()).values().sum::<u64>(), 5);
        let mut anew = view("eu");
        anew["pods"][0]["service"]["answers"]["/v1/region"] = json!({"200": 7});
        assert_eq!(came(&then, &answers(&read(anew)).unwrap()).values().sum::<u64>(), 7);
    }

    #[test]
    fn a_pod_whose_counts_cannot_be_read_is_not_a_quiet_one() {
        let mut unread = view("eu");
        unread["pods"][0]["service_error"] = json!("http://10.0.0.1:9090/metrics: no answer within 1500 ms");
        unread["pods"][0]["service"]["answers"] = json!({});
        unread["pods"][0]["service"]["unread"] = json!(true);
        let why = answers(&read(unread.clone())).unwrap_err();
        assert!(why.starts_with("eu: what one has answered cannot be read: http://10.0.0.1:9090/"), "{why}");
        unread["pods"][0]["service"] = json!(null);
        assert!(answers(&read(unread)).is_err());
    }

    #[test]
    fn a_region_takes_traffic_once_no_pod_of_it_says_otherwise() {
        let mut two = view("eu");
        two["pods"] = json!([two["pods"][0], two["pods"][0]]);
        assert_eq!(takes(&read(two.clone())), Ok(()));
        two["pods"][1]["service"]["drained"] = json!(true);
        assert_eq!(takes(&read(two)).unwrap_err(), "one still says that it is drained");
        let mut unread = view("eu");
        unread["pods"][0]["service"]["unread"] = json!(true);
        assert_eq!(takes(&read(unread)).unwrap_err(), "none of its pods says that it takes traffic");
    }

    #[test]
    fn quiet_is_under_one_percent_of_before() {
        assert!(is_quiet(Some(100.0), 1.0) && !is_quiet(Some(100.0), 1.1));
        assert!(is_quiet(None, 0.0) && !is_quiet(None, 0.1));
    }

    #[test]
    fn a_region_that_lags_behind_stays_out() {
        let (own, other) = (read(view("eu")), read(view("us")));
        assert_eq!(behind(&own, &[&other]), Vec::<String>::new());
        let mut old = view("eu");
        old["pods"][0]["service"]["documents"]["tls"] = json!(2);
        let why = behind(&read(old), &[&other]).join("; ");
        assert!(why.starts_with("one: its service uses version 2 of tls, and version 3 of 20"), "{why}");
        let mut newer = view("us");
        newer["pods"][0]["service"]["kids"] = json!(["b", "c"]);
        assert_eq!(behind(&own, &[&read(newer)]), ["its pods do not publish all keys of us: c"]);
        let mut absent = view("eu");
        absent["secrets"]["tls"]["absence"] = json!("is deleted");
        assert_eq!(behind(&read(absent), &[]), ["its secret tls is deleted"]);
    }

    #[test]
    fn a_region_that_is_ill_stays_out() {
        assert_eq!(unfit(&read(view("eu"))), Vec::<String>::new());
        let mut ill = view("eu");
        ill["vault"] = json!({"state": "sealed", "last_contact": null, "error": "503"});
        ill["pods"][0]["service"]["ready"] = json!(false);
        ill["pods"][0]["service"]["degraded"] = json!(["config: rejected"]);
        assert_eq!(
            unfit(&read(ill)),
            ["its Vault is sealed: 503", "one is not ready", "one is degraded: config: rejected"]
        );
        let mut empty = view("eu");
        empty["pods"] = json!([]);
        assert_eq!(unfit(&read(empty)), ["it has no pods"]);
    }
}
