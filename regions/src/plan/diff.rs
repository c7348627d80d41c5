//! What an apply would change, from the live object and the API server's own dry run of that apply.

use serde::Serialize;
use serde_json::{Map, Value};
use similar::TextDiff;

use super::object::{DOMAIN, FENCE, OWNER, ObjectRef};

/// Fields that the API server keeps for itself; they say nothing about what a release changes.
const SERVER_FIELDS: [&str; 6] =
    ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"];

/// Fields that identify an entry of a list, in the order in which they are tried.
const LIST_KEYS: [&str; 7] = ["name", "mountPath", "containerPort", "port", "key", "type", "ip"];

/// How an object differs from what the release wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It does not exist yet.
    Create,
    /// Fields differ.
    Change,
    /// Only this tool's own marks, or which fields it owns, differ.
    Bookkeeping,
    /// It exists, this tool applied it once, and the release no longer has it.
    Prune,
}

/// One object that a promotion writes, and in which way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The object.
    pub object: ObjectRef,
    /// What happens to it.
    pub kind: ChangeKind,
    /// Each field that differs; empty for objects that are created or pruned whole.
    pub fields: Vec<FieldChange>,
    /// The same as a unified diff of YAML.
    #[serde(skip)]
    pub text: String,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Such as `.spec.template.spec.containers[name=app].image`.
    pub path: String,
    /// Its live value; absent when the field is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Its value after the apply; absent when the field goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Compares the live object with what the apply would make of it; nothing when it would write nothing.
pub fn compare(object: &ObjectRef, live: Option<&Value>, applied: &Value) -> Option<Change> {
    let after = clean(applied);
    let Some(live) = live else {
        let text = unified(object, "", &yaml(&after));
        return Some(Change { object: object.clone(), kind: ChangeKind::Create, fields: Vec::new(), text });
    };
    let before = clean(live);
    if before != after {
        let mut fields = Vec::new();
        field_changes("", Some(&before), Some(&after), &mut fields);
        let text = unified(object, &yaml(&before), &yaml(&after));
        return Some(Change { object: object.clone(), kind: ChangeKind::Change, fields, text });
    }
    let same_marks = marks(live) == marks(applied) && owned(live) == owned(applied);
    (!same_marks).then(|| Change {
        object: object.clone(),
        kind: ChangeKind::Bookkeeping,
        fields: Vec::new(),
        text: String::new(),
    })
}

/// The change that takes an object away.
pub fn prune(object: &ObjectRef, live: &Value) -> Change {
    let text = unified(object, &yaml(&clean(live)), "");
    Change { object: object.clone(), kind: ChangeKind::Prune, fields: Vec::new(), text }
}

/// The object without status, without what the API server keeps for itself and without this tool's marks.
fn clean(value: &Value) -> Value {
    let mut value = value.clone();
    let Some(object) = value.as_object_mut() else { return value };
    object.remove("status");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !SERVER_FIELDS.contains(&key.as_str()));
        for marks in ["labels", "annotations"] {
            let Some(map) = metadata.get_mut(marks).and_then(Value::as_object_mut) else { continue };
            map.retain(|key, _| !key.starts_with(DOMAIN));
            if map.is_empty() {
                metadata.remove(marks);
            }
        }
    }
    value
}

/// This tool's labels and annotations on the object.
fn marks(value: &Value) -> Vec<(&String, &Value)> {
    ["/metadata/labels", "/metadata/annotations"]
        .iter()
        .filter_map(|pointer| value.pointer(pointer).and_then(Value::as_object))
        .flat_map(Map::iter)
        .filter(|(key, _)| key.starts_with(DOMAIN) && *key != FENCE)
        .collect()
}

