//! Public keys of those who sign releases.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::catalogue::text::PublicKey;

/// Length of a point of P-256 that is not compressed, with which the DER form of a public key ends.
const POINT: usize = 65;

/// Somebody whose signature counts: a key on the curve P-256, as Cloud KMS and cosign have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer(Vec<u8>);

impl Signer {
    /// The signer whom the catalogue names. Nothing where the text is no key, which the catalogue's check has told.
    pub fn of(key: &PublicKey) -> Option<Self> {
        let der = BASE64_STANDARD.decode(key.as_str()).ok()?;
        Some(Self(der.get(der.len().checked_sub(POINT)?..)?.to_vec()))
    }

    /// Whether this signer signed the message. The signature is base64 of its DER form.
    pub(super) fn signed(&self, message: &[u8], signature: &str) -> bool {
        BASE64_STANDARD.decode(signature.trim()).is_ok_and(|signature| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0).verify(message, &signature).is_ok()
        })
    }
}
