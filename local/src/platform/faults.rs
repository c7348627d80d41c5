//! Faults of a region, for tests: its processes stand still, its network is cut or slow, its clock is wrong.
//!
//! Everything is done from outside, to what runs; nothing in a region knows of it.

mod background;
mod chain;
mod clock;
mod cut;
mod processes;
mod slow;
mod vdso;

pub use clock::{hold as hold_clock, skew};
pub use cut::{Side, cut, mend};
pub use processes::{Which, freeze, kill_one, thaw};
pub use slow::{delay, hold as hold_delay};
