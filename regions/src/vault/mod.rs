//! The regions' Vaults: the only module of this program that speaks to one.

pub mod apply;
pub mod client;
pub mod error;
pub mod kv;
pub mod logins;
mod observe;
pub mod reach;
pub mod seal;
pub mod secrets;
pub mod session;
