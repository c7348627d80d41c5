//! The `signing-keys` document: the keys that sign tokens and the keys that verify them.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use super::tree::{Cursor, DocumentError, Table, read_document};
use crate::oauth::jwk::PublicJwk;

/// The keys of one version of the document.
#[derive(Debug, Clone)]
pub struct SigningKeys {
    /// The one that signs.
    pub active: SigningKey,
    /// Every key that verifies, published, active and retiring, in the order of their ids.
    pub verifying: Vec<PublicJwk>,
}

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey {
    /// Its RFC 7638 thumbprint.
    pub kid: String,
    pair: Arc<EcdsaKeyPair>,
}

impl SigningKey {
    /// The ES256 signature (RFC 7518 §3.4) of a message: 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Result<impl AsRef<[u8]> + use<>, aws_lc_rs::error::Unspecified> {
        self.pair.sign(&SystemRandom::new(), message)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// More keys than a rotation ever needs would only make the JWKS large.
const MAX_KEYS: usize = 16;
const STATES: [&str; 3] = ["published", "active", "retiring"];

impl SigningKeys {
    /// Reads and checks a whole document.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn read(json: &[u8]) -> Result<Self, DocumentError> {
        read_document(json, |root| {
            let table = root.table(&["keys"])?;
            let listed = table.required("keys")?;
            let entries = listed.entries()?;
            if entries.len() > MAX_KEYS {
                listed.refuse(format_args!("expected at most {MAX_KEYS} keys, found {}", entries.len()));
            }
            let keys: Vec<Key> = entries.iter().filter_map(|(kid, entry)| key(kid, entry)).collect();
            let states = entries.iter().filter_map(|(_, entry)| state_of(entry));
            let active = states.filter(|state| *state == "active").count();
            if active != 1 {
                listed.refuse(format_args!("expected exactly one active key, found {active}"));
            }
            let mut verifying: Vec<PublicJwk> = keys.iter().map(|key| key.public.clone()).collect();
            verifying.sort_by(|one, other| one.kid.cmp(&other.kid));
            let active = keys.into_iter().find_map(|key| key.signs)?;
            Some(SigningKeys { active, verifying })
        })
    }

    /// A new key, made here and known to nobody else.
    ///
    /// # Errors
    /// The system's random numbers failed.
    pub fn generate() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let public =
            PublicJwk::from_point(pair.public_key().as_ref()).ok_or(aws_lc_rs::error::Unspecified)?;
        let active = SigningKey { kid: public.kid.clone(), pair: Arc::new(pair) };
        Ok(SigningKeys { active, verifying: vec![public] })
    }
}

struct Key {
    public: PublicJwk,
    /// Set for the active key alone.
    signs: Option<SigningKey>,
}

fn state_of<'a>(entry: &Cursor<'a>) -> Option<&'a str> {
    entry.peek("state")?.peek_text()
}

fn key(kid: &str, entry: &Cursor<'_>) -> Option<Key> {
    let table = entry.table(&["state", "private_pem", "public_jwk", "since"])?;
    let state = table.required("state").and_then(state);
    table.required("since").and_then(super::timestamp);
    let public = table.required("public_jwk").and_then(|jwk| public_jwk(kid, jwk));
    let pair = private_key(&table, state, public.as_ref());
    let (state, public) = (state?, public?);
    if public.kid != kid {
        entry.refuse("the key's name is not the RFC 7638 thumbprint of its public_jwk");
    }
    let signs = match (state, pair) {
        ("active", Some(pair)) => Some(SigningKey { kid: public.kid.clone(), pair: Arc::new(pair) }),
        _ => None,
    };
    Some(Key { public, signs })
}

