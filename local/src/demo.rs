//! The main job, live: a secret travels from Vault into an answer, and a rotation is lived through.

mod checks;
mod load;
mod pod;
mod policy;
mod region;
mod report;
mod scratch;
mod stage;
mod story;
mod timeline;
mod watcher;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::digest;
use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use local_region::documents;
use local_region::pki::Ca;
use local_region::programs::program;
use local_region::{pki, tools};
use secrecy::ExposeSecret;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep_until};

use crate::cli::{DemoOptions, Output};
use documents::{CLIENT, KeyState, Rotation, SigningKey};
use load::{Load, Target};
use pod::Site;
use region::Region;
use report::{PodSummary, Spread, Summary, Tokens};
use scratch::Scratch;
use stage::{Check, Stage};
use story::Start;
use timeline::Timeline;

const REGIONS: [&str; 2] = ["eu", "us"];
const FAILED: u8 = 1;
const TROUBLE: u8 = 2;
const INTERRUPTED: u8 = 130;
/// The load begins so long before the first change, so that there is something to compare with.
const BEFORE: Duration = Duration::from_secs(1);

/// How a part of the demo ended.
enum Ended<T> {
    ByItself(T),
    Interrupted,
}

/// Runs the demo and gives the exit code of the program.
pub(crate) fn main(options: &DemoOptions) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("local-region: start the async runtime: {error}");
            return ExitCode::from(TROUBLE);
        }
    };
    runtime.block_on(async {
        run(options).await.unwrap_or_else(|error| {
            eprintln!("local-region: {error:#}");
            ExitCode::from(TROUBLE)
        })
    })
}

