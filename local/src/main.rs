//! The command `local-region`: the demo, and the tools that the tests need.

mod cli;
mod demo;

use std::process::ExitCode;

use clap::Parser;
use local_region::platform::Spec;
use local_region::tools;

use cli::{Cli, Command};

const TROUBLE: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(options) => demo::main(&options),
        Command::Node { spec } => match Spec::run(&spec) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("local-region: {:#}", anyhow::Error::from(error));
                ExitCode::from(TROUBLE)
            }
        },
        Command::Tools => match tools::vault() {
            Ok(vault) => {
                println!("vault  {}", vault.display());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("local-region: {error}");
                ExitCode::from(TROUBLE)
            }
        },
    }
}
