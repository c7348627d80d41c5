//! The command `service`: reads the configuration, serves, and ends in order.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use service::cli::{Cli, Command};
use service::configuration::Configuration;
use service::{http, limits, logging, run};

const FAILED: u8 = 1;
const CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Openapi) = cli.command {
        println!("{}", http::openapi());
        return ExitCode::SUCCESS;
    }
    let Some(configuration) = read(cli.config.as_deref()) else { return ExitCode::from(CONFIGURATION) };
    match cli.command {
        Some(Command::CheckConfig) => {
            println!("the configuration is valid");
            ExitCode::SUCCESS
        }
        _ => serve(configuration),
    }
}

fn read(file: Option<&Path>) -> Option<Configuration> {
    let errors = match Configuration::read(file) {
        Ok(configuration) => return Some(configuration),
        Err(errors) => errors,
    };
    for error in &errors {
        eprintln!("service: {error}");
    }
    None
}

fn serve(configuration: Configuration) -> ExitCode {
    let level = configuration.dynamic().map(|dynamic| dynamic.log_level).unwrap_or_default();
    let log_level = logging::start(configuration.log_format, level);
    if configuration.agent.is_some() {
        limits::turn_core_dumps_off();
    }
    limits::allow_connections(configuration.http.max_connections);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let end = runtime.block_on(run::serve(configuration, log_level));
    // Whatever still hangs ends with the process.
    runtime.shutdown_background();
    match end {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(second)) => ExitCode::from(second.exit_code()),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn Error) -> ExitCode {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    eprintln!("service: {message}");
    ExitCode::from(FAILED)
}
