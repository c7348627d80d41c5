//! The command line: one variant per verb, each dispatched to the module that does it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::catalogue::region::Region;
use crate::catalogue::{Catalogue, Environment, types};
use crate::named::Named;
use crate::plan::gate::limits::Limits;
use crate::plan::promotion::refusal::Freeze;
use crate::promote::rollback;
use crate::promote::targets;
use crate::signature::Signer;
use crate::{
    bootstrap, command, completions, drift, history, print, probe, promote, render, rotate, schemas, status,
    traffic, validate, vault, watch,
};

/// Operates the platform over one catalogue of regions
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Folder of the catalogue
    #[arg(long, global = true, value_name = "DIR", default_value = "regions/catalogue")]
    pub catalogue: PathBuf,
    /// Form of what is printed
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    pub output: Output,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What each exit code means, for the help of the command.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused, nothing changed
  2  usage or configuration
  3  failed and undone
  4  incomplete, run again
  5  locked by another
  6  drift found";

/// Form of what is printed on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check the catalogue: everything that is wrong with it at once, or what is in it
    #[command(after_help = "\
Example:
  regions validate --catalogue local/catalogue

Exit codes: 0 nothing is wrong · 2 something is")]
    Validate,
    /// Print exactly what Helm is given for a region, or what a chart makes of it
    #[command(after_help = "\
Examples:
  regions render us-east4 --env production
  regions render production/us-east4 --output json
  regions render production/us-east4 --chart k8s/chart

Exit codes: 0 rendered · 1 Helm refused the chart or the values · 2 usage or configuration")]
    Render(render::Args),
    /// Write the JSON schemas of the catalogue's files, which editors read
    #[command(after_help = "\
Examples:
  regions schema
  regions schema --check

Exit codes: 0 current or written · 2 a file cannot be read or written · 6 with --check: a file is not current")]
    Schema(schemas::Args),
    /// Promote a release to every region of an environment, wave by wave
    Promote(promote::Args),
    /// Go back, by hand, to what a region ran before
    Rollback(rollback::Args),
    /// Take a region out of global traffic
    #[command(after_help = "\
Examples:
  regions drain production/us-east4 --why 'ticket 1234'
  regions drain production/us-east4 --force 'the region burns'

The region's pods answer the global entry's health check with 503 from then on, and still serve whoever comes. It ends
when the traffic is under 1 % of what it was, or says what is still asked for.

Exit codes: 0 drained · 1 refused, nothing changed · 2 usage or configuration · 4 drained, and clients remain: run again
to wait on · 5 another run is at work there")]
    Drain(traffic::Args),
    /// Let a region back into global traffic, once it is well and its secrets have caught up
    #[command(after_help = "\
Example:
  regions restore production/us-east4

Exit codes: 0 it takes traffic · 1 refused, nothing changed · 2 usage or configuration · 4 written, and not every pod
follows yet: run again · 5 another run is at work there")]
    Restore(traffic::Args),
    /// Ask every region and the global entry from outside, as clients do
    Probe(probe::report::Args),
    /// Show what each region has run
    History(history::Args),
    /// Show where a region is not what its release made of it, and who changed it
    Diff(drift::Args),
    /// Change a secret in every region, and take the old one away once every pod uses the new one
    Rotate(rotate::Args),
    /// Watch a region: what its pods use of what its Vault holds
    Watch(watch::Args),
    /// Make a new region's Vault, and copy the other regions' secrets to it
    Bootstrap(bootstrap::Args),
    /// Make a region's Vault what the catalogue wants of it
    #[command(subcommand)]
    Vault(VaultVerb),
    /// Show what every region of an environment runs
    #[command(after_help = "\
Examples:
  regions status --env production --watch
  regions status --env production --output json

Exit codes: 0, or 4 when a region cannot be read, or 2 for usage and configuration")]
    Status(status::Args),
    /// Print what makes a shell complete verbs and flags
    #[command(after_help = "\
Examples:
  source <(regions completions bash)
  regions completions zsh > ~/.zfunc/_regions
  regions completions fish > ~/.config/fish/completions/regions.fish

