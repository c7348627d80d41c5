//! From a Vault that holds nothing to one that answers: initialising, unsealing, and a root token from shares.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustify::enums::RequestMethod;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::client::Vault;
use super::error::VaultError;
use crate::wipe::wipe;

/// How long a Vault may take from being unsealed to taking calls: it elects a leader, and mounts.
const AWAKE: Duration = Duration::from_secs(60);

/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(100);

/// A text that is wiped when it is let go.
pub type Hidden = Zeroizing<String>;

/// How far a Vault is. <https://developer.hashicorp.com/vault/api-docs/system/seal-status>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealStatus {
    /// Whether it has a root key.
    pub initialised: bool,
    /// Whether it knows it.
    pub sealed: bool,
    /// What seals it: `shamir`, `gcpckms`, `transit` or another.
    pub kind: String,
    /// Whether it unseals itself, so that its shares are recovery keys.
    pub unseals_itself: bool,
    /// How many shares are needed.
    pub threshold: u64,
    /// Where it keeps its data: `raft`, `file` or another.
    pub storage: String,
}

/// How the shares of a Vault are made.
#[derive(Debug, Clone)]
pub struct Shares {
    /// How many there are.
    pub count: u8,
    /// How many are needed.
    pub threshold: u8,
    /// Public keys (base64, OpenPGP) that each is encrypted to; empty for shares in clear.
    pub pgp_keys: Vec<String>,
}

/// What an initialised Vault gives away, once.
pub struct Born {
    /// The shares: recovery keys where the Vault unseals itself, else unseal keys. Encrypted where that was asked.
    pub shares: Vec<Hidden>,
    /// The root token.
    pub root: Hidden,
}

impl std::fmt::Debug for Born {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Born({} shares)", self.shares.len())
    }
}