async fn run(options: &DemoOptions) -> Result<ExitCode> {
    let mut interrupts = Interrupts::catch()?;
    let timeline = Timeline::start();
    let logs = options.out.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
    for old in fs::read_dir(&logs).with_context(|| format!("read {}", logs.display()))?.flatten() {
        let _ = fs::remove_file(old.path());
    }
    let folder = Scratch::make().context("make a folder for sockets and Vaults")?;
    let public_ca = Ca::new("meridian demo, public")?;
    let ca_pem = public_ca.pem();
    let release = release()?;
    let site = Site { folder: folder.path(), logs: &logs, public_ca: &ca_pem, release: &release };

    let set_up = interrupts.guard(set_up(&timeline, &site, &public_ca)).await;
    let (regions, start) = match set_up {
        Ended::ByItself(outcome) => outcome?,
        Ended::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let targets = regions.iter().flat_map(|region| &region.pods);
    let targets = targets.map(|pod| Target::new(&pod.name, &pod.region, pod.public.clone())).collect();
    let load = Load::new(targets, start.secret.clone());
    let mut stage = Stage {
        timeline: &timeline,
        regions,
        load,
        changes: Vec::new(),
        checks: Vec::new(),
        without_waits: options.without_waits,
    };

    let started = Timestamp::now();
    let played = interrupts.guard(under_load(&mut stage, options.rate, start)).await;
    let code = match played {
        Ended::Interrupted => {
            timeline.alarm("interrupted: ending everything in order; Ctrl-C again ends at once");
            INTERRUPTED
        }
        Ended::ByItself(outcome) => {
            let summary = summarise(&mut stage, started, options.rate, outcome.err()).await;
            let file = summary.write(&options.out)?;
            timeline.close();
            match options.output {
                Output::Text => println!("{}summary in {}", summary.table(), file.display()),
                Output::Json => println!("{}", serde_json::to_string_pretty(&summary).unwrap_or_default()),
            }
            if options.keep || std::env::var("KEEP").is_ok_and(|keep| keep == "1") {
                explain_how_to_try(&stage, folder.path(), &ca_pem)?;
                let _: Ended<()> = interrupts.guard(std::future::pending()).await;
            }
            if summary.passed { 0 } else { FAILED }
        }
    };
    let end = join_all(stage.regions.iter().map(Region::stop));
    // A second signal drops everything, and what is dropped is killed.
    interrupts.guard(end).await;
    timeline.close();
    Ok(ExitCode::from(code))
}

/// Starts both regions with their first documents.
async fn set_up(timeline: &Timeline, site: &Site<'_>, public_ca: &Ca) -> Result<(Vec<Region>, Start)> {
    timeline.chapter("Two regions start");
    let vault = tools::vault()?;
    timeline.say("vault", &format!("{} (the real one; Raft, TLS, one unseal key each)", vault.display()));
    let start = Start { secret: documents::client_secret()?, key: SigningKey::make(KeyState::Active)? };
    let first = Rotation::new("first", "write");
    let certificate = public_ca.issue(&["localhost", "127.0.0.1", "tokens.meridian.test"])?;
    let documents = [
        ("config", documents::config(&first, story::LIVES.0)),
        ("clients", documents::clients(&first, &[(&start.secret, None)])),
        ("signing-keys", documents::signing_keys(&first, &[&start.key])),
        ("tls", documents::tls(&first, public_ca, &certificate)),
    ];
    let begun = Instant::now();
    let mut regions = try_join_all(REGIONS.map(|name| Region::start(site, name, &documents))).await?;
    timeline.say(
        "vault",
        &format!(
            "two servers initialised, unsealed, filled, root tokens revoked, in {:.1} s",
            begun.elapsed().as_secs_f64()
        ),
    );
    let begun = Instant::now();
    try_join_all(regions.iter_mut().map(|region| region.start_pods(site))).await?;
    timeline
        .say("pods", &format!("four pairs of service and agent ready in {} ms", begun.elapsed().as_millis()));
    Ok((regions, start))
}

/// Plays the story under load, and waits for the last token to be verified.
async fn under_load(stage: &mut Stage<'_>, rate: u32, start: Start) -> Result<()> {
    let (stop, stopped) = watch::channel(false);
    let (load, timeline) = (Arc::clone(&stage.load), stage.timeline);
    let running = AbortOnDrop(tokio::spawn(Arc::clone(&load).run(rate, stopped)));
    stage.timeline.say("load", &format!("{rate} requests a second, open loop, over all four services"));
    let play = async {
        sleep_until(Instant::now() + BEFORE).await;
        let played = story::play(stage, start).await;
        if played.is_ok() {
            stage.timeline.chapter("The end");
            let due = load.due();
            if due < report::ENOUGH_REQUESTS {
                let left = Duration::from_secs((report::ENOUGH_REQUESTS - due).div_ceil(u64::from(rate)) + 1);
                timeline.say("load", &format!("{} s more, until it is large enough", left.as_secs()));
                sleep_until(Instant::now() + left).await;
            }
            stage.timeline.say("load", "ends; waiting for the last tokens to run out");
        }
        played
    };
    let played = tokio::select! {
        played = play => played,
        () = show(timeline, &load) => Ok(()),
    };
    stop.send_replace(true);
    running.done().await.context("the load ended with a panic")?;
    played
}

/// Keeps the live line up to date, and says at once when a request fails.
async fn show(timeline: &Timeline, load: &Load) {
    let mut tick = interval(Duration::from_millis(200));
    let mut said = 0;
    loop {
        tick.tick().await;
        let failed: u64 = load.pods.iter().map(|pod| pod.tally.failed()).sum();
        let (verified, unverifiable) = (load.verdicts.verified(), load.verdicts.unverifiable_so_far());
        timeline.live(format!(
            "{:.0} s   {} requests, {failed} failed   {verified} tokens verified in the other region, {unverifiable} unverifiable",
            timeline.elapsed().as_secs_f64(),
            load.due(),
        ));
        if failed + unverifiable > said {
            said = failed + unverifiable;
            let figures = load::Figures::of(load);
            let last = figures.failures.last().cloned().or_else(|| load.verdicts.refusals().pop());
            timeline.alarm(&format!(
                "{failed} requests failed, {unverifiable} tokens unverifiable; {}",
                last.unwrap_or_default()
            ));
        }
    }
}

/// Looks at what the load saw, and puts everything together.
async fn summarise(
    stage: &mut Stage<'_>,
    started: Timestamp,
    rate: u32,
    error: Option<anyhow::Error>,
) -> Summary {
    if let Some(error) = &error {
        stage.timeline.alarm(&format!("ended early: {error:#}"));
    }
    let figures = load::Figures::of(&stage.load);
    let tokens = Tokens::of(&stage.load);
    let adopted = Spread::of(stage.changes.iter().map(|change| change.write_to_adopted_ms));
    if error.is_none() {
        tokens_changed_in_time(stage);
        let enough = figures.requests >= report::ENOUGH_REQUESTS;
        stage.check(enough, format!("{} requests, at least {}", figures.requests, report::ENOUGH_REQUESTS));
        stage.check(figures.failed == 0, format!("{} requests failed", figures.failed));
        stage.check(tokens.unverifiable == 0, format!("{} tokens unverifiable", tokens.unverifiable));
        let quick = adopted.median <= report::MEDIAN_ADOPTED_MS;
        stage.check(
            quick,
            format!(
                "from a write to its use: median {:.0} ms, at most {:.0}",
                adopted.median,
                report::MEDIAN_ADOPTED_MS
            ),
        );
    }
    let mut pods = Vec::new();
    for (pod, target) in stage.pods().zip(&stage.load.pods) {
        let status = watcher::status(pod).await.ok();
        pods.push(PodSummary::new(pod, status.as_ref(), target.tally.figures(), &stage.changes));
    }
    let checks: Vec<Check> = stage.checks.clone();
    Summary {
        passed: error.is_none() && checks.iter().all(|check| check.held),
        error: error.map(|error| format!("{error:#}")),
        started,
        seconds: stage.timeline.elapsed().as_secs_f64(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        rate_per_second: rate,
        load: figures,
        tokens,
        write_to_adopted_ms: adopted,
        pods,
        changes: stage.changes.clone(),
        checks,
    }
}

/// Tokens on both sides of the change of configuration and of the change of key.
fn tokens_changed_in_time(stage: &mut Stage<'_>) {
    let issues = stage.load.issues();
    let changes = |document, phase| -> Vec<&watcher::Change> {
        let of = |change: &&watcher::Change| change.document == document && change.phase == phase;
        stage.changes.iter().filter(of).collect()
    };
    let (before, after) = story::LIVES;
    let config = changes("config", "write");
    let lives = checks::sides(
        &issues,
        &stage.load.pods,
        &config,
        |issue| issue.life == before,
        |issue| issue.life == after,
    );
    let keys = changes("signing-keys", story::ACTIVATE);
    let old = issues.first().map(|issue| issue.kid.clone()).unwrap_or_default();
    let kids =
        checks::sides(&issues, &stage.load.pods, &keys, |issue| issue.kid == old, |issue| issue.kid != old);
    for (seen, what) in [(lives, "the former life"), (kids, "the old key")] {
        stage.check(
            seen.wrong == 0 && seen.unseen == 0,
            format!(
                "{} tokens before a pod's acknowledgement have {what}, {} after it the new; {} have not",
                seen.before, seen.after, seen.wrong
            ),
        );
    }
}

/// Says what can be tried while everything is left running.
fn explain_how_to_try(stage: &Stage<'_>, folder: &Path, ca_pem: &str) -> Result<()> {
    let ca = pki::write_private(&folder.join("ca.pem"), ca_pem.as_bytes())?;
    let secret = stage.load.secret();
    let curl = format!("user = \"{CLIENT}:{}\"\n", secret.expose_secret());
    let credentials = pki::write_private(&folder.join("probe.curlrc"), curl.as_bytes())?;
    let (ca, credentials) = (ca.display(), credentials.display());
    eprintln!("\nLeft running until Ctrl-C. To try:");
    for pod in stage.pods() {
        let (service, agent) = (pod.public.target().url(), pod.agent.target().url());
        eprintln!("\n  # {} in {}", pod.name, pod.region);
        eprintln!("  curl --cacert {ca} {service}/v1/region");
        eprintln!(
            "  curl --cacert {ca} --config {credentials} -d grant_type=client_credentials {service}/oauth2/token"
        );
        eprintln!("  curl --cacert {ca} {service}/.well-known/jwks.json");
        eprintln!("  curl {agent}/v1/status");
        eprintln!("  curl --unix-socket {} http://agent/v1/secrets", pod.socket_path().display());
    }
    Ok(())
}

/// The digest that stands for the release: the service's own program.
fn release() -> Result<String> {
    let path = program("service")?;
    let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let hash = digest::digest(&digest::SHA256, &bytes);
    Ok(hash.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

/// SIGINT and SIGTERM, from when this is made.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("catch signals");
        Ok(Interrupts {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    /// Runs this until it ends or a signal comes.
    async fn guard<T>(&mut self, run: impl Future<Output = T>) -> Ended<T> {
        tokio::select! {
            outcome = run => Ended::ByItself(outcome),
            _ = self.interrupt.recv() => Ended::Interrupted,
            _ = self.terminate.recv() => Ended::Interrupted,
        }
    }
}

/// A task that ends with its handle.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn done(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
