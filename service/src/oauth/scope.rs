//! Scopes (RFC 6749 §3.3).

use std::fmt;
use std::sync::Arc;

/// A list of scopes, with the text that a token and an answer carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes {
    tokens: Arc<[String]>,
    text: Arc<str>,
}

/// A request asked for a scope that it cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeError {
    /// The parameter is not a list of scopes separated by single spaces.
    Malformed,
    /// The client is not registered for one of them.
    NotRegistered,
}

impl Scopes {
    /// A list of distinct scopes.
    pub fn new(tokens: Vec<String>) -> Self {
        let text = tokens.join(" ").into();
        Scopes { tokens: tokens.into(), text }
    }

    /// The scopes separated by single spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What a request for `asked` is granted: that, without repetitions, when every scope of it is in
    /// this list; the whole list when it did not ask.
    pub fn grant(&self, asked: Option<&str>) -> Result<Scopes, ScopeError> {
        let Some(asked) = asked else { return Ok(self.clone()) };
        let mut granted: Vec<String> = Vec::new();
        for token in asked.split(' ') {
            if !is_token(token) {
                return Err(ScopeError::Malformed);
            }
            if !self.tokens.iter().any(|known| known == token) {
                return Err(ScopeError::NotRegistered);
            }
            if !granted.iter().any(|other| other == token) {
                granted.push(token.to_owned());
            }
        }
        Ok(Scopes::new(granted))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether the text is a `scope-token`: printable ASCII without space, quote and backslash.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn registered() -> Scopes {
        Scopes::new(vec!["read".to_owned(), "write".to_owned(), "orders:cancel".to_owned()])
    }

    #[test]
    fn a_subset_is_granted_in_the_order_asked_and_nothing_asked_is_everything() {
        assert_eq!(registered().grant(Some("write read write")).unwrap().as_str(), "write read");
        assert_eq!(registered().grant(None).unwrap().as_str(), "read write orders:cancel");
    }

    #[test]
    fn more_than_registered_or_malformed_is_refused() {
        assert_eq!(registered().grant(Some("read admin")), Err(ScopeError::NotRegistered));
        assert_eq!(registered().grant(Some("read  write")), Err(ScopeError::Malformed));
        assert_eq!(registered().grant(Some(" read")), Err(ScopeError::Malformed));
        assert_eq!(registered().grant(Some("re\"ad")), Err(ScopeError::Malformed));
        assert_eq!(Scopes::default().grant(Some("read")), Err(ScopeError::NotRegistered));
        assert_eq!(Scopes::default().grant(None).unwrap().as_str(), "");
    }

    proptest! {
        #[test]
        fn what_is_granted_was_asked_for_and_registered(asked in ".{0,40}") {
            if let Ok(granted) = registered().grant(Some(&asked)) {
                for token in granted.as_str().split(' ') {
                    prop_assert!(asked.split(' ').any(|one| one == token));
                    prop_assert!(["read", "write", "orders:cancel"].contains(&token));
                }
            }
        }
    }
}
