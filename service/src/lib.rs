//! An OAuth 2.0 token issuer for machines that works the same in every region.
//!
//! It knows the socket of `secrets-agent` and nothing of Vault. Every document that the agent delivers
//! is checked whole ([`documents`], [`configuration`]), put to use whole as one [`snapshot::Snapshot`],
//! and acknowledged only then ([`adoption`]); a bad one is told of and changes nothing.

pub mod adoption;
pub mod cli;
pub mod configuration;
pub mod development;
pub mod documents;
pub mod http;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod oauth;
pub mod run;
pub mod server;
pub mod shutdown;
pub mod snapshot;
pub mod state;
pub mod traffic;