/// The fields that this tool owns by its applies. An apply that changes only these is still a write.
fn owned(value: &Value) -> Option<Value> {
    let entries = value.pointer("/metadata/managedFields")?.as_array()?;
    let own = |entry: &&Value| {
        entry["manager"] == OWNER && entry["operation"] == "Apply" && entry.get("subresource").is_none()
    };
    let mut fields = entries.iter().find(own)?.get("fieldsV1")?.clone();
    // The fence is on all that was written, and is no part of a release.
    if let Some(annotations) = fields.pointer_mut("/f:metadata/f:annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(&format!("f:{FENCE}"));
        let nothing_left = annotations.keys().all(|key| key == ".");
        if nothing_left && let Some(metadata) = fields["f:metadata"].as_object_mut() {
            metadata.remove("f:annotations");
        }
    }
    Some(fields)
}

fn yaml(value: &Value) -> String {
    // A JSON value always has a YAML form; the fallback keeps a diff readable all the same.
    serde_saphyr::to_string(value).unwrap_or_else(|_| format!("{value:#}\n"))
}

fn unified(object: &ObjectRef, before: &str, after: &str) -> String {
    let (old, new) = (format!("{object} (live)"), format!("{object} (release)"));
    TextDiff::from_lines(before, after).unified_diff().context_radius(3).header(&old, &new).to_string()
}

