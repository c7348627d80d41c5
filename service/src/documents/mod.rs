//! The secret documents that the agent delivers, each checked whole before it is used.
//!
//! A message about a document names the place in it and what is allowed there, and never holds a value.

pub mod clients;
pub mod signing_keys;
pub mod tls;
mod tree;

pub use clients::Clients;
pub use signing_keys::SigningKeys;
pub use tls::Tls;
pub use tree::DocumentError;

use jiff::Timestamp;

use tree::Cursor;

/// A time of RFC 3339.
fn timestamp(cursor: &Cursor<'_>) -> Option<Timestamp> {
    let time = cursor.text()?.parse().ok();
    if time.is_none() {
        cursor.refuse("expected a time such as 2026-01-31T12:00:00Z (RFC 3339)");
    }
    time
}
