//! The new region's Vault is initialised, or a token for it is made from its shares.

use super::{Failure, Work, keys};
use crate::plan::vault::chart;
use crate::vault::client::Vault;
use crate::vault::error::VaultError;
use crate::vault::seal::{Born, Hidden, SealStatus, Shares};

impl Work<'_> {
    /// Sees to it that the Vault takes calls with a token. Whether that is a root token which this run made, and
    /// gives back.
    pub(super) async fn open(
        &mut self,
        vault: &mut Vault,
        status: &SealStatus,
        shares: &Shares,
        own: Option<&Hidden>,
    ) -> Result<bool, Failure> {
        self.check_stop()?;
        if !status.initialised {
            self.initialise(vault, status, shares).await?;
            return Ok(true);
        }
        if let Some(token) = own.filter(|_| !status.sealed) {
            vault.set_token(token);
            vault.awake().await.map_err(|source| self.failed(source))?;
            return Ok(false);
        }
        self.reopen(vault, status).await?;
        Ok(true)
    }

    async fn initialise(
        &mut self,
        vault: &mut Vault,
        status: &SealStatus,
        shares: &Shares,
    ) -> Result<(), Failure> {
        keys::presentable(shares, self.json).map_err(Failure::Usage)?;
        self.line.say("initialise");
        self.wrote = true;
        let born = match vault.initialise(status, shares).await {
            Ok(born) => born,
            Err(source) if source.status() == Some(400) => {
                self.wrote = false;
                return Err(Failure::Locked(self.failed(source).to_string()));
            }
            Err(source) if source.status().is_some() => {
                self.wrote = false;
                return Err(self.failed(source));
            }
            Err(source) => return Err(self.lost(status, &source.to_string())),
        };
        self.report.initialised = true;
        if shares.pgp_keys.is_empty() {
            self.line.hide();
            keys::show(&born, status, shares.threshold)
                .map_err(|error| self.lost(status, &format!("the shares cannot be shown: {error}")))?;
        } else {
            self.report.encrypted_shares = born.shares.iter().map(|share| share.to_string()).collect();
            self.show_encrypted(status)?;
        }
        // From here on the shares are with their owners, and everything can be done again.
        self.confirmed(shares).await?;
        if !status.unseals_itself {
            self.unseal_new(vault, &born, shares).await?;
        }
        vault.set_token(&born.root);
        vault.awake().await.map_err(|source| self.failed(source))
    }

    /// With `--output json` they stand in the report; it is written whatever comes next.
    fn show_encrypted(&self, status: &SealStatus) -> Result<(), Failure> {
        use std::io::Write as _;
        if self.json {
            return Ok(());
        }
        let mut text =
            String::from("\nThe shares of this Vault, each encrypted to its OpenPGP key (base64):\n\n");
        for (file, share) in self.args.pgp_key.iter().zip(&self.report.encrypted_shares) {
            text.push_str(&format!("  {}\n    {share}\n", file.display()));
        }
        text.push('\n');
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| self.lost(status, &format!("the shares cannot be shown: {error}")))
    }

    async fn confirmed(&self, shares: &Shares) -> Result<(), Failure> {
        if !shares.pgp_keys.is_empty() || !keys::attended() {
            return Ok(());
        }
        let mut stop = self.stop.clone();
        let asked = tokio::task::spawn_blocking(keys::stored);
        tokio::select! {
            // A terminal that went away after the shares were shown is no reason to end.
            _ = asked => Ok(()),
            _ = stop.wait_for(|stop| *stop) => Err(Failure::Stopped),
        }
    }

    /// A Vault that does not unseal itself is unsealed with the shares that it has just given.
    async fn unseal_new(&self, vault: &Vault, born: &Born, shares: &Shares) -> Result<(), Failure> {
        if !shares.pgp_keys.is_empty() {
            return Err(Failure::Incomplete(format!(
                "{}: the shares are encrypted, so it is still sealed: unseal it (vault operator unseal), then run \
                 this again and give the shares, or a root token",
                self.region.name
            )));
        }
        self.line.say("unseal");
        for share in born.shares.iter().take(usize::from(shares.threshold)) {
            vault.unseal(share).await.map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// A Vault that was initialised before: with its shares it is unsealed, and gives a root token.
    async fn reopen(&mut self, vault: &mut Vault, status: &SealStatus) -> Result<(), Failure> {
        let name = &self.region.name;
        if status.sealed && status.unseals_itself {
            return Err(Failure::Refused(format!(
                "{name}: its Vault is sealed, and should unseal itself: look at its log; its seal ({}) may be away",
                status.kind
            )));
        }
        if self.json || !keys::attended() {
            return Err(Failure::Refused(self.shut(vault, status).await));
        }
        let kind = if status.unseals_itself { "recovery key" } else { "unseal key" };
        self.line.say(&format!(
            "it is initialised already; for a root token {} shares are needed",
            status.threshold
        ));
        self.line.hide();
        let (count, kind) = (status.threshold, kind.to_owned());
        let silence = keys::Silence::begin().map_err(|error| {
            Failure::Refused(format!(
                "{name}: the terminal shows what is typed, and cannot be told not to: {error}"
            ))
        })?;
        let asked = tokio::task::spawn_blocking(move || keys::ask(count, &kind));
        let mut stop = self.stop.clone();
        let shares = tokio::select! {
            asked = asked => asked.map_err(|_| Failure::Stopped)?,
            _ = stop.wait_for(|stop| *stop) => return Err(Failure::Stopped),
        };
        drop(silence);
        let Ok(shares) = shares else { return Err(Failure::Refused(self.shut(vault, status).await)) };
        self.line.say("make a root token from the shares");
        let failed = |source: VaultError| {
            Failure::Refused(format!("{name}: {source}; if a share was mistyped, run it again"))
        };
        if status.sealed {
            for share in &shares {
                vault.unseal(share).await.map_err(failed)?;
            }
            vault.unsealed().await.map_err(failed)?;
        }
        let root = vault.generate_root(&shares).await.map_err(failed)?;
        vault.set_token(&root);
        vault.awake().await.map_err(failed)
    }

    /// What to do about a Vault that is initialised while nothing opens it.
    async fn shut(&self, vault: &Vault, status: &SealStatus) -> String {
        let name = &self.region.name;
        let ways = format!(
            "give a root token (--vault-token {name}=FILE), or run this on a terminal and type {} of its shares",
            status.threshold
        );
        let made = match status.sealed {
            true => None,
            false => vault.has_auth_methods().await.ok(),
        };
        let (state, empty) = match made {
            Some(true) => return format!("{name}: its Vault is initialised already: {ways}"),
            Some(false) => (", and nothing has been made in it yet", "and it is empty"),
            None if status.sealed => (" and sealed", "it was never unsealed, and is empty"),
            None => ("", "and it is empty"),
        };
        format!(
            "{name}: its Vault is initialised{state}: {ways}. If a run was killed before it showed the shares, nobody \
             has them, {empty}: {}",
            self.wiping(status)
        )
    }

    /// A Vault whose shares nobody will ever have.
    fn lost(&self, status: &SealStatus, why: &str) -> Failure {
        Failure::Incomplete(format!(
            "{}: {why}. If it was initialised, nobody has its shares, and nothing is lost: {}",
            self.region.name,
            self.wiping(status)
        ))
    }

    /// Which storage is still empty, and how it goes.
    fn wiping(&self, status: &SealStatus) -> String {
        let address = self.region.vault.value.address.as_str();
        let (namespace, _) = chart::service(self.region);
        let storage = match self.region.vault.value.in_cluster {
            true => format!(
                "delete the PersistentVolumeClaims of Vault's pods in namespace {namespace} of {}, and the pods",
                self.region.context.value
            ),
            false => {
                "stop it, and empty the folder or bucket that its configuration names as storage".to_owned()
            }
        };
        format!(
            "wipe the storage ({}) of the Vault at {address} and run this again: {storage}",
            status.storage
        )
    }
}
