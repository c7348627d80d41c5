//! Which regions an environment has, as every Vault's `custom_metadata` of every secret says it. A rotation
//! stops at a name that its catalogue lacks, so that no region is left behind unseen.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Key under which the names stand; those that have no room there stand under `regions-2` and so on.
const KEY: &str = "regions";

/// Most bytes that Vault takes for one value of `custom_metadata`.
/// <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#create-update-metadata>
const ROOM: usize = 512;

/// The names that `custom_metadata` holds.
pub fn read(custom: &Value) -> BTreeSet<String> {
    let entries = custom.as_object().into_iter().flatten();
    let ours = entries.filter(|(key, _)| {
        let rest = key.strip_prefix(KEY);
        rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(number))
    });
    ours.filter_map(|(_, value)| value.as_str())
        .flat_map(|value| value.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What `custom_metadata` holds for these names.
pub fn write(names: &BTreeSet<String>) -> Map<String, Value> {
    let mut values: Vec<String> = Vec::new();
    for name in names {
        match values.last_mut().filter(|value| value.len() + 1 + name.len() <= ROOM) {
            Some(value) => {
                value.push(',');
                value.push_str(name);
            }
            None => values.push(name.clone()),
        }
    }
    let key = |number: usize| if number == 0 { KEY.to_owned() } else { format!("{KEY}-{}", number + 1) };
    values.into_iter().enumerate().map(|(number, value)| (key(number), value.into())).collect()
}

fn number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn one_value_where_there_is_room() {
        let names = ["us", "eu"].map(str::to_owned).into();
        assert_eq!(Value::Object(write(&names)), json!({"regions": "eu,us"}));
        let other = json!({"regions": "eu,us", "regional": "x", "regions-of": "y", "barrier": "z"});
        assert_eq!(read(&other), names);
        assert_eq!(read(&Value::Null), BTreeSet::new());
    }

    proptest! {
        #[test]
        fn any_names_come_back_and_no_value_is_too_long(
            names in prop::collection::btree_set("[a-z][a-z0-9-]{0,38}[a-z0-9]", 0..200)
        ) {
            let written = write(&names);
            prop_assert!(written.values().all(|value| value.as_str().unwrap().len() <= ROOM));
            prop_assert_eq!(read(&Value::Object(written)), names);
        }
    }
}
