//! `up`: what the catalogue says, handed to a process that brings it up and holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use local_region::environment::{folder, lock};
use local_region::platform::{self, Plan, Pool, images, registry};
use local_region::programs::program;
use local_region::tools;
use local_region::wait::wait_until;
use serde_json::Value;

use super::{Order, status::status};
use crate::cli::{Output, UpOptions};

/// How long all regions together may take. What they are made of is built before.
const UP: Duration = Duration::from_secs(600);

/// Brings an environment up, and returns when all of its regions are ready.
pub(crate) async fn up(options: &UpOptions) -> Result<()> {
    platform::check()?;
    let environment = &options.environment;
    let own = folder(environment);
    let Some(free) = lock(&own)? else {
        bail!(
            "{environment} is up, or being brought up; take it down first: local-region down {environment}"
        );
    };
    let begun = Instant::now();
    let order = order(options).await?;
    // Built here, where somebody sees it.
    tools::region()?;
    platform::parts()?;
    images::pause()?;
    registry::program()?;
    if order.vaults {
        images::vault()?;
        tools::helm()?;
    }
    let left = platform::clean(environment).await?;
    if !left.is_empty() {
        eprintln!("removed what a run that was killed had left: {}", left.join(", "));
    }
    for entry in fs::read_dir(&own)?.flatten().filter(|entry| entry.file_name() != "lock") {
        let path = entry.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    fs::write(own.join("order.json"), serde_json::to_vec(&order)?)?;
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
    show(&log, &mut shown);
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

/// The environment, as the catalogue has it.
async fn order(options: &UpOptions) -> Result<Order> {
    let catalogue = fs::canonicalize(&options.catalogue)
        .with_context(|| format!("find the catalogue {}", options.catalogue.display()))?;
    let mut command = tokio::process::Command::new(program("regions")?);
    command.arg("--catalogue").arg(&catalogue).args(["--output", "json", "validate"]);
    let ran = command.output().await.context("run regions validate")?;
    if !ran.status.success() {
        let said = [ran.stderr, ran.stdout].concat();
        bail!("regions validate: {}", String::from_utf8_lossy(&said).trim());
    }
    let found: Value = serde_json::from_slice(&ran.stdout).context("read what regions validate says")?;
    let environments = found["environments"].as_array().into_iter().flatten();
    let names: Vec<&str> = environments.clone().filter_map(|one| one["name"].as_str()).collect();
    let environment = environments.clone().find(|one| one["name"] == options.environment.as_str());
    let environment = environment.with_context(|| {
        format!(
            "{} has no environment {} (it has: {})",
            options.catalogue.display(),
            options.environment,
            names.join(", ")
        )
    })?;
    let waves = environment["settings"]["waves"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut regions: Vec<&Value> = environment["regions"].as_array().into_iter().flatten().collect();
    regions.sort_by_key(|region| waves.iter().position(|wave| *wave == region["wave"]));
    let plans = regions.into_iter().map(|region| plan(&options.environment, region, options.nodes));
    Ok(Order {
        environment: options.environment.clone(),
        catalogue,
        domain: text(environment, "/settings/domain")?,
        ceilings: environment["settings"]["ceilings"].clone(),
        plans: plans.collect::<Result<_>>()?,
        vaults: !options.without_vault,
        registry: options.registry,
    })
}

fn plan(environment: &str, region: &Value, count: u8) -> Result<Plan> {
    let pools = region["pools"]["value"].as_object().into_iter().flatten();
    let pools = pools.map(|(name, pool)| Pool { name: name.clone(), spot: pool["spot"] == true });
    Ok(Plan {
        environment: environment.to_owned(),
        name: text(region, "/name")?,
        location: text(region, "/location")?,
        context: text(region, "/context/value")?,
        range: text(region, "/range")?.parse()?,
        nodes: text(region, "/subnets/nodes")?.parse()?,
        services: text(region, "/subnets/services")?.parse()?,
        pods: text(region, "/subnets/pods")?.parse()?,
        pools: pools.collect(),
        count,
    })
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.map(str::to_owned).with_context(|| format!("regions validate says no {pointer}"))
}
