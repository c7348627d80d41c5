//! What a simulated region's watcher answers: the answer of a real watcher, with other names and versions in it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::vault::{Kept, Secret, Vault};
use crate::Result;

/// From a write until every pod uses it.
const ADOPTION: SignedDuration = SignedDuration::from_millis(100);

/// The real answer that all simulated ones are made of.
pub(super) struct Template {
    view: Value,
    pod: Value,
}

/// A version as the wire has it.
type Version = Option<(u64, Timestamp)>;

/// What a view depends on: of each secret the current version, and the one that pods use.
pub(super) type Standing = BTreeMap<&'static str, (Version, Version)>;

impl Template {
    /// From what a real watcher said of a region with one pod.
    pub(super) fn new(view: Value) -> Result<Self> {
        let pod = view["pods"][0].clone();
        if pod["agent"]["instances"][0].is_null() || pod["service"].is_null() {
            return Err(format!("the watcher's answer has no whole pod: {view}").into());
        }
        Ok(Template { view, pod })
    }

    /// The parts of a region's view that change with its secrets only: `secrets` and `pods`, in JSON.
    pub(super) fn parts(
        &self,
        region: &str,
        pods: u32,
        standing: &Standing,
        vault: &Vault,
    ) -> (String, String) {
        let mut secrets = Map::new();
        let mut used = Vec::new();
        for (name, (current, adopted)) in standing {
            let secret = vault.secret(&path(name));
            let document = |version: Version| {
                version.and_then(|(number, _)| secret?.versions.get(&number)?.data.as_ref())
            };
            let current_mark = document(*current).and_then(mark);
            let mark = current_mark.map(|(id, phase)| json!({"id": id, "phase": phase}));
            let version = wire(*current);
            let known = json!({"current": version, "mark": mark, "absence": null, "floor": version});
            secrets.insert((*name).to_owned(), known);
            used.push((*name, *adopted, document(*adopted)));
        }
        let pods: Vec<Value> = (1..=pods).map(|number| self.pod(region, number, &used)).collect();
        (Value::Object(secrets).to_string(), Value::Array(pods).to_string())
    }

    /// A whole view.
    pub(super) fn whole(
        &self,
        region: &str,
        (secrets, pods): &(String, String),
        operators: &Value,
    ) -> String {
        let mut rest = self.view.clone();
        let (now, contact) = (json!(Timestamp::now()), json!(Timestamp::now()));
        rest["environment"] = super::ENVIRONMENT.into();
        rest["region"] = region.into();
        rest["round"] = json!({"began": now, "ended": now});
        rest["vault"] = json!({"state": "ok", "last_contact": contact, "error": null});
        rest["operators"] = operators.clone();
        if let Some(rest) = rest.as_object_mut() {
            rest.remove("secrets");
            rest.remove("pods");
        }
        let rest = rest.to_string();
        // The rest is an object that is not empty.
        format!("{{\"secrets\":{secrets},\"pods\":{pods},{}", rest.trim_start_matches('{'))
    }