impl Vault {
    /// How far it is. Takes no token.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn seal_status(&self) -> Result<SealStatus, VaultError> {
        let path = "sys/seal-status";
        let found = self.ask(path).await?;
        let lacks = |field| VaultError::lacks(&format!("GET {path}"), self.address(), field);
        let flag = |field| found[field].as_bool().ok_or_else(|| lacks(field));
        let text = |field: &str| found[field].as_str().unwrap_or("unknown").to_owned();
        Ok(SealStatus {
            initialised: flag("initialized")?,
            sealed: flag("sealed")?,
            kind: text("type"),
            unseals_itself: found["recovery_seal"].as_bool().unwrap_or(false),
            threshold: found["t"].as_u64().unwrap_or(0),
            storage: text("storage_type"),
        })
    }

    /// Initialises it. What it answers can be had only once.
    ///
    /// # Errors
    /// Vault refused, or did not answer: then nobody has its shares.
    pub async fn initialise(&self, status: &SealStatus, shares: &Shares) -> Result<Born, VaultError> {
        let kind = if status.unseals_itself { "recovery" } else { "secret" };
        let mut body = json!({
            format!("{kind}_shares"): shares.count, format!("{kind}_threshold"): shares.threshold,
        });
        if !shares.pgp_keys.is_empty() {
            let field = if status.unseals_itself { "recovery_pgp_keys" } else { "pgp_keys" };
            body[field] = shares.pgp_keys.clone().into();
        }
        let call = "PUT sys/init";
        let mut answer = self.write(RequestMethod::PUT, "sys/init", &body).await?;
        let field = if status.unseals_itself { "recovery_keys_base64" } else { "keys_base64" };
        let keys = answer[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        let keys: Vec<Hidden> = keys.map(|key| Zeroizing::new(key.to_owned())).collect();
        let root = answer["root_token"].as_str().map(|root| Zeroizing::new(root.to_owned()));
        wipe(&mut answer);
        let lacks = |field| VaultError::lacks(call, self.address(), field);
        if keys.len() != usize::from(shares.count) {
            return Err(lacks(field));
        }
        Ok(Born { shares: keys, root: root.ok_or_else(|| lacks("root_token"))? })
    }

    /// Gives it a share of its unseal key.
    ///
    /// # Errors
    /// Vault refused the share.
    pub async fn unseal(&self, share: &Hidden) -> Result<(), VaultError> {
        let mut body = json!({"key": share.as_str()});
        let answer = self.write(RequestMethod::PUT, "sys/unseal", &body).await;
        wipe(&mut body);
        answer.map(drop)
    }

    /// Waits until it takes calls with the token that it is called with.
    ///
    /// # Errors
    /// It does not within a minute, or the token is refused.
    pub async fn awake(&self) -> Result<(), VaultError> {
        let end = Instant::now() + AWAKE;
        loop {
            match self.read("auth/token/lookup-self").await {
                // A Vault that has just been unsealed has no leader yet, or refuses connections to it.
                Err(error) if error.status().is_none_or(|status| status >= 500) && Instant::now() < end => {
                    sleep(LOOK).await;
                }
                answer => return answer.map(drop),
            }
        }
    }

    /// Waits until it is not sealed and has a leader. Takes no token.
    ///
    /// # Errors
    /// It does not within a minute.
    pub async fn unsealed(&self) -> Result<(), VaultError> {
        let end = Instant::now() + AWAKE;
        loop {
            match self.ask("sys/generate-root/attempt").await {
                Err(error) if error.status().is_none_or(|status| status >= 500) && Instant::now() < end => {
                    sleep(LOOK).await;
                }
                answer => return answer.map(drop),
            }
        }
    }

    /// Whether it has an auth method that `regions vault apply` makes, which comes before any document. Takes no
    /// token: a login at a method that is not there is denied, and at one that is there refused as incomplete.
    ///
    /// # Errors
    /// No answer, or none that can be used.
    pub async fn has_auth_methods(&self) -> Result<bool, VaultError> {
        for method in ["approle", "jwt", "kubernetes"] {
            match self.write(RequestMethod::POST, &format!("auth/{method}/login"), &json!({})).await {
                Err(error) if error.status() == Some(403) => {}
                Err(error) if error.status() != Some(400) => return Err(error),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Makes a root token from shares. An attempt that another run left is given up.
    /// <https://developer.hashicorp.com/vault/api-docs/system/generate-root>
    ///
    /// # Errors
    /// Vault refused a share, or did not answer.
    pub async fn generate_root(&self, shares: &[Hidden]) -> Result<Hidden, VaultError> {
        let (attempt, update) = ("sys/generate-root/attempt", "sys/generate-root/update");
        self.delete(attempt).await?;
        let mut begun = self.write(RequestMethod::PUT, attempt, &json!({})).await?;
        let nonce = begun["nonce"].as_str().unwrap_or_default().to_owned();
        let pad = Zeroizing::new(begun["otp"].as_str().unwrap_or_default().to_owned());
        wipe(&mut begun);
        for share in shares {
            let mut body = json!({"key": share.as_str(), "nonce": nonce});
            let answer = self.write(RequestMethod::PUT, update, &body).await;
            wipe(&mut body);
            let mut answer = answer?;
            let encoded = answer["encoded_token"].as_str().filter(|text| !text.is_empty());
            let token = encoded.and_then(|encoded| decoded(encoded, &pad));
            let complete = answer["complete"] == true;
            wipe(&mut answer);
            if complete {
                let lacks = || VaultError::lacks(&format!("PUT {update}"), self.address(), "encoded_token");
                return token.ok_or_else(lacks);
            }
        }
        Err(VaultError::lacks(
            &format!("PUT {update}"),
            self.address(),
            "root token yet: more shares are needed",
        ))
    }
}

/// A root token as Vault encodes it: combined with the one-time pad by exclusive or, in base64.
fn decoded(encoded: &str, pad: &str) -> Option<Hidden> {
    let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?);
    if bytes.len() != pad.len() {
        return None;
    }
    let token: Vec<u8> = bytes.iter().zip(pad.bytes()).map(|(byte, pad)| byte ^ pad).collect();
    String::from_utf8(token).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_token_is_decoded_with_its_pad() {
        // As `vault operator generate-root -decode` does: base64 of token xor pad.
        let (token, pad) = ("hvs.abc", "1234567");
        let mixed: Vec<u8> = token.bytes().zip(pad.bytes()).map(|(a, b)| a ^ b).collect();
        let encoded = STANDARD_NO_PAD.encode(mixed);
        assert_eq!(decoded(&encoded, pad).unwrap().as_str(), token);
        assert_eq!(decoded(&encoded, "short"), None);
        assert_eq!(decoded("%", pad), None);
    }
}
