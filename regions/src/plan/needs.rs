//! Which keys of which secrets a release needs. The chart says so on its Deployment; the catalogue says which secrets
//! there are.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::Object;

/// Annotation of an object: a JSON map from secrets to lists of keys, such as `{"tls": ["private_key_pem"]}`; a key
/// within another is written `outer.inner`.
pub const KEYS: &str = "meridian.internal/secret-keys";

/// Keys by secret. A secret without keys must be there all the same.
pub type Needs = BTreeMap<String, Vec<String>>;

/// What these objects need of the secrets that the catalogue says there are.
///
/// # Errors
/// An annotation is not what it should be.
pub fn of(objects: &[Object], secrets: &[String]) -> Result<Needs, String> {
    let mut needs: Needs = secrets.iter().map(|secret| (secret.clone(), Vec::new())).collect();
    for object in objects {
        let Some(text) = object.value["metadata"]["annotations"][KEYS].as_str() else { continue };
        let wrong =
            || format!("{}: the annotation {KEYS} is no JSON map from secrets to lists of keys", object.id);
        let said: BTreeMap<String, Vec<String>> = serde_json::from_str(text).map_err(|_| wrong())?;
        for (secret, keys) in said {
            if !secrets.contains(&secret) {
                return Err(format!(
                    "{}: it needs the secret {secret}, which the catalogue does not have; add it to `secrets` of \
                     _environment.yaml",
                    object.id
                ));
            }
            let own = needs.entry(secret).or_default();
            own.extend(keys);
            own.sort();
            own.dedup();
        }
    }
    Ok(needs)
}

/// Those of these keys that a document lacks, by its subkeys, which have its names and none of its values.
pub fn lacking<'a>(subkeys: &Value, keys: &'a [String]) -> Vec<&'a str> {
    let there = |key: &&String| {
        let mut at = Some(subkeys);
        for part in key.split('.') {
            at = at.and_then(|value| value.as_object()?.get(part));
        }
        at.is_some()
    };
    keys.iter().filter(|key| !there(key)).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::object::ObjectRef;
    use serde_json::json;

    fn deployment(annotation: &str) -> Object {
        let id = ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: None,
            name: "service".into(),
        };
        Object { id, value: json!({"metadata": {"annotations": {KEYS: annotation}}}) }
    }

    #[test]
    fn a_release_says_which_keys_it_needs() {
        let secrets = ["config".to_owned(), "tls".to_owned()];
        let needs = of(&[deployment(r#"{"tls": ["b", "a", "b"]}"#)], &secrets).unwrap();
        assert_eq!(
            needs,
            BTreeMap::from([
                ("config".to_owned(), Vec::new()),
                ("tls".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
            ])
        );
        assert_eq!(of(&[], &secrets).unwrap().len(), 2);
        assert!(
            of(&[deployment("tls")], &secrets).unwrap_err().contains("Deployment service: the annotation")
        );
        let unknown = of(&[deployment(r#"{"other": []}"#)], &secrets).unwrap_err();
        assert!(unknown.contains("the secret other, which the catalogue does not have"), "{unknown}");
    }

    #[test]
    fn what_a_document_lacks_is_found_by_its_names() {
        let keys = ["a".to_owned(), "b.c".to_owned(), "b.d".to_owned(), "a.x".to_owned(), "e".to_owned()];
        let subkeys = json!({"a": null, "b": {"c": null}});
        assert_eq!(lacking(&subkeys, &keys), ["b.d", "a.x", "e"]);
        assert_eq!(lacking(&Value::Null, &keys).len(), 5);
    }
}
