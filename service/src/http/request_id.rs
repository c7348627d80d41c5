//! The id of a request, which the answer and the log line carry.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header of a request's id.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_ID: usize = 64;

/// Makes ids for requests that bring none.
#[derive(Debug)]
pub(super) struct RequestIds {
    seed: (u64, u64),
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        RequestIds { seed: Uuid::new_v4().as_u64_pair(), next: AtomicU64::new(0) }
    }

    /// The id that the client sent, if it is a sane one, or a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(X_REQUEST_ID) {
            Some(given) if is_sane(given.as_bytes()) => given.clone(),
            _ => self.make(),
        }
    }

    /// A UUID that no other request of any process has. It is no secret, so it is spread from a random
    /// seed instead of asking the system for new random bytes each time.
    fn make(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (mixed(self.seed.0 ^ number), mixed(self.seed.1.wrapping_add(number)));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

/// The finalizer of splitmix64: a bijection, so that different numbers stay different.
fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn of(given: &'static str) -> HeaderValue {
        let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_static(given))]);
        RequestIds::new().of(&headers)
    }

    #[test]
    fn a_sane_id_is_kept_and_another_is_replaced() {
        assert_eq!(of("abc-1.2_3"), "abc-1.2_3");
        for given in ["", "a b", "a\"b", "x\u{7f}", &"a".repeat(65)] {
            let id = RequestIds::new().of(&HeaderMap::from_iter(
                HeaderValue::from_str(given).ok().map(|value| (X_REQUEST_ID, value)),
            ));
            assert_eq!(Uuid::parse_str(id.to_str().unwrap()).unwrap().get_version_num(), 4, "{given}");
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        let ids = RequestIds::new();
        let made: HashSet<HeaderValue> = (0..10_000).map(|_| ids.make()).collect();
        assert_eq!(made.len(), 10_000);
    }
}
