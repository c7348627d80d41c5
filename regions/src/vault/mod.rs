//! The regions' Vaults: the only module of this program that speaks to one.

pub mod apply;
pub mod client;
pub mod error;
mod observe;
pub mod reach;
pub mod secrets;
