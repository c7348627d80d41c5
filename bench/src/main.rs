//! `meridian-bench`: the agent beside `vault agent`, the service beside bare hyper, and `regions` over many regions, in
//! one run.

mod adoption;
mod agents;
mod cost;
mod load;
mod machine;
mod pod;
mod region;
mod scale;
mod service;
mod spot;
mod statistics;
mod watcher;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

/// Any failure of a measurement; a measurement that failed in part is none.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Between two looks at what a process says of itself. What is measured so is too long by half of it on average.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The agent beside `vault agent`
    Agents,
    /// The service beside bare hyper
    Service,
    /// A write by hand until it is used, beside `vault agent`
    Adoption,
    /// `regions` over many simulated regions
    Scale,
}

/// Measures the agent beside the real `vault agent`, the service beside a bare hyper server, and `regions` over many
/// regions.
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
    /// The folder of `service`, `secrets-agent`, `regions` and `bare-hyper` to measure [default: this program's own].
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Writes by hand that are timed.
    #[arg(long, default_value_t = 100)]
    writes: u32,
    /// Numbers of simulated regions, from few to many.
    #[arg(long, value_name = "REGIONS,…", value_delimiter = ',', default_value = "10,50,200")]
    sizes: Vec<usize>,
    /// Runs of each command over each number of regions.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Only these parts [default: all of them].
    #[arg(long, value_name = "PART,…", value_delimiter = ',')]
    only: Vec<Part>,
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
    let now = jiff::Timestamp::now();
    let mut results: Value = json!({
        "when": now,
        "command": std::env::args().collect::<Vec<_>>().join(" "),
        "machine": machine::describe(),
        "versions": machine::versions(&region)?,
    });
    let asked = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    if asked(Part::Agents) {
        results["agents"] = agents::measure(&region, arguments).await?;
    }
    if asked(Part::Service) {
        results["service"] = service::measure(&region, arguments).await?;
    }
    if asked(Part::Adoption) {
        results["vault kv put to adopted"] = adoption::measure(&region, arguments).await?;
    }
    if asked(Part::Scale) {
        results["scale"] = scale::measure(&region, arguments).await?;
    }
    fs::create_dir_all(&arguments.results)?;
    let name = now.to_string().replace(':', "").split('.').next().unwrap_or_default().to_owned();
    let file = arguments.results.join(format!("{name}.json"));
    fs::write(&file, format!("{results:#}\n"))?;
    Ok(file)
}
