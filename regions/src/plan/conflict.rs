//! Fields that another manager owns and that the release would set to another value.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::object::{FENCE, Object, ObjectRef};

/// A field that somebody else owns. Nothing is forced: the owner may be an operator in the middle of something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conflict {
    /// The object.
    pub object: ObjectRef,
    /// The field, as the API server writes it.
    pub field: String,
    /// The manager that owns it, as in `metadata.managedFields`, and what else the API server says of it.
    pub manager: String,
    /// Its value in the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// Its value in the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Value>,
}

impl Conflict {
    /// Whether it is about the number by which runs of `regions` fence each other off, which nobody else writes.
    pub fn is_of_the_fence(&self) -> bool {
        self.field.strip_suffix(FENCE).is_some_and(|before| before.ends_with("annotations."))
    }
}

impl Conflict {
    /// From one cause of the API server's answer: `message` is such as
    /// `conflict with "kubectl-edit" using apps/v1 at 2026-01-01T00:00:00Z`.
    pub fn new(object: &Object, live: Option<&Value>, field: &str, message: &str) -> Self {
        Self {
            object: object.id.clone(),
            field: field.to_owned(),
            manager: message.strip_prefix("conflict with ").unwrap_or(message).to_owned(),
            live: live.and_then(|live| at(live, field)).cloned(),
            wanted: at(&object.value, field).cloned(),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "none".to_owned(), Value::to_string);
        write!(
            f,
            "{} {}: owned by {}; live {}, release {}",
            self.object,
            self.field,
            self.manager,
            shown(&self.live),
            shown(&self.wanted)
        )
    }
}

/// The value at a field path such as `.spec.containers[name="app"].image`.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = value;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let end = after.find(']')?;
            value = entry(value, &after[..end])?;
            rest = &after[end + 1..];
        } else {
            let name = rest.strip_prefix('.')?;
            // A key may hold dots itself (an annotation), so the longest key that is there is taken.
            let map = value.as_object()?;
            let key = map
                .keys()
                .filter(|key| {
                    name.strip_prefix(key.as_str()).is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']))
                })
                .max_by_key(|key| key.len())?;
            value = &map[key];
            rest = &name[key.len()..];
        }
    }
    Some(value)
}

/// The entry of a list that is meant by `name="app"`, `containerPort=80,protocol="TCP"` or an index.
fn entry<'a>(value: &'a Value, selector: &str) -> Option<&'a Value> {
    let list = value.as_array()?;
    if let Ok(index) = selector.parse::<usize>() {
        return list.get(index);
    }
    let wanted: Vec<(&str, Value)> = selector
        .split(',')
        .map(|pair| {
            pair.split_once('=').and_then(|(key, text)| Some((key, serde_json::from_str(text).ok()?)))
        })
        .collect::<Option<_>>()?;
    list.iter().find(|entry| wanted.iter().all(|(key, value)| entry.get(key) == Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_found_by_the_servers_paths() {
        let value = json!({
            "metadata": {"annotations": {"a.b/c": "x"}},
            "spec": {"ports": [{"port": 80, "protocol": "UDP"}, {"port": 80, "protocol": "TCP", "name": "y"}], "args": [1]},
        });
        assert_eq!(at(&value, ".metadata.annotations.a.b/c"), Some(&json!("x")));
        assert_eq!(at(&value, ".spec.ports[port=80,protocol=\"TCP\"].name"), Some(&json!("y")));
        assert_eq!(at(&value, ".spec.args[0]"), Some(&json!(1)));
        assert_eq!(at(&value, ".spec.args[=1]"), None);
        assert_eq!(at(&value, ".spec.none[0]"), None);
    }

    #[test]
    fn names_the_manager_and_both_values() {
        let id = ObjectRef {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: Some("meridian".into()),
            name: "a".into(),
        };
        let object = Object { id, value: json!({"data": {"k": "release"}}) };
        let live = json!({"data": {"k": "live"}});
        let message = "conflict with \"kubectl-edit\" using v1 at 2026-01-01T00:00:00Z";
        let conflict = Conflict::new(&object, Some(&live), ".data.k", message);
        assert_eq!(
            conflict.to_string(),
            "ConfigMap meridian/a .data.k: owned by \"kubectl-edit\" using v1 at 2026-01-01T00:00:00Z; live \"live\", release \"release\""
        );
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics(path in "[.a\\[\\]=,0-9\"]{0,20}") {
            let _ = at(&json!({"a": [{"a": 1}, {"0": {"a": 2}}]}), &path);
        }
    }
}
