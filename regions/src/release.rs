//! What is promoted: a packaged chart, known by its digest and by nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::helm::{Helm, HelmError};
use crate::plan::record::Release;

/// Why a release cannot be promoted.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A name that may mean something else tomorrow.
    #[error("{0} names a release by tag, and a tag can move; name it by digest: REPOSITORY@sha256:…")]
    Tag(String),
    /// Neither a file nor an OCI reference.
    #[error("{0} is neither a packaged chart (.tgz) nor an OCI reference (oci://REPOSITORY@sha256:…)")]
    Unknown(String),
    /// A chart that is not packaged has no digest.
    #[error("{0} is a folder; package it first: helm package {0}")]
    Folder(String),
    /// A digest that is no digest.
    #[error("{0} is not a digest; it looks like sha256: and 64 digits from 0 to f")]
    Malformed(String),
    /// The file is not what the digest says.
    #[error("{file} has the digest {found}, not {wanted}: it is not the release that was meant")]
    Mismatch {
        /// The file.
        file: String,
        /// Its digest.
        found: String,
        /// The digest given.
        wanted: String,
    },
    /// The file could not be read.
    #[error("read the release {file}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Helm could not read or fetch it.
    #[error("the release {reference}")]
    Helm {
        /// What was asked for.
        reference: String,
        /// What Helm said.
        #[source]
        source: HelmError,
    },
}

impl ReleaseError {
    /// Whether the release was understood and refused, as against not understood.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Tag(_) | Self::Mismatch { .. } | Self::Helm { .. })
    }
}

/// A release with a copy of its packaged chart, which nobody can change while it is promoted.
#[derive(Debug)]
pub struct Packaged {
    /// What it is.
    pub release: Release,
    /// The copy.
    pub file: PathBuf,
    _folder: TempDir,
}

/// Finds what a reference means: a `.tgz` file (also `FILE@sha256:…`, checked), or `oci://…@sha256:…`.
///
/// # Errors
/// When it is a tag, is not there, or is not what the digest says.
pub async fn resolve(reference: &str, helm: &Helm) -> Result<Packaged, ReleaseError> {
    let read = |source| ReleaseError::Read { file: reference.to_owned(), source };
    let folder = tempfile::tempdir().map_err(read)?;
    let via_helm = |source| ReleaseError::Helm { reference: reference.to_owned(), source };
    let (file, digest) = match parse(reference)? {
        Reference::File { path, digest } => {
            let copy = folder.path().join("release.tgz");
            fs::copy(path, &copy).map_err(read)?;
            (copy, digest)
        }
        Reference::Registry { address, digest } => {
            let file = helm.pull(&format!("{address}@{digest}"), folder.path()).await.map_err(via_helm)?;
            (file, Some(digest))
        }
    };
    let package = hex_sha256(&fs::read(&file).map_err(read)?);
    let found = format!("sha256:{package}");
    let digest = match digest {
        Some(wanted) if !is_registry(reference) && wanted != found => {
            return Err(ReleaseError::Mismatch { file: reference.to_owned(), found, wanted });
        }
        Some(digest) => digest,
        None => found,
    };
    let facts = helm.show(&file).await.map_err(via_helm)?;
    let release = Release {
        reference: reference.to_owned(),
        digest,
        package_sha256: package,
        chart: facts.name,
        version: facts.version,
    };
    Ok(Packaged { release, file, _folder: folder })
}

/// SHA-256 as 64 digits.
pub fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Reference {
    File { path: PathBuf, digest: Option<String> },
    Registry { address: String, digest: String },
}

fn is_registry(reference: &str) -> bool {
    reference.starts_with("oci://")
}

fn parse(reference: &str) -> Result<Reference, ReleaseError> {
    let (name, digest) = match reference.rsplit_once('@') {
        Some((name, digest)) => (name, Some(checked(digest)?)),
        None => (reference, None),
    };
    if is_registry(name) {
        let tag = || ReleaseError::Tag(reference.to_owned());
        let digest = digest.ok_or_else(tag)?;
        // A tag beside a digest is only decoration, but two names for one thing invite doubt at night.
        let last = name.rsplit('/').next().unwrap_or_default();
        return if last.contains(':') {
            Err(tag())
        } else {
            Ok(Reference::Registry { address: name.to_owned(), digest })
        };
    }
    let path = Path::new(name);
    if path.is_dir() {
        return Err(ReleaseError::Folder(name.to_owned()));
    }
    if path.extension().is_some_and(|extension| extension == "tgz") || path.is_file() {
        return Ok(Reference::File { path: path.to_owned(), digest });
    }
    Err(ReleaseError::Unknown(reference.to_owned()))
}

fn checked(digest: &str) -> Result<String, ReleaseError> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    let well_formed = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if well_formed { Ok(digest.to_owned()) } else { Err(ReleaseError::Malformed(digest.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_the_only_name_in_a_registry() {
        let found = parse(&format!("oci://registry.example:5000/charts/service@{DIGEST}")).unwrap();
        let address = "oci://registry.example:5000/charts/service".to_owned();
        assert_eq!(found, Reference::Registry { address, digest: DIGEST.into() });
        for tag in [
            "oci://r.example/service:1.2.3",
            "oci://r.example/service",
            &format!("oci://r/service:1@{DIGEST}"),
        ] {
            assert!(matches!(parse(tag), Err(ReleaseError::Tag(_))), "{tag}");
        }
    }

    #[test]
    fn what_is_no_release_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(parse(folder.path().to_str().unwrap()), Err(ReleaseError::Folder(_))));
        assert!(matches!(parse("service:1.2.3"), Err(ReleaseError::Unknown(_))));
        assert!(matches!(parse("oci://r/service@sha256:ab"), Err(ReleaseError::Malformed(_))));
        assert!(matches!(
            parse(&format!("a.tgz@{}", DIGEST.to_uppercase())),
            Err(ReleaseError::Malformed(_))
        ));
    }

    #[test]
    fn the_empty_digest_is_well_known() {
        assert_eq!(format!("sha256:{}", hex_sha256(b"")), DIGEST);
    }
}
