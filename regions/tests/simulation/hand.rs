//! What people write by hand: in the middle of anything, to repair, and to end what is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regions::catalogue::types::SecretKind;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::documents;
use crate::world::{Inner, PATH, World};

/// Every pod uses by then what was written, and nobody holds a JWKS from before.
const EVERYWHERE: Duration = Duration::from_secs(300);

/// A person writes a document, whatever anybody else is doing.
pub(crate) fn write(world: &World, place: usize) {
    let mut inner = world.get();
    let Some(former) = inner.regions[place].vault.current(PATH) else { return };
    // A Vault keeps ten versions: who writes that often takes away what a rotation needs.
    let count = inner.counts.entry("somebody writes by hand").or_default();
    if *count == 3 {
        return;
    }
    *count += 1;
    let (kind, number, now) = (inner.kind, inner.rng.u64(0..1000), inner.clock(place));
    let document = documents::by_hand(kind, former.expose(), number);
    // What a snapshot brought back may lack what is in use. Who makes that the newest version, before anybody has
    // brought it up to date, takes it away by himself.
    if inner.regions[place].restored && inner.ledger.misses(&document) {
        inner.count("a write by hand is left out that would take away what is in use");
        return;
    }
    let name = inner.regions[place].name.clone();
    inner.tell(|| format!("{name}: somebody writes it by hand"));
    inner.regions[place].vault.put(PATH, &document, None, now);
}

/// A person takes away what people put into the documents.
pub(crate) fn repair(world: &World) {
    let mut inner = world.get();
    for place in 0..inner.regions.len() {
        let Some(found) = inner.regions[place].vault.current(PATH) else { continue };
        let mut document = documents::unmarked(found.expose());
        let Some(keys) = document["keys"].as_object_mut() else { continue };
        let before = keys.len();
        keys.retain(|kid, _| !kid.starts_with("hand"));
        if keys.len() < before {
            let now = inner.clock(place);
            inner.count("somebody repairs by hand");
            inner.regions[place].vault.put(PATH, &document, None, now);
        }
    }
}

/// A person writes one document into every region that has all that is in use in any. A key signs in a region only once
/// every other has shown it for a while.
pub(crate) async fn agree(world: &World) {
    let count = {
        let mut inner = world.get();
        inner.count("somebody makes one document of all by hand");
        inner.regions.len()
    };
    if world.get().kind == SecretKind::Keyset {
        for place in 0..count {
            let document = {
                let inner = world.get();
                keyset(&inner, &signer(&inner, place))
            };
            put(world, place, &document);
        }
        sleep(EVERYWHERE).await;
    }
    let document = {
        let inner = world.get();
        match inner.kind {
            SecretKind::Keyset => keyset(&inner, &signer(&inner, 0)),
            SecretKind::Clients => clients(&inner),
            SecretKind::Value => return,
        }
    };
    (0..count).for_each(|place| put(world, place, &document));
    sleep(EVERYWHERE).await;
}

fn put(world: &World, place: usize, document: &Value) {
    let mut inner = world.get();
    let (name, now) = (inner.regions[place].name.clone(), inner.clock(place));
    inner.tell(|| format!("{name}: somebody writes by hand what has all"));
    inner.regions[place].vault.put(PATH, document, None, now);
}

/// The key that signs in a region; where its document is gone, one that signs in another.
fn signer(inner: &Inner, place: usize) -> String {
    let current = inner.regions[place].vault.current(PATH);
    let own = current.and_then(|current| documents::keys(current.expose()).1);
    own.or_else(|| history(inner).find_map(|document| documents::keys(document).1)).unwrap()
}

/// Every version of the document that any region's Vault has.
fn history(inner: &Inner) -> impl Iterator<Item = &Value> {
    let versions = inner.regions.iter().flat_map(|region| region.vault.secrets[PATH].versions.values());
    versions.filter_map(|kept| kept.data.as_ref())
}

/// Every key that any region has, of which one signs: nobody can be sure which of the others have.
fn keyset(inner: &Inner, signs: &str) -> Value {
    let entries = || history(inner).flat_map(|document| document["keys"].as_object().unwrap());
    let all: BTreeSet<&String> = entries().map(|(kid, _)| kid).collect();
    let key = |kid: &&String| {
        let state = if *kid == signs { "active" } else { "retiring" };
        let mut entry = json!({"state": state, "public_jwk": {}, "since": "2026-01-01T00:00:00Z"});
        if *kid == signs {
            let private = entries().find_map(|(own, entry)| entry.get("private_pem").filter(|_| own == *kid));
            entry["private_pem"] = private.unwrap().clone();
        }
        ((*kid).clone(), entry)
    };
    json!({"keys": all.iter().map(key).collect::<serde_json::Map<_, _>>()})
}

/// Every secret of each client that any region takes.
fn clients(inner: &Inner) -> Value {
    let mut all: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
    for document in history(inner) {
        for (client, entry) in document["clients"].as_object().unwrap() {
            let secrets = entry["secrets"].as_array().unwrap().iter();
            all.entry(client)
                .or_default()
                .extend(secrets.map(|secret| secret["sha256"].as_str().unwrap().to_owned()));
        }
    }
    let entry = |(client, hashes): (&String, BTreeSet<String>)| {
        let secrets: Vec<Value> = hashes.into_iter().map(|sha256| json!({"sha256": sha256})).collect();
        (client.clone(), json!({"secrets": secrets, "scopes": []}))
    };
    json!({"clients": all.into_iter().map(entry).collect::<serde_json::Map<_, _>>()})
}
