//! Public keys as JSON Web Keys (RFC 7517), named by their thumbprint (RFC 7638).

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

/// A P-256 public key, as the JWKS shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PublicJwk {
    /// Always `EC`.
    kty: &'static str,
    /// Always `P-256`.
    crv: &'static str,
    /// The x coordinate, in base64url.
    pub x: String,
    /// The y coordinate, in base64url.
    pub y: String,
    /// The RFC 7638 thumbprint of this key, SHA-256, in base64url.
    pub kid: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    usage: &'static str,
    /// Always `ES256`.
    alg: &'static str,
}

impl PublicJwk {
    /// The key of an uncompressed point: 4, then 32 bytes of x, then 32 of y. `None` for another form.
    /// Whether the point lies on the curve is not looked at.
    pub fn from_point(point: &[u8]) -> Option<Self> {
        let (&4, coordinates) = point.split_first()? else { return None };
        if coordinates.len() != 64 {
            return None;
        }
        let (x, y) = coordinates.split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let kid = thumbprint(&x, &y);
        Some(PublicJwk { kty: "EC", crv: "P-256", x, y, kid, usage: "sig", alg: "ES256" })
    }
}

/// The required members in lexicographic order, without white space: RFC 7638 §3.2 and §3.3.
fn thumbprint(x: &str, y: &str) -> String {
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The P-256 key of RFC 7517 appendix A.1. Its thumbprint was computed apart, with hashlib of Python
    /// over the members as RFC 7638 orders them.
    const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";

    #[test]
    fn a_point_becomes_the_key_of_the_rfc() {
        let mut point = vec![4];
        point.extend(URL_SAFE_NO_PAD.decode(X).unwrap());
        point.extend(URL_SAFE_NO_PAD.decode(Y).unwrap());
        let key = PublicJwk::from_point(&point).unwrap();
        assert_eq!((key.x.as_str(), key.y.as_str()), (X, Y));
        assert_eq!(key.kid, "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    }

    #[test]
    fn another_form_of_point_is_refused() {
        assert_eq!(PublicJwk::from_point(&[]), None);
        assert_eq!(PublicJwk::from_point(&[2; 33]), None);
        assert_eq!(PublicJwk::from_point(&[4; 64]), None);
    }
}
