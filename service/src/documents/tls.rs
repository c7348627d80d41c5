//! The `tls` document: the certificate of the public listener, and its key.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::tree::{Cursor, DocumentError, read_document};

/// A certificate chain with its key, ready for handshakes.
#[derive(Clone)]
pub struct Tls {
    /// What a handshake uses.
    pub certified: Arc<CertifiedKey>,
    /// When the first certificate of the chain to begin does so.
    pub not_before: Timestamp,
    /// When the first certificate of the chain to end does so.
    pub not_after: Timestamp,
}

impl Tls {
    /// Reads and checks a whole document at the moment `now`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn read(json: &[u8], now: Timestamp) -> Result<Self, DocumentError> {
        read_document(json, |root| {
            let table = root.table(&["certificate_pem", "private_key_pem"])?;
            let chain = table.required("certificate_pem").and_then(|field| chain(field, now));
            let key_field = table.required("private_key_pem");
            let key = key_field.and_then(key);
            let (chain, key_field, key) = (chain?, key_field?, key?);
            match CertifiedKey::from_der(chain.certificates, key, &aws_lc_rs::default_provider()) {
                Ok(certified) => Some(Tls {
                    certified: Arc::new(certified),
                    not_before: chain.not_before,
                    not_after: chain.not_after,
                }),
                Err(rustls::Error::InconsistentKeys(_)) => {
                    key_field.refuse("does not belong to the first certificate of certificate_pem");
                    None
                }
                Err(_) => {
                    key_field
                        .refuse("is of a kind that cannot be used; ECDSA P-256 and RSA 2048 are well known");
                    None
                }
            }
        })
    }

    /// What an operator should know at the moment `now`: the certificate has ended, or will soon.
    ///
    /// Soon is the last sixth of its life, 21 days at most: time to act, and late enough for any
    /// renewal that works.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let left = self.not_after.duration_since(now);
        if left <= SignedDuration::ZERO {
            return Some(format!("the certificate ended at {}; write a new one", self.not_after));
        }
        let life = self.not_after.duration_since(self.not_before);
        let soon = (life / 6).min(SignedDuration::from_hours(21 * 24));
        (left <= soon).then(|| format!("the certificate ends at {}; its renewal is late", self.not_after))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    not_before: Timestamp,
    not_after: Timestamp,
}

fn chain(field: &Cursor<'_>, now: Timestamp) -> Option<Chain> {
    let pem = field.text()?;
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let Some(certificates) = certificates.ok().filter(|certificates| !certificates.is_empty()) else {
        field.refuse("expected one or more certificates in PEM (BEGIN CERTIFICATE), the server's own first");
        return None;
    };
    let mut parsed = Vec::with_capacity(certificates.len());
    for (index, der) in certificates.iter().enumerate() {
        match X509Certificate::from_der(der) {
            Ok((_, certificate)) => parsed.push(certificate),
            Err(_) => field.refuse(format_args!("certificate {} is no X.509 certificate", index + 1)),
        }
    }
    if parsed.len() < certificates.len() {
        return None;
    }
    check_order(field, &parsed);
    let (not_before, not_after) = check_validity(field, &parsed, now)?;
    Some(Chain { certificates, not_before, not_after })
}

fn check_order(field: &Cursor<'_>, chain: &[X509Certificate<'_>]) {
    for (index, pair) in chain.windows(2).enumerate() {
        if pair[0].issuer() != pair[1].subject() {
            let (one, next) = (index + 1, index + 2);
            field.refuse(format_args!(
                "certificate {one} was not issued by certificate {next}; order them upwards"
            ));
        }
    }
    let named = |certificate: &X509Certificate<'_>| {
        let names = certificate.subject_alternative_name().ok().flatten();
        names.is_some_and(|names| !names.value.general_names.is_empty())
    };
    if chain.first().is_some_and(|leaf| !named(leaf)) {
        field.refuse("certificate 1 has no subject alternative name, so that no client would accept it");
    }
}

