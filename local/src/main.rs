//! The command `local-region`: the demo, and the tools that the tests need.

mod cli;
mod demo;
mod held;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use local_region::platform::{Spec, faults, metrics};
use local_region::tools::{self, KubernetesPart};

use cli::{Cli, Command, Tool};

const TROUBLE: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(options) => demo::main(&options),
        Command::Up(options) => block_on(held::up(&options)),
        Command::Down { environment } => block_on(held::down(&environment)),
        Command::HoldRegistry { port } => block_on(held::hold_registry(port)),
        Command::Hold { environment } => block_on(held::hold(&environment)),
        Command::Check { environment, until_stopped } => {
            block_on(held::check::check(&environment, until_stopped))
        }
        Command::Pause(options) => ended(held::faults::pause(&options)),
        Command::Resume { environment, region } => {
            block_on(held::faults::resume(&environment, region.as_deref()))
        }
        Command::Cut { place, from } => ended(held::faults::cut(&place, &from)),
        Command::Slow { place, milliseconds } => block_on(held::faults::slow(&place, milliseconds)),
        Command::Clock { place, seconds } => block_on(held::faults::clock(&place, seconds)),
        Command::HoldPackets { queue, milliseconds } => {
            ended(faults::hold_delay(queue, Duration::from_millis(milliseconds)).map_err(Into::into))
        }
        Command::HoldClock { place: _, seconds, nodes } => {
            block_on(async { Ok(faults::hold_clock(&nodes, seconds).await?) })
        }
        Command::Status { environment, output } => ended(held::status(&environment, output)),
        Command::Kubeconfig { environment } => ended(held::kubeconfig(&environment)),
        Command::Node { spec } => ended(Spec::run(&spec).map_err(Into::into)),
        Command::Metrics { spec } => block_on(async { Ok(metrics::Spec::run(&spec).await?) }),
        Command::Tools { tool } => ended(print_tool(tool)),
    }
}

fn print_tool(tool: Tool) -> anyhow::Result<()> {
    let path = match tool {
        Tool::Vault => tools::vault()?,
        Tool::Kubectl => tools::kubernetes(KubernetesPart::Kubectl)?,
    };
    println!("{}", path.display());
    Ok(())
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
