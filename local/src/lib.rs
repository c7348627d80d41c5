//! A whole region on one machine, from real parts.
//!
//! What the demo and every test share: the real Vault, supervised processes, loopback ports, a certificate
//! authority, a small HTTP client, and a proxy that produces faults. Nothing here ships.

pub mod documents;
pub mod environment;
pub mod http;
pub mod issuer;
pub mod kubernetes;
pub mod load;
pub mod pki;
pub mod platform;
pub mod pod;
pub mod ports;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod terminal;
pub mod tools;
pub mod vault;
pub mod wait;
pub mod watcher;
