//! Regions with nodes: what runs in them is real, and what is left of them is nothing.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod held;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod traces;
