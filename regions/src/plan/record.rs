//! Release records: what runs in a region, and what ran there before.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::object::ObjectRef;

/// How many records a region keeps, the current one included.
pub const HISTORY: usize = 10;

/// One release in one region: what was promoted, by whom, and how it ended. The record holds all that is
/// needed to put the region back to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Record {
    /// Counts the releases of a region, from 1.
    pub number: u64,
    /// How far it came.
    pub state: State,
    /// How often it was begun: a run that was killed is begun again under the same number.
    pub attempt: u64,
    /// What was promoted.
    pub release: Release,
    /// SHA-256 of the values that Helm was given.
    pub values_sha256: String,
    /// SHA-256 of the objects that Helm rendered from them.
    pub manifest_sha256: String,
    /// The objects of the release.
    pub objects: Vec<ObjectRef>,
    /// Who, as the region's API server knows the caller, and when, why and from which build.
    pub provenance: Provenance,
    /// When the last attempt began.
    pub started: Timestamp,
    /// When it ended; absent while it is being applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Record {
    /// The same release with the same values, so that a run that was killed may go on under this record.
    pub fn is_for(&self, wanted: &Wanted) -> bool {
        self.release.digest == wanted.release.digest
            && self.values_sha256 == wanted.values_sha256
            && self.manifest_sha256 == wanted.manifest_sha256
    }
}

/// What is promoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Release {
    /// What the caller named: a file or an OCI reference.
    pub reference: String,
    /// `sha256:…`: of the packaged chart, or of its OCI manifest. This is what is promoted.
    pub digest: String,
    /// SHA-256 of the packaged chart itself; equal to `digest` for a file.
    pub package_sha256: String,
    /// The chart's name.
    pub chart: String,
    /// The chart's version.
    pub version: String,
}

/// Who promotes, why, and from which build.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Provenance {
    /// The caller's name at the region's API server.
    pub who: String,
    /// The reason that the caller gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The build that ran the command, such as its address in CI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// How far a release came in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Begun and not ended: the run is going on, or was killed.
    Applying,
    /// Applied and ready.
    Applied,
    /// Ended without becoming ready, or left unfinished and replaced by another release.
    Failed,
}

impl State {
    /// As in the record and its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Failed => "failed",
        }
    }
}

/// What the caller wants a region to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The release.
    pub release: Release,
    /// SHA-256 of the values that Helm was given for this region.
    pub values_sha256: String,
    /// SHA-256 of what Helm rendered for this region.
    pub manifest_sha256: String,
    /// Who wants it, why, and from which build.
    pub provenance: Provenance,
}
