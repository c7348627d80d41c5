//! The command line: one variant per verb, each dispatched to the module that does it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{catalogue, command, promote, status};

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
    /// Promote a release to every region of an environment, wave by wave
    Promote(promote::Args),
    /// Show what every region of an environment runs
    Status(status::Args),
}

/// Does what the command line asks for; gives the exit code.
pub fn run(cli: Cli) -> ExitCode {
    let json = cli.output == Output::Json;
    match cli.verb {
        Verb::Promote(args) => {
            let environment = catalogue::first_form::environment(&cli.catalogue, &args.environment);
            with(environment, |environment| command::promote(&args, &environment, json))
        }
        Verb::Status(args) => {
            let environment = catalogue::first_form::environment(&cli.catalogue, &args.environment);
            with(environment, |environment| command::status(&args, &environment, json))
        }
    }
}

fn with<T>(read: Result<T, String>, then: impl FnOnce(T) -> ExitCode) -> ExitCode {
    match read {
        Ok(read) => then(read),
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}
