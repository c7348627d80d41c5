//! Whether a Vault has the keys that a release needs, as the promoter. Names and versions only; the one value that is
//! read is the secret of the client `probe`, for own transactions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::client::{Authorities, Vault, credential};
use super::error::VaultError;
use super::reach::{Clusters, Place};
use crate::plan::needs::{Needs, lacking};
use crate::plan::vault::MOUNT;
use crate::wipe::wipe;

/// As whom a promotion logs in.
const ROLE: &str = "promoter";

/// Where the secret of the client is that own transactions are made as.
pub const PROBE: &str = "client/probe";

/// What a promoter whom a Vault denies something is told.
const DENIED: &str =
    "check the role promoter of auth/jwt (its audience, bound claims and policy): regions vault apply";

/// As whom the regions' Vaults are asked, if they are.
#[derive(Debug, Clone, clap::Args)]
pub struct Vaults {
    /// Look first whether each region's Vault has the keys that the release needs, and make own transactions with
    /// tokens, logging in with the JWT in this file (auth/jwt, role promoter)
    #[arg(long, value_name = "FILE", requires = "vault_ca", conflicts_with = "vault_token")]
    pub vault_jwt_file: Option<PathBuf>,
    /// The same with a token for each region's Vault, with the policy promoter
    #[arg(long, value_name = "REGION=FILE", value_parser = token_file, requires = "vault_ca")]
    pub vault_token: Vec<(String, PathBuf)>,
    /// PEM certificates of the authorities that vouch for the Vaults; no others do
    #[arg(long, value_name = "FILE")]
    pub vault_ca: Option<PathBuf>,
}

impl Vaults {
    /// How they are asked; nothing where they are not.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn access(&self, clusters: &Clusters) -> Result<Option<Access>, VaultError> {
        let Some(authority) = &self.vault_ca else { return Ok(None) };
        if self.vault_jwt_file.is_none() && self.vault_token.is_empty() {
            let reason = "it is of use with --vault-jwt-file or --vault-token only".into();
            return Err(VaultError::File { file: "--vault-ca".into(), reason });
        }
        let jwt = self.vault_jwt_file.as_deref();
        Access::read(jwt, &self.vault_token, authority, clusters.clone()).map(Some)
    }
}

/// A region and a file: `REGION=FILE`.
fn token_file(text: &str) -> Result<(String, PathBuf), String> {
    let named = text.split_once('=').filter(|(region, file)| !region.is_empty() && !file.is_empty());
    let (region, file) = named.ok_or_else(|| format!("{text} is not REGION=FILE"))?;
    Ok((region.to_owned(), file.into()))
}

/// How the Vaults of an environment are reached: with whose identity, and what vouches for them.
#[derive(Debug)]
pub struct Access {
    identity: Identity,
    authorities: Authorities,
    clusters: Clusters,
}

/// Who promotes.
enum Identity {
    /// A job, by its JWT.
    Jwt(Zeroizing<String>),
    /// A person with a token for each region's Vault.
    Tokens(BTreeMap<String, Zeroizing<String>>),
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Jwt(_) => "Jwt",
            Self::Tokens(_) => "Tokens",
        })
    }
}

/// A secret that cannot be delivered, or lacks a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The whole secret.
    Secret {
        /// Its name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A key of it.
    Key {
        /// The secret's name.
        name: String,
        /// The key.
        key: String,
    },
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret { name, reason } => {
                write!(f, "{MOUNT}/service/{name} {reason}; write it with: ")?;
                write!(f, "vault kv put -mount={MOUNT} service/{name} @FILE.json")
            }
            Self::Key { name, key } if key.contains('.') => write!(
                f,
                "{MOUNT}/service/{name} has no key {key}; add it to the document and write that with: \
                 vault kv put -mount={MOUNT} service/{name} @FILE.json"
            ),
            Self::Key { name, key } => write!(
                f,
                "{MOUNT}/service/{name} has no key {key}; write it with: \
                 vault kv patch -mount={MOUNT} service/{name} {key}=@FILE"
            ),
        }
    }
}

/// What a region's Vault holds for a release.
#[derive(Default)]
pub struct Holds {
    /// What it lacks.
    pub missing: Vec<Missing>,
    /// The version of each secret.
    pub versions: BTreeMap<String, u64>,
    /// The secret of the client `probe`, where there is one.
    pub probe: Option<Arc<Zeroizing<String>>>,
}

