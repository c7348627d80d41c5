//! `regions rollback`: regions go back, by hand, to what a release record keeps. Secrets stay as they are.

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;

use super::args::How;
use super::carry::Aim;
use super::prepare::{Prepared, Refusal, prepare_back};
use super::report::{Ending, Report};
use super::targets::Environment;
use super::{Course, Question, look};
use crate::output::Progress;
use crate::plan::Stored;
use crate::plan::gate::limits::Limits as Gates;
use crate::plan::record::{Record, State};
use crate::status::short;
use crate::vault::secrets::Vaults;
use std::time::Duration;

/// What each ending means for this verb.
const ENDINGS: &str = "\
Examples:
  regions history --env production
  regions rollback --env production --to 1.4.2 --why 'ticket 1234'
  regions rollback --env production --region us-east4 --to us-east4=12

All regions go at the same time, and nothing is baked: the release ran there before. A region that does not become ready
takes all of them to where they were. Secrets are not touched; it is looked first whether today's have the keys that the
older release needs. Freezes do not hold it up.

Exit codes:
  0  every region runs it (or --dry-run)
  1  refused: nothing was changed in any region
  2  the command line, catalogue or kubeconfig is not in order; nothing was changed
  3  it failed, and every region that was touched runs what it ran before
  4  it is not over: run again to go on
  5  another run is at work in one of the regions";

/// What to go back to, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = ENDINGS)]
pub struct Args {
    /// The environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub environment: String,
    /// The release, by its version or the begin of its digest; or REGION=NUMBER, a record of `regions history`
    #[arg(long, value_name = "RELEASE", required = true)]
    pub to: Vec<String>,
    /// These regions alone
    #[arg(long, value_name = "REGION")]
    pub region: Vec<String>,
    /// Show what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask before the first region is written to
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the release record
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// The build that runs this, for the release record
    #[arg(long, value_name = "URL", env = "CIRCLE_BUILD_URL")]
    pub build: Option<String>,
    /// How to do it
    #[command(flatten)]
    pub how: How,
    /// The regions' Vaults
    #[command(flatten)]
    pub vaults: Vaults,
}

impl Args {
    fn command(&self, environment: &Environment) -> String {
        let to = self.to.iter().map(|to| format!(" --to {to}")).collect::<String>();
        let regions = self.region.iter().map(|region| format!(" --region {region}")).collect::<String>();
        format!("regions rollback --env {}{regions}{to}", environment.name)
    }
}

/// Goes back. Progress goes to standard error, the plan (unless `quiet`) to standard output.
///
/// Once `stop` is true, the write in flight is ended and no other is begun.
pub async fn run(args: &Args, environment: &Environment, quiet: bool, stop: watch::Receiver<bool>) -> Report {
    let progress = Progress::new();
    let mut report = Report::new(environment);
    report.is_back = true;
    let mut stopped = stop.clone();
    let readied = tokio::select! {
        readied = ready(args, environment, &mut report, quiet) => readied,
        _ = stopped.wait_for(|stop| *stop) => {
            report.refuse("stopped by a signal; nothing was written");
            return report;
        }
    };
    let Some(prepared) = readied else { return report };
    // What ran there needs no new proof, and whoever goes back is in a hurry: all regions at once.
    let gates = Gates { time: Duration::ZERO, samples: 0, ..environment.gates.clone() };
    let places = vec![("back".to_owned(), (0..prepared.len()).collect())];
    let course =
        Course { environment, how: &args.how, aim: Aim::Back { all: args.region.is_empty() }, gates, places };
    course.run(prepared, &mut report, stop, &progress).await;
    report.next = Some(match report.outcome {
        Ending::Done | Ending::NoChange => format!("regions status --env {}", environment.name),
        Ending::Undone => format!("regions history --env {}", environment.name),
        _ => args.command(environment),
    });
    report
}

/// All that comes before the first write. Nothing when it ends here; the report says why.
async fn ready(
    args: &Args,
    environment: &Environment,
    report: &mut Report,
    quiet: bool,
) -> Option<Vec<Prepared>> {
    if let Some(unknown) = unknown(args, environment) {
        report.errors.push(unknown);
        return None;
    }
    let common = look::common(environment, &args.how, &args.vaults, args.why.clone(), args.build.clone());
    let common = match common {
        Ok(common) => common,
        Err(error) => {
            report.errors.push(error);
            return None;
        }
    };
    let looked: Vec<Result<Prepared, Refusal>> = stream::iter(environment.targets())
        .map(|target| prepare_back(&common, target, |records| choose(&target.region, &args.to, records)))
        .buffered(usize::from(args.how.parallel).max(8))
        .collect()
        .await;
    report.release = looked.iter().flatten().next().map(|one| one.work.wanted.release.clone());
    let prepared = look::told(environment, report, looked, &[], quiet, || {
        format!("{} --dry-run", args.command(environment))
    })?;
    let question = Question { verb: "Roll back", dry_run: args.dry_run, yes: args.yes, how: &args.how };
    let next = Some(format!("regions status --env {}", environment.name));
    let prepared = question.ask(environment, prepared, report, next).await;
    if report.outcome == Ending::Planned {
        report.next = Some(args.command(environment));
    }
    prepared
}

