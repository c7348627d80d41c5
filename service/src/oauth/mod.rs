//! The OAuth 2.0 side: client authentication, tokens, keys and metadata.

pub mod credentials;
pub mod form;
pub mod issue;
pub mod jwk;
pub mod jwt;
pub mod metadata;
pub mod refusal;
pub mod scope;
