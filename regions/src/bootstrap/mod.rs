//! `regions bootstrap`: a new region's Vault, from nothing to holding what the other regions' hold.
//!
//! First everything is looked at: the other regions, whether their documents agree, and how far the new Vault is.
//! Then, each stage such that a run which ends anywhere is run again: the Vault is installed, initialised, made
//! what the catalogue wants, its region is named in every other Vault, the documents are copied, and all regions
//! are compared. Only between initialising and showing the shares there is no way back: a Vault whose shares
//! nobody has is wiped.

mod install;
mod keys;
mod opening;
mod others;
mod report;
mod seeding;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::sync::watch;

use crate::catalogue::Environment;
use crate::catalogue::region::Region;
use crate::ending::Ending;
use crate::named::Named;
use crate::output::{Line, Progress};
use crate::plan::vault::{Allowed, desired};
use crate::vault::apply;
use crate::vault::client::{Authorities, Vault, credential};
use crate::vault::error::VaultError;
use crate::vault::logins::token_file;
use crate::vault::reach::{Clusters, Place};
use crate::vault::seal::{Hidden, SealStatus, Shares};

use others::Others;

pub use report::Report;

/// What each ending means for this verb.
const ENDINGS: &str = "\
Examples:
  regions bootstrap production/asia-southeast1 --vault-ca vault-ca.pem \\
      --vault-token europe-west4=eu.token --vault-token us-east4=us.token
  regions bootstrap production/asia-southeast1 --vault-ca vault-ca.pem --vault-jwt-file job.jwt \\
      --pgp-key ada.asc --pgp-key bob.asc --pgp-key eve.asc --key-threshold 2 --vault-chart vault-0.32.0.tgz

The shares of a new Vault are shown once, on the terminal or encrypted to OpenPGP keys, and are kept nowhere.
What has documents of others is never overwritten.

Exit codes: 0 done, or nothing to do · 1 refused, nothing changed · 2 usage or configuration · 4 incomplete, run
again · 5 another bootstrap is at work";

/// Which region, and by whose hand.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = ENDINGS)]
pub struct Args {
    /// Which region
    #[command(flatten)]
    pub named: Named,
    /// PEM certificates of the authorities that vouch for the Vaults; no others do
    #[arg(long, value_name = "FILE")]
    pub vault_ca: PathBuf,
    /// A region of the environment and a file with a token for its Vault; with the policy rotator, and for the
    /// new region, where its Vault is initialised already, with root's
    #[arg(long, value_name = "REGION=FILE", value_parser = token_file)]
    pub vault_token: Vec<(String, PathBuf)>,
    /// File with the JWT by which to log in to the other Vaults (auth/jwt, role rotator)
    #[arg(long, value_name = "FILE")]
    pub vault_jwt_file: Option<PathBuf>,
    /// A region that is away and not looked at; it is bootstrapped again, or mended by a rotation, later
    #[arg(long, value_name = "REGION")]
    pub without: Vec<String>,
    /// The environment's first: no other region has a Vault yet, and there is nothing to copy
    #[arg(long, conflicts_with_all = ["without", "from", "vault_jwt_file"])]
    pub first: bool,
    /// The region to copy from [default: the first in which every document can be read]
    #[arg(long, value_name = "REGION")]
    pub from: Option<String>,
    /// How many shares the new Vault's key is split into [default: one for each --pgp-key, else 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub key_shares: Option<u8>,
    /// How many of them are needed [default: more than half]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub key_threshold: Option<u8>,
    /// File with an OpenPGP public key; one for each share, which is encrypted to it
    #[arg(long, value_name = "FILE")]
    pub pgp_key: Vec<PathBuf>,
    /// Look at everything, say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How its Vault is installed
    #[command(flatten)]
    pub install: install::Install,
    /// The clusters that Vaults run in
    #[command(flatten)]
    pub clusters: Clusters,
}

/// Why a bootstrap ends early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{region}: {source}")]
    Vault { region: String, source: VaultError },
    #[error(transparent)]
    File(VaultError),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Locked(String),
    #[error("{0}")]
    Incomplete(String),
    #[error("stopped by a signal")]
    Stopped,
}

/// Runs the verb. Shares go to the terminal, everything else into the report.
pub async fn run(
    args: &Args,
    environment: &Environment,
    region: &Region,
    json: bool,
    stop: watch::Receiver<bool>,
) -> Report {
    let progress = Progress::new();
    let mut report = Report::new(&region.name, region.vault.value.address.as_str());
    let mut work = Work {
        args,
        environment,
        region,
        json,
        stop,
        line: progress.region(&region.name),
        report: &mut report,
        wrote: false,
    };
    // A dump of this process would hold what it copies.
    let ended = match forbid_core_dumps() {
        Ok(()) => work.stages().await,
        Err(error) => Err(Failure::Usage(format!("turn core dumps off: {error}"))),
    };
    let wrote = work.wrote;
    match ended {
        Ok(ending) => report.outcome = ending,
        Err(failure) => {
            report.outcome = match &failure {
                Failure::Usage(_) | Failure::File(_) => Ending::Misconfigured,
                Failure::Locked(_) => Ending::Locked,
                Failure::Incomplete(_) => Ending::Incomplete,
                _ if wrote => Ending::Incomplete,
                _ => Ending::Refused,
            };
            report.error = Some(failure.to_string());
        }
    }
    report
}

/// Turns core dumps off, and with them the attaching of debuggers by the same user.
pub(crate) fn forbid_core_dumps() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

struct Work<'a> {
    args: &'a Args,
    environment: &'a Environment,
    region: &'a Region,
    json: bool,
    stop: watch::Receiver<bool>,
    line: Line,
    report: &'a mut Report,
    wrote: bool,
}

