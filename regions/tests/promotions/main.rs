//! Promotions in simulation: the real planner, executor, gates and Leases over regions in memory, on a virtual clock, with
//! everything that goes wrong.

#[cfg(test)]
mod each;
#[cfg(test)]
mod region;
#[cfg(test)]
mod release;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod run;
#[cfg(test)]
mod schedule;
#[cfg(test)]
#[path = "../simulation/schedules.rs"]
mod schedules;
#[cfg(test)]
mod state;
#[cfg(test)]
mod stops;
#[cfg(test)]
mod world;
