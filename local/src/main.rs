//! The command `local-region`: the demo, and the tools that the tests need.

mod cli;
mod demo;
mod held;

use std::process::ExitCode;

use clap::Parser;
use local_region::platform::Spec;
use local_region::tools;

use cli::{Cli, Command};

const TROUBLE: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(options) => demo::main(&options),
        Command::Up { which, nodes } => block_on(held::up(&which, nodes)),
        Command::Down { environment } => block_on(held::down(&environment)),
        Command::Hold { environment } => block_on(held::hold(&environment)),
        Command::Status { environment, output } => ended(held::status(&environment, output)),
        Command::Kubeconfig { environment } => ended(held::kubeconfig(&environment)),
        Command::Node { spec } => ended(Spec::run(&spec).map_err(Into::into)),
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

/// Runs a verb to its end.
fn block_on(verb: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => ended(runtime.block_on(verb)),
        Err(error) => ended(Err(error.into())),
    }
}

/// The exit code of a verb that has ended.
fn ended(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("local-region: {error:#}");
    ExitCode::from(TROUBLE)
}
