//! The `clients` document: who may ask for tokens, and with which secrets.

use std::collections::HashMap;

use aws_lc_rs::{constant_time, digest};
use jiff::Timestamp;

use super::tree::{Cursor, DocumentError, read_document};
use crate::oauth::scope::{self, Scopes};

/// The registered clients.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    clients: HashMap<String, Client>,
}

/// One registered client.
#[derive(Debug, Clone)]
pub struct Client {
    secrets: Vec<SecretHash>,
    /// What the client may ask for; what it gets when it asks for nothing.
    pub scopes: Scopes,
}

#[derive(Debug, Clone, Copy)]
struct SecretHash {
    sha256: [u8; 32],
    not_after: Option<Timestamp>,
}

/// A client may hold this many secrets side by side: the one in use and the one that replaces it.
const MAX_SECRETS: usize = 2;
/// The longest client id, in characters.
const MAX_ID: usize = 64;

impl Clients {
    /// Reads and checks a whole document.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn read(json: &[u8]) -> Result<Self, DocumentError> {
        read_document(json, |root| {
            let table = root.table(&["clients"])?;
            let listed = table.required("clients")?;
            let entries = listed.entries()?;
            if entries.is_empty() {
                listed.refuse("holds no client; a document that locks everybody out is not taken");
            }
            let clients =
                entries.iter().filter_map(|(id, entry)| Some(((*id).to_owned(), client(id, entry)?)));
            Some(Clients { clients: clients.collect() })
        })
    }

    /// A single client with one secret that does not end.
    pub fn single(id: &str, secret: &str, scopes: Scopes) -> Self {
        let secrets = vec![SecretHash { sha256: sha256(secret), not_after: None }];
        Clients { clients: HashMap::from([(id.to_owned(), Client { secrets, scopes })]) }
    }

    /// The client that this id and secret prove, at the moment `now`.
    ///
    /// The time it takes does not tell an unknown client from a wrong secret: the secret is hashed and
    /// compared with as many hashes in either case.
    pub fn authenticate(&self, id: &str, secret: &str, now: Timestamp) -> Option<&Client> {
        let presented = sha256(secret);
        let client = self.clients.get(id);
        let mut proven = false;
        for index in 0..MAX_SECRETS {
            let known = client.and_then(|client| client.secrets.get(index));
            let expected = known.map_or(NOBODY, |known| known.sha256);
            let equal = constant_time::verify_slices_are_equal(&presented, &expected).is_ok();
            let in_time = known.is_some_and(|known| known.not_after.is_none_or(|end| now < end));
            proven |= equal & in_time;
        }
        client.filter(|_| proven)
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

/// Compared with where there is no hash; it belongs to no secret, since `in_time` is false beside it.
const NOBODY: [u8; 32] = [0; 32];

fn sha256(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    hash
}

fn client(id: &str, entry: &Cursor<'_>) -> Option<Client> {
    if !is_client_id(id) {
        entry.refuse(format_args!(
            "a client's id is 1 to {MAX_ID} letters, digits, dots, underscores and hyphens"
        ));
    }
    let table = entry.table(&["secrets", "scopes", "description"])?;
    table.optional("description").map(Cursor::text);
    let secrets = table.required("secrets").and_then(secrets);
    let scopes = table.required("scopes").and_then(scopes);
    Some(Client { secrets: secrets?, scopes: scopes? })
}

fn is_client_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn secrets(listed: &Cursor<'_>) -> Option<Vec<SecretHash>> {
    let items = listed.list()?;
    if !(1..=MAX_SECRETS).contains(&items.len()) {
        listed.refuse(format_args!("expected 1 or {MAX_SECRETS} secrets, found {}", items.len()));
    }
    let mut hashes: Vec<SecretHash> = Vec::with_capacity(items.len());
    for item in items {
        let Some(table) = item.table(&["sha256", "not_after"]) else { continue };
        let not_after = table.optional("not_after").and_then(super::timestamp);
        let Some(sha256) = table.required("sha256") else { continue };
        let Some(hash) = sha256.text().and_then(from_hex) else {
            sha256.refuse("expected the 64 hexadecimal digits of a SHA-256 hash");
            continue;
        };
        if hashes.iter().any(|other| other.sha256 == hash) {
            sha256.refuse("is the same as the other secret's");
        }
        hashes.push(SecretHash { sha256: hash, not_after });
    }
    Some(hashes)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

fn scopes(listed: &Cursor<'_>) -> Option<Scopes> {
    let mut tokens: Vec<String> = Vec::new();
    for item in listed.list()? {
        match item.text() {
            Some(token) if !scope::is_token(token) => {
                item.refuse("expected a scope of RFC 6749 section 3.3: printable ASCII without space, quote and backslash");
            }
            Some(token) if tokens.iter().any(|other| other == token) => item.refuse("is given twice"),
            Some(token) => tokens.push(token.to_owned()),
            None => {}
        }
    }
    Some(Scopes::new(tokens))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SHA-256 of `one` and of `two`.
    const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    const TWO: &str = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn two_secrets() -> Clients {
        let json = format!(
            r#"{{"clients": {{"probe": {{"secrets": [
                {{"sha256": "{ONE}", "not_after": "2026-01-01T00:00:00.5Z"}},
                {{"sha256": "{TWO}", "not_after": null}}], "scopes": ["read", "write"]}}}}}}"#
        );
        Clients::read(json.as_bytes()).unwrap()
    }

    #[test]
    fn each_secret_is_good_until_its_own_end_to_the_moment() {
        let clients = two_secrets();
        let before = at("2026-01-01T00:00:00.499999999Z");
        let end = at("2026-01-01T00:00:00.5Z");
        assert!(clients.authenticate("probe", "one", before).is_some());
        assert!(clients.authenticate("probe", "one", end).is_none());
        assert!(clients.authenticate("probe", "two", end).is_some());
        assert!(clients.authenticate("probe", "three", before).is_none());
        assert!(clients.authenticate("prober", "one", before).is_none());
        assert!(clients.authenticate("probe", "", before).is_none());
    }

    #[test]
    fn a_hash_of_zeros_is_nobodys_secret() {
        let clients = Clients::single("a", "one", Scopes::default());
        assert!(clients.authenticate("a", "one", at("2026-01-01T00:00:00Z")).is_some());
        assert!(clients.authenticate("b", "one", at("2026-01-01T00:00:00Z")).is_none());
    }

    fn refused(json: &str) -> String {
        Clients::read(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn broken_documents_are_refused_with_their_place() {
        let client = |body: &str| format!(r#"{{"clients": {{"probe": {body}}}}}"#);
        for (json, expected) in [
            ("[]".to_owned(), "expected a table, found a list"),
            ("{}".to_owned(), "clients: is missing"),
            (r#"{"clients": {}}"#.to_owned(), "clients: holds no client"),
            (r#"{"clients": {}, "client": 1}"#.to_owned(), "client: unknown key; allowed here: clients"),
            (
                format!(r#"{{"clients": {{"a b": {{"secrets": [{{"sha256": "{ONE}"}}], "scopes": []}}}}}}"#),
                "clients.a b: a client's id is 1 to 64",
            ),
            (
                client(r#"{"secrets": [], "scopes": []}"#),
                "clients.probe.secrets: expected 1 or 2 secrets, found 0",
            ),
            (
                client(r#"{"secrets": [{"sha256": "canary"}], "scopes": []}"#),
                "clients.probe.secrets[0].sha256: expected the 64 hexadecimal digits",
            ),
            (
                client(&format!(
                    r#"{{"secrets": [{{"sha256": "{ONE}", "not_after": "canary"}}], "scopes": []}}"#
                )),
                "clients.probe.secrets[0].not_after: expected a time such as",
            ),
            (
                client(&format!(
                    r#"{{"secrets": [{{"sha256": "{ONE}"}}, {{"sha256": "{ONE}"}}], "scopes": []}}"#
                )),
                "clients.probe.secrets[1].sha256: is the same as the other secret's",
            ),
            (
                client(&format!(
                    r#"{{"secrets": [{{"sha256": "{ONE}", "secret": "canary"}}], "scopes": []}}"#
                )),
                "clients.probe.secrets[0].secret: unknown key; allowed here: sha256, not_after",
            ),
            (
                client(&format!(r#"{{"secrets": [{{"sha256": "{ONE}"}}], "scopes": ["canary two"]}}"#)),
                "clients.probe.scopes[0]: expected a scope",
            ),
            (
                client(&format!(r#"{{"secrets": [{{"sha256": "{ONE}"}}]}}"#)),
                "clients.probe.scopes: is missing",
            ),
        ] {
            let said = refused(&json);
            assert!(said.contains(expected), "wanted {expected:?} in {said:?}");
            assert!(!said.contains("canary"), "{said}");
        }
    }

    #[test]
    fn independent_problems_are_told_together() {
        let said = refused(r#"{"clients": {"a": {"secrets": [], "scopes": 1}, "b": {"scopes": []}}}"#);
        for expected in ["clients.a.secrets: ", "clients.a.scopes: ", "clients.b.secrets: is missing"] {
            assert!(said.contains(expected), "wanted {expected:?} in {said:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Clients::read(&bytes);
        }

        #[test]
        fn no_change_of_a_good_document_panics(cut in 0_usize..400, byte in any::<u8>()) {
            let mut json = format!(
                r#"{{"clients": {{"probe": {{"secrets": [{{"sha256": "{ONE}", "not_after": null}}], "scopes": ["read"]}}}}}}"#
            ).into_bytes();
            let index = cut % json.len();
            json[index] = byte;
            let _ = Clients::read(&json);
        }
    }
}