    fn pod(&self, region: &str, number: u32, used: &[(&'static str, Version, Option<&Value>)]) -> Value {
        let mut pod = self.pod.clone();
        let name = format!("{region}-{number}");
        let instance = Uuid::new_v4();
        pod["name"] = name.as_str().into();
        pod["uid"] = name.as_str().into();
        let agent = &mut pod["agent"];
        agent["pod"] = name.as_str().into();
        agent["pod_uid"] = name.as_str().into();
        agent["instances"][0]["id"] = json!(instance);
        let secret = |(name, version, document): &(&str, Version, Option<&Value>)| {
            let (number, created) = version.unzip();
            let rotation = document.and_then(mark).map(|(id, _)| id);
            let adopted = json!({"version": number, "created_time": created, "instance": instance});
            json!({
                "name": name, "version": number, "created_time": created, "rotation_id": rotation,
                "delivered": created, "adopted": [adopted], "age_s": 1, "error": null,
            })
        };
        agent["secrets"] = used.iter().map(secret).collect();
        let service = &mut pod["service"];
        for (name, version, document) in used {
            if service["documents"].get(name).is_some()
                && let Some((number, created)) = version
            {
                service["documents"][name] = json!(number);
                service["created"][name] = json!(created.as_duration().as_secs_f64());
            }
            if let Some(keys) = document.and_then(|document| document["keys"].as_object()) {
                service["kids"] = keys.keys().cloned().collect();
            }
        }
        pod
    }
}

/// How a region's secrets stand.
pub(super) fn standing(names: &[&'static str], vault: &Vault) -> Standing {
    let now = Timestamp::now();
    let of = |name: &&'static str| {
        let secret = vault.secret(&path(name));
        (*name, (secret.and_then(current), secret.and_then(|secret| adopted(secret, now))))
    };
    names.iter().map(of).collect()
}

/// A secret's path below the mount.
pub(super) fn path(name: &str) -> String {
    format!("service/{name}")
}

fn current(secret: &Secret) -> Version {
    let kept = secret.versions.get(&secret.current)?;
    Some((secret.current, kept.created))
}

/// The newest version that pods have had the time to use. What was there at first they have always used.
fn adopted(secret: &Secret, now: Timestamp) -> Version {
    let old = |kept: &Kept| now.duration_since(kept.created) >= ADOPTION;
    let mut newest = secret.versions.iter().rev();
    let found = newest.find(|(number, kept)| **number == 1 || old(kept));
    found.map(|(number, kept)| (*number, kept.created))
}

fn wire(version: Version) -> Value {
    version.map_or(Value::Null, |(version, created)| json!({"version": version, "created_time": created}))
}

/// The rotation and the phase that a document says of itself.
fn mark(document: &Value) -> Option<(&str, &str)> {
    let (id, phases) = document["rotation"].as_object()?.iter().next()?;
    Some((id, phases.as_object()?.keys().next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        let pod = json!({
            "name": "p", "uid": "u", "agent": {"instances": [{"id": "i"}], "secrets": []},
            "service": {"documents": {"signing-keys": 7}, "kids": ["old"]},
        });
        Template::new(json!({"environment": "e", "watcher": {"leads": true}, "pods": [pod]})).unwrap()
    }

    #[test]
    fn pods_use_the_first_version_at_once_and_a_later_one_after_a_while() {
        let mut vault = Vault::default();
        let document = |kid: &str| json!({"keys": {kid: {}}, "rotation": {"r": {"publish": ""}}});
        vault.put("service/signing-keys", document("one"), None);
        let names = ["signing-keys"];
        let first = standing(&names, &vault);
        assert_eq!(first["signing-keys"].1.map(|(number, _)| number), Some(1));
        vault.put("service/signing-keys", document("two"), None);
        let second = standing(&names, &vault);
        let (current, used) = second["signing-keys"];
        assert_eq!(current.map(|(number, _)| number), Some(2));
        assert_eq!(used.map(|(number, _)| number), Some(1));

        let parts = template().parts("eu", 3, &second, &vault);
        let view: Value = serde_json::from_str(&template().whole("eu", &parts, &json!([]))).unwrap();
        assert_eq!(view["region"], "eu");
        assert_eq!(view["watcher"], json!({"leads": true}));
        assert_eq!(view["secrets"]["signing-keys"]["mark"], json!({"id": "r", "phase": "publish"}));
        let pods = view["pods"].as_array().unwrap();
        assert_eq!(pods.len(), 3);
        for pod in pods {
            assert_eq!(pod["service"]["kids"], json!(["one"]));
            assert_eq!(pod["service"]["documents"]["signing-keys"], 1);
            assert_eq!(
                pod["agent"]["secrets"][0]["adopted"][0]["instance"],
                pod["agent"]["instances"][0]["id"]
            );
        }
        assert_ne!(pods[0]["agent"]["instances"], pods[1]["agent"]["instances"]);
    }

    #[test]
    fn an_answer_without_a_whole_pod_is_no_template() {
        assert!(Template::new(json!({"pods": []})).is_err());
    }
}
