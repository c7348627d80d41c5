//! The main job, live: a secret travels from Vault into an answer, and a rotation is lived through.

mod catalogue;
mod checks;
mod finale;
mod interrupts;
mod observer;
mod region;
mod report;
mod rotation;
mod scratch;
mod stage;
mod story;
mod timeline;

use std::cell::RefCell;
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
use local_region::load::{Load, Target};
use local_region::pki::Ca;
use local_region::pod::Site;
use local_region::programs::program;
use local_region::tools;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep_until};

use crate::cli::{DemoOptions, Output};
use catalogue::{Catalogue, ENVIRONMENT};
use documents::{CLIENT, KeyState, Rotation, SigningKey};
use interrupts::{AbortOnDrop, Ended, Interrupts};
use observer::Observer;
use region::Region;
use scratch::Scratch;
use stage::Stage;
use story::Start;
use timeline::Timeline;

const FAILED: u8 = 1;
const TROUBLE: u8 = 2;
const INTERRUPTED: u8 = 130;
/// The load begins so long before the first change, so that there is something to compare with.
const BEFORE: Duration = Duration::from_secs(1);
/// What documents are made with; none is written with it, since no rotation wrote the first ones.
const FIRST: Rotation = Rotation { id: "first", phase: "write" };

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
    // Before signals are caught: where Vault has to be built first, Ctrl-C ends that as it ends any program.
    let vault = tools::vault()?;
    let mut interrupts = Interrupts::catch()?;
    let timeline = Timeline::start();
    timeline.chapter("The regions start");
    timeline.say("vault", &format!("{} (the real one; Raft, TLS, one unseal key each)", vault.display()));
    let logs = options.out.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
    for old in fs::read_dir(&logs).with_context(|| format!("read {}", logs.display()))?.flatten() {
        let _ = fs::remove_file(old.path());
    }
    let folder = Scratch::make().context("make a folder for sockets and Vaults")?;
    let public_ca = Ca::new("meridian demo, public")?;
    let ca_pem = public_ca.pem();
    let release = release()?;
    let site = Site {
        environment: ENVIRONMENT,
        folder: folder.path(),
        logs: &logs,
        public_ca: &ca_pem,
        release: &release,
    };

    let set_up = interrupts.guard(set_up(&timeline, &site, &public_ca, &options.catalogue)).await;
    let (catalogue, regions, observer, start) = match set_up {
        Ended::ByItself(outcome) => outcome?,
        Ended::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let targets = regions.iter().flat_map(|region| &region.pods);
    let targets = targets.map(|pod| Target::pod(&pod.name, &pod.region, pod.public.clone())).collect();
    let load = Load::new(targets, documents::ISSUER, start.secret.clone());
    let mut stage = Stage {
        timeline: &timeline,
        site,
        catalogue,
        regions,
        load,
        observer,
        rotations: RefCell::default(),
        checks: RefCell::default(),
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
            // A story that ended early may have left one frozen.
            for region in &stage.regions {
                region.vault.resume().context("let a Vault go on")?;
            }
            let summary = finale::summarise(&stage, started, options.rate, outcome.err()).await;
            let file = summary.write(&options.out)?;
            timeline.close();
            match options.output {
                Output::Text => {
                    println!("{}summary in {}, logs in {}", summary.table(), file.display(), logs.display());
                }
                Output::Json => println!("{}", serde_json::to_string_pretty(&summary).unwrap_or_default()),
            }
            if options.keep || std::env::var("KEEP").is_ok_and(|keep| keep == "1") {
                finale::explain_how_to_try(&stage, folder.path(), &ca_pem)?;
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

/// Starts the regions: the first with its first documents, each other with a copy of them. Looks at every pod from
/// then on.
async fn set_up(
    timeline: &Timeline,
    site: &Site<'_>,
    public_ca: &Ca,
    catalogue: &Path,
) -> Result<(Catalogue, Vec<Region>, Observer, Start)> {
    let key = SigningKey::make(KeyState::Active)?;
    let start = Start { secret: documents::client_secret()?, kid: key.kid.clone() };
    let certificate = public_ca.issue(&["localhost", "127.0.0.1", "tokens.meridian.test"])?;
    let documents = [
        ("service/config", documents::config(&FIRST, story::LIVES.0)),
        ("service/clients", documents::clients(&FIRST, &[(&start.secret, None)])),
        ("service/signing-keys", documents::signing_keys(&FIRST, &[&key])),
        ("service/tls", documents::tls(&FIRST, public_ca, &certificate)),
        (&format!("client/{CLIENT}"), json!({"secret": start.secret.expose_secret()})),
    ];
    let catalogue = Catalogue::copy(catalogue, site).await?;
    let begun = Instant::now();
    let vaults = try_join_all(catalogue.regions.iter().map(|name| Region::start_vault(site, name))).await?;
    timeline.say(
        "vault",
        &format!(
            "{} servers initialised and unsealed, in {:.1} s",
            vaults.len(),
            begun.elapsed().as_secs_f64()
        ),
    );
    for vault in &vaults {
        catalogue.place(vault)?;
    }
    let mut regions: Vec<Region> = Vec::new();
    for vault in vaults {
        let root = vault.root_token();
        if regions.is_empty() {
            catalogue.apply(timeline, (&vault, root)).await?;
        } else {
            let others: Vec<_> =
                regions.iter().map(|region| (&region.vault, region.rotator().token())).collect();
            catalogue.bootstrap(timeline, (&vault, root), &others).await?;
        }
        let region = Region::new(site, &catalogue, vault).await?;
        if regions.is_empty() {
            for (path, document) in &documents {
                let document = documents::unmarked(document.clone());
                let written = region.rotator().put("kv", path, &document, Some(0)).await;
                written.with_context(|| format!("write {path} in {}", region.name))?;
            }
        }
        regions.push(region);
    }
    let begun = Instant::now();
    try_join_all(regions.iter_mut().map(|region| region.start_pods(site))).await?;
    let mut observer = Observer::default();
    for region in &regions {
        for pod in &region.pods {
            observer.follow(pod, &region.identities.probe).await?;
        }
    }
    let pods: usize = regions.iter().map(|region| region.pods.len()).sum();
    timeline.say(
        "pods",
        &format!(
            "{pods} pairs of service and agent ready in {} ms, a watcher beside each region's",
            begun.elapsed().as_millis()
        ),
    );
    Ok((catalogue, regions, observer, start))
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
        let failed: u64 = load.targets.iter().map(|pod| pod.tally.failed()).sum();
        let (verified, unverifiable) = (load.verdicts.verified(), load.verdicts.unverifiable_so_far());
        timeline.live(format!(
            "{:.0} s   {} requests, {failed} failed   {verified} tokens verified in the other region, {unverifiable} unverifiable",
            timeline.elapsed().as_secs_f64(),
            load.due(),
        ));
        if failed + unverifiable > said {
            said = failed + unverifiable;
            let figures = local_region::load::Figures::of(load);
            let last = figures.failures.last().cloned().or_else(|| load.verdicts.refusals().pop());
            timeline.alarm(&format!(
                "{failed} requests failed, {unverifiable} tokens unverifiable; {}",
                last.unwrap_or_default()
            ));
        }
    }
}

/// The digest that stands for the release: the service's own program.
fn release() -> Result<String> {
    let path = program("service")?;
    let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let hash = digest::digest(&digest::SHA256, &bytes);
    Ok(hash.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}
