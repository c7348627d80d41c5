//! Tokens for many regions' Vaults: one file for each, or one JWT for all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::client::{Vault, credential};
use super::error::VaultError;
use super::seal::Hidden;

/// A region and a file with a token for its Vault, as the command line has them.
///
/// # Errors
/// It is not of that form.
pub fn token_file(text: &str) -> Result<(String, PathBuf), String> {
    let (region, file) = text
        .split_once('=')
        .filter(|(region, file)| !region.is_empty() && !file.is_empty())
        .ok_or("write REGION=FILE, such as us-east4=us.token")?;
    Ok((region.to_owned(), file.into()))
}

/// How a command is let in to each region's Vault.
pub struct Logins {
    tokens: BTreeMap<String, Hidden>,
    jwt: Option<Jwt>,
    role: &'static str,
}

/// A JWT, and the file that it came from.
struct Jwt {
    file: PathBuf,
    first: Hidden,
}

impl Jwt {
    /// The JWT of the moment: a job's ends after an hour, and who keeps the file puts a newer one there. A file that
    /// can be read only once gave the first.
    fn now(&self) -> Hidden {
        if self.file == Path::new("-") {
            return self.first.clone();
        }
        credential(&self.file).unwrap_or_else(|_| self.first.clone())
    }
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Nothing was named for a region.
    #[error("name a token for its Vault (--vault-token {0}=FILE), or log in (--vault-jwt-file FILE)")]
    Nothing(String),
    /// Vault said no, or nothing.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Logins {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or is not what it should be.
    pub fn read(
        tokens: &[(String, PathBuf)],
        given: Option<&Path>,
        role: &'static str,
    ) -> Result<Self, VaultError> {
        let token = |(region, file): &(String, PathBuf)| Ok((region.clone(), credential(file)?));
        let tokens = tokens.iter().map(token).collect::<Result<_, VaultError>>()?;
        let jwt = |file: &Path| Ok::<_, VaultError>(Jwt { file: file.to_owned(), first: credential(file)? });
        Ok(Self { tokens, jwt: given.map(jwt).transpose()?, role })
    }

    /// Gives a Vault the token of its region, or logs in. Whether it did, so that the token is to be given back.
    ///
    /// # Errors
    /// There is nothing to log in with, or Vault did not let it in.
    pub async fn let_in(&self, region: &str, vault: &mut Vault) -> Result<bool, LoginError> {
        match (self.tokens.get(region), &self.jwt) {
            (Some(token), _) => {
                vault.set_token(token);
                Ok(false)
            }
            (None, Some(jwt)) => {
                vault.log_in_by_jwt(&jwt.now(), self.role).await?;
                Ok(true)
            }
            (None, None) => Err(LoginError::Nothing(region.to_owned())),
        }
    }
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Logins({} tokens)", self.tokens.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jwt_of_the_moment_is_read_anew_and_the_first_one_stays_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("job.jwt");
        std::fs::write(&file, "a.b.c").unwrap();
        let logins = Logins::read(&[], Some(&file), "rotator").unwrap();
        let jwt = logins.jwt.unwrap();
        std::fs::write(&file, "d.e.f").unwrap();
        assert_eq!(jwt.now().as_str(), "d.e.f");
        for gone in [Some(""), None] {
            match gone {
                Some(text) => std::fs::write(&file, text).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            assert_eq!(jwt.now().as_str(), "a.b.c");
        }
    }

    #[test]
    fn tokens_are_named_by_region() {
        assert_eq!(token_file("eu=a=b").unwrap(), ("eu".to_owned(), PathBuf::from("a=b")));
        for wrong in ["eu", "=file", "eu=", ""] {
            assert!(token_file(wrong).unwrap_err().contains("REGION=FILE"), "{wrong}");
        }
    }
}
