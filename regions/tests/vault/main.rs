//! A region's Vault, against the real one.

#[cfg(test)]
mod apply;
#[cfg(test)]
mod bootstrap;
#[cfg(test)]
mod bootstrap_kills;
#[cfg(test)]
mod install;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod platform;
#[cfg(test)]
mod policies;
#[cfg(test)]
#[path = "../it/run.rs"]
mod run;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod third;
#[cfg(test)]
mod world;