/// A region in `--to` that is not gone back in.
fn unknown(args: &Args, environment: &Environment) -> Option<String> {
    let named = args.to.iter().filter_map(|to| Some(to.split_once('=')?.0));
    let mut strangers = named.filter(|name| !environment.targets().any(|target| target.region == *name));
    strangers.next().map(|name| {
        let known: Vec<&str> = environment.targets().map(|target| target.region.as_str()).collect();
        format!(
            "--to names the region {name}; of {} these are gone back in: {}",
            environment.name,
            known.join(", ")
        )
    })
}

/// The record to go back to in a region, from what was asked for and the region's records, newest first.
///
/// # Errors
/// There is none, and which there are.
fn choose(region: &str, to: &[String], records: &[Stored]) -> Result<Record, String> {
    let records = || records.iter().map(|stored| &stored.record);
    let there = || {
        let shown = records().filter(|record| record.state == State::Applied).map(|record| {
            format!("{} {} {}", record.number, record.release.version, short(&record.release.digest))
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        if shown.is_empty() {
            "nothing was applied there yet".to_owned()
        } else {
            format!("applied were {shown}")
        }
    };
    for wanted in to {
        if let Some((name, number)) = wanted.split_once('=') {
            if name != region {
                continue;
            }
            let found =
                number.parse().ok().and_then(|number: u64| records().find(|one| one.number == number));
            let found = found.ok_or_else(|| format!("it has no release record {number}; {}", there()))?;
            return match found.state.is_open() {
                false => Ok(found.clone()),
                true => Err(format!(
                    "its release record {number} is {}: it is not over, and so nothing to go back to; go on with what began \
                     it, or end that (regions promote --settle); {}",
                    found.state.as_str(),
                    there()
                )),
            };
        }
    }
    let Some(wanted) = to.iter().find(|to| !to.contains('=')) else {
        return Err(format!("--to does not say what to go back to there: --to {region}=NUMBER; {}", there()));
    };
    let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let is_digest = hex.len() >= 7 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let named = |record: &&Record| {
        let digest = record.release.digest.strip_prefix("sha256:").unwrap_or(&record.release.digest);
        record.release.version == *wanted || (is_digest && digest.starts_with(hex))
    };
    // One that is being restored counts as the one that it restores: a run that was killed goes on.
    let mut found = records().filter(named).filter(|record| record.state == State::Applied);
    found.next().cloned().ok_or_else(|| format!("no release {wanted} was applied there; {}", there()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::record::samples;

    fn stored(number: u64, version: &str, digest: &str, state: State) -> Stored {
        let release = samples::release(&format!("sha256:{digest}"), version);
        Stored { record: samples::record(number, release, state), resource_version: "1".into() }
    }

    #[test]
    fn what_is_gone_back_to_is_named_by_version_digest_or_number() {
        let records = [
            stored(5, "1.3.0", "dddddddd", State::Baking),
            stored(4, "1.2.0", "cccccccc", State::Failed),
            stored(3, "1.1.0", "bbbbbbbb", State::Applied),
            stored(2, "1.0.0", "aaaaaaaa", State::Applied),
            stored(1, "1.0.0", "aaaaaaaa", State::Applied),
        ];
        let chosen = |to: &[&str]| {
            let to: Vec<String> = to.iter().map(|to| (*to).to_owned()).collect();
            choose("eu", &to, &records).map(|record| record.number)
        };
        assert_eq!(chosen(&["1.0.0"]), Ok(2), "the newest of them");
        assert_eq!(chosen(&["sha256:bbbbbbbb"]), Ok(3));
        assert_eq!(chosen(&["bbbbbbb"]), Ok(3));
        assert_eq!(chosen(&["us=3", "eu=4"]), Ok(4), "any record by its number that is over");
        let open = chosen(&["eu=5"]).unwrap_err();
        assert!(open.starts_with("its release record 5 is baking: it is not over"), "{open}");
        assert_eq!(chosen(&["us=3", "1.1.0"]), Ok(3));
        let why = chosen(&["1.2.0"]).unwrap_err();
        assert_eq!(
            why,
            "no release 1.2.0 was applied there; applied were 3 1.1.0 bbbbbbbb, 2 1.0.0 aaaaaaaa, 1 1.0.0 aaaaaaaa"
        );
        assert!(chosen(&["eu=9"]).unwrap_err().starts_with("it has no release record 9"));
        assert!(chosen(&["us=3"]).unwrap_err().starts_with("--to does not say what to go back to there"));
        assert!(chosen(&["bbb"]).is_err(), "too short to mean one");
    }
}
