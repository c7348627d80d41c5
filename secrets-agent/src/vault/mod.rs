//! The only part of the agent that speaks to Vault.
//!
//! vaultrs describes each call and each answer; the transport is our own, because Retry-After, the trust in
//! one CA alone and the silence about values have to be kept here.

mod auth;
mod authority;
mod failure;
mod kv;
mod token;
mod transport;

pub(crate) use auth::Login;
pub(crate) use failure::{Denial, Failure};
pub(crate) use kv::{Fetched, KvReader, Retired};
pub(crate) use token::Tokens;
pub(crate) use transport::Transport;
