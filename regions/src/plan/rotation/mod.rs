//! What a rotation leaves in documents.

pub mod mark;
