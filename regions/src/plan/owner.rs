//! Who owns a field of a live object, as its `managedFields` say.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>

use serde::Serialize;
use serde_json::Value;

use super::object::OWNER;

/// A manager that set a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// Its name, such as `kubectl-edit`.
    pub manager: String,
    /// When it wrote last, as the API server noted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// The managers that own a field, by a path as [`super::diff`] writes it; this tool's own applies left out, since they
/// set what the release wants. A field that somebody took away has no owner.
pub fn owners(live: &Value, path: &str) -> Vec<Owner> {
    let Some(steps) = steps(path) else { return Vec::new() };
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let others = entries
        .into_iter()
        .flatten()
        .filter(|entry| !(entry["manager"] == OWNER && entry["operation"] == "Apply"))
        .filter(|entry| owns(&entry["fieldsV1"], Some(live), &steps));
    let owner = |entry: &Value| Owner {
        manager: entry["manager"].as_str().unwrap_or("?").to_owned(),
        at: entry["time"].as_str().map(str::to_owned),
    };
    others.map(owner).collect()
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    Key(String),
    /// The entry of a list whose field has this value.
    Entry(&'a str, &'a str),
    /// The entry of a list at this place.
    Place(usize),
    /// The order of a list, which is owned with the whole of it.
    Order,
}

fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[\"") {
            let end = after.find("\"]")?;
            steps.push(Step::Key(serde_json::from_str(&format!("\"{}\"", &after[..end])).ok()?));
            rest = &after[end + 2..];
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = after.find(']')?;
            steps.push(match after[..end].split_once('=') {
                Some((key, value)) => Step::Entry(key, value),
                None => after[..end].parse().map_or(Step::Order, Step::Place),
            });
            rest = &after[end + 1..];
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(Step::Key(after[..end].to_owned()));
            rest = &after[end..];
        }
    }
    Some(steps)
}

/// Whether a set of fields has the one that the steps lead to, or one above it as a whole. `live` is the value that the
/// set is about.
fn owns(fields: &Value, live: Option<&Value>, steps: &[Step<'_>]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return true };
    let Some(map) = fields.as_object() else { return false };
    // What is owned as a whole names nothing below it.
    if map.is_empty() {
        return true;
    }
    let list = live.and_then(Value::as_array);
    let entry = match step {
        Step::Key(key) => {
            let live = live.and_then(|live| live.get(key));
            return map.get(&format!("f:{key}")).is_some_and(|below| owns(below, live, rest));
        }
        Step::Entry(key, value) => list.and_then(|list| list.iter().find(|entry| shows(&entry[*key], value))),
        Step::Place(place) => list.and_then(|list| list.get(*place)),
        Step::Order => None,
    };
    let Some(entry) = entry else { return false };
    map.iter().any(|(name, below)| names(name, entry) && owns(below, Some(entry), rest))
}

/// Whether a path shows a value so.
fn shows(value: &Value, text: &str) -> bool {
    match value {
        Value::String(value) => value == text,
        Value::Null => false,
        other => serde_json::from_str::<Value>(text).is_ok_and(|value| value == *other),
    }
}

/// Whether a set of fields means this entry of a list by the name: `k:` and the fields that tell it from others, which
/// need not be the one that a path shows, or `v:` and the entry itself.
fn names(name: &str, entry: &Value) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    if let Some(Value::Object(keys)) = name.strip_prefix("k:").and_then(json) {
        return keys.iter().all(|(key, value)| entry.get(key) == Some(value));
    }
    name.strip_prefix("v:").and_then(json).is_some_and(|value| value == *entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live() -> Value {
        let fields = json!({
            "f:metadata": {"f:annotations": {".": {}, "f:a.b/c": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:image": {}, "f:args": {}}},
                "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:name": {}}},
                "f:mounts": {"k:{\"mountPath\":\"/tls\"}": {"f:readOnly": {}}},
                "f:spread": {"k:{\"topologyKey\":\"zone\",\"whenUnsatisfiable\":\"DoNotSchedule\"}": {"f:maxSkew": {}}},
                "f:finalizers": {"v:\"last\"": {}},
            },
        });
        let spec = json!({
            "containers": [{"name": "agent", "image": "b"}, {"name": "app", "image": "a", "args": ["x", "y"]}],
            "ports": [
                {"name": "admin", "port": 80, "protocol": "UDP"},
                {"name": "public", "port": 80, "protocol": "TCP"},
            ],
            "mounts": [{"name": "tls", "mountPath": "/tls", "readOnly": true}, {"name": "run", "mountPath": "/run"}],
            "spread": [
                {"topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1},
                {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1},
            ],
            "finalizers": ["first", "last"],
        });
        json!({"spec": spec, "metadata": {"managedFields": [
            {"manager": "regions", "operation": "Apply", "fieldsV1": fields},
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields},
            {"manager": "other", "operation": "Update", "fieldsV1": {"f:data": {}}},
        ]}})
    }

    #[test]
    fn the_manager_of_a_field_is_found_by_the_diffs_own_path() {
        let owned =
            |path: &str| owners(&live(), path).into_iter().map(|owner| owner.manager).collect::<Vec<_>>();
        for path in [
            ".spec.replicas",
            ".metadata.annotations[\"a.b/c\"]",
            ".spec.containers[name=app].image",
            ".spec.containers[name=app].args[1]",
            ".spec.ports[name=public].name",
            ".spec.mounts[name=tls].readOnly",
            ".spec.spread[1].maxSkew",
            ".spec.finalizers[1]",
        ] {
            assert_eq!(owned(path), ["kubectl-edit"], "{path}");
        }
        assert_eq!(owned(".data.key"), ["other"], "a whole map");
        for path in [
            ".spec.paused",
            ".spec.containers[name=agent].image",
            ".spec.ports[name=admin].name",
            ".spec.ports[name=gone].name",
            ".spec.ports[order of name]",
            ".spec.mounts[name=run].readOnly",
            ".spec.spread[0].maxSkew",
            ".spec.finalizers[0]",
            "[",
            "nonsense",
        ] {
            assert!(owned(path).is_empty(), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics(path in "[.a\\[\\]=,0-9\"\\\\]{0,20}") {
            let _ = owners(&live(), &path);
        }
    }
}
