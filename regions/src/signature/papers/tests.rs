use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;
use crate::catalogue::text::PublicKey;

const REFERENCE: &str = "oci://registry.example/charts/meridian@sha256:aa";
const HEAD: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";

/// Somebody who signs, and whom the catalogue may name.
struct Hand(EcdsaKeyPair);

impl Hand {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn signer(&self) -> Signer {
        let point = self.0.public_key().as_ref();
        let key = format!("{HEAD}{}", BASE64_STANDARD.encode(&point[1..]));
        let key: PublicKey = serde_json::from_value(json!(key)).unwrap();
        Signer::of(&key).unwrap()
    }

    fn sign(&self, message: &[u8]) -> String {
        BASE64_STANDARD.encode(self.0.sign(&SystemRandom::new(), message).unwrap())
    }

    fn payload(&self, digest: &str) -> (Vec<u8>, String) {
        let payload = json!({"critical": {
            "identity": {"docker-reference": "registry.example/charts/meridian"},
            "image": {"docker-manifest-digest": digest}, "type": COSIGN,
        }, "optional": null});
        let bytes = payload.to_string().into_bytes();
        let signature = self.sign(&bytes);
        (bytes, signature)
    }

    fn envelope(&self, statement: &Value) -> Vec<u8> {
        let payload = statement.to_string();
        let sig = self.sign(&preauthenticated(IN_TOTO, payload.as_bytes()));
        let payload = BASE64_STANDARD.encode(payload);
        json!({"payloadType": IN_TOTO, "payload": payload, "signatures": [{"sig": sig}]})
            .to_string()
            .into_bytes()
    }
}

fn bill(digest: &str, package: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": CYCLONEDX,
        "subject": [{"name": "meridian", "digest": {"sha256": digest}}],
        "predicate": {"metadata": {"component": {"hashes": [{"alg": "SHA-256", "content": package}]}}},
    })
}

fn claimed(signers: &[Signer]) -> Claimed<'_> {
    Claimed { reference: REFERENCE, digest: "sha256:aa", package: "bb", signers }
}

#[test]
fn one_signature_of_a_named_signer_is_enough() {
    let (ours, theirs) = (Hand::new(), Hand::new());
    let signers = [Hand::new().signer(), ours.signer()];
    assert_eq!(claimed(&signers).signed(&[theirs.payload("sha256:aa"), ours.payload("sha256:aa")]), Ok(()));
}

#[test]
fn a_stranger_does_not_count_nor_does_a_payload_that_was_changed() {
    let (ours, theirs) = (Hand::new(), Hand::new());
    let signers = [ours.signer()];
    let stranger = Err(SignatureError::Stranger(REFERENCE.into()));
    assert_eq!(claimed(&signers).signed(&[]), stranger);
    assert_eq!(claimed(&signers).signed(&[theirs.payload("sha256:aa")]), stranger);
    let (mut payload, signature) = ours.payload("sha256:ab");
    let place = payload.windows(2).position(|two| two == b"ab").unwrap();
    payload[place + 1] = b'a';
    assert_eq!(claimed(&signers).signed(&[(payload, signature)]), stranger);
    for unfit in ["", "!", "AAAA"] {
        let (payload, _) = ours.payload("sha256:aa");
        assert_eq!(claimed(&signers).signed(&[(payload, unfit.into())]), stranger);
    }
}

#[test]
fn a_signature_of_another_release_is_said_to_be_that() {
    let ours = Hand::new();
    let signers = [ours.signer()];
    let other = SignatureError::Other { reference: REFERENCE.into(), found: "sha256:cc".into() };
    assert_eq!(claimed(&signers).signed(&[ours.payload("sha256:cc")]), Err(other));
}

#[test]
fn the_bill_is_of_this_release_and_of_this_package() {
    let ours = Hand::new();
    let signers = [ours.signer()];
    let billed = |statement: &Value| claimed(&signers).billed(&[ours.envelope(statement)]);
    assert_eq!(billed(&bill("aa", "bb")), Ok(()));
    let differs = |what, found: &str, wanted: &str| SignatureError::BillDiffers {
        reference: REFERENCE.into(),
        what,
        found: found.into(),
        wanted: wanted.into(),
    };
    assert_eq!(billed(&bill("ac", "bb")), Err(differs("release", "sha256:ac", "sha256:aa")));
    assert_eq!(billed(&bill("aa", "bc")), Err(differs("package", "bc", "bb")));
    let mut without = bill("aa", "bb");
    without["predicate"] = json!({});
    assert_eq!(billed(&without), Err(differs("package", "(none)", "bb")));
    let mut two = bill("aa", "bb");
    two["subject"].as_array_mut().unwrap().push(json!({"digest": {"sha256": "ad"}}));
    assert_eq!(billed(&two), Err(differs("release", "sha256:aa, sha256:ad", "sha256:aa")));
}

#[test]
fn what_is_no_bill_or_is_attested_by_nobody_does_not_count() {
    let (ours, theirs) = (Hand::new(), Hand::new());
    let signers = [ours.signer()];
    let none = Err(SignatureError::NoBill(REFERENCE.into()));
    let mut provenance = bill("aa", "bb");
    provenance["predicateType"] = json!("https://slsa.dev/provenance/v1");
    let statement = bill("aa", "bb");
    let mut retyped: Value = serde_json::from_slice(&ours.envelope(&statement)).unwrap();
    retyped["payloadType"] = json!("text/plain");
    for envelopes in [
        vec![],
        vec![b"{}".to_vec(), b"no JSON".to_vec()],
        vec![ours.envelope(&provenance)],
        vec![theirs.envelope(&statement)],
        vec![retyped.to_string().into_bytes()],
    ] {
        assert_eq!(claimed(&signers).billed(&envelopes), none);
    }
}

#[test]
fn what_dsse_signs_is_as_its_specification_says() {
    let message = preauthenticated("http://example.com/HelloWorld", b"hello world");
    assert_eq!(message, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
}