fn state(cursor: &Cursor<'_>) -> Option<&'static str> {
    let text = cursor.text()?;
    let known = STATES.into_iter().find(|state| *state == text);
    if known.is_none() {
        cursor.refuse(format_args!("is not one of {}", STATES.join(", ")));
    }
    known
}

fn public_jwk(kid: &str, cursor: &Cursor<'_>) -> Option<PublicJwk> {
    if cursor.peek("d").is_some() {
        cursor
            .refuse("holds a private key in `d`; take this key out of use, since it is published from here");
    }
    let table = cursor.table(&["kty", "crv", "x", "y", "kid", "alg", "use"])?;
    for (name, value, required) in [
        ("kty", "EC", true),
        ("crv", "P-256", true),
        ("kid", kid, false),
        ("alg", "ES256", false),
        ("use", "sig", false),
    ] {
        let field = if required { table.required(name) } else { table.optional(name) };
        if let Some(field) = field
            && field.text().is_some_and(|text| text != value)
        {
            field.refuse(format_args!("expected {value}"));
        }
    }
    let (x, y) = (coordinate(&table, "x"), coordinate(&table, "y"));
    let mut point = vec![4];
    point.extend_from_slice(&x?);
    point.extend_from_slice(&y?);
    if ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).is_err() {
        cursor.refuse("x and y are no point of P-256");
        return None;
    }
    PublicJwk::from_point(&point)
}

fn coordinate(table: &Table<'_>, name: &str) -> Option<[u8; 32]> {
    let field = table.required(name)?;
    let bytes = URL_SAFE_NO_PAD.decode(field.text()?).ok().and_then(|bytes| bytes.try_into().ok());
    if bytes.is_none() {
        field.refuse("expected 32 bytes in base64url without padding (RFC 7518 section 6.2.1)");
    }
    bytes
}

