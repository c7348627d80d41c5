//! From what Helm rendered to a list of objects in the order in which they are applied.

use serde_json::Value;

use super::object::{Object, ObjectRef};

/// Kinds in the order in which they are applied: what others refer to comes first, workloads come last.
/// Kinds that are not named here come just before the workloads.
const FIRST: [&str; 18] = [
    "Namespace",
    // What fences off late writes comes before what is written.
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "CustomResourceDefinition",
    "PriorityClass",
    "ResourceQuota",
    "LimitRange",
    "NetworkPolicy",
    "ServiceAccount",
    "ConfigMap",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "PodDisruptionBudget",
    "Service",
    "Ingress",
];
const LAST: [&str; 7] =
    ["Pod", "DaemonSet", "StatefulSet", "Deployment", "Job", "CronJob", "HorizontalPodAutoscaler"];

/// Why a rendered chart cannot be applied. Every variant names the object.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The text is not YAML.
    #[error("the rendered chart is not valid YAML: {0}")]
    Yaml(String),
    /// A document lacks what identifies an object.
    #[error("document {index} of the rendered chart has no {missing}; look at it with `regions render`")]
    Incomplete {
        /// Its place, from 1.
        index: usize,
        /// The missing field.
        missing: &'static str,
    },
    /// Two documents name one object.
    #[error("the chart renders {0} twice; one of the two would be lost")]
    Duplicate(ObjectRef),
    /// Secrets come from Vault and are never Kubernetes objects.
    #[error("the chart renders {0}, but secrets come from Vault: take it out of the chart")]
    Secret(ObjectRef),
    /// A name that only the API server can choose cannot be applied twice.
    #[error("document {index} of the rendered chart uses generateName; a release needs fixed names")]
    GeneratedName {
        /// Its place, from 1.
        index: usize,
    },
    /// Nothing came out.
    #[error("the chart renders no object; is it the right chart?")]
    Empty,
}

/// Reads the objects out of what `helm template` printed, in the order in which they are applied.
///
/// # Errors
/// When the text is not YAML, an object has no identity or stands there twice, or one is a Secret.
pub fn parse(text: &str) -> Result<Vec<Object>, ManifestError> {
    // As kubectl reads YAML: `defaultMode: 0440` is octal. The snippet is left out of errors, since a
    // page of YAML says less than line and column.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| ManifestError::Yaml(error.to_string()))?;
    let mut objects: Vec<Object> = Vec::with_capacity(documents.len());
    for (index, document) in (1..).zip(documents) {
        for value in flatten(document) {
            let object = identify(index, value)?;
            if objects.iter().any(|other| other.id.same_object(&object.id)) {
                return Err(ManifestError::Duplicate(object.id));
            }
            objects.push(object);
        }
    }
    if objects.is_empty() {
        return Err(ManifestError::Empty);
    }
    objects.sort_by(|a, b| rank(&a.id.kind).cmp(&rank(&b.id.kind)).then_with(|| a.id.cmp(&b.id)));
    Ok(objects)
}

/// Place of a kind in the order of applying.
fn rank(kind: &str) -> usize {
    let first = FIRST.iter().position(|known| *known == kind);
    let last = LAST.iter().position(|known| *known == kind);
    first.or(last.map(|place| FIRST.len() + 1 + place)).unwrap_or(FIRST.len())
}

/// The objects of a document: its items when it is a `List`, none when it holds only comments.
fn flatten(document: Value) -> Vec<Value> {
    match document {
        Value::Null => Vec::new(),
        Value::Object(mut map) if map.get("kind").and_then(Value::as_str) == Some("List") => {
            match map.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            }
        }
        other => vec![other],
    }
}

fn identify(index: usize, value: Value) -> Result<Object, ManifestError> {
    let text = |pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let need = |pointer, missing| text(pointer).ok_or(ManifestError::Incomplete { index, missing });
    if text("/metadata/name").is_none() && text("/metadata/generateName").is_some() {
        return Err(ManifestError::GeneratedName { index });
    }
    let id = ObjectRef {
        api_version: need("/apiVersion", "apiVersion")?,
        kind: need("/kind", "kind")?,
        namespace: text("/metadata/namespace"),
        name: need("/metadata/name", "metadata.name")?,
    };
    if id.kind == "Secret" && id.group().is_empty() {
        return Err(ManifestError::Secret(id));
    }
    Ok(Object { id, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<String> {
        parse(text).unwrap().into_iter().map(|object| object.id.kind).collect()
    }

    fn document(kind: &str) -> String {
        format!(
            "---\n# Source: chart/templates/{kind}.yaml\napiVersion: v1\nkind: {kind}\nmetadata:\n  name: a\n"
        )
    }

    #[test]
    fn sorts_by_kind_with_workloads_last() {
        let text: String =
            ["HorizontalPodAutoscaler", "Deployment", "Widget", "Service", "ConfigMap", "Namespace"]
                .map(document)
                .concat();
        assert_eq!(
            kinds(&text),
            ["Namespace", "ConfigMap", "Service", "Widget", "Deployment", "HorizontalPodAutoscaler"]
        );
    }

    #[test]
    fn documents_of_comments_and_lists_are_understood() {
        let text = "---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n";
        assert_eq!(kinds(text), ["ConfigMap"]);
    }

    #[test]
    fn numbers_are_read_as_kubectl_reads_them() {
        let text = document("ConfigMap") + "mode: 0440\nquoted: \"0440\"\n";
        let object = parse(&text).unwrap().remove(0);
        assert_eq!(object.value["mode"], 0o440);
        assert_eq!(object.value["quoted"], "0440");
    }

    #[test]
    fn what_cannot_be_applied_is_named() {
        let message = |text: &str| parse(text).unwrap_err().to_string();
        assert!(message("kind: [").contains("not valid YAML"));
        assert!(
            message("kind: A\nmetadata: {name: a}\n")
                .contains("document 1 of the rendered chart has no apiVersion")
        );
        assert!(message("apiVersion: v1\nkind: A\n").contains("no metadata.name"));
        assert!(message("apiVersion: v1\nkind: A\nmetadata: {generateName: a-}\n").contains("generateName"));
        assert!(message(&(document("ConfigMap") + &document("ConfigMap"))).contains("ConfigMap a twice"));
        assert!(message(&document("Secret")).contains("secrets come from Vault"));
        assert!(message("---\n# nothing\n").contains("no object"));
        assert!(message("- a\n").contains("no apiVersion"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[-a-z0-9:{}\\[\\]\"'&*!|>%@ \n]{0,200}") {
            let _ = parse(&text);
        }
    }
}
