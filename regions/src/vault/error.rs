//! What can go wrong with a Vault, in words that hold nothing of what was sent or answered but Vault's own
//! first error.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

use vaultrs::error::ClientError;

/// How much of Vault's own words an error keeps.
const LONGEST_WORDS: usize = 200;

/// Why a Vault was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A file of the caller's cannot be used.
    #[error("{file}: {reason}", file = .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It lies behind a cluster's API server, and the way there is closed.
    #[error("{0}")]
    Forward(String),
    /// A call came to nothing. Neither a token nor any part of a body is in it.
    #[error("{call} at {address}: {reason}")]
    Call {
        /// What was called.
        call: String,
        /// Which Vault.
        address: String,
        /// The status that was answered, if any was.
        status: Option<u16>,
        /// What came of it, and what to do.
        reason: String,
    },
}

impl VaultError {
    /// A failed call. vaultrs keeps bodies in its chain of sources, so only its own facts are used.
    pub(super) fn of(call: &str, address: &str, denied: &str, bound: Duration, error: &ClientError) -> Self {
        let (status, reason) = match error {
            ClientError::APIError { code, errors } => {
                let words = errors.first().map_or("", String::as_str);
                let words: String = words.split_whitespace().collect::<Vec<_>>().join(" ");
                let words: String = words.chars().take(LONGEST_WORDS).collect();
                let next = match code {
                    503 if words.contains("sealed") => "; unseal it".into(),
                    400 | 403 if call.contains("login") => format!("; {denied}"),
                    403 => format!("; {denied}"),
                    _ => String::new(),
                };
                let space = if words.is_empty() { "" } else { " " };
                (Some(*code), format!("Vault answered {code}{space}{words}{next}"))
            }
            other => {
                let mut source: Option<&(dyn StdError + 'static)> = Some(other);
                let mut deepest = None;
                while let Some(error) = source {
                    deepest = connection(error, bound).or(deepest);
                    source = error.source();
                }
                (None, deepest.unwrap_or_else(|| "no answer that can be read".into()))
            }
        };
        Self::Call { call: call.into(), address: address.into(), status, reason }
    }

    /// An answer that is none.
    pub(super) fn unreadable(call: &str, address: &str) -> Self {
        let reason = "the answer cannot be read; is this Vault?".into();
        Self::Call { call: call.into(), address: address.into(), status: None, reason }
    }

    /// An answer without what was asked for.
    pub(super) fn lacks(call: &str, address: &str, field: &str) -> Self {
        let reason = format!("the answer has no {field}; is this Vault?");
        Self::Call { call: call.into(), address: address.into(), status: None, reason }
    }

    /// Whether Vault refused a write because another one came before.
    pub fn is_check_and_set(&self) -> bool {
        matches!(self, Self::Call { status: Some(400), reason, .. } if reason.contains("check-and-set"))
    }

    /// Whether it lies in the caller's own files.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Whether Vault said that it is sealed.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Call { status: Some(503), reason, .. } if reason.contains("sealed"))
    }

    /// The status that was answered, if any was.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::File { .. } | Self::Forward(_) => None,
            Self::Call { status, .. } => *status,
        }
    }
}

/// What kept a connection from being made, which holds nothing of what would have been sent.
fn connection(error: &(dyn StdError + 'static), bound: Duration) -> Option<String> {
    let error = error.downcast_ref::<reqwest::Error>()?;
    if error.is_timeout() {
        return Some(format!("no answer within {} s", bound.as_secs()));
    }
    if !error.is_connect() {
        return Some("the connection broke".into());
    }
    let mut deepest: &dyn StdError = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    Some(deepest.to_string())
}
