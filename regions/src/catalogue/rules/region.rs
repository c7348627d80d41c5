//! Rules of one region.

use std::sync::Arc;

use ipnet::Ipv4Net;

use super::EnvironmentDraft;
use crate::catalogue::draft::{Draft, Said};
use crate::catalogue::problem::{Place, Problem, nearest, quoted};
use crate::catalogue::region::{Drafted, Origin, cluster, nodes_account};
use crate::catalogue::shape;
use crate::catalogue::text::{Cidr, Name, WaveName};

/// Lines of a region's file. What is longer belongs into the environment's defaults.
const LINES: usize = 12;

/// Google's bounds for names that are derived from a region's.
const CLUSTER: usize = 40;
const ACCOUNT: usize = 30;

/// Nodes that hold two replicas while spot nodes are taken away.
const FALLBACK: u32 = 2;

/// The node pool of a region's Vault, which Terraform makes beside those of the catalogue.
const VAULT_POOL: &str = "vault";

/// The region's name is fit for itself and for all that is named after it.
pub(super) fn check_name(
    environment: &EnvironmentDraft,
    name: &str,
    file: &Arc<str>,
    problems: &mut Vec<Problem>,
) {
    let mut problem = |found: String, allowed: String| {
        problems.push(Problem::new(Place::file(file), "", found, allowed).hint("rename the file"));
    };
    if !shape::is::<Name>(name) {
        return problem(format!("the name {}", quoted(name)), shape::words::<Name>());
    }
    for (derived, what, most) in [
        (cluster(&environment.name, name), "its cluster", CLUSTER),
        (nodes_account(name), "the service account of its nodes", ACCOUNT),
    ] {
        if derived.len() > most {
            problem(
                format!("a name that makes {} ({} characters) of {what}", quoted(&derived), derived.len()),
                format!("at most {most} characters there"),
            );
        }
    }
}

/// A region's file is short.
pub(super) fn check_length(own: &Draft, problems: &mut Vec<Problem>) {
    let lines = own.text.lines().count();
    if lines > LINES {
        let place = own.line(LINES + 1);
        let problem =
            Problem::new(place, "", format!("{lines} lines"), format!("at most {LINES} in a region's file"));
        problems.push(problem.hint("move what several regions share to `defaults` in _environment.yaml"));
    }
}

pub(super) fn check(region: &Drafted<'_>, problems: &mut Vec<Problem>) {
    wave(region, problems);
    range(region, problems);
    pools(region, problems);
    vault(region, problems);
}

fn wave(region: &Drafted<'_>, problems: &mut Vec<Problem>) {
    let Some((wave, place)) = region.own.get::<WaveName>("wave").right() else { return };
    let waves = region.shared.and_then(|shared| shared.get::<Vec<WaveName>>("waves").right());
    let Some((waves, _)) = waves.filter(|(waves, _)| !waves.contains(&wave)) else { return };
    let names: Vec<&str> = waves.iter().map(WaveName::as_str).collect();
    let mut problem = Problem::new(place, "wave", quoted(wave.as_str()), names.join(", "));
    problem.hint =
        nearest(wave.as_str(), names.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    problems.push(problem);
}

fn range(region: &Drafted<'_>, problems: &mut Vec<Problem>) {
    let Some((range, place)) = region.own.get::<Cidr>("range").right() else { return };
    let net = range.get();
    if net.addr() != net.network() {
        let found = format!("{}, which is an address inside of {}", quoted(&range.to_string()), net.trunc());
        let problem = Problem::new(place, "range", found, "a range whose host bits are zero");
        problems.push(problem.hint(format!("did you mean `{}`?", net.trunc())));
        return;
    }
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    if !private
        .iter()
        .filter_map(|private| private.parse::<Ipv4Net>().ok())
        .any(|private| private.contains(&net))
    {
        let found = format!("{}, which is not private", quoted(&range.to_string()));
        problems.push(Problem::new(
            place,
            "range",
            found,
            format!("a range inside of {}", private.join(", ")),
        ));
    }
}

/// What is reached by a port-forward is a Service.
fn vault(region: &Drafted<'_>, problems: &mut Vec<Problem>) {
    let Some(vault) = region.vault().filter(|vault| vault.value.port_forward) else { return };
    let (key, found, allowed) = if !vault.value.in_cluster {
        (
            "port_forward",
            "`true`".into(),
            "false for a Vault that is not in the region's cluster (in_cluster)",
        )
    } else if vault.value.service().is_none() {
        let allowed = "with port_forward the name of a Service, such as https://vault-active.vault.svc:8200";
        ("address", quoted(vault.value.address.as_str()), allowed)
    } else {
        return;
    };
    let (file, above): (&Draft, &[&str]) = match (&vault.from, region.shared) {
        (Origin::Defaults(_), Some(shared)) => (shared, &["defaults", "vault"]),
        _ => (region.own, &["vault"]),
    };
    let path = [above, &[key]].concat();
    let problem = Problem::new(file.place(&path), path.join("."), found, allowed);
    // What stands in the defaults is told once, not for each region.
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}

fn pools(region: &Drafted<'_>, problems: &mut Vec<Problem>) {
    let (pools, place) = match region.pools() {
        Said::Right(pools, place) => (pools, place),
        Said::Wrong => return,
        Said::Absent => {
            let place = region.own.place(&[]);
            let problem = Problem::new(place, "pools", "nothing", "a map of one or more names");
            problems.push(problem.hint("give pools here, or under `defaults` in _environment.yaml"));
            return;
        }
    };
    let (file, above): (&Draft, &[&str]) = match (&pools.from, region.shared) {
        (Origin::Defaults(_), Some(shared)) => (shared, &["defaults", "pools"]),
        _ => (region.own, &["pools"]),
    };
    for (name, pool) in pools.value.iter().filter(|(_, pool)| pool.min > pool.max) {
        let path = [above, &[name.as_str(), "min"]].concat();
        let allowed = format!("a whole number from 0 to max, which is {}", pool.max);
        let found = format!("the number `{}`", pool.min);
        problems.push(Problem::new(file.place(&path), path.join("."), found, allowed));
    }
    if pools.value.keys().any(|name| name.as_str() == VAULT_POOL) {
        let path = [above, &[VAULT_POOL]].concat();
        let allowed = "another name: the pool of the region's Vault has this one";
        let found = format!("the name {}", quoted(VAULT_POOL));
        problems.push(Problem::new(file.place(&path), path.join("."), found, allowed));
    }
    let lasting: Vec<u32> =
        pools.value.values().filter(|pool| !pool.spot).map(|pool| pool.max.into()).collect();
    let most: u32 = lasting.iter().sum();
    if most < FALLBACK {
        let found = match lasting.len() {
            0 => "spot pools alone".into(),
            _ => format!("pools that are not spot with {most} node at most"),
        };
        let allowed = format!("pools that are not spot with {FALLBACK} nodes or more (max) in all");
        let problem = Problem::new(place, above.join("."), found, allowed);
        problems.push(problem.hint("two replicas need a place when spot nodes are taken away"));
    }
}
