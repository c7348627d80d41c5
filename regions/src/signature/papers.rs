//! What is signed and attested, in the forms that cosign writes: simple signing, and in-toto statements in DSSE.
//! Nothing of a paper is believed before its signature.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::error::SignatureError;
use super::key::Signer;

/// Media type of a signature's payload.
pub(super) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of a layer that holds the signature of its payload.
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Media type of an attestation.
pub(super) const DSSE: &str = "application/vnd.dsse.envelope.v1+json";
/// What a payload calls itself.
const COSIGN: &str = "cosign container image signature";
/// Type of what an envelope holds.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Type of a statement that is a CycloneDX bill of materials.
const CYCLONEDX: &str = "https://cyclonedx.org/bom";

/// A release as its reference and its package claim to be.
pub(super) struct Claimed<'a> {
    pub(super) reference: &'a str,
    /// Digest of its manifest: `sha256:…`.
    pub(super) digest: &'a str,
    /// SHA-256 of its package, as digits.
    pub(super) package: &'a str,
    pub(super) signers: &'a [Signer],
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "payloadType")]
    kind: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "predicateType")]
    kind: String,
    subject: Vec<Subject>,
    predicate: serde_json::Value,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digests,
}

#[derive(Deserialize)]
struct Digests {
    #[serde(default)]
    sha256: String,
}

#[derive(Deserialize)]
struct Bill {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    component: Component,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default)]
    hashes: Vec<Hash>,
}

#[derive(Deserialize)]
struct Hash {
    alg: String,
    content: String,
}

impl Claimed<'_> {
    /// Whether one of these payloads is for this release and signed by one of the signers.
    pub(super) fn signed(&self, signatures: &[(Vec<u8>, String)]) -> Result<(), SignatureError> {
        let mut other = None;
        for (payload, signature) in signatures {
            if !self.is_trusted(payload, std::iter::once(signature.as_str())) {
                continue;
            }
            match serde_json::from_slice::<Payload>(payload) {
                Ok(Payload { critical })
                    if critical.kind == COSIGN && critical.image.digest == self.digest =>
                {
                    return Ok(());
                }
                Ok(Payload { critical }) => other = Some(critical.image.digest),
                Err(_) => {}
            }
        }
        Err(match other {
            Some(found) => SignatureError::Other { reference: self.reference.to_owned(), found },
            None => SignatureError::Stranger(self.reference.to_owned()),
        })
    }

    /// Whether one of these envelopes is this release's bill of materials, attested by one of the signers.
    pub(super) fn billed(&self, envelopes: &[Vec<u8>]) -> Result<(), SignatureError> {
        let mut differs = None;
        for envelope in envelopes {
            let Some(statement) = self.statement(envelope).filter(|statement| statement.kind == CYCLONEDX)
            else {
                continue;
            };
            match self.compare(statement) {
                Ok(()) => return Ok(()),
                Err(error) => differs = Some(error),
            }
        }
        Err(differs.unwrap_or_else(|| SignatureError::NoBill(self.reference.to_owned())))
    }

    /// What an envelope states, when one of the signers vouches for it.
    fn statement(&self, envelope: &[u8]) -> Option<Statement> {
        let envelope: Envelope = serde_json::from_slice(envelope).ok()?;
        let payload = BASE64_STANDARD.decode(&envelope.payload).ok()?;
        let message = preauthenticated(&envelope.kind, &payload);
        let signatures = envelope.signatures.iter().map(|signature| signature.sig.as_str());
        let trusted = envelope.kind == IN_TOTO && self.is_trusted(&message, signatures);
        trusted.then(|| serde_json::from_slice(&payload).ok()).flatten()
    }

    fn compare(&self, statement: Statement) -> Result<(), SignatureError> {
        let differs = |what, found: String, wanted: &str| SignatureError::BillDiffers {
            reference: self.reference.to_owned(),
            what,
            found: if found.is_empty() { "(none)".into() } else { found },
            wanted: wanted.to_owned(),
        };
        let subjects: Vec<String> = statement
            .subject
            .into_iter()
            .map(|subject| format!("sha256:{}", subject.digest.sha256))
            .collect();
        if subjects != [self.digest] {
            return Err(differs("release", subjects.join(", "), self.digest));
        }
        let hashes =
            serde_json::from_value::<Bill>(statement.predicate).map(|bill| bill.metadata.component.hashes);
        let found = hashes.unwrap_or_default().into_iter().find(|hash| hash.alg == "SHA-256");
        let found = found.map(|hash| hash.content).unwrap_or_default();
        if found == self.package { Ok(()) } else { Err(differs("package", found, self.package)) }
    }

    fn is_trusted<'s>(&self, message: &[u8], mut signatures: impl Iterator<Item = &'s str>) -> bool {
        signatures.any(|signature| self.signers.iter().any(|signer| signer.signed(message, signature)))
    }
}

/// What DSSE signs: the type and the payload, each with its length, so that neither is taken for the other.
fn preauthenticated(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests;
