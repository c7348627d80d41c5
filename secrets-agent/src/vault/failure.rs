//! Why an exchange with Vault failed, without anything that it carried.

use std::time::Duration;

use secrets_agent_client::wire::VaultState;

/// Why an exchange with Vault failed, and what that says of it.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection, or it broke.
    #[error("{call}: Vault cannot be reached: {reason}")]
    Unreachable {
        /// What was tried.
        call: String,
        /// What the system said.
        reason: String,
    },
    /// No answer in time.
    #[error("{call}: no answer from Vault within {} ms", .after.as_millis())]
    TimedOut {
        /// What was tried.
        call: String,
        /// How long.
        after: Duration,
    },
    /// Vault's certificate is not vouched for by the configured authority.
    #[error("{call}: Vault's certificate is not trusted: {reason}; the authority is read from vault.ca_file")]
    Untrusted {
        /// What was tried.
        call: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// Sealed, not initialised, or without a leader.
    #[error("{call}: Vault is not available ({status}): {said}")]
    Unavailable {
        /// What was tried.
        call: String,
        /// The status.
        status: u16,
        /// Vault's own words.
        said: String,
        /// How long to keep away.
        retry_after: Option<Duration>,
    },
    /// Too many requests.
    #[error("{call}: Vault asks for fewer requests (429){}", after(*.retry_after))]
    Throttled {
        /// What was tried.
        call: String,
        /// How long to keep away.
        retry_after: Option<Duration>,
    },
    /// 403: the token is dead or may not do this.
    #[error("{call}: {}", denied(*.denial))]
    Denied {
        /// What was tried.
        call: String,
        /// What it says of the token.
        denial: Denial,
    },
    /// 400 and other refusals of a request as it stands.
    #[error("{call}: Vault refused ({status}): {said}")]
    Refused {
        /// What was tried.
        call: String,
        /// The status.
        status: u16,
        /// Vault's own words.
        said: String,
    },
    /// Vault failed.
    #[error("{call}: Vault failed ({status}): {said}")]
    Faulty {
        /// What was tried.
        call: String,
        /// The status.
        status: u16,
        /// Vault's own words.
        said: String,
        /// How long to keep away.
        retry_after: Option<Duration>,
    },
    /// What came is no answer of Vault. Nothing of it is kept.
    #[error("{call}: what came is no answer of Vault: {reason}; is something else at vault.address?")]
    Garbage {
        /// What was tried.
        call: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The login could not even be tried.
    #[error("log in to Vault: {reason}")]
    Credentials {
        /// What is missing, and where.
        reason: String,
    },
    /// Vault refused the login.
    #[error("log in to Vault was refused: {reason}")]
    LoginRefused {
        /// Vault's own words, and what to look at.
        reason: String,
    },
}

/// What a 403 says of the token that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The token is dead. Vault says so in words since 1.17.
    InvalidToken,
    /// The token may not do this; from an older Vault it may be dead as well.
    Permission,
    /// Something before Vault refused; it says nothing of the token.
    NotVault,
}

fn denied(denial: Denial) -> &'static str {
    match denial {
        Denial::InvalidToken => "permission denied: the token is dead",
        Denial::Permission => "permission denied; does a policy of this role allow it?",
        Denial::NotVault => "refused (403) by something that is not Vault; what stands before it?",
    }
}

fn after(retry_after: Option<Duration>) -> String {
    retry_after.map(|wait| format!(", in {} s", wait.as_secs())).unwrap_or_default()
}

impl Failure {
    /// What this says of Vault.
    pub(crate) fn state(&self) -> VaultState {
        match self {
            Failure::Unreachable { .. } | Failure::TimedOut { .. } => VaultState::Unreachable,
            Failure::Untrusted { .. } => VaultState::Untrusted,
            Failure::Unavailable { .. } => VaultState::Unavailable,
            Failure::Throttled { .. } => VaultState::Throttled,
            Failure::Denied { .. } => VaultState::Denied,
            Failure::Refused { .. } | Failure::Faulty { .. } | Failure::Garbage { .. } => VaultState::Faulty,
            Failure::Credentials { .. } | Failure::LoginRefused { .. } => VaultState::LoginRefused,
        }
    }

    /// How long Vault asked to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Throttled { retry_after, .. }
            | Failure::Unavailable { retry_after, .. }
            | Failure::Faulty { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
