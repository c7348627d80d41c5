//! Takes each document from the agent: checks it whole, puts it to use, and only then says so.

mod documents;
mod watch;

pub use documents::{Document, Documents, Outcome};
pub use watch::watch;
