//! The agent against a real Vault, each fault produced for real.

mod auth;
mod canary;
mod configuration;
mod delivery;
mod ending;
mod files;
mod outages;
mod scenario;
mod socket;
mod token;
