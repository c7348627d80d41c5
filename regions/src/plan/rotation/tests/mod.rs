//! The planner against a small world in which every step succeeds.

mod ends;
mod refusals;
mod seeds;
mod waits;
mod world;
