//! What a region's clients see: asked from outside, through its LoadBalancer or the global entry.

pub mod door;
pub mod prober;
pub mod report;
pub mod token;
