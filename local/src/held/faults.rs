//! `pause`, `resume`, `cut`, `slow` and `clock`: faults in an environment that is up.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use local_region::environment::Environment;
use local_region::platform::faults::{self, Side, Which};
use local_region::platform::{self, Plan};

use crate::cli::{PauseOptions, Place};

/// The regions of an environment that is up.
fn plans(environment: &str) -> Result<Vec<Plan>> {
    platform::check()?;
    Ok(Environment::open(environment)?.plans()?)
}

fn find<'a>(plans: &'a [Plan], name: &str) -> Result<&'a Plan> {
    let names = || plans.iter().map(|plan| plan.name.as_str()).collect::<Vec<_>>().join(", ");
    plans
        .iter()
        .find(|plan| plan.name == name)
        .with_context(|| format!("there is no region {name} (there are: {})", names()))
}

pub(crate) fn pause(options: &PauseOptions) -> Result<()> {
    let plans = plans(&options.place.environment)?;
    let plan = find(&plans, &options.place.region)?;
    if options.node.is_some_and(|node| node > plan.count) {
        bail!("{} has {} nodes", plan.name, plan.count);
    }
    let which = Which { node: options.node, program: options.program.clone() };
    let count = faults::freeze(plan, &which)?;
    if count == 0 {
        bail!("no process of {} is meant", plan.name);
    }
    eprintln!("{count} processes of {} stand still", plan.name);
    Ok(())
}

/// Ends every fault of one region, or of all.
pub(crate) async fn resume(environment: &str, region: Option<&str>) -> Result<()> {
    let plans = plans(environment)?;
    let meant = match region {
        Some(region) => vec![find(&plans, region)?],
        None => plans.iter().collect(),
    };
    for plan in meant {
        faults::thaw(plan, &Which::default())?;
        faults::mend(plan)?;
        faults::delay(plan, Duration::ZERO).await?;
        faults::skew(plan, 0).await?;
        eprintln!("{} is as it was", plan.name);
    }
    Ok(())
}

pub(crate) fn cut(place: &Place, from: &str) -> Result<()> {
    let plans = plans(&place.environment)?;
    let plan = find(&plans, &place.region)?;
    let side = match from {
        "vault" => Side::Vault,
        "api" => Side::Api,
        "clients" => Side::Clients,
        "everything" => Side::Everything,
        other if other == plan.name => bail!("{other} cannot be cut off from itself"),
        other => {
            let other = find(&plans, other);
            Side::Region(other.context("name a region, or one of: vault, api, clients, everything")?)
        }
    };
    faults::cut(plan, &side)?;
    eprintln!("{} is cut off from {from}", plan.name);
    Ok(())
}

pub(crate) async fn slow(place: &Place, milliseconds: u32) -> Result<()> {
    let plans = plans(&place.environment)?;
    let plan = find(&plans, &place.region)?;
    faults::delay(plan, Duration::from_millis(milliseconds.into())).await?;
    eprintln!("each packet in or out of {} comes {milliseconds} ms later", plan.name);
    Ok(())
}

pub(crate) async fn clock(place: &Place, seconds: i64) -> Result<()> {
    let plans = plans(&place.environment)?;
    let plan = find(&plans, &place.region)?;
    faults::skew(plan, seconds).await?;
    eprintln!("the clocks of {} are {seconds:+} s off", plan.name);
    Ok(())
}
