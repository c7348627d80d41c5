//! `regions vault apply`: makes a region's Vault what the catalogue wants of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rustify::enums::RequestMethod;
use serde::Serialize;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};
use tokio::sync::watch;

use super::client::Vault;
use super::error::VaultError;
use super::observe::{INVENTORY, observe, prepared};
use super::reach::{Place, Reach};
use crate::catalogue::Environment;
use crate::catalogue::region::Region;
use crate::ending::Ending;
use crate::named::Named;
use crate::output::{Line, Progress, coloured};
use crate::plan::diff::FieldChange;
use crate::plan::vault::{self, Action, Allowed, Kind, MOUNT, Object, Plan, Refused, Step, Unwanted};

/// Which Vault, and what may be done to it.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Which region
    #[command(flatten)]
    pub named: Named,
    /// How its Vault is reached
    #[command(flatten)]
    pub reach: Reach,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Remove what regions made and the catalogue no longer wants
    #[arg(long)]
    pub prune: bool,
    /// Take over what others made where the catalogue wants something
    #[arg(long)]
    pub adopt: bool,
}

/// What an operator whom a Vault denies something is told.
const DENIED: &str = "the token has ended, or has not the policy operator; log in again (vault login)";

/// Runs the verb on a region.
///
/// # Errors
/// The Vault cannot be called at all: nothing was looked at.
pub async fn run(
    args: &Args,
    environment: &Environment,
    region: &Region,
    stop: &watch::Receiver<bool>,
) -> Result<Report, VaultError> {
    let vault = args.reach.vault(Place::of(region), DENIED).await?;
    let wanted = vault::desired::desired(&environment.settings, &region.vault.value);
    let allowed = Allowed { prune: args.prune, adopt: args.adopt };
    let options = Options { dry_run: args.dry_run, allowed };
    let progress = Progress::new();
    Ok(apply(&vault, &wanted, options, &progress.region(&region.name), stop).await)
}

/// What an apply did.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where the Vault is.
    pub address: String,
    /// How it ended.
    pub outcome: Ending,
    /// What was found and decided; empty when the Vault could not be looked at.
    #[serde(flatten)]
    pub plan: Plan,
    /// How many of the steps were taken.
    pub taken: usize,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Report {
    /// It, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.plan.steps {
            let sign = match step.action {
                Action::Create => '+',
                Action::Change => '~',
                Action::Adopt => '>',
                Action::Remove => '-',
            };
            let _ = writeln!(text, "{sign} {}", step.path);
            for field in &step.fields {
                text.push_str(&shown(field));
            }
        }
        for Unwanted { path, why } in &self.plan.unwanted {
            let _ = writeln!(text, "? {path}: no longer wanted; {why}");
        }
        for Refused { path, why } in &self.plan.refused {
            let _ = writeln!(text, "! {path}: {why}");
        }
        let counts = [
            (Action::Create, "to create", "created"),
            (Action::Change, "to change", "changed"),
            (Action::Adopt, "to adopt", "adopted"),
            (Action::Remove, "to remove", "removed"),
        ];
        let done = self.outcome == Ending::Done;
        let counts = counts.map(|(action, planned, past)| {
            format!("{} {}", self.plan.count(action), if done { past } else { planned })
        });
        let _ = match self.outcome {
            Ending::NoChange => writeln!(text, "no change"),
            Ending::Planned if self.plan.is_empty() => writeln!(text, "no change"),
            Ending::Done | Ending::Planned => writeln!(text, "{}", counts.join(", ")),
            Ending::Refused | Ending::Misconfigured => writeln!(text, "refused; nothing was changed"),
            Ending::Locked => writeln!(text, "locked by another"),
            Ending::Incomplete => {
                writeln!(
                    text,
                    "incomplete after {} of {} steps; run it again",
                    self.taken,
                    self.plan.steps.len()
                )
            }
        };
        if let Some(error) = &self.error {
            let _ = writeln!(text, "{error}");
        }
        text
    }
}

/// A field that differs: lines of a policy, or both values.
fn shown(field: &FieldChange) -> String {
    let of = |value: &Option<Value>| value.clone().unwrap_or_default();
    let (before, after) = (of(&field.before), of(&field.after));
    if let (Some(before), Some(after)) = (before.as_str(), after.as_str())
        && after.contains('\n')
    {
        let diff = TextDiff::from_lines(before, after);
        let changed = diff.iter_all_changes().filter(|change| change.tag() != ChangeTag::Equal);
        let line = |change: similar::Change<&str>| {
            coloured(&format!("{}{}", change.tag(), change.value().trim_end()))
        };
        return changed.map(|change| format!("    {}\n", line(change))).collect();
    }
    format!("    {}: {before} → {after}\n", field.path)
}

/// What an apply may do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Only to show what would be done.
    pub dry_run: bool,
    /// What else the caller allows.
    pub allowed: Allowed,
}

