//! Rotations under a virtual clock: the real planner and the real executor, on Vaults, agents, pods and clients that are
//! imitated, while things go wrong at random.
//!
//! A schedule is a seed. `SEED=N cargo test -p regions --test simulation replay -- --ignored --nocapture` plays one again and
//! tells what happens; `make simulate` plays 100,000.

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod hand;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod region;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod schedule;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod vault;
#[cfg(test)]
mod watcher;
#[cfg(test)]
mod world;
