//! What the regions' documents say beside each other, without any value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::catalogue::types::SecretKind;

/// The keys of a keyset: each key's id and its state.
pub fn keys(document: &Value) -> BTreeMap<String, String> {
    let keys = document["keys"].as_object().into_iter().flatten();
    keys.map(|(kid, key)| (kid.clone(), key["state"].as_str().unwrap_or("without a state").to_owned()))
        .collect()
}

/// The rotations that a document belongs to, with their phases.
pub fn rotations(document: &Value) -> BTreeSet<String> {
    let rotations = document["rotation"].as_object().into_iter().flatten();
    rotations
        .flat_map(|(id, phases)| {
            let phases: Vec<String> =
                phases.as_object().into_iter().flatten().map(|(phase, _)| phase.clone()).collect();
            [format!("{id} ({})", phases.join(", "))]
        })
        .collect()
}

/// How a secret's documents differ between two regions; nothing where they do not. Kids and rotations are told,
/// values never.
pub fn difference(kind: SecretKind, one: (&str, &Value), other: (&str, &Value)) -> Option<String> {
    if one.1 == other.1 {
        return None;
    }
    let (first, second) = (rotations(one.1), rotations(other.1));
    if first != second {
        let told = |rotations: BTreeSet<String>| match rotations.len() {
            0 => "none, so it was written by hand".to_owned(),
            _ => rotations.into_iter().collect::<Vec<_>>().join(", "),
        };
        return Some(format!(
            "in {} of the rotation {}, in {} of {}",
            one.0,
            told(first),
            other.0,
            told(second)
        ));
    }
    if kind != SecretKind::Keyset {
        return Some(format!("not the same in {} and {}", one.0, other.0));
    }
    let (first, second) = (keys(one.1), keys(other.1));
    let kids: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let state = |keys: &BTreeMap<String, String>, kid: &str| {
        keys.get(kid).cloned().unwrap_or_else(|| "not there".into())
    };
    let differing = kids.into_iter().filter(|kid| first.get(*kid) != second.get(*kid));
    let told: Vec<String> = differing
        .map(|kid| {
            format!("{kid} is {} in {}, {} in {}", state(&first, kid), one.0, state(&second, kid), other.0)
        })
        .collect();
    Some(if told.is_empty() {
        format!("the same keys in {} and {}, with different contents", one.0, other.0)
    } else {
        told.join("; ")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keysets_differ_by_key_and_state_and_no_value_is_told() {
        let one = json!({"rotation": {"r": {"publish": ""}}, "keys": {
            "a": {"state": "active", "private_pem": "canary"}, "b": {"state": "published"}}});
        let other = json!({"rotation": {"r": {"publish": ""}}, "keys": {
            "a": {"state": "retiring"}, "c": {"state": "active", "private_pem": "canary"}}});
        let told = difference(SecretKind::Keyset, ("eu", &one), ("us", &other)).unwrap();
        assert_eq!(
            told,
            "a is active in eu, retiring in us; b is published in eu, not there in us; \
             c is not there in eu, active in us"
        );
        assert_eq!(difference(SecretKind::Keyset, ("eu", &one), ("us", &one)), None);
    }

    #[test]
    fn another_rotation_is_told_before_anything_else() {
        let one = json!({"rotation": {"r-1": {"publish": ""}}, "keys": {}});
        let other = json!({"keys": {"a": {}}});
        assert_eq!(
            difference(SecretKind::Keyset, ("eu", &one), ("us", &other)).unwrap(),
            "in eu of the rotation r-1 (publish), in us of none, so it was written by hand"
        );
        let value = |text| json!({"a": text});
        assert_eq!(
            difference(SecretKind::Value, ("eu", &value("canary")), ("us", &value("x"))).unwrap(),
            "not the same in eu and us"
        );
    }
}
