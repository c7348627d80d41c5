//! Why a release does not count as signed.

/// Why a release does not count as signed. Each is a refusal: nothing was written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A file on this machine.
    #[error(
        "{0} is a file, and signatures stand beside a release in its registry; name it as oci://REPOSITORY@sha256:…"
    )]
    File(String),
    /// There is no signature at all.
    #[error(
        "{reference} is not signed: its registry has no {tag}; the pipeline signs what it built (make sign)"
    )]
    Unsigned {
        /// The release.
        reference: String,
        /// The tag under which a signature would be.
        tag: String,
    },
    /// Somebody signed it, but nobody who counts.
    #[error(
        "{0} is signed by none of the keys that the catalogue names as signers of this environment; \
         if the key was changed, name the new one there"
    )]
    Stranger(String),
    /// The signature is right, and for something else.
    #[error("the signature beside {reference} is for {found}; it was copied from another release")]
    Other {
        /// The release.
        reference: String,
        /// What was signed.
        found: String,
    },
    /// No bill of materials is attested.
    #[error("{0} has no attested bill of materials (CycloneDX); the pipeline attests it (make sign)")]
    NoBill(String),
    /// The bill of materials is another release's.
    #[error(
        "the bill of materials of {reference} is for the {what} {found}, not {wanted}: it is another release's"
    )]
    BillDiffers {
        /// The release.
        reference: String,
        /// What differs.
        what: &'static str,
        /// What the bill says.
        found: String,
        /// What the release has.
        wanted: String,
    },
    /// The registry did not answer as registries do.
    #[error("read {what} from the registry {host}: {why}")]
    Registry {
        /// What was asked for.
        what: String,
        /// The registry.
        host: String,
        /// What went wrong.
        why: String,
    },
}
