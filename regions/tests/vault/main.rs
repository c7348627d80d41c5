//! A region's Vault, against the real one.

mod apply;
mod kills;
mod policies;
#[path = "../it/run.rs"]
mod run;
mod world;
