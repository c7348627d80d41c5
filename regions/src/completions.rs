//! `regions completions`: what makes a shell complete verbs and flags.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::cli::Cli;

/// Whose completions.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Args {
    /// The shell
    pub shell: Shell,
}

/// Prints the completions of a shell, made of the very command line.
pub(crate) fn run(args: Args) {
    let mut text = Vec::new();
    generate(args.shell, &mut Cli::command(), "regions", &mut text);
    // A reader that went away is no reason to fail.
    let _ = std::io::stdout().write_all(&text);
}
