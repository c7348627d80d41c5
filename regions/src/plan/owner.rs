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
        .filter(|entry| owns(&entry["fieldsV1"], &steps));
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
    /// An entry by its place, or the order of a list: such lists are owned as a whole.
    Whole,
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
            steps.push(
                after[..end].split_once('=').map_or(Step::Whole, |(key, value)| Step::Entry(key, value)),
            );
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

/// Whether a set of fields has the one that the steps lead to, or one above it as a whole.
fn owns(fields: &Value, steps: &[Step<'_>]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return true };
    let Some(map) = fields.as_object() else { return false };
    // What is owned as a whole names nothing below it.
    if map.is_empty() {
        return true;
    }
    match step {
        Step::Key(key) => map.get(&format!("f:{key}")).is_some_and(|below| owns(below, rest)),
        Step::Entry(key, value) => map.iter().any(|(name, below)| {
            let entry = name.strip_prefix("k:").and_then(|text| serde_json::from_str::<Value>(text).ok());
            let same = |entry: &Value| match &entry[*key] {
                Value::String(text) => text == value,
                Value::Null => false,
                other => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *other),
            };
            entry.as_ref().is_some_and(same) && owns(below, rest)
        }),
        Step::Whole => false,
    }
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
            },
        });
        json!({"metadata": {"managedFields": [
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
            ".spec.ports[port=80].name",
        ] {
            assert_eq!(owned(path), ["kubectl-edit"], "{path}");
        }
        assert_eq!(owned(".data.key"), ["other"], "a whole map");
        for path in [".spec.paused", ".spec.containers[name=agent].image", "", "[", "nonsense"] {
            assert!(owned(path).is_empty() || path.is_empty(), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics(path in "[.a\\[\\]=,0-9\"\\\\]{0,20}") {
            let _ = owners(&live(), &path);
        }
    }
}
