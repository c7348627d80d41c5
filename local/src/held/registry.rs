//! The registry of all environments: held by a process of its own, started with the first environment and ended
//! with the last.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use local_region::environment::{self as known, is_held, lock};
use local_region::platform::{self, registry::Registry};
use local_region::programs::program;
use local_region::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::{DOWN, publish};

/// How long it may take to come up.
const UP: Duration = Duration::from_secs(30);

/// Its folder; no environment can have this name.
fn folder() -> PathBuf {
    platform::folder().join(".registry")
}

/// Held while somebody starts or ends the registry.
fn turn() -> Result<File> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let turn = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("turn"))?;
    turn.lock().context("wait for who starts or ends the registry")?;
    Ok(turn)
}

fn state() -> Option<known::Registry> {
    let folder = folder();
    let read = || serde_json::from_slice(&fs::read(folder.join("state.json")).ok()?).ok();
    is_held(&folder).then(read).flatten()
}

/// Sees to it that it runs. The caller holds an environment, so that nobody ends it meanwhile.
pub(super) async fn ensure(port: u16) -> Result<known::Registry> {
    let _turn = turn()?;
    if let Some(state) = state() {
        if state.port != port {
            bail!(
                "the registry of other environments listens on port {}; use that: --registry {0}",
                state.port
            );
        }
        return Ok(state);
    }
    let folder = folder();
    let log = folder.join("holder.log");
    let _ = fs::remove_file(folder.join("state.json"));
    let file = OpenOptions::new().create(true).append(true).open(&log)?;
    let mut holder = Command::new(program("local-region")?);
    holder
        .args(["hold-registry", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let mut holder = holder.process_group(0).spawn().context("start the process that holds the registry")?;
    let up = wait_until("the registry", UP, async || {
        if let Ok(Some(status)) = holder.try_wait() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            return Ok(Err(anyhow::anyhow!("it ended ({status}): {}", said.trim())));
        }
        state().map(Ok).ok_or("not yet")
    });
    up.await?
}

/// Holds it until told to end.
pub(crate) async fn hold(port: u16) -> Result<()> {
    let mut ends = signal(SignalKind::terminate())?;
    let folder = folder();
    let Some(mut lock) = lock(&folder)? else { bail!("the registry is held already") };
    let holder = i32::try_from(std::process::id())?;
    writeln!(lock, "{holder}")?;
    let registry = Registry::start(&folder, port).await?;
    let authority = registry.authority().to_owned();
    publish(&folder.join("state.json"), &known::Registry { holder, port, authority })?;
    tokio::select! {
        _ = ends.recv() => {}
        status = registry.process().ended() => bail!("the registry ended: {status}"),
    }
    Ok(())
}

/// Ends it, with what was pushed to it, where no environment is held any more.
pub(super) async fn end_unused() -> Result<()> {
    let own = folder();
    if !own.is_dir() {
        return Ok(());
    }
    let _turn = turn()?;
    let others = fs::read_dir(platform::folder())?.flatten().map(|entry| entry.path());
    if others.filter(|folder| *folder != own).any(|folder| is_held(&folder)) {
        return Ok(());
    }
    if let Some(holder) = state().and_then(|state| Pid::from_raw(state.holder)) {
        let _ = kill_process(holder, Signal::TERM);
        let ended = async || !is_held(&own);
        wait_until("the process that holds the registry to end", DOWN, ended).await?;
    }
    fs::remove_dir_all(&own).with_context(|| format!("remove {}", own.display()))
}
