//! Client authentication (RFC 6749 §2.3.1): by HTTP Basic or in the body, never both.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::form::Form;
use super::refusal::Refusal;

/// An id and a secret, as a client presented them.
pub struct Credentials {
    /// The client's id.
    pub id: String,
    /// Its secret.
    pub secret: Zeroizing<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The credentials of a request.
///
/// # Errors
/// `invalid_client` when there are none that can be read, `invalid_request` when there are two.
pub fn presented(headers: &HeaderMap, form: &mut Form) -> Result<Credentials, Refusal> {
    let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
    let authorization = authorizations.next();
    if authorizations.next().is_some() {
        return Err(Refusal::InvalidRequest("more than one Authorization header"));
    }
    match (authorization, form.client_id.take(), form.client_secret.take()) {
        (Some(_), _, Some(_)) => {
            Err(Refusal::InvalidRequest("credentials both in the Authorization header and in the body"))
        }
        (Some(value), named, None) => {
            let credentials = basic(value.as_bytes()).ok_or(Refusal::InvalidClient)?;
            if named.is_some_and(|named| named != credentials.id) {
                return Err(Refusal::InvalidRequest("client_id differs from the Authorization header"));
            }
            Ok(credentials)
        }
        (None, Some(id), Some(secret)) => Ok(Credentials { id, secret }),
        (None, _, _) => Err(Refusal::InvalidClient),
    }
}

/// Reads the value of an Authorization header of the scheme Basic (RFC 7617), whose two parts are
/// form-encoded (RFC 6749 §2.3.1).
fn basic(value: &[u8]) -> Option<Credentials> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(rest.trim_ascii()).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let id = form_decoded(&decoded[..colon])?.to_string();
    let secret = form_decoded(&decoded[colon + 1..])?;
    Some(Credentials { id, secret })
}

fn form_decoded(text: &[u8]) -> Option<Zeroizing<String>> {
    let spaced: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect());
    let decoded: Vec<u8> = percent_decode(&spaced).collect();
    String::from_utf8(decoded).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn with_basic(text: &str) -> HeaderMap {
        let value = format!("Basic {}", STANDARD.encode(text));
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&value).unwrap())])
    }

    fn from(headers: &HeaderMap, body: &str) -> Result<(String, String), Refusal> {
        let credentials = presented(headers, &mut Form::read(body.as_bytes()).unwrap())?;
        Ok((credentials.id, credentials.secret.to_string()))
    }

    #[test]
    fn both_parts_of_basic_are_form_decoded_and_the_secret_may_hold_colons() {
        let read = from(&with_basic("a%3Ab:s%2Bc+r:t"), "").unwrap();
        assert_eq!(read, ("a:b".to_owned(), "s+c r:t".to_owned()));
    }

    #[test]
    fn the_scheme_is_case_insensitive() {
        let value = format!("bAsIc {}", STANDARD.encode("id:secret"));
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&value).unwrap())]);
        assert_eq!(from(&headers, "").unwrap().0, "id");
    }

    #[test]
    fn credentials_in_the_body_are_taken() {
        let read = from(&HeaderMap::new(), "client_id=probe&client_secret=a%26b").unwrap();
        assert_eq!(read, ("probe".to_owned(), "a&b".to_owned()));
    }

    #[test]
    fn both_ways_at_once_are_refused() {
        let refused = from(&with_basic("probe:secret"), "client_id=probe&client_secret=secret");
        assert!(matches!(refused, Err(Refusal::InvalidRequest(_))), "{refused:?}");
        let refused = from(&with_basic("probe:secret"), "client_id=other");
        assert!(matches!(refused, Err(Refusal::InvalidRequest(_))), "{refused:?}");
        assert!(from(&with_basic("probe:secret"), "client_id=probe").is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_no_client() {
        for value in ["Basic", "Basic ", "Basic !!!", "Bearer abc", "Basic cHJvYmU="] {
            let headers =
                HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
            assert!(matches!(from(&headers, ""), Err(Refusal::InvalidClient)), "{value}");
        }
        assert!(matches!(from(&HeaderMap::new(), "client_id=probe"), Err(Refusal::InvalidClient)));
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            basic(&bytes);
            basic(&[b"Basic ", bytes.as_slice()].concat());
            basic(format!("Basic {}", STANDARD.encode(&bytes)).as_bytes());
        }

        #[test]
        fn what_a_client_encodes_is_what_is_read(id in "[ -~]{1,20}", secret in ".{0,20}") {
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let read = from(&with_basic(&format!("{}:{}", encode(&id), encode(&secret))), "").unwrap();
            prop_assert_eq!(read, (id, secret));
        }
    }
}
