//! `regions` against real API servers: two regions, each with its own etcd, API server and controllers.

mod access;
mod charts;
mod kills;
mod nodes;
mod promotion;
mod refusals;
mod run;
mod world;