Exit codes: 0 printed · 2 usage")]
    Completions(completions::Args),
}

/// What to do to a Vault.
#[derive(Debug, Subcommand)]
pub enum VaultVerb {
    /// Reconcile its mounts, policies, auth methods and roles, audit device and quotas
    #[command(after_help = "\
Examples:
  regions vault apply production/us-east4 --vault-ca vault-ca.pem --dry-run
  regions vault apply production/us-east4 --vault-ca vault-ca.pem --vault-token-file -

What regions did not make is left alone; it stands in the way where the catalogue wants something else there.

Exit codes: 0 done, or nothing to do · 1 refused, nothing changed · 2 usage or configuration · 4 incomplete, run
again · 5 another apply is at work")]
    Apply(vault::apply::Args),
}

/// Does what the command line asks for; gives the exit code.
pub fn run(cli: Cli) -> ExitCode {
    let json = cli.output == Output::Json;
    let folder = cli.catalogue.as_path();
    match cli.verb {
        Verb::Validate => validate::run(folder, json),
        Verb::Render(args) => render::run(&args, folder, json),
        Verb::Schema(args) => schemas::run(&args, json),
        Verb::Completions(args) => {
            completions::run(args);
            ExitCode::SUCCESS
        }
        Verb::Promote(args) => {
            on(folder, &args.environment, |environment| command::promote(&args, environment, json))
        }
        Verb::Rollback(args) => on_some(folder, &args.environment, &args.region, |environment| {
            command::rollback(&args, environment, json)
        }),
        Verb::Drain(args) => toward(folder, &args, traffic::Way::Out, json),
        Verb::Restore(args) => toward(folder, &args, traffic::Way::In, json),
        Verb::Probe(args) => on_some(folder, &args.environment, &args.region, |environment| {
            command::probe(&args, environment, json)
        }),
        Verb::History(args) => {
            on_some(folder, &args.regions.environment, &args.regions.region, |environment| {
                command::history(&args, environment, json)
            })
        }
        Verb::Diff(args) => on_some(folder, &args.regions.environment, &args.regions.region, |environment| {
            command::diff(&args, environment, json)
        }),
        Verb::Rotate(args) => match whole(folder, &args.environment) {
            Ok(environment) => command::rotate(&args, &environment, json),
            Err(code) => code,
        },
        Verb::Watch(args) => command::watch(&args),
        Verb::Bootstrap(args) => match find(folder, &args.named) {
            Ok((environment, region)) => command::bootstrap(&args, &environment, &region, json),
            Err(code) => code,
        },
        Verb::Vault(VaultVerb::Apply(args)) => match find(folder, &args.named) {
            Ok((environment, region)) => command::vault_apply(&args, &environment, &region, json),
            Err(code) => code,
        },
        Verb::Status(args) => {
            on(folder, &args.environment, |environment| command::status(&args, environment, json))
        }
    }
}

/// An environment of the catalogue.
fn whole(folder: &Path, name: &str) -> Result<Environment, ExitCode> {
    let refuse = |wrong: &dyn std::fmt::Display| {
        print::complaint(&wrong);
        ExitCode::from(2)
    };
    let catalogue = Catalogue::load(folder).map_err(|invalid| refuse(&invalid))?;
    Ok(catalogue.environment(name).map_err(|unknown| refuse(&unknown))?.clone())
}

/// Does something to an environment of the catalogue.
fn on(folder: &Path, name: &str, verb: impl FnOnce(&targets::Environment) -> ExitCode) -> ExitCode {
    let catalogue = match Catalogue::load(folder) {
        Ok(catalogue) => catalogue,
        Err(invalid) => {
            print::complaint(&invalid);
            return ExitCode::from(2);
        }
    };
    match catalogue.environment(name) {
        Ok(environment) => verb(&targets_of(&catalogue, environment)),
        Err(unknown) => {
            print::complaint(&unknown);
            ExitCode::from(2)
        }
    }
}

