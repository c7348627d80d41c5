//! The sidecar that takes an application's secrets from Vault, hands them over on a Unix socket, and knows
//! which version each instance of the application uses.

pub mod config;
pub mod logging;
pub mod memory;
pub mod run;
pub mod schedule;
pub mod units;

mod admin;
mod fetch;
mod files;
mod floor;
mod jitter;
mod metrics;
mod notify;
mod problem;
mod serve;
mod socket;
mod store;
mod vault;
