//! `regions` against real API servers: two regions, each with its own etcd, API server and controllers.

#[cfg(test)]
mod access;
#[cfg(test)]
mod back;
#[cfg(test)]
mod chart;
#[cfg(test)]
mod charts;
#[cfg(test)]
mod fenced;
#[cfg(test)]
mod front;
#[cfg(test)]
mod judged;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod network;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod promotion;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod run;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod world;
