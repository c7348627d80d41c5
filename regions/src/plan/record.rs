//! Release records: what runs in a region, and what ran there before.

use std::collections::BTreeMap;

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
    /// The promotion that this belongs to, the same in all of its regions and whichever run goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<String>,
    /// The number of the release that ran before, to which a failed promotion goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<u64>,
    /// The number of the record that a rollback restored here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// When the gates of its wave had passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<Timestamp>,
    /// Versions of the region's secrets when it began, for information: nothing goes back to them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, u64>,
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
    /// The same release with the same values.
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
    /// Applied and ready; the promotion is not over.
    Baking,
    /// Applied and ready, and every gate of its promotion passed.
    Applied,
    /// It did not become ready and there was nothing to go back to, or another release took its place.
    Failed,
    /// Its promotion failed, and the release before is being put back.
    Undoing,
    /// Its promotion failed, and the release before runs again.
    Undone,
}

impl State {
    /// Whether its promotion is not over: it goes on, or was killed.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Applying | Self::Baking | Self::Undoing)
    }

    /// As in the record and its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Baking => "baking",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
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
    /// What it is wanted for.
    pub intent: Intent,
}

/// What a release is wanted for.
#[derive(Debug, Clone, PartialEq)]
pub enum Intent {
    /// To run.
    Run(Run),
    /// To take the place of another again, whose promotion failed.
    Undo {
        /// The number of the other's record.
        number: u64,
        /// Why its promotion failed.
        why: String,
    },
}

/// How a release comes to run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// The promotion that it is part of.
    pub promotion: Option<String>,
    /// Whether gates are to be passed before it is said to be applied.
    pub bakes: bool,
    /// The record that is restored.
    pub restores: Option<u64>,
    /// Versions of the region's secrets, for information.
    pub secrets: BTreeMap<String, u64>,
}

/// Records for tests.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// A release's name in a record.
    pub(crate) fn release(digest: &str, version: &str) -> Release {
        Release {
            reference: "r".into(),
            digest: digest.into(),
            package_sha256: String::new(),
            chart: "service".into(),
            version: version.into(),
        }
    }

    /// A first attempt of nobody in particular.
    pub(crate) fn record(number: u64, release: Release, state: State) -> Record {
        Record {
            number,
            state,
            attempt: 1,
            release,
            values_sha256: "v".into(),
            manifest_sha256: "m".into(),
            objects: Vec::new(),
            provenance: Provenance::default(),
            promotion: None,
            former: None,
            restores: None,
            passed: None,
            secrets: Default::default(),
            started: Timestamp::UNIX_EPOCH,
            finished: None,
            failure: None,
        }
    }
}
