//! `meridian-bench`: the agent beside `vault agent`, and the service beside bare hyper, in one run.

mod agents;
mod cost;
mod load;
mod machine;
mod region;
mod service;
mod spot;
mod statistics;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

/// Any failure of a measurement; a measurement that failed in part is none.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures the agent beside the real `vault agent`, and the service beside a bare hyper server.
///
/// Both sides of each comparison run in turn in one session, so that a noisy machine is noisy for both.
/// Read ratios and counts; absolute times are those of the machine and the minute.
///
/// Example: meridian-bench --rounds 20 --skip-default-interval
///
/// Exit codes: 0 measured, 1 a measurement failed and nothing was written, 2 usage.
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Changes of a secret that are timed.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Starts of each agent that are timed.
    #[arg(long, default_value_t = 20)]
    starts: u32,
    /// Pairs of load rounds, service and bare hyper in turn.
    #[arg(long, default_value_t = 10)]
    pairs: u32,
    /// Requests in one load round.
    #[arg(long, default_value_t = 40_000)]
    requests: u64,
    /// Leaves out the two changes at the vault agent's default interval, which take five minutes.
    #[arg(long)]
    skip_default_interval: bool,
    /// The folder of `service`, `secrets-agent` and `bare-hyper` to measure [default: this program's own].
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Where the results go.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments).await {
        Ok(file) => {
            println!("wrote {}", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("meridian-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<PathBuf> {
    let region = region::Region::start(arguments.programs.as_deref()).await?;
    let agents = agents::measure(&region, arguments).await?;
    let service = service::measure(&region, arguments).await?;
    let now = jiff::Timestamp::now();
    let results: Value = json!({
        "when": now,
        "command": std::env::args().collect::<Vec<_>>().join(" "),
        "machine": machine::describe(),
        "versions": machine::versions(&region)?,
        "agents": agents,
        "service": service,
    });
    fs::create_dir_all(&arguments.results)?;
    let name = now.to_string().replace(':', "").split('.').next().unwrap_or_default().to_owned();
    let file = arguments.results.join(format!("{name}.json"));
    fs::write(&file, format!("{results:#}\n"))?;
    Ok(file)
}
