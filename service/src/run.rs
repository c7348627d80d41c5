//! One process, from its configuration to its end.

use std::sync::Arc;

use secrets_agent_client::AgentClient;
use tracing::info;

use crate::configuration::Configuration;
use crate::logging::LevelHandle;
use crate::server::{ListenError, Listeners};
use crate::shutdown::{Ending, Signals};
use crate::state::State;
use crate::{adoption, development, shutdown, traffic};

/// A process could not be started, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A listener could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The signals could not be caught, or an address not be read.
    #[error("start: the system refused")]
    System(#[from] std::io::Error),
    /// TLS could not be set up.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
    /// The listeners stopped, though nobody asked them to.
    #[error("the listeners stopped unexpectedly; the log says why")]
    Stopped,
    /// The development mode could not be set up.
    #[error(transparent)]
    Development(#[from] development::DevelopmentError),
}

/// Serves until a signal ends the process. Gives the signal that cut the end in order short, if one did.
///
/// # Errors
/// The process could not be started, or could not go on.
pub async fn serve(configuration: Configuration, log_level: LevelHandle) -> Result<Option<Ending>, RunError> {
    let mut signals = Signals::catch()?;
    let listeners = Listeners::open(configuration.public, configuration.admin).await?;
    let (public, admin) = listeners.addresses()?;
    let state = Arc::new(State::new(configuration, log_level));
    if let Some(folder) = state.configuration.traffic.clone() {
        traffic::look(&state, &folder);
        tokio::spawn(traffic::follow(Arc::clone(&state), folder.into()));
    }
    match state.configuration.agent.clone() {
        Some(socket) => {
            let agent = AgentClient::new(socket);
            tokio::spawn(adoption::watch(Arc::clone(&state), agent.clone()));
            tokio::spawn(adoption::oversee(Arc::clone(&state), agent));
        }
        None => state.adopt(development::parts(&state.configuration)?),
    }
    let (handles, serving) = listeners.serve(&state)?;
    let mut serving = tokio::spawn(serving);
    let identity = &state.configuration.identity;
    let version = env!("CARGO_PKG_VERSION");
    info!(%public, %admin, version, environment = identity.environment, region = identity.region, pod = identity.pod, "serving");

    let ending = tokio::select! {
        ending = signals.next() => ending,
        _ = &mut serving => return Err(RunError::Stopped),
    };
    info!(signal = ?ending, "ending");
    let end = async {
        shutdown::in_order(&state, &handles, ending).await;
        let _ = serving.await;
    };
    tokio::select! {
        () = end => Ok(None),
        second = signals.next() => Ok(Some(second)),
    }
}
