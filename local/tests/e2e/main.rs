//! The chart in real regions, with two nodes each, under load from outside. `make e2e` brings them up.

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
mod promotions;
#[cfg(test)]
mod world;
