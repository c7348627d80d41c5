//! See [`regions`].

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    regions::cli::run(regions::cli::Cli::parse())
}
