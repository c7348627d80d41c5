//! An environment's regions, brought up by one command and left running until another: `up`, `down`, `status`
//! and `kubeconfig`.
//!
//! A process in the background holds them. When it ends, in whatever way, they end with it; what is left then is
//! found by name and removed by the next `up` or `down`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use local_region::kubernetes::Kubeconfig;
use local_region::platform::{self, Network, Plan, Region, images};
use local_region::programs::program;
use local_region::tools;
use local_region::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Output, Which};

/// How long all regions together may take; most of it, the first time, is the building of programs.
const UP: Duration = Duration::from_secs(1800);

/// How long the holder may take to end everything in order.
const DOWN: Duration = Duration::from_secs(60);

/// What a held environment is.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    environment: String,
    /// The process that holds it.
    holder: i32,
    kubeconfig: PathBuf,
    regions: Vec<Held>,
}

/// One of its regions.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    name: String,
    context: String,
    /// Where its API server listens.
    api: String,
    nodes: Vec<String>,
    /// Addresses of its Services of type LoadBalancer.
    addresses: String,
    /// Memory that its processes hold, in MiB, as of this look.
    #[serde(default)]
    resident_mib: u64,
}

/// The folder of an environment.
fn folder(environment: &str) -> PathBuf {
    platform::folder().join(environment)
}

/// Takes the lock of an environment; nothing while another process has it.
fn lock(environment: &str) -> Result<Option<File>> {
    let folder = folder(environment);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    Ok(lock.try_lock().is_ok().then_some(lock))
}

fn state(environment: &str) -> Option<State> {
    serde_json::from_slice(&fs::read(folder(environment).join("state.json")).ok()?).ok()
}

/// Brings an environment up, and returns when all of its regions are ready.
pub(crate) async fn up(which: &Which, nodes: u8) -> Result<()> {
    platform::check()?;
    let environment = &which.environment;
    let Some(free) = lock(environment)? else {
        bail!(
            "{environment} is up, or being brought up; take it down first: local-region down {environment}"
        );
    };
    let begun = Instant::now();
    let plans = plans(which, nodes).await?;
    // What they are made of is built here, where somebody sees it.
    platform::parts()?;
    images::pause()?;
    tools::coredns()?;
    let left = platform::clean(environment).await?;
    if !left.is_empty() {
        eprintln!("removed what a run that was killed had left: {}", left.join(", "));
    }
    let own = folder(environment);
    for entry in fs::read_dir(&own)?.flatten().filter(|entry| entry.file_name() != "lock") {
        let path = entry.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    fs::write(own.join("plans.json"), serde_json::to_vec(&plans)?)?;
    let log = own.join("holder.log");
    let file = OpenOptions::new().create(true).append(true).open(&log)?;
    drop(free);
    let mut holder = Command::new(program("local-region")?);
    holder.arg("hold").arg(environment).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut holder = holder.process_group(0).spawn().context("start the process that holds the regions")?;
    let mut shown = 0;
    let ready = wait_until(format!("the regions of {environment}"), UP, async || {
        show(&log, &mut shown);
        if let Ok(Some(status)) = holder.try_wait() {
            return Ok(Err(anyhow::anyhow!("it ended ({status}); see {}", log.display())));
        }
        if own.join("state.json").is_file() { Ok(Ok(())) } else { Err("not yet") }
    });
    ready.await??;
    eprintln!("up in {:.0} s", begun.elapsed().as_secs_f64());
    status(environment, Output::Text)
}

/// Shows what a log has got since the last look.
fn show(log: &Path, shown: &mut u64) {
    let read = || {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(*shown))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    if let Ok(text) = read() {
        *shown += text.len() as u64;
        eprint!("{text}");
    }
}

/// Holds an environment's regions until it is told to end.
pub(crate) async fn hold(environment: &str) -> Result<()> {
    let (mut ends, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let Some(mut lock) = lock(environment)? else { bail!("{environment} is held already") };
    let holder = i32::try_from(std::process::id())?;
    writeln!(lock, "{holder}")?;
    let own = folder(environment);
    let plans: Vec<Plan> = serde_json::from_slice(&fs::read(own.join("plans.json"))?)?;
    let held = tokio::select! {
        held = bring_up(&own, &plans) => held,
        _ = ends.recv() => Err(anyhow::anyhow!("told to end")),
    };
    let regions = match held {
        Ok(regions) => regions,
        Err(error) => {
            platform::clean(environment).await?;
            return Err(error);
        }
    };
    let kubeconfig = own.join("kubeconfig");
    let contexts = regions
        .iter()
        .fold(Kubeconfig::new(), |config, region| config.context(&region.plan().context, region.api()));
    contexts.write(&kubeconfig)?;
    let held = regions.iter().map(|region| {
        let plan = region.plan();
        Held {
            name: plan.name.clone(),
            context: plan.context.clone(),
            api: format!("https://{}", region.api().address()),
            nodes: (1..=plan.count).map(|node| plan.namespace(node)).collect(),
            addresses: plan.balanced().to_string(),
            resident_mib: 0,
        }
    });
    let state = State { environment: environment.to_owned(), holder, kubeconfig, regions: held.collect() };
    let draft = own.join("state.draft");
    fs::write(&draft, serde_json::to_vec_pretty(&state)?)?;
    fs::rename(draft, own.join("state.json"))?;
    tokio::select! {
        _ = ends.recv() => {}
        _ = interrupted.recv() => {}
    }
    drop(regions);
    platform::clean(environment).await?;
    Ok(())
}

async fn bring_up(own: &Path, plans: &[Plan]) -> Result<Vec<Region>> {
    let (parts, program) = (platform::parts()?, program("local-region")?);
    let archives = [images::pause()?];
    Network::make(plans)?;
    let regions = plans.iter().map(async |plan| {
        let begun = Instant::now();
        let folder = own.join(&plan.name);
        let region = Region::up(plan.clone(), &folder, &parts, &archives, &program).await;
        let region = region.with_context(|| format!("bring {} up", plan.name))?;
        eprintln!("{}: {} nodes ready after {:.1} s", plan.name, plan.count, begun.elapsed().as_secs_f64());
        anyhow::Ok(region)
    });
    try_join_all(regions).await
}

/// Takes an environment down, and removes what is left of it.
pub(crate) async fn down(environment: &str) -> Result<()> {
    platform::check()?;
    if lock(environment)?.is_none() {
        let text = fs::read_to_string(folder(environment).join("lock")).unwrap_or_default();
        let holder = text.trim().parse().ok().and_then(Pid::from_raw);
        let end = |signal| holder.is_none_or(|holder| kill_process(holder, signal).is_ok());
        end(Signal::TERM);
        let free = async || match lock(environment) {
            Ok(Some(_)) => Ok(()),
            _ => Err("it is still there"),
        };
        let what = format!("the process that holds {environment} to end");
        if wait_until(what.clone(), DOWN, free).await.is_err() {
            end(Signal::KILL);
            wait_until(what, DOWN, free).await?;
        }
    }
    platform::clean(environment).await?;
    fs::remove_dir_all(folder(environment))?;
    eprintln!("{environment} is down");
    Ok(())
}

/// Shows what is up.
pub(crate) fn status(environment: &str, output: Output) -> Result<()> {
    let Some(mut state) = state(environment).filter(|_| lock(environment).is_ok_and(|lock| lock.is_none()))
    else {
        bail!("{environment} is not up: local-region up {environment}");
    };
    for region in &mut state.regions {
        region.resident_mib = platform::resident(&region.nodes)? / 1024 / 1024;
    }
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&state)?),
        Output::Text => {
            for region in &state.regions {
                println!(
                    "{:<12} {}  {} nodes  Services at {}  {} MiB",
                    region.name,
                    region.api,
                    region.nodes.len(),
                    region.addresses,
                    region.resident_mib
                );
            }
            println!("export KUBECONFIG={}", state.kubeconfig.display());
        }
    }
    Ok(())
}

