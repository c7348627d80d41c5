//! Whether a Vault has the secrets that a release needs. Metadata only; no value is ever read.

use std::path::Path;

use zeroize::Zeroizing;

use super::client::{Authorities, Vault, credential};
use super::error::VaultError;
use super::reach::{Clusters, Place};
use crate::plan::vault::MOUNT;

/// As whom a promotion logs in.
const ROLE: &str = "promoter";

/// What a promoter whom a Vault denies something is told.
const DENIED: &str =
    "check the role promoter of auth/jwt (its audience, bound claims and policy): regions vault apply";

/// How the Vaults of an environment are reached: with whose identity, and what vouches for them.
#[derive(Debug)]
pub struct Access {
    jwt: Jwt,
    authorities: Authorities,
    clusters: Clusters,
}

/// A JWT, which has no text form.
struct Jwt(Zeroizing<String>);

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jwt")
    }
}

/// A secret that cannot be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: &'static str,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, reason } = self;
        write!(f, "{MOUNT}/service/{name} {reason}; write it with: ")?;
        write!(f, "vault kv put -mount={MOUNT} service/{name} @FILE.json")
    }
}

impl Access {
    /// Reads the JWT that the caller is known by, and the authorities that vouch for the Vaults.
    ///
    /// # Errors
    /// Either file cannot be read, or is not what it should be.
    pub fn read(jwt_file: &Path, authority_file: &Path, clusters: Clusters) -> Result<Self, VaultError> {
        let jwt = Jwt(credential(jwt_file)?);
        if jwt.0.split('.').count() != 3 {
            return Err(VaultError::File { file: jwt_file.to_owned(), reason: "it holds no JWT".into() });
        }
        Ok(Self { jwt, authorities: Authorities::read(authority_file)?, clusters })
    }

    /// Those of the service's secrets that a region's Vault cannot deliver. Logs in, reads metadata,
    /// and gives the token back.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn missing(&self, place: Place<'_>, secrets: &[String]) -> Result<Vec<Missing>, VaultError> {
        let mut vault = self.clusters.vault(place, &self.authorities, DENIED).await?;
        vault.log_in_by_jwt(&self.jwt.0, ROLE).await?;
        let missing = missing(&vault, secrets).await;
        vault.log_out().await;
        missing
    }
}

async fn missing(vault: &Vault, secrets: &[String]) -> Result<Vec<Missing>, VaultError> {
    let mut missing = Vec::new();
    for name in secrets {
        let metadata = vault.metadata(&format!("service/{name}")).await?;
        if let Some(reason) = metadata.map_or(Some("was never written"), |metadata| metadata.absence) {
            missing.push(Missing { name: name.clone(), reason });
        }
    }
    Ok(missing)
}
