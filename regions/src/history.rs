//! `regions history`: what each region of an environment has run, from its release records.

use std::fmt::Write as _;

use futures_util::future::join_all;
use jiff::Timestamp;
use kube::config::Kubeconfig;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::named::Read;
use crate::plan::record::Record;
use crate::print::columns;
use crate::promote::FIRST_CALLS;
use crate::promote::targets::Environment;
use crate::status::short;

/// What to show.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  regions history --env production
  regions history --env production --region us-east4 --output json

Exit codes: 0 shown · 4 a region cannot be read · 2 usage or configuration")]
pub struct Args {
    /// Which regions
    #[command(flatten)]
    pub regions: Read,
}

/// What an environment has run.
#[derive(Debug, Serialize)]
pub struct History {
    /// The environment.
    pub environment: String,
    /// Its regions, in the order of waves.
    pub regions: Vec<RegionHistory>,
}

/// What a region has run.
#[derive(Debug, Serialize)]
pub struct RegionHistory {
    /// Its name.
    pub region: String,
    /// Its records, newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<Vec<Record>>,
    /// Why they cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Reads every region at the same time.
pub async fn read(environment: &Environment, kubeconfig: &Kubeconfig) -> History {
    let regions = environment.targets().map(async |target| {
        let read = async {
            let cluster =
                Cluster::connect(&target.region, &target.context, kubeconfig.clone(), FIRST_CALLS).await?;
            cluster.records().await
        };
        let (records, error) = match read.await {
            Ok(records) => (Some(records.into_iter().map(|stored| stored.record).collect()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        RegionHistory { region: target.region.clone(), records, error }
    });
    History { environment: environment.name.clone(), regions: join_all(regions).await }
}

impl History {
    /// Exit code: 0, or 4 when a region cannot be read.
    pub fn code(&self) -> u8 {
        if self.regions.iter().all(|region| region.records.is_some()) { 0 } else { 4 }
    }

    /// For people: a table, with why what failed below it.
    pub fn text(&self) -> String {
        let head = ["REGION", "NUMBER", "STATE", "RELEASE", "SINCE", "WHO", "WHY"];
        let mut rows = vec![head.map(str::to_owned)];
        let mut below = String::new();
        for RegionHistory { region, records, error } in &self.regions {
            if let Some(error) = error {
                let _ = writeln!(below, "{error}");
            }
            for record in records.iter().flatten() {
                rows.push(row(region, record));
                if let Some(failure) = &record.failure {
                    let _ = writeln!(below, "{region} {}: {failure}", record.number);
                }
            }
        }
        let mut text = columns(&rows);
        if !below.is_empty() {
            text = format!("{text}\n{below}");
        }
        text
    }
}

fn row(region: &str, record: &Record) -> [String; 7] {
    let since: Timestamp = record.finished.unwrap_or(record.started);
    let mut why = record.provenance.why.clone().unwrap_or_default();
    if let Some(number) = record.restores {
        why = if why.is_empty() { format!("back to {number}") } else { format!("back to {number}; {why}") };
    }
    [
        region.to_owned(),
        record.number.to_string(),
        record.state.as_str().to_owned(),
        format!("{} {}", record.release.version, short(&record.release.digest)),
        format!("{since:.0}"),
        record.provenance.who.clone(),
        why,
    ]
}
