//! The planner against a small world in which every step succeeds.

mod ends;
mod refusals;
mod seeds;
mod settle;
mod waits;
mod world;
