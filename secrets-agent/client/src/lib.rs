//! What an application links to take its secrets from `secrets-agent`.
//!
//! The agent answers on a Unix socket (HTTP/1.1, JSON). An application opens a [`Subscription`],
//! fetches each secret that it is told about with [`AgentClient::get`], puts it to use, and only
//! then says so with [`Subscription::adopted`]. That acknowledgement is what lets an operator take
//! the former version away, so it is sent after the swap and never before.
//!
//! ```no_run
//! # async fn example() -> Result<(), secrets_agent_client::Error> {
//! use secrets_agent_client::{AgentClient, ExposeSecret, Subscription};
//!
//! let agent = AgentClient::new("/run/meridian/agent.sock");
//! let mut changes = Subscription::start(agent.clone());
//! while let Some(event) = changes.next().await {
//!     let secret = agent.get(&event.name).await?;
//!     let _document = secret.data.expose_secret();
//!     // … put it to use …
//!     changes.adopted(&secret.name, secret.version()).await?;
//! }
//! # Ok(()) }
//! ```

mod client;
mod configuration;
mod provider;
mod subscription;
mod version;
pub mod wire;

pub use client::{AgentClient, Delivered, Error, EventStream};
pub use configuration::{ConfigurationError, Place};
pub use provider::AgentProvider;
pub use secrecy::{ExposeSecret, SecretBox, SecretString};
pub use subscription::Subscription;
pub use uuid::Uuid;
pub use version::Version;

/// The bytes of one secret document: never printed, wiped when dropped, read with
/// [`ExposeSecret::expose_secret`] only.
pub type Secret = secrecy::SecretSlice<u8>;
