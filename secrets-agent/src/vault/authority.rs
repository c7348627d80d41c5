//! The authorities that may vouch for Vault, as one PEM file holds them.

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Those certificates of a file that are valid now.
#[derive(Debug)]
pub(super) struct Authority {
    /// They alone vouch; system roots never do.
    pub roots: RootCertStore,
    /// When the first of them ends.
    pub until: Timestamp,
}

impl Authority {
    /// Reads the file's content. A certificate that has ended or has not begun is left out: rustls trusts
    /// what it is given for ever, since it looks only at the certificates below it.
    ///
    /// # Errors
    /// It is no PEM, or holds no certificate that is valid now.
    pub(super) fn read(pem: &[u8], now: Timestamp) -> Result<Self, String> {
        let mut authority = Authority { roots: RootCertStore::empty(), until: Timestamp::MAX };
        let mut unfit = None;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| "it is no PEM certificate")?;
            let (begins, ends) = validity(&certificate)?;
            if now < begins {
                unfit = Some(format!("the authority's certificate is not valid before {begins}"));
            } else if now >= ends {
                unfit =
                    Some(format!("the authority's certificate ended at {ends}; put the present one there"));
            } else {
                authority.roots.add(certificate).map_err(|error| error.to_string())?;
                authority.until = authority.until.min(ends);
            }
        }
        if authority.roots.is_empty() {
            return Err(unfit.unwrap_or_else(|| "it holds no PEM certificate".to_owned()));
        }
        Ok(authority)
    }
}

fn validity(certificate: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), String> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| "a certificate in it cannot be read")?;
    let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|error| error.to_string());
    let validity = parsed.validity();
    // A year beyond what can be told is as good as no end.
    let ends = time(validity.not_after.timestamp()).unwrap_or(Timestamp::MAX);
    Ok((time(validity.not_before.timestamp())?, ends))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    /// A self-signed certificate that is good in these years.
    fn certificate(from: i32, until: i32) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn read(pem: &str) -> Result<(usize, String), String> {
        let authority = Authority::read(pem.as_bytes(), "2026-06-01T00:00:00Z".parse().unwrap())?;
        Ok((authority.roots.len(), authority.until.to_string()))
    }

    #[test]
    fn only_certificates_that_are_valid_now_vouch() {
        let (old, now, next) = (certificate(2020, 2022), certificate(2025, 2030), certificate(2026, 2035));
        assert_eq!(read(&now).unwrap(), (1, "2030-01-01T00:00:00Z".to_owned()));
        assert_eq!(read(&format!("{old}{now}{next}")).unwrap(), (2, "2030-01-01T00:00:00Z".to_owned()));
        assert!(read(&old).unwrap_err().contains("ended at 2022-01-01T00:00:00Z"));
        assert!(read(&certificate(2030, 2031)).unwrap_err().contains("not valid before 2030"));
    }

    #[test]
    fn what_is_no_certificate_is_said_to_be_none() {
        for (pem, expected) in [
            ("", "holds no PEM certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "is no PEM certificate"),
        ] {
            assert!(read(pem).unwrap_err().contains(expected), "{pem}");
        }
    }
}
