//! What the imitated Vaults hold at first, and what is new.

use regions::catalogue::types::SecretKind;
use regions::plan::rotation::facts::sha256;
use regions::plan::rotation::mark::{Mark, ROTATION};
use regions::plan::rotation::recipe::{Made, Need};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::world::World;

/// The clients of every schedule.
pub(crate) const CLIENTS: [&str; 2] = ["a", "b"];

/// The document of a kind at the beginning.
pub(crate) fn first(kind: SecretKind) -> Value {
    match kind {
        SecretKind::Value => json!({"value": "first"}),
        SecretKind::Keyset => json!({"keys": {"k0": {
            "state": "active", "private_pem": "private of k0", "public_jwk": {}, "since": "2026-01-01T00:00:00Z",
        }}}),
        SecretKind::Clients => {
            let client = |id: &str| {
                (id.to_owned(), json!({"secrets": [{"sha256": sha256(&secret(id))}], "scopes": []}))
            };
            json!({"clients": serde_json::Map::from_iter(CLIENTS.map(client))})
        }
    }
}

/// A client's secret at the beginning.
pub(crate) fn secret(client: &str) -> String {
    format!("first of {client}")
}

/// Makes what is new, each time another.
pub(crate) fn make(world: &World, need: &Need) -> Made {
    let number = {
        let mut world = world.get();
        world.made += 1;
        world.made
    };
    match need {
        Need::Key => Made::Key {
            kid: format!("k{number}"),
            private_pem: Zeroizing::new(format!("private of k{number}")),
            public_jwk: json!({}),
        },
        Need::Secret(_) => Made::Secret(Zeroizing::new(format!("s{number}"))),
        Need::Document => Made::Document(json!({"value": format!("v{number}")})),
    }
}

/// A document that a person makes of another: the same, or with something that is not in use, and without a mark.
pub(crate) fn by_hand(kind: SecretKind, document: &Value, number: u64) -> Value {
    let mut document = unmarked(document);
    match kind {
        SecretKind::Value => document["value"] = format!("by hand {number}").into(),
        SecretKind::Keyset if number.is_multiple_of(2) => {
            document["keys"][format!("hand{number}")] = json!({
                "state": "published", "private_pem": "p", "public_jwk": {}, "since": "2026-01-01T00:00:00Z",
            });
        }
        _ => {}
    }
    document
}

/// A document without the mark of the rotation that wrote it.
pub(crate) fn unmarked(document: &Value) -> Value {
    let mut document = document.clone();
    document.as_object_mut().unwrap().remove(ROTATION);
    document
}

/// Ids of a keyset's keys, and the one that signs.
pub(crate) fn keys(document: &Value) -> (Vec<String>, Option<String>) {
    let keys = document["keys"].as_object().into_iter().flatten();
    let signs = keys.clone().find(|(_, key)| key["state"] == "active").map(|(kid, _)| kid.clone());
    (keys.map(|(kid, _)| kid.clone()).collect(), signs)
}

/// Whether a document takes a client's secret.
pub(crate) fn takes(document: &Value, client: &str, secret: &str) -> bool {
    let hash = sha256(secret);
    let secrets = document["clients"][client]["secrets"].as_array().into_iter().flatten();
    secrets.into_iter().any(|known| known["sha256"] == hash.as_str())
}

/// The rotation that wrote a document.
pub(crate) fn rotation(document: &Value) -> Option<String> {
    Mark::of(document).map(|mark| mark.id)
}