/// What an operator whom the new Vault denies something is told.
const DENIED: &str = "the token has ended, or is not root's";

impl Work<'_> {
    async fn stages(&mut self) -> Result<Ending, Failure> {
        let tokens = self.tokens()?;
        let shares = keys::shares(self.args).map_err(Failure::Usage)?;
        let authorities = Authorities::read(&self.args.vault_ca).map_err(Failure::File)?;
        let others = self.others(&authorities, &tokens).await?;
        self.report.from = others.source.as_ref().map(|source| source.region.clone());
        let installed = self.install().await?;
        let (mut vault, status) = match self.reach(&authorities, installed.as_ref()).await {
            Ok(reached) => reached,
            // Nothing is there to be looked at before it is installed.
            Err(_) if self.args.dry_run && self.args.install.vault_chart.is_some() => {
                self.foresee_all(&shares, &others);
                others.log_out().await;
                return Ok(Ending::Planned);
            }
            Err(failure) => {
                others.log_out().await;
                return Err(failure);
            }
        };
        if self.args.dry_run {
            self.foresee(&mut vault, &status, &shares, &others, tokens.get(&self.region.name)).await?;
            others.log_out().await;
            return Ok(Ending::Planned);
        }
        let own = tokens.get(&self.region.name);
        let made_root = self.open(&mut vault, &status, &shares, own).await?;
        let ended = self.fill(&vault, &others).await;
        others.log_out().await;
        if made_root {
            vault.log_out().await;
        }
        ended
    }

    /// From a Vault that answers to one that holds everything.
    async fn fill(&mut self, vault: &Vault, others: &Others) -> Result<Ending, Failure> {
        self.apply(vault, false).await?;
        self.check_stop()?;
        if others.source.is_some() {
            self.name_members(vault, others).await?;
            self.seed(vault, others).await?;
        }
        self.report.next = report::next(self.environment, self.region, others.source.is_some());
        Ok(if self.wrote { Ending::Done } else { Ending::NoChange })
    }

    /// Makes the Vault what the catalogue wants.
    async fn apply(&mut self, vault: &Vault, dry_run: bool) -> Result<(), Failure> {
        let wanted = desired::desired(&self.environment.settings, &self.region.vault.value);
        let options = apply::Options { dry_run, allowed: Allowed::default() };
        let applied = apply::apply(vault, &wanted, options, &self.line, &self.stop).await;
        self.report.objects = if dry_run { applied.plan.steps.len() } else { applied.taken };
        let why = || {
            let refused = applied.plan.refused.iter();
            let lines = refused.map(|refused| format!("{}: {}", refused.path, refused.why));
            lines.chain(applied.error.clone()).collect::<Vec<_>>().join("\n")
        };
        match applied.outcome {
            Ending::Done => self.wrote = true,
            Ending::NoChange | Ending::Planned => {}
            Ending::Refused | Ending::Misconfigured => return Err(Failure::Refused(why())),
            Ending::Locked => return Err(Failure::Locked(why())),
            Ending::Incomplete => return Err(Failure::Incomplete(why())),
        }
        Ok(())
    }

    /// Says what would be done. What lies in a Vault that cannot be looked into is not known.
    async fn foresee(
        &mut self,
        vault: &mut Vault,
        status: &SealStatus,
        shares: &Shares,
        others: &Others,
        own: Option<&Hidden>,
    ) -> Result<(), Failure> {
        let documents = others.documents();
        if !status.initialised {
            self.report
                .foreseen
                .push(format!("find it uninitialised (seal {}, storage {})", status.kind, status.storage));
            self.foresee_all(shares, others);
            return Ok(());
        }
        let Some(token) = own else {
            self.report.foreseen.push(format!(
                "it is initialised{}; name a token for it (--vault-token {}=FILE) to see more",
                if status.sealed { " and sealed" } else { "" },
                self.region.name
            ));
            return Ok(());
        };
        vault.set_token(token);
        self.apply(vault, true).await?;
        self.report.foreseen.push(format!("compare, and copy what is not there: {}", documents.join(", ")));
        Ok(())
    }

    /// Says what is done to a Vault that nobody has initialised.
    fn foresee_all(&mut self, shares: &Shares, others: &Others) {
        let wanted = desired::desired(&self.environment.settings, &self.region.vault.value);
        self.report.objects = wanted.len();
        self.report.foreseen.push(format!(
            "initialise it: {} shares, of which {} are needed",
            shares.count, shares.threshold
        ));
        self.report.copied = others.documents();
    }

    /// The tokens of the command line, by region.
    fn tokens(&self) -> Result<BTreeMap<String, Hidden>, Failure> {
        let named = self.args.vault_token.iter().map(|(region, _)| region);
        for name in named.chain(&self.args.without).chain(&self.args.from) {
            self.environment.region(name).map_err(|unknown| Failure::Usage(unknown.to_string()))?;
        }
        let mut tokens = BTreeMap::new();
        for (region, file) in &self.args.vault_token {
            tokens.insert(region.clone(), credential(file).map_err(Failure::File)?);
        }
        Ok(tokens)
    }

    async fn vault(&self, authorities: &Authorities) -> Result<Vault, Failure> {
        let vault = self.args.clusters.vault(Place::of(self.region), authorities, DENIED).await;
        vault.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: VaultError) -> Failure {
        Failure::Vault { region: self.region.name.clone(), source }
    }

    fn check_stop(&self) -> Result<(), Failure> {
        if *self.stop.borrow() { Err(Failure::Stopped) } else { Ok(()) }
    }
}
