//! `regions` against real API servers: two regions, each with its own etcd, API server and controllers.

mod access;
mod chart;
mod charts;
mod kills;
mod network;
mod nodes;
mod promotion;
mod refusals;
mod registry;
mod run;
mod world;