/// Prints where the kubeconfig is.
pub(crate) fn kubeconfig(environment: &str) -> Result<()> {
    let state = state(environment).with_context(|| format!("{environment} is not up"))?;
    println!("{}", state.kubeconfig.display());
    Ok(())
}

/// The regions of an environment, as the catalogue has them.
async fn plans(which: &Which, nodes: u8) -> Result<Vec<Plan>> {
    let mut command = tokio::process::Command::new(program("regions")?);
    command.arg("--catalogue").arg(&which.catalogue).args(["--output", "json", "validate"]);
    let ran = command.output().await.context("run regions validate")?;
    if !ran.status.success() {
        let said = [ran.stderr, ran.stdout].concat();
        bail!("regions validate: {}", String::from_utf8_lossy(&said).trim());
    }
    let found: Value = serde_json::from_slice(&ran.stdout).context("read what regions validate says")?;
    let environments = found["environments"].as_array().into_iter().flatten();
    let names: Vec<&str> = environments.clone().filter_map(|one| one["name"].as_str()).collect();
    let environment = environments.clone().find(|one| one["name"] == which.environment.as_str());
    let environment = environment.with_context(|| {
        format!(
            "{} has no environment {} (it has: {})",
            which.catalogue.display(),
            which.environment,
            names.join(", ")
        )
    })?;
    let regions = environment["regions"].as_array().into_iter().flatten();
    let plans = regions.map(|region| {
        let text = |pointer: &str| {
            let found = region.pointer(pointer).and_then(Value::as_str);
            found.map(str::to_owned).with_context(|| format!("regions validate says no {pointer}"))
        };
        Ok(Plan {
            environment: which.environment.clone(),
            name: text("/name")?,
            location: text("/location")?,
            context: text("/context/value")?,
            range: text("/range")?.parse()?,
            nodes: text("/subnets/nodes")?.parse()?,
            services: text("/subnets/services")?.parse()?,
            pods: text("/subnets/pods")?.parse()?,
            count: nodes,
        })
    });
    plans.collect()
}
