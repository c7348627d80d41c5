//! The public interface.

mod body;
#[cfg(any(test, feature = "faults"))]
pub(crate) mod faults;
mod front;
mod problem;
mod request_id;
mod router;

pub use front::Front;
pub use problem::Problem;
pub use router::{openapi, router};
