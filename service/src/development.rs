//! The development mode: without an agent, on loopback alone.
//!
//! The signing key is made at the start and is gone with the process, so that its tokens are worth
//! nothing anywhere else. One client is registered, [`CLIENT`] with the secret [`SECRET`]; they exist in
//! this mode only, and this mode cannot listen on an address that other machines reach.

use tracing::warn;

use crate::configuration::Configuration;
use crate::documents::{Clients, SigningKeys};
use crate::oauth::scope::Scopes;
use crate::snapshot::Parts;

/// The id of the client that exists in the development mode.
pub const CLIENT: &str = "development";
/// Its secret. It opens nothing but a process on the developer's own machine.
pub const SECRET: &str = "development-only";

/// The development mode cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// The system gave no random numbers.
    #[error("make a signing key: the system gave no random numbers")]
    Key,
    /// The configuration is not valid.
    #[error("{0}")]
    Configuration(secrets_agent_client::ConfigurationError),
}

/// What a process without an agent serves.
///
/// # Errors
/// The configuration is not valid, or no key could be made.
pub fn parts(configuration: &Configuration) -> Result<Parts, DevelopmentError> {
    warn!(
        client = CLIENT,
        "DEVELOPMENT MODE, since agent.socket is not set: plain HTTP on loopback, a signing key made just now, \
         and one client with a secret that everybody knows (see --help)"
    );
    let dynamic =
        configuration.dynamic().map_err(|mut errors| DevelopmentError::Configuration(errors.remove(0)))?;
    let scopes = Scopes::new(vec!["read".to_owned(), "write".to_owned()]);
    Ok(Parts {
        dynamic,
        clients: Clients::single(CLIENT, SECRET, scopes),
        keys: SigningKeys::generate().map_err(|_| DevelopmentError::Key)?,
        tls: None,
    })
}
