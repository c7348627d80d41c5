//! Takes each document from the agent: checks it whole, puts it to use, and only then says so.

mod documents;
mod oversight;
mod watch;

pub use documents::{Document, Documents, Outcome};
pub use oversight::oversee;
pub use watch::watch;
