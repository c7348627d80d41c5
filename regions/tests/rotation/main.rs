//! Rotations of real secrets: real Vaults, agents, services and watchers, as processes on this machine.

#[cfg(test)]
mod aborts;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod kinds;
#[cfg(test)]
mod late;
#[cfg(test)]
mod liar;
#[cfg(test)]
mod operators;
#[cfg(test)]
#[path = "../it/run.rs"]
mod run;
#[cfg(test)]
mod stops;
#[cfg(test)]
mod watching;
#[cfg(test)]
mod world;