/// Looks, plans, and carries the plan out step by step. What was made is in the inventory before it is there,
/// so that a run that is killed anywhere leaves nothing behind that the next takes for somebody else's.
pub async fn apply(
    vault: &Vault,
    wanted: &[Object],
    options: Options,
    line: &Line,
    stop: &watch::Receiver<bool>,
) -> Report {
    let mut report = Report {
        address: vault.address().to_owned(),
        outcome: Ending::Refused,
        plan: Plan::default(),
        taken: 0,
        error: None,
    };
    line.say("looking");
    let (observed, version) = match observe(vault, wanted).await {
        Ok(observed) => observed,
        Err(error) => {
            report.error = Some(error.to_string());
            return report;
        }
    };
    let before = observed.made.clone();
    report.plan = vault::plan(wanted, &observed, options.allowed);
    if !report.plan.refused.is_empty() {
        return report;
    }
    if options.dry_run {
        report.outcome = Ending::Planned;
        return report;
    }
    let mut work = Work { vault, inventory: before, version, wrote: false };
    match work.carry_out(&report.plan, line, stop, &mut report.taken).await {
        Ok(()) => report.outcome = if work.wrote { Ending::Done } else { Ending::NoChange },
        Err(failure) => {
            report.outcome = match (&failure, work.wrote) {
                (Failure::Locked, _) => Ending::Locked,
                (_, false) => Ending::Refused,
                (_, true) => Ending::Incomplete,
            };
            report.error = Some(failure.to_string());
        }
    }
    report
}

/// Why an apply ends early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("another apply is at work in this Vault, or was a moment ago; look again with --dry-run")]
    Locked,
    #[error("stopped by a signal")]
    Stopped,
}

struct Work<'a> {
    vault: &'a Vault,
    inventory: BTreeSet<String>,
    version: u64,
    wrote: bool,
}

impl Work<'_> {
    async fn carry_out(
        &mut self,
        plan: &Plan,
        line: &Line,
        stop: &watch::Receiver<bool>,
        taken: &mut usize,
    ) -> Result<(), Failure> {
        let all: BTreeSet<String> = self.inventory.union(&plan.made).cloned().collect();
        for (number, step) in plan.steps.iter().enumerate() {
            if *stop.borrow() {
                return Err(Failure::Stopped);
            }
            let kind = Kind::of(&step.path);
            // The inventory lies in the mount; everything else is in the inventory first.
            if kind != Kind::Mount {
                self.note(&all).await?;
            }
            line.say(&format!("{}/{}  {}", number + 1, plan.steps.len(), step.path));
            self.wrote = true;
            match self.take(kind, step).await {
                Err(Failure::Vault(error)) if error.status() == Some(400) && self.arrived(step).await? => {}
                taken => taken?,
            }
            *taken += 1;
        }
        self.note(&plan.made).await
    }

    /// Whether a step that was refused has been taken after all: the write of a run that was killed may reach its
    /// Vault between this run's look and its own write.
    async fn arrived(&self, step: &Step) -> Result<bool, VaultError> {
        if step.action != Action::Create {
            return Ok(false);
        }
        let wanted = [Object { path: step.path.clone(), fields: step.wanted.clone() }];
        let (mut observed, _) = observe(self.vault, &wanted).await?;
        observed.made = BTreeSet::from([step.path.clone()]);
        let plan = vault::plan(&wanted, &observed, Allowed::default());
        Ok(plan.is_empty() && plan.refused.is_empty())
    }

    /// Writes the inventory, with check-and-set: of two at work the second is told.
    async fn note(&mut self, made: &BTreeSet<String>) -> Result<(), Failure> {
        if self.inventory == *made {
            return Ok(());
        }
        let path = format!("{MOUNT}/data/{INVENTORY}");
        let body = json!({"options": {"cas": self.version}, "data": {"made": made}});
        self.wrote = true;
        let answer = match self.vault.write(RequestMethod::POST, &path, &body).await {
            Err(error) if error.is_check_and_set() => return Err(Failure::Locked),
            answer => answer?,
        };
        self.version = answer["data"]["version"].as_u64().unwrap_or(self.version + 1);
        self.inventory.clone_from(made);
        Ok(())
    }

    async fn take(&self, kind: Kind, step: &Step) -> Result<(), Failure> {
        let path = step.path.as_str();
        let wanted = Value::Object(step.wanted.clone());
        let description = json!({"description": step.wanted.get("description")});
        let create = step.action == Action::Create;
        match (kind, step.action) {
            (_, Action::Remove) => self.vault.delete(path).await?,
            (_, Action::Adopt) if step.fields.is_empty() => {}
            (Kind::Mount, _) if create => {
                self.write(RequestMethod::POST, path, &wanted).await?;
                prepared(self.vault).await?;
            }
            (Kind::Auth, _) if create => self.write(RequestMethod::POST, path, &wanted).await?,
            (Kind::Mount | Kind::Auth, _) => {
                self.write(RequestMethod::POST, &format!("{path}/tune"), &description).await?;
            }
            (Kind::Audit, _) => {
                // Vault changes no audit device. Others that there are log meanwhile.
                if !create {
                    self.vault.delete(path).await?;
                }
                self.write(RequestMethod::PUT, path, &wanted).await?;
            }
            (Kind::Policy, _) => self.write(RequestMethod::PUT, path, &wanted).await?,
            (Kind::Role | Kind::Quota | Kind::Settings, _) => {
                self.write(RequestMethod::POST, path, &wanted).await?;
            }
        }
        Ok(())
    }

    async fn write(&self, method: RequestMethod, path: &str, body: &Value) -> Result<(), Failure> {
        Ok(self.vault.write(method, path, body).await.map(drop)?)
    }
}
