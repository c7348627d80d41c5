//! The command `regions`: one catalogue of regions, and what is done to them.
//!
//! [`catalogue`] reads and checks the catalogue; [`plan`] decides, purely; [`execute`] carries out.

pub mod bootstrap;
pub mod catalogue;
pub mod cli;
pub mod cluster;
pub mod command;
mod completions;
mod confirm;
pub mod drift;
pub mod ending;
pub mod execute;
pub mod helm;
pub mod history;
mod logging;
pub mod named;
mod open_files;
pub mod output;
pub mod plan;
mod print;
pub mod probe;
pub mod promote;
pub mod release;
pub mod render;
pub mod rotate;
pub mod schemas;
pub mod signature;
pub mod snapshot;
pub mod status;
pub mod traffic;
pub mod validate;
pub mod vault;
pub mod watch;
mod who;
mod wipe;
