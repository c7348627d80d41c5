//! `check`: whether what an environment is for works, asked from outside.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use local_region::environment::Environment;
use local_region::load::{Figures, Load, Target};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Requests a second, and for how long.
const RATE: u32 = 100;
const TIME: Duration = Duration::from_secs(2);

/// A machine that has just started everything is slow; that is not what is looked at.
const LATE: Duration = Duration::from_secs(5);

/// Asks every region's service through its LoadBalancer, and verifies each token with the keys of another region.
pub(crate) async fn check(name: &str, until_stopped: bool) -> Result<()> {
    let environment = Environment::open(name)?;
    let mut targets = Vec::new();
    for region in &environment.regions {
        let entry = environment
            .entry(region)
            .await
            .with_context(|| format!("find the service of {}", region.name))?;
        targets.push(Target::before(&region.name, &region.name, entry).patience(LATE));
    }
    let load = Load::new(targets, &environment.issuer(), environment.secret().await?);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(std::sync::Arc::clone(&load).run(RATE, stopped));
    if until_stopped {
        let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    } else {
        tokio::time::sleep(TIME).await;
    }
    stop.send_replace(true);
    running.await?;
    let figures = Figures::of(&load);
    let (verified, refusals) = (load.verdicts.verified(), load.verdicts.refusals());
    println!(
        "{} requests through {} LoadBalancers, {} failed; {verified} times a token was verified in another region, {} \
         times not",
        figures.requests,
        environment.regions.len(),
        figures.failed,
        load.verdicts.unverifiable_so_far()
    );
    if figures.failed > 0 || verified == 0 || !refusals.is_empty() {
        bail!("{name} does not work: {}", [figures.failures, refusals].concat().join("; "));
    }
    Ok(())
}
