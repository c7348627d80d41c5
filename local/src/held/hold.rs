//! The process in the background that an environment's regions live and end with.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use local_region::environment::{self as known, Environment, folder, lock};
use local_region::kubernetes::Kubeconfig;
use local_region::platform::forward::Forward;
use local_region::platform::registry::Mirror;
use local_region::platform::{self, Network, Region, Setup, images};
use local_region::programs::program;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::vaults::{self, Vaults};
use super::{Order, publish, registry};

/// Between two looks at what others hold.
const LOOK: Duration = Duration::from_secs(2);

/// All that runs. Dropped in this order.
struct Running {
    _regions: Vec<Region>,
    _vaults: Option<Vaults>,
    _forward: Forward,
}

/// Holds an environment's regions until it is told to end.
pub(crate) async fn hold(environment: &str) -> Result<()> {
    let (mut ends, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let own = folder(environment);
    let Some(mut lock) = lock(&own)? else { bail!("{environment} is held already") };
    let holder = i32::try_from(std::process::id())?;
    writeln!(lock, "{holder}")?;
    let order: Order = serde_json::from_slice(&fs::read(own.join("order.json"))?)?;
    let brought = tokio::select! {
        brought = bring_up(&own, &order, holder) => brought,
        _ = ends.recv() => Err(anyhow::anyhow!("told to end")),
    };
    let running = match brought {
        Ok(running) => running,
        Err(error) => {
            platform::clean(environment).await?;
            return Err(error);
        }
    };
    loop {
        tokio::select! {
            _ = ends.recv() => break,
            _ = interrupted.recv() => break,
            // A registry that was killed comes back with what was pushed to it.
            () = sleep(LOOK) => if let Err(error) = registry::ensure(order.registry).await {
                eprintln!("the registry: {error:#}");
            },
        }
    }
    drop(running);
    platform::clean(environment).await?;
    Ok(())
}

async fn bring_up(own: &Path, order: &Order, holder: i32) -> Result<Running> {
    let registry = registry::ensure(order.registry).await?;
    let network = Network::make(&order.plans)?;
    let endpoint = SocketAddr::from((network.machine(), registry.port));
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, registry.port));
    let forward = Forward::start(endpoint, loopback).await.context("pass the registry on to the nodes")?;
    let mirror = Mirror { name: registry.name(), endpoint, authority: registry.authority.clone() };
    let mut archives = vec![images::pause()?];
    if order.vaults {
        archives.push(images::vault()?);
    }
    let (parts, program) = (platform::parts()?, program("local-region")?);
    let setup = Setup { parts: &parts, images: &archives, program: &program, registry: Some(mirror) };
    let regions = order.plans.iter().map(async |plan| {
        let begun = Instant::now();
        let region = Region::up(plan.clone(), &own.join(&plan.name), &setup).await;
        let region = region.with_context(|| format!("bring {} up", plan.name))?;
        eprintln!("{}: {} nodes ready after {:.1} s", plan.name, plan.count, begun.elapsed().as_secs_f64());
        anyhow::Ok(region)
    });
    let regions = try_join_all(regions).await?;
    let kubeconfig = own.join("kubeconfig");
    let contexts = regions
        .iter()
        .fold(Kubeconfig::new(), |config, region| config.context(&region.plan().context, region.api()));
    contexts.write(&kubeconfig)?;
    let vaults = match order.vaults {
        true => Some(vaults::make(own, order, &regions, &network, &kubeconfig).await?),
        false => None,
    };
    let state = state(order, holder, registry, &regions, vaults.as_ref(), own);
    publish(&own.join("state.json"), &state)?;
    Ok(Running { _regions: regions, _vaults: vaults, _forward: forward })
}

fn state(
    order: &Order,
    holder: i32,
    registry: known::Registry,
    regions: &[Region],
    vaults: Option<&Vaults>,
    own: &Path,
) -> Environment {
    let held = regions.iter().map(|region| {
        let plan = region.plan();
        known::Region {
            name: plan.name.clone(),
            context: plan.context.clone(),
            api: format!("https://{}", region.api().address()),
            nodes: plan.namespaces(),
            addresses: plan.balanced().to_string(),
            vault: vaults.and_then(|vaults| vaults.made(&plan.name)).cloned(),
            resident_mib: 0,
        }
    });
    Environment {
        environment: order.environment.clone(),
        holder,
        domain: order.domain.clone(),
        kubeconfig: own.join("kubeconfig"),
        registry,
        public_authority: vaults.map(|vaults| vaults.public_authority.clone()),
        vault_authorities: vaults.map(|vaults| vaults.authorities.clone()),
        regions: held.collect(),
    }
}
