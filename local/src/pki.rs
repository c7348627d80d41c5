//! A certificate authority for one test or one demo, and the certificates it issues.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::{Span, Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use secrecy::{ExposeSecret, SecretString};

/// Why a certificate could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate could not be made.
    #[error("make a certificate for {subject}")]
    Make {
        /// Whom it was for.
        subject: String,
        /// What rcgen said.
        #[source]
        source: rcgen::Error,
    },
    /// A file could not be written.
    #[error("write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A certificate authority. Its key lives in memory only.
#[derive(Debug)]
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate alone; the authority's own is [`Ca::pem`].
    pub certificate_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: SecretString,
}

/// Where [`Issued::write`] put a certificate and its key.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

impl Ca {
    /// A new authority under a name that errors of TLS clients will show.
    ///
    /// # Errors
    /// No key could be made.
    pub fn new(name: &str) -> Result<Self, Error> {
        let made = || {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            set_validity(&mut params, -10.days(), 3650.days());
            CertifiedIssuer::self_signed(params, KeyPair::generate()?)
        };
        Ok(Ca { issuer: made().map_err(|source| Error::Make { subject: name.to_owned(), source })? })
    }

    /// The authority's certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the authority's certificate to a file of mode 0600.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<PathBuf, Error> {
        write_private(path.as_ref(), self.pem().as_bytes())
    }

    /// A server certificate for these DNS names and IP addresses, good for 90 days.
    ///
    /// # Errors
    /// A name that is no DNS name.
    pub fn issue(&self, names: &[&str]) -> Result<Issued, Error> {
        self.issue_between(names, -1.days(), 90.days())
    }

    /// A client certificate by which Kubernetes knows a user of a group.
    ///
    /// # Errors
    /// No key could be made.
    pub fn issue_client(&self, user: &str, group: &str) -> Result<Issued, Error> {
        let made = || {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, user);
            params.distinguished_name.push(DnType::OrganizationName, group);
            params.use_authority_key_identifier_extension = true;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            set_validity(&mut params, -1.days(), 90.days());
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem().into() })
        };
        made().map_err(|source| Error::Make { subject: user.to_owned(), source })
    }

    /// A server certificate that ended yesterday.
    ///
    /// # Errors
    /// As [`Ca::issue`].
    pub fn issue_expired(&self, names: &[&str]) -> Result<Issued, Error> {
        self.issue_between(names, -9.days(), -1.days())
    }

    /// A server certificate that is good from and until so many whole days from now.
    ///
    /// # Errors
    /// As [`Ca::issue`].
    pub fn issue_between(&self, names: &[&str], from: Span, until: Span) -> Result<Issued, Error> {
        let made = || {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names.clone())?;
            params.distinguished_name.push(DnType::CommonName, names.first().map_or("", String::as_str));
            params.use_authority_key_identifier_extension = true;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            set_validity(&mut params, from, until);
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem().into() })
        };
        made().map_err(|source| Error::Make { subject: names.join(", "), source })
    }
}

impl Issued {
    /// Writes `<name>.crt` and `<name>.key`, both of mode 0600, into a folder that exists.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: impl AsRef<Path>, name: &str) -> Result<Files, Error> {
        let folder = folder.as_ref();
        Ok(Files {
            certificate: write_private(&folder.join(format!("{name}.crt")), self.certificate_pem.as_bytes())?,
            key: write_private(&folder.join(format!("{name}.key")), self.key_pem.expose_secret().as_bytes())?,
        })
    }
}

/// Writes a file that only its owner may read, in one step for whoever reads it at the same time.
///
/// # Errors
/// The file cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> Result<PathBuf, Error> {
    let write = || {
        let draft = path.with_added_extension("draft");
        fs::remove_file(&draft).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(content)?;
        fs::rename(&draft, path)
    };
    write().map(|()| path.to_owned()).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Makes a certificate good from and until the starts of the UTC days that lie so far from now.
fn set_validity(params: &mut CertificateParams, from: Span, until: Span) {
    let today = Timestamp::now().to_zoned(TimeZone::UTC);
    let positive = |number: i8| u8::try_from(number).unwrap_or(1);
    let day = |from_now| {
        let date = today.saturating_add(from_now).date();
        rcgen::date_time_ymd(i32::from(date.year()), positive(date.month()), positive(date.day()))
    };
    (params.not_before, params.not_after) = (day(from), day(until));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_for_their_owner_alone_and_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new("test").unwrap();
        for _ in 0..2 {
            let files = ca.issue(&["localhost"]).unwrap().write(folder.path(), "server").unwrap();
            for file in [files.certificate, files.key, ca.write(folder.path().join("ca.pem")).unwrap()] {
                assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "a draft was left behind");
    }

    #[test]
    fn a_key_is_never_printed() {
        let issued = Ca::new("test").unwrap().issue(&["localhost"]).unwrap();
        assert!(issued.key_pem.expose_secret().contains("PRIVATE KEY"));
        assert!(!format!("{issued:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let error = Ca::new("test").unwrap().issue(&["sch\u{f6}n"]).unwrap_err();
        assert_eq!(error.to_string(), "make a certificate for sch\u{f6}n");
    }
}
