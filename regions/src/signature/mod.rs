//! Whether a release is signed by somebody whom the catalogue names, and comes with its bill of materials.
//!
//! Signatures are those of cosign: beside the release in its registry, under tags that follow from its digest, so that
//! the field's own tools read them too.

mod error;
mod key;
mod papers;
mod registry;

pub use error::SignatureError;
pub use key::Signer;

use crate::plan::record::Release;
use papers::Claimed;
use registry::Registry;

/// Most layers that are read of one manifest: signatures of keys that came and went, or papers.
const LAYERS: usize = 32;

/// Holds a release to what the catalogue asks. Nothing is asked where it names no signer.
///
/// # Errors
/// The release is not signed by one of the signers, its bill of materials is missing or is another's, or the registry
/// cannot be read.
pub async fn verify(release: &Release, signers: &[Signer]) -> Result<(), SignatureError> {
    if signers.is_empty() {
        return Ok(());
    }
    let reference = &release.reference;
    let Some((address, digest)) = reference.strip_prefix("oci://").and_then(|rest| rest.split_once('@'))
    else {
        return Err(SignatureError::File(reference.clone()));
    };
    let claimed = Claimed { reference, digest, package: &release.package_sha256, signers };
    let mut registry = Registry::new(address)?;
    let base = digest.replace(':', "-");

    let tag = format!("{base}.sig");
    let manifest = registry.manifest(&tag).await?;
    let manifest = manifest.ok_or_else(|| SignatureError::Unsigned { reference: reference.clone(), tag })?;
    let mut signatures = Vec::new();
    for layer in
        manifest.layers.iter().filter(|layer| layer.media_type == papers::SIMPLE_SIGNING).take(LAYERS)
    {
        let signature = layer.annotations.get(papers::SIGNATURE).cloned().unwrap_or_default();
        signatures.push((registry.blob(layer).await?, signature));
    }
    claimed.signed(&signatures)?;

    let manifest = registry.manifest(&format!("{base}.att")).await?;
    let manifest = manifest.ok_or_else(|| SignatureError::NoBill(reference.clone()))?;
    let mut envelopes = Vec::new();
    for layer in manifest.layers.iter().filter(|layer| layer.media_type == papers::DSSE).take(LAYERS) {
        envelopes.push(registry.blob(layer).await?);
    }
    claimed.billed(&envelopes)
}
