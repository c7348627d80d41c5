//! The chart in real regions, with two nodes each, under load from outside. `make e2e` brings them up, and `make soak` for the
//! long ones.

#[cfg(test)]
mod autoscaler;
#[cfg(test)]
mod disruptions;
#[cfg(test)]
mod files;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod load;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod rotations;
#[cfg(test)]
mod world;