fn private_key(table: &Table<'_>, state: Option<&str>, public: Option<&PublicJwk>) -> Option<EcdsaKeyPair> {
    let field = match state {
        Some("active") => table.required("private_pem")?,
        _ => table.optional("private_pem")?,
    };
    if state == Some("retiring") {
        field.refuse("must be absent: a retiring key signs nothing any more");
        return None;
    }
    let pem = field.text()?;
    let Ok(der) = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()) else {
        field.refuse("expected a private key in PEM, as PKCS#8 (BEGIN PRIVATE KEY)");
        return None;
    };
    let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der()) else {
        field.refuse("expected a private key of the curve P-256");
        return None;
    };
    let public = public?;
    if PublicJwk::from_point(pair.public_key().as_ref()).is_none_or(|derived| derived.kid != public.kid) {
        field.refuse("does not belong to public_jwk");
    }
    Some(pair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{KeyPair as Generated, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};

    struct Made {
        kid: String,
        pem: String,
        jwk: String,
    }

    fn made() -> Made {
        let pair = Generated::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let public = PublicJwk::from_point(pair.public_key_raw()).unwrap();
        let jwk = format!(r#"{{"kty": "EC", "crv": "P-256", "x": "{}", "y": "{}"}}"#, public.x, public.y);
        Made { kid: public.kid, pem: pair.serialize_pem().replace('\n', "\\n"), jwk }
    }

    fn entry(key: &Made, state: &str, pem: Option<&str>) -> String {
        let pem = pem.map(|pem| format!(r#""private_pem": "{pem}", "#)).unwrap_or_default();
        format!(
            r#""{}": {{"state": "{state}", {pem}"public_jwk": {}, "since": "2026-01-01T00:00:00Z"}}"#,
            key.kid, key.jwk
        )
    }

    fn document(entries: &[String]) -> String {
        format!(r#"{{"keys": {{{}}}}}"#, entries.join(", "))
    }

    #[test]
    fn the_active_key_signs_and_every_key_verifies() {
        let (old, current, next) = (made(), made(), made());
        let json = document(&[
            entry(&old, "retiring", None),
            entry(&current, "active", Some(&current.pem)),
            entry(&next, "published", Some(&next.pem)),
        ]);
        let keys = SigningKeys::read(json.as_bytes()).unwrap();
        assert_eq!(keys.active.kid, current.kid);
        let mut kids = [old.kid, current.kid, next.kid];
        kids.sort();
        let listed: Vec<&str> = keys.verifying.iter().map(|key| key.kid.as_str()).collect();
        assert_eq!(listed, kids);
        assert_eq!(keys.active.sign(b"message").unwrap().as_ref().len(), 64);
    }

    #[test]
    fn broken_documents_are_refused_with_their_place() {
        let (one, two) = (made(), made());
        let good = entry(&one, "active", Some(&one.pem));
        let other_curve =
            Generated::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem().replace('\n', "\\n");
        let misnamed = Made { kid: two.kid.clone(), pem: one.pem.clone(), jwk: one.jwk.clone() };
        let off_curve = one.jwk.replace("\"x\": \"", "\"x\": \"AAAA").replacen(
            &one.jwk[one.jwk.find("\"x\": \"").unwrap() + 6..][..4],
            "",
            1,
        );
        let off_curve = Made { kid: one.kid.clone(), pem: one.pem.clone(), jwk: off_curve };
        for (json, expected) in [
            (document(&[]), "keys: expected exactly one active key, found 0".to_owned()),
            (
                document(&[entry(&one, "published", Some(&one.pem))]),
                "expected exactly one active key, found 0".to_owned(),
            ),
            (
                document(&[good.clone(), entry(&two, "active", Some(&two.pem))]),
                "keys: expected exactly one active key, found 2".to_owned(),
            ),
            (document(&[good.clone(), good.clone()]), format!("keys.{}: is given twice", one.kid)),
            (document(&[entry(&one, "active", None)]), format!("keys.{}.private_pem: is missing", one.kid)),
            (
                document(&[good.clone(), entry(&two, "retiring", Some(&two.pem))]),
                format!("keys.{}.private_pem: must be absent", two.kid),
            ),
            (
                document(&[entry(&one, "Active", Some(&one.pem))]),
                "state: is not one of published, active, retiring".to_owned(),
            ),
            (
                document(&[entry(&one, "active", Some(&two.pem))]),
                format!("keys.{}.private_pem: does not belong to public_jwk", one.kid),
            ),
            (
                document(&[entry(&one, "active", Some("canary"))]),
                "private_pem: expected a private key in PEM".to_owned(),
            ),
            (
                document(&[entry(&one, "active", Some(&other_curve))]),
                "expected a private key of the curve P-256".to_owned(),
            ),
            (
                document(&[entry(&misnamed, "active", Some(&one.pem))]),
                format!("keys.{}: the key's name is not the RFC 7638 thumbprint", two.kid),
            ),
            (
                document(&[good.replace("\"P-256\"", "\"P-384\"")]),
                "public_jwk.crv: expected P-256".to_owned(),
            ),
            (document(&[good.replace("\"kty\": \"EC\", ", "")]), "public_jwk.kty: is missing".to_owned()),
            (
                document(&[good.replace("\"kty\"", "\"d\": \"canary\", \"kty\"")]),
                "public_jwk: holds a private key in `d`".to_owned(),
            ),
            (
                document(&[entry(&off_curve, "active", Some(&one.pem))]),
                "public_jwk: x and y are no point".to_owned(),
            ),
            (document(&[good.replace("2026-01-01T", "canary")]), "since: expected a time such as".to_owned()),
            (
                document(&[good.replace("\"since\"", "\"sinse\"")]),
                "sinse: unknown key; allowed here: state".to_owned(),
            ),
        ] {
            let said = SigningKeys::read(json.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(&expected), "wanted {expected:?} in {said:?}");
            assert!(!said.contains("canary") && !said.contains(&one.pem[40..60]), "{said}");
        }
    }

    #[test]
    fn a_generated_set_has_one_key_that_signs_and_verifies() {
        let keys = SigningKeys::generate().unwrap();
        assert_eq!(keys.verifying.len(), 1);
        assert_eq!(keys.verifying[0].kid, keys.active.kid);
        assert!(!format!("{keys:?}").contains("pair"), "{keys:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = SigningKeys::read(&bytes);
        }

        #[test]
        fn no_strings_in_the_fields_panic(kid in ".{0,50}", x in ".{0,50}", pem in ".{0,80}", state in "active|retiring|.{0,9}") {
            let document = serde_json::json!({"keys": {kid: {
                "state": state, "private_pem": pem, "since": x,
                "public_jwk": {"kty": "EC", "crv": "P-256", "x": x, "y": x},
            }}});
            prop_assert!(SigningKeys::read(document.to_string().as_bytes()).is_err());
        }
    }
}