/// The latest beginning and the earliest end of the chain; refused unless `now` lies between.
fn check_validity(
    field: &Cursor<'_>,
    chain: &[X509Certificate<'_>],
    now: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let (mut begin, mut end) = (Timestamp::MIN, Timestamp::MAX);
    for (index, certificate) in chain.iter().enumerate() {
        let number = index + 1;
        let validity = certificate.validity();
        let not_before = Timestamp::from_second(validity.not_before.timestamp()).ok()?;
        let not_after = Timestamp::from_second(validity.not_after.timestamp()).unwrap_or(Timestamp::MAX);
        if now >= not_after {
            field.refuse(format_args!("certificate {number} ended at {not_after}"));
        }
        if now < not_before {
            field.refuse(format_args!("certificate {number} is not valid before {not_before}"));
        }
        begin = begin.max(not_before);
        end = end.min(not_after);
    }
    Some((begin, end))
}

fn key(field: &Cursor<'_>) -> Option<PrivateKeyDer<'static>> {
    let key = PrivateKeyDer::from_pem_slice(field.text()?.as_bytes()).ok();
    if key.is_none() {
        field.refuse("expected a private key in PEM (BEGIN PRIVATE KEY)");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair};

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    struct Made {
        certificate: String,
        key: String,
    }

    fn made(names: &[&str], from: i32, until: i32) -> Made {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.self_signed(&key).unwrap().pem();
        Made { certificate, key: key.serialize_pem() }
    }

    fn read(certificate: &str, key: &str) -> Result<Tls, DocumentError> {
        let document = serde_json::json!({"certificate_pem": certificate, "private_key_pem": key});
        Tls::read(document.to_string().as_bytes(), now())
    }

    #[test]
    fn a_good_certificate_is_taken_with_its_end() {
        let made = made(&["localhost"], 2026, 2027);
        let tls = read(&made.certificate, &made.key).unwrap();
        assert_eq!(tls.not_after.to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(tls.warning(now()), None);
    }

    #[test]
    fn the_last_weeks_and_the_end_are_told() {
        let made = made(&["localhost"], 2026, 2027);
        let tls = read(&made.certificate, &made.key).unwrap();
        assert_eq!(tls.warning("2026-12-10T00:00:00Z".parse().unwrap()), None);
        let late = tls.warning("2026-12-12T00:00:00Z".parse().unwrap()).unwrap();
        assert!(late.contains("ends at 2027-01-01T00:00:00Z"), "{late}");
        let over = tls.warning("2027-01-01T00:00:00Z".parse().unwrap()).unwrap();
        assert!(over.contains("ended at 2027-01-01T00:00:00Z"), "{over}");
    }

    #[test]
    fn broken_documents_are_refused_with_their_place() {
        let good = made(&["localhost"], 2026, 2027);
        let other = made(&["localhost"], 2026, 2027);
        let ended = made(&["localhost"], 2024, 2025);
        let early = made(&["localhost"], 2027, 2028);
        let nameless = made(&[], 2026, 2027);
        let unordered = format!("{}{}", good.certificate, {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["other".to_owned()]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, "another authority");
            params.not_before = rcgen::date_time_ymd(2026, 1, 1);
            params.self_signed(&key).unwrap().pem()
        });
        let no_der = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n";
        for (certificate, key, expected) in [
            ("canary", good.key.as_str(), "certificate_pem: expected one or more certificates in PEM"),
            (no_der, &good.key, "certificate_pem: certificate 1 is no X.509 certificate"),
            (&good.certificate, "canary", "private_key_pem: expected a private key in PEM"),
            (&good.certificate, &other.key, "private_key_pem: does not belong to the first certificate"),
            (&ended.certificate, &ended.key, "certificate_pem: certificate 1 ended at 2025-01-01T00:00:00Z"),
            (
                &early.certificate,
                &early.key,
                "certificate_pem: certificate 1 is not valid before 2027-01-01T00:00:00Z",
            ),
            (&nameless.certificate, &nameless.key, "certificate 1 has no subject alternative name"),
            (&unordered, &good.key, "certificate 1 was not issued by certificate 2"),
        ] {
            let said = read(certificate, key).unwrap_err().to_string();
            assert!(said.contains(expected), "wanted {expected:?} in {said:?}");
            assert!(!said.contains("canary") && !said.contains(&good.key[40..60]), "{said}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Tls::read(&bytes, now());
            let pem = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert!(read(&pem, &pem).is_err());
        }
    }
}