impl Access {
    /// Reads the JWT that the caller is known by, or tokens by region, and the authorities that vouch for the Vaults.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn read(
        jwt_file: Option<&Path>,
        tokens: &[(String, PathBuf)],
        authority_file: &Path,
        clusters: Clusters,
    ) -> Result<Self, VaultError> {
        let identity = match jwt_file {
            Some(file) => {
                let jwt = credential(file)?;
                if jwt.split('.').count() != 3 {
                    return Err(VaultError::File { file: file.to_owned(), reason: "it holds no JWT".into() });
                }
                Identity::Jwt(jwt)
            }
            None => {
                let read = tokens.iter().map(|(region, file)| Ok((region.clone(), credential(file)?)));
                Identity::Tokens(read.collect::<Result<_, VaultError>>()?)
            }
        };
        Ok(Self { identity, authorities: Authorities::read(authority_file)?, clusters })
    }

    /// When the identity ends, where that can be told from it.
    pub fn ends(&self) -> Option<Timestamp> {
        match &self.identity {
            Identity::Jwt(jwt) => jwt_ends(jwt),
            Identity::Tokens(_) => None,
        }
    }

    /// What a region's Vault holds of what a release needs. A job logs in, and gives its token back.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn holds(&self, place: Place<'_>, needs: &Needs) -> Result<Holds, VaultError> {
        let mut vault = self.clusters.vault(place, &self.authorities, DENIED).await?;
        match &self.identity {
            Identity::Jwt(jwt) => {
                vault.log_in_by_jwt(jwt, ROLE).await?;
                let holds = holds(&vault, needs).await;
                vault.log_out().await;
                holds
            }
            Identity::Tokens(tokens) => {
                let token = tokens.get(place.region).ok_or_else(|| VaultError::File {
                    file: "--vault-token".into(),
                    reason: format!("no token is named for {0}: --vault-token {0}=FILE", place.region),
                })?;
                vault.set_token(token);
                holds(&vault, needs).await
            }
        }
    }
}

/// When a JWT ends, by its own claim; nothing where it does not say.
pub fn jwt_ends(jwt: &str) -> Option<Timestamp> {
    use base64::Engine as _;
    let claims = jwt.split('.').nth(1)?;
    let claims = Zeroizing::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?);
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(claims["exp"].as_i64()?).ok()
}

async fn holds(vault: &Vault, needs: &Needs) -> Result<Holds, VaultError> {
    let mut holds = Holds::default();
    for (name, keys) in needs {
        let metadata = vault.metadata(&format!("service/{name}")).await?;
        let absence = metadata.as_ref().map_or(Some("was never written"), |metadata| metadata.absence);
        if let Some(reason) = absence {
            holds.missing.push(Missing::Secret { name: name.clone(), reason });
            continue;
        }
        holds.versions.insert(name.clone(), metadata.map_or(0, |metadata| metadata.version));
        if !keys.is_empty() {
            let found = vault.read(&format!("{MOUNT}/subkeys/service/{name}")).await?;
            let subkeys = found.map(|mut found| found["subkeys"].take()).unwrap_or_default();
            let lacks = lacking(&subkeys, keys).into_iter();
            holds.missing.extend(lacks.map(|key| Missing::Key { name: name.clone(), key: key.to_owned() }));
        }
    }
    if let Some(mut found) = vault.read(&format!("{MOUNT}/data/{PROBE}")).await? {
        let secret = found["data"]["secret"].as_str();
        holds.probe = secret.map(|secret| Arc::new(Zeroizing::new(secret.to_owned())));
        wipe(&mut found);
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_says_the_command_that_writes_it() {
        let key = |key: &str| Missing::Key { name: "tls".into(), key: key.into() }.to_string();
        assert!(
            key("private_key_pem").ends_with("vault kv patch -mount=kv service/tls private_key_pem=@FILE")
        );
        assert!(key("oauth.issuer").ends_with("vault kv put -mount=kv service/tls @FILE.json"));
    }

    #[test]
    fn a_jwt_says_when_it_ends_or_does_not() {
        // {"exp":1800000000}
        let jwt = "e30.eyJleHAiOjE4MDAwMDAwMDB9.x";
        assert_eq!(jwt_ends(jwt).map(Timestamp::as_second), Some(1_800_000_000));
        for other in ["", "a.b.c", "e30.e30.x"] {
            assert_eq!(jwt_ends(other), None, "{other}");
        }
    }
}
