//! How an operator reaches a region's Vault, and as whom.

use std::path::PathBuf;

use super::client::{Authorities, Vault, credential};
use super::error::VaultError;
use crate::catalogue::types::Vault as Way;

/// How an operator reaches a region's Vault, and as whom.
#[derive(Debug, Clone, clap::Args)]
pub struct Reach {
    /// PEM certificates of the authorities that vouch for the Vault; no others do
    #[arg(long, value_name = "FILE")]
    pub vault_ca: PathBuf,
    /// File with a token for the Vault, `-` for standard input [default: ~/.vault-token, which `vault login`
    /// writes]
    #[arg(long, value_name = "FILE")]
    pub vault_token_file: Option<PathBuf>,
}

impl Reach {
    /// The Vault, with the caller's token. Nothing is called yet.
    ///
    /// # Errors
    /// A file of the caller's cannot be used.
    pub fn vault(&self, way: &Way, denied: &str) -> Result<Vault, VaultError> {
        let authorities = Authorities::read(&self.vault_ca)?;
        let token = credential(&self.token_file()?)?;
        let mut vault = Vault::new(way.address.as_str(), &authorities, denied)?;
        vault.set_token(&token);
        Ok(vault)
    }

    fn token_file(&self) -> Result<PathBuf, VaultError> {
        let own = || std::env::home_dir().map(|home| home.join(".vault-token"));
        self.vault_token_file.clone().or_else(own).ok_or_else(|| VaultError::File {
            file: "~/.vault-token".into(),
            reason: "there is no home; name a file with --vault-token-file".into(),
        })
    }
}
