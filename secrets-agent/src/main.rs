//! `secrets-agent`: reads its configuration, runs, and ends in order.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use secrets_agent::config::{Config, DEFAULT_FILE};
use secrets_agent::{logging, memory, run};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Takes an application's secrets from Vault and proves which version it uses.
///
/// Reads a TOML file, then environment variables such as AGENT__VAULT__ADDRESS over it.
///
/// Example: secrets-agent --config /etc/meridian/secrets-agent.toml
///
/// Exit codes: 0 ended in order, 1 could not listen, 2 usage or configuration, 130 or 143 ended at once by a
/// second signal.
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, default_value = DEFAULT_FILE)]
    config: PathBuf,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs; the same as no verb.
    Run,
    /// Checks the configuration and ends: 0 after printing every value in effect with the place that it came
    /// from, 2 after saying what is wrong, where, and what is allowed there. Asks nothing of Vault.
    ///
    /// Example: secrets-agent check-config --config secrets-agent.toml
    CheckConfig,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let loaded = match Config::load(&arguments.config) {
        Ok(loaded) => loaded,
        Err(refused) => {
            eprintln!("{refused}");
            return ExitCode::from(2);
        }
    };
    if matches!(arguments.verb, Some(Verb::CheckConfig)) {
        print!("{}", loaded.describe());
        println!("# {}: nothing is wrong", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    let config = loaded.config;
    logging::start(&config.log);
    if let Err(error) = memory::forbid_core_dumps() {
        tracing::warn!(%error, "core dumps could not be forbidden");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(until_signalled(config)),
        Err(error) => {
            eprintln!("start the runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The first signal ends in order, the second at once.
async fn until_signalled(config: Config) -> ExitCode {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("listen for signals: {error}");
                return ExitCode::FAILURE;
            }
        };
    let (first, end) = tokio::sync::oneshot::channel();
    let running = run::run(config, async move {
        let _ = end.await;
    });
    tokio::pin!(running);
    tokio::select! {
        outcome = &mut running => return report(outcome),
        _ = either(&mut terminate, &mut interrupt) => {}
    }
    let _ = first.send(());
    tokio::select! {
        outcome = running => report(outcome),
        code = either(&mut terminate, &mut interrupt) => {
            tracing::warn!("ended at once by a second signal");
            ExitCode::from(code)
        }
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> u8 {
    tokio::select! {
        _ = terminate.recv() => 143,
        _ = interrupt.recv() => 130,
    }
}

fn report(outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot listen");
            ExitCode::FAILURE
        }
    }
}
