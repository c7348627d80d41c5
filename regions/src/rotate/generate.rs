//! Makes what is new, in memory: signing keys, secrets, and documents that come on standard input.

use std::io::Read as _;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::catalogue::types::Generator;
use crate::plan::rotation::mark::ROTATION;
use crate::plan::rotation::recipe::{Made, Need};

/// Random bytes of a secret.
const BYTES: usize = 32;

/// Characters of a password that nobody takes for another: 32, so that each stands for five bits.
const TYPED: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";

/// How many of them: 130 bits.
const LONG: usize = 26;

/// A document that comes from outside is not larger.
const LARGEST: u64 = 1 << 20;

/// Makes what a step needs.
///
/// # Errors
/// The system gives no random numbers, or there is nothing to make it by.
pub(super) fn make(need: &Need, generator: Option<Generator>, input: Option<&Value>) -> Result<Made, String> {
    match (need, generator) {
        (Need::Key, _) => key(),
        (Need::Secret(None), Some(Generator::Password)) => Ok(Made::Secret(password()?)),
        (Need::Secret(_), _) => Ok(Made::Secret(Zeroizing::new(URL_SAFE_NO_PAD.encode(random::<BYTES>()?)))),
        (Need::Document, _) => {
            input.cloned().map(Made::Document).ok_or_else(|| "there is no new document (--from-stdin)".into())
        }
    }
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, String> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::fill(bytes.as_mut()).map_err(|_| "the system gave no random numbers")?;
    Ok(bytes)
}

fn password() -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::with_capacity(LONG));
    for byte in random::<LONG>()?.iter() {
        text.push(char::from(TYPED[usize::from(byte % 32)]));
    }
    Ok(text)
}

/// A P-256 key under its RFC 7638 thumbprint.
fn key() -> Result<Made, String> {
    let failed = |_| "a key could not be made: the system gave no random numbers";
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rand::SystemRandom::new());
    let document = document.map_err(failed)?;
    let der = Zeroizing::new(document.as_ref().to_vec());
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der);
    let pair = pair.map_err(|_| "a key could not be made")?;
    let point = pair.public_key().as_ref();
    let coordinate = |range| point.get(range).map(|bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes));
    let (x, y) = coordinate(1..33).zip(coordinate(33..65)).ok_or("a key could not be made")?;
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Ok(Made::Key {
        kid: URL_SAFE_NO_PAD.encode(Sha256::digest(members.as_bytes())),
        private_pem: pem(&der),
        public_jwk: json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}),
    })
}

/// PKCS#8 as PEM (RFC 7468).
fn pem(der: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(String::with_capacity(text.len() + 64));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, further) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = further;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

/// The document on standard input.
///
/// # Errors
/// It is none, in words that hold nothing of it.
pub(super) fn document() -> Result<Value, String> {
    read(std::io::stdin().lock())
}

fn read(input: impl std::io::Read) -> Result<Value, String> {
    let mut text = Zeroizing::new(Vec::new());
    input.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| format!("standard input: {error}"))?;
    if text.len() as u64 > LARGEST {
        return Err(format!("standard input: the document is larger than {LARGEST} bytes"));
    }
    let document: Value = serde_json::from_slice(&text).map_err(|error| {
        format!("standard input: no JSON (line {}, column {})", error.line(), error.column())
    })?;
    match document.as_object() {
        None => Err("standard input: the document has to be a JSON object".into()),
        Some(fields) if fields.is_empty() => Err("standard input: the document is empty".into()),
        Some(fields) if fields.contains_key(ROTATION) => {
            Err(format!("standard input: the key `{ROTATION}` is the rotation's own; leave it out"))
        }
        Some(_) => Ok(document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_whole_and_another_each_time() {
        let (one, other) = (key().unwrap(), key().unwrap());
        let (Made::Key { kid, private_pem, public_jwk }, Made::Key { kid: second, .. }) = (&one, &other)
        else {
            panic!("no keys")
        };
        assert_ne!(kid, second);
        assert_eq!(kid.len(), 43);
        let pair = rcgen::KeyPair::from_pem(private_pem).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(&pair.public_key_raw()[1..33]), public_jwk["x"].as_str().unwrap());
        assert!(private_pem.lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn secrets_are_long_enough_and_differ() {
        let made = |generator| match &make(&Need::Secret(None), Some(generator), None).unwrap() {
            Made::Secret(secret) => secret.to_string(),
            other => panic!("{other:?}"),
        };
        let (password, random) = (made(Generator::Password), made(Generator::Random));
        assert_eq!((password.len(), random.len()), (LONG, 43));
        assert!(password.bytes().all(|byte| TYPED.contains(&byte)));
        assert_ne!(made(Generator::Password), password);
        assert!(make(&Need::Document, None, None).is_err());
    }

    #[test]
    fn what_comes_on_standard_input_is_never_quoted() {
        assert_eq!(read(&br#"{"a": {"rotation": 1}}"#[..]).unwrap(), json!({"a": {"rotation": 1}}));
        for wrong in [
            "",
            "canary",
            r#""canary""#,
            r#"["canary"]"#,
            "{}",
            r#"{"canary": "#,
            r#"{"rotation": "canary"}"#,
        ] {
            let told = read(wrong.as_bytes()).unwrap_err();
            assert!(!told.contains("canary"), "{told}");
        }
        let large = vec![b' '; usize::try_from(LARGEST).unwrap() + 1];
        assert!(read(&*large).unwrap_err().contains("larger"));
    }
}
