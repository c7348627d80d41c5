//! The identity of one version of a secret.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A version of a KV v2 secret, named by its number and the time Vault wrote it.
///
/// The number alone is no identity: two Vaults number the same secret differently, and numbers come
/// again after a Vault was restored from a snapshot. Versions are ordered by number, then by time, so
/// that a number that came again with a later time counts as newer, and a lower number never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// The KV v2 version number, from 1.
    pub version: u64,
    /// When Vault wrote it, by Vault's clock.
    pub created_time: Timestamp,
}

impl Version {
    /// The entity tag (RFC 9110 §8.8.3) under which the agent serves this version, quotes included.
    pub fn etag(&self) -> String {
        format!("\"{}-{}\"", self.version, self.created_time.as_nanosecond())
    }

    /// When Vault wrote it, in seconds since 1970: exact to a microsecond, as metrics tell it.
    pub fn created_seconds(&self) -> f64 {
        self.created_time.as_duration().as_secs_f64()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of {}", self.version, self.created_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64, time: &str) -> Version {
        Version { version: number, created_time: time.parse().unwrap() }
    }

    #[test]
    fn a_number_that_came_again_later_is_newer_and_a_lower_number_is_not() {
        let in_use = version(5, "2026-01-01T00:00:00.5Z");
        assert!(version(5, "2026-01-01T00:00:00.51Z") > in_use);
        assert!(version(5, "2026-01-01T00:00:00.4999Z") < in_use);
        assert!(version(4, "2026-02-01T00:00:00Z") < in_use);
        assert!(version(6, "2025-12-31T00:00:00Z") > in_use);
    }

    #[test]
    fn vaults_trimmed_fractions_compare_as_times_and_not_as_text() {
        let shorter = version(1, "2026-01-01T00:00:00.1Z");
        let longer = version(1, "2026-01-01T00:00:00.12Z");
        assert!(shorter < longer);
        assert_ne!(shorter.etag(), longer.etag());
    }
}