/// Does something to these regions of an environment; to all of them where none is named.
fn on_some(
    folder: &Path,
    name: &str,
    regions: &[String],
    verb: impl FnOnce(&targets::Environment) -> ExitCode,
) -> ExitCode {
    on(folder, name, |environment| match environment.only(regions) {
        Ok(some) => verb(&some),
        Err(unknown) => {
            print::complaint(&unknown);
            ExitCode::from(2)
        }
    })
}

/// Takes a region out of traffic, or lets it back in.
fn toward(folder: &Path, args: &traffic::Args, way: traffic::Way, json: bool) -> ExitCode {
    match find(folder, &args.named) {
        Ok((environment, region)) => on(folder, &environment.name, |environment| {
            command::traffic(args, way, environment, &region.name, json)
        }),
        Err(code) => code,
    }
}

/// A region of the catalogue and its environment.
fn find(folder: &Path, named: &Named) -> Result<(Environment, Region), ExitCode> {
    let refuse = |wrong: &dyn std::fmt::Display| {
        print::complaint(&wrong);
        ExitCode::from(2)
    };
    let catalogue = Catalogue::load(folder).map_err(|invalid| refuse(&invalid))?;
    let (environment, region) = named.find(&catalogue).map_err(|unknown| refuse(&unknown))?;
    Ok((environment.clone(), region.clone()))
}

/// A freeze; the catalogue's check has seen to it that its days are there.
fn freeze(freeze: &types::Freeze) -> Option<Freeze> {
    let (from, until) = (freeze.from.get()?, freeze.until.get()?);
    Some(Freeze { from, until, why: freeze.why.to_string() })
}

/// What a promotion needs to know of an environment.
fn targets_of(catalogue: &Catalogue, environment: &Environment) -> targets::Environment {
    let waves = environment.waves().into_iter().map(|wave| {
        let targets = wave.regions.into_iter().map(|region| targets::Target {
            region: region.name.clone(),
            context: region.context.value.to_string(),
            watcher: region.watcher.as_ref().map(|watcher| watcher.value.to_string()),
            nodes: region.pools.value.values().map(|pool| u64::from(pool.max)).sum(),
            pods: u32::from(environment.settings.workload.max),
            vault: region.vault.value.clone(),
            secrets: environment.settings.secrets.keys().map(ToString::to_string).collect(),
            values: render::values(environment, region),
        });
        targets::Wave { name: wave.name.to_string(), targets: targets.collect() }
    });
    targets::Environment {
        name: environment.name.clone(),
        next: catalogue.after(environment).map(|next| next.name.clone()),
        before: catalogue.before(environment).map(|before| targets::Before {
            name: before.name.clone(),
            regions: before
                .regions
                .iter()
                .map(|region| (region.name.clone(), region.context.value.to_string()))
                .collect(),
        }),
        domain: environment.settings.domain.to_string(),
        freezes: environment.settings.freezes.iter().flatten().filter_map(freeze).collect(),
        gates: Limits::of(&environment.settings.bake, &environment.settings.gates),
        signers: environment.settings.signers.iter().flatten().filter_map(Signer::of).collect(),
        waves: waves.collect(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_help_of_each_verb_has_an_example_and_its_exit_codes() {
        fn look(command: &mut clap::Command, path: &str, lacking: &mut Vec<String>) {
            let verbs: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().into()).collect();
            for verb in verbs.into_iter().filter(|verb| verb != "help") {
                if let Some(command) = command.find_subcommand_mut(&verb) {
                    look(command, &format!("{path} {verb}"), lacking);
                }
            }
            if command.has_subcommands() {
                return;
            }
            let help = command.render_long_help().to_string();
            for wanted in [format!("\n  {path}"), "Exit codes:".to_owned()] {
                if !help.contains(&wanted) {
                    lacking.push(format!("{path}: {wanted:?}"));
                }
            }
        }
        let mut lacking = Vec::new();
        look(&mut Cli::command(), "regions", &mut lacking);
        assert!(lacking.is_empty(), "{lacking:#?}");
    }
}