fn field_changes(path: &str, before: Option<&Value>, after: Option<&Value>, into: &mut Vec<FieldChange>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for (key, value) in a {
                field_changes(&join(path, key), Some(value), b.get(key), into);
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                field_changes(&join(path, key), None, Some(value), into);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => match list_key(a, b) {
            Some(key) => keyed_changes(path, key, a, b, into),
            None => {
                for index in 0..a.len().max(b.len()) {
                    field_changes(&format!("{path}[{index}]"), a.get(index), b.get(index), into);
                }
            }
        },
        (before, after) => {
            into.push(FieldChange { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
        }
    }
}

fn keyed_changes(path: &str, key: &str, a: &[Value], b: &[Value], into: &mut Vec<FieldChange>) {
    let place = |entry: &Value| match &entry[key] {
        Value::String(text) => format!("{path}[{key}={text}]"),
        other => format!("{path}[{key}={other}]"),
    };
    for entry in a {
        field_changes(&place(entry), Some(entry), b.iter().find(|other| other[key] == entry[key]), into);
    }
    for entry in b.iter().filter(|entry| !a.iter().any(|other| other[key] == entry[key])) {
        field_changes(&place(entry), None, Some(entry), into);
    }
    let order = |from: &[Value], other: &[Value]| -> Vec<Value> {
        let both = from.iter().map(|entry| &entry[key]).filter(|name| other.iter().any(|e| e[key] == **name));
        both.cloned().collect()
    };
    let (before, after) = (order(a, b), order(b, a));
    if before != after {
        let path = format!("{path}[order of {key}]");
        into.push(FieldChange { path, before: Some(before.into()), after: Some(after.into()) });
    }
}

/// The field that tells the entries of both lists apart, when there is one.
fn list_key(a: &[Value], b: &[Value]) -> Option<&'static str> {
    let tells_apart = |key: &str, list: &[Value]| {
        list.iter().enumerate().all(|(index, entry)| {
            entry.get(key).is_some_and(|value| !list[..index].iter().any(|other| other[key] == *value))
        })
    };
    LIST_KEYS.into_iter().find(|key| tells_apart(key, a) && tells_apart(key, b))
}

fn join(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain { format!("{path}.{key}") } else { format!("{path}[{key:?}]") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id() -> ObjectRef {
        ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some("meridian".into()),
            name: "service".into(),
        }
    }

    fn object(image: &str, extra: &Value) -> Value {
        json!({
            "metadata": {
                "name": "service", "uid": "1", "resourceVersion": extra["version"], "generation": 3,
                "labels": {"app": "service", "meridian.internal/owner": "regions"},
                "annotations": {"meridian.internal/fence": extra["fence"]},
                "managedFields": [
                    {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:status": {}}},
                    {"manager": "regions", "operation": "Apply", "fieldsV1": extra["fields"]},
                ],
            },
            "spec": {"containers": [{"name": "agent", "image": "agent:1"}, {"name": "app", "image": image}]},
            "status": {"replicas": extra["version"]},
        })
    }

    #[test]
    fn equal_objects_are_no_change() {
        let live = object("app:1", &json!({"version": "1", "fence": "1", "fields": {"f:spec": {}}}));
        let applied = object("app:1", &json!({"version": "2", "fence": "1", "fields": {"f:spec": {}}}));
        assert_eq!(compare(&id(), Some(&live), &applied), None);
    }

    #[test]
    fn a_field_is_named_by_its_place() {
        let (live, applied) = (object("app:1", &json!({})), object("app:2", &json!({})));
        let change = compare(&id(), Some(&live), &applied).unwrap();
        assert_eq!(change.kind, ChangeKind::Change);
        assert_eq!(
            change.fields,
            [FieldChange {
                path: ".spec.containers[name=app].image".into(),
                before: Some(json!("app:1")),
                after: Some(json!("app:2")),
            }]
        );
        assert!(change.text.contains("--- Deployment meridian/service (live)"), "{}", change.text);
        assert!(change.text.contains("\n-") && change.text.contains("app:2"), "{}", change.text);
        assert!(!change.text.contains("meridian.internal"), "{}", change.text);
        assert!(!change.text.contains("resourceVersion"), "{}", change.text);
    }

    #[test]
    fn own_marks_and_ownership_are_bookkeeping_and_the_fence_is_nothing() {
        let live = object("app:1", &json!({"fence": "1"}));
        let change =
            compare(&id(), Some(&live), &object("app:1", &json!({"fields": {"f:spec": {}}}))).unwrap();
        assert_eq!((change.kind, change.text.as_str()), (ChangeKind::Bookkeeping, ""));
        let fenced = json!({"f:metadata": {"f:annotations": {".": {}, "f:meridian.internal/fence": {}}}});
        let of = |fields| object("app:1", &json!({"fence": "2", "fields": fields}));
        assert_eq!(compare(&id(), Some(&of(json!({"f:metadata": {}}))), &of(fenced)), None);
        assert_eq!(compare(&id(), Some(&live), &object("app:1", &json!({"fence": "2"}))), None);
    }

    #[test]
    fn entries_that_come_and_go_are_named() {
        let mut fields = Vec::new();
        let a = json!({"ports": [{"port": 80}], "list": [1, 2], "gone": true});
        let b = json!({"ports": [{"port": 81}], "list": [1], "a.b/c": null});
        field_changes("", Some(&a), Some(&b), &mut fields);
        let mut paths: Vec<_> = fields.into_iter().map(|field| field.path).collect();
        paths.sort();
        assert_eq!(paths, [".gone", ".list[1]", ".ports[port=80]", ".ports[port=81]", "[\"a.b/c\"]"]);
    }

    #[test]
    fn creation_and_pruning_show_the_whole_object() {
        let applied = object("app:1", &json!({}));
        let created = compare(&id(), None, &applied).unwrap();
        assert!(created.text.lines().skip(3).all(|line| line.starts_with('+')), "{}", created.text);
        let pruned = prune(&id(), &applied);
        assert!(pruned.text.lines().skip(3).all(|line| line.starts_with('-')), "{}", pruned.text);
    }

    proptest::proptest! {
        /// A list of field changes is empty exactly when the values are equal.
        #[test]
        fn every_difference_is_found(a in value(), b in value()) {
            let mut fields = Vec::new();
            field_changes("", Some(&a), Some(&b), &mut fields);
            proptest::prop_assert_eq!(fields.is_empty(), a == b);
        }
    }

    fn value() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf =
            prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), "[ab]".prop_map(Value::from)];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec(("(name|port|[ab])", inner), 0..3)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }
}
