//! `down`: the end of an environment, and of all that is left of it.

use std::fs;

use anyhow::{Result, bail};
use local_region::environment::{folder, is_held, lock};
use local_region::platform;
use local_region::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};

use super::{DOWN, registry};

/// Takes an environment down, and removes what is left of it.
pub(crate) async fn down(environment: &str) -> Result<()> {
    platform::check()?;
    let own = folder(environment);
    if is_held(&own) {
        let text = fs::read_to_string(own.join("lock")).unwrap_or_default();
        let holder = text.trim().parse().ok().and_then(Pid::from_raw);
        let end = |signal| holder.is_none_or(|holder| kill_process(holder, signal).is_ok());
        end(Signal::TERM);
        let free = async || !is_held(&own);
        let what = format!("the process that holds {environment} to end");
        if wait_until(what.clone(), DOWN, free).await.is_err() {
            end(Signal::KILL);
            wait_until(what, DOWN, free).await?;
        }
    }
    // Kept until all is gone, so that nobody brings it up meanwhile.
    let Some(_lock) = lock(&own)? else { bail!("{environment} is being brought up by somebody else") };
    platform::clean(environment).await?;
    fs::remove_dir_all(&own)?;
    registry::end_unused().await?;
    eprintln!("{environment} is down");
    Ok(())
}
