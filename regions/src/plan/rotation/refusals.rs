//! What stands in the way of any rotation, whatever it would do.

use std::collections::BTreeSet;
use std::time::Duration;

use secrets_agent_client::Version;

use super::{Observed, Refusal, Request, Traffic};

/// How exactly a Vault's clock can be read: it tells whole seconds, and an answer takes time.
const READING: Duration = Duration::from_secs(2);

impl Request {
    /// The command that was given, with something more.
    pub(super) fn command(&self, further: &str) -> String {
        let mut command = format!("regions rotate {} --env {}", self.secret, self.environment);
        let flags = [("--abort", self.abort), ("--settle", self.settle), ("--compromised", self.compromised)];
        let flags = flags.iter().filter(|(_, given)| *given).map(|(flag, _)| (*flag).to_owned());
        let id = self.id.iter().map(|id| format!("--rotation {id}"));
        let sets = [
            ("--without", &self.without),
            ("--overwrite", &self.overwrite),
            ("--restored", &self.restored),
            ("--give-up", &self.give_up),
            ("--client", &self.clients),
        ];
        let sets =
            sets.iter().flat_map(|(flag, names)| names.iter().map(move |name| format!("{flag} {name}")));
        let further = further.split(" --").filter(|flag| !flag.is_empty());
        let further = further.map(|flag| format!("--{}", flag.trim_start_matches("--")));
        let mut all: Vec<String> = Vec::new();
        for flag in id.chain(flags).chain(sets).chain(further) {
            if !all.contains(&flag) {
                all.push(flag);
            }
        }
        for flag in all {
            command.push(' ');
            command.push_str(&flag);
        }
        command
    }

    /// The way out where nothing that is there can take the place of all of it.
    pub(super) fn settling(&self) -> String {
        let settled = Self {
            settle: true,
            abort: false,
            compromised: false,
            id: None,
            without: BTreeSet::new(),
            overwrite: BTreeSet::new(),
            restored: BTreeSet::new(),
            ..self.clone()
        };
        format!(
            "or write one document that has all of it by hand into every region, and end with that what is under way: {}",
            settled.command("")
        )
    }

    /// A refusal that has the usual two ways: on, once it is put right, and back.
    pub(super) fn refuse(&self, why: impl Into<String>, ways: &[(&str, &str)]) -> Refusal {
        let ways = ways.iter().map(|(what, further)| format!("{what}: {}", self.command(further)));
        Refusal { why: why.into(), ways: ways.collect(), may_pass: false }
    }
}

/// Everything that stands in the way.
pub(super) fn outside(request: &Request, regions: &[Observed]) -> Vec<Refusal> {
    let mut refused = Vec::new();
    let taking = || regions.iter().filter(|region| !request.without.contains(&region.region));
    if taking().next().is_none() {
        refused.push(request.refuse("every region is left out, so there is nothing to rotate", &[]));
    }
    for region in taking() {
        refused.extend(unreachable(request, region));
        refused.extend(another(request, region));
        refused.extend(restored(request, region));
    }
    for region in regions.iter().filter(|region| request.without.contains(&region.region)) {
        if let Traffic::In(why) = &region.traffic {
            let name = &region.region;
            let why = format!("{name}: it is left out, and takes traffic ({why}): its clients would be hurt");
            let way = format!("take it out of traffic first: regions drain {}/{name}", request.environment);
            refused.push(Refusal { why, ways: vec![way], may_pass: false });
        }
    }
    if refused.is_empty() {
        refused.extend(strangers(request, taking()));
        refused.extend(clocks(request, &taking().collect::<Vec<_>>()));
    }
    refused
}

fn unreachable(request: &Request, region: &Observed) -> Option<Refusal> {
    let error = region.vault.as_ref().err()?;
    let without = format!("--without {}", region.region);
    let ways = [("go on without it, where it is out of traffic", without.as_str())];
    Some(Refusal { may_pass: true, ..request.refuse(format!("{}: {error}", region.region), &ways) })
}

/// The watcher of another region would vouch for pods that are not this region's.
fn another(request: &Request, region: &Observed) -> Option<Refusal> {
    let view = region.view.as_ref().ok()?;
    let told = (view.environment.as_str(), view.region.as_str());
    if told == (request.environment.as_str(), region.region.as_str()) {
        return None;
    }
    let why = format!(
        "{}: at its watcher's address is the watcher of {}/{}; correct `watcher` in the catalogue",
        region.region, told.0, told.1
    );
    Some(request.refuse(why, &[]))
}

/// The highest version that anybody in a region has seen, where its Vault holds something older.
pub(super) fn stepped_back(request: &Request, region: &Observed) -> Option<Version> {
    let (Ok(held), Ok(view)) = (&region.vault, &region.view) else { return None };
    let floor = view.secrets.get(&request.secret).and_then(|secret| secret.floor);
    let agents = view.pods.iter().filter_map(|pod| pod.agent.as_ref());
    let delivered = agents.flat_map(|status| &status.secrets).filter_map(|secret| {
        let version = Version { version: secret.version?, created_time: secret.created_time? };
        (secret.name == request.secret).then_some(version)
    });
    let current = held.document().version(held.document().current);
    let newer = delivered.chain(floor).filter(|seen| current.is_none_or(|current| current < *seen));
    // An agent that was started again may have less than its service, which never goes back.
    let services = view.pods.iter().filter_map(|pod| pod.service.as_ref());
    newer.chain(services.filter_map(|service| service.newer_than(&request.secret, current))).max()
}

fn restored(request: &Request, region: &Observed) -> Option<Refusal> {
    let name = &region.region;
    let highest = stepped_back(request, region).filter(|_| !request.restored.contains(name))?;
    let current = region.vault.as_ref().map_or(0, |held| held.document().current);
    let why = format!(
        "{name}: its Vault holds version {current} of {}, and its pods have seen {highest}: it was restored from a \
         snapshot, or somebody else writes to it",
        request.secret
    );
    let flag = format!("--restored {name}");
    Some(request.refuse(why, &[("if it was restored on purpose, bring it up to date", &flag)]))
}

/// Regions that another catalogue knows, or a bootstrap has named, and this one lacks.
fn strangers<'a>(request: &Request, taking: impl Iterator<Item = &'a Observed>) -> Option<Refusal> {
    let mut told = Vec::new();
    for region in taking {
        let Ok(held) = &region.vault else { continue };
        let unknown: Vec<&str> =
            held.notes.members.difference(&request.members).map(String::as_str).collect();
        if !unknown.is_empty() {
            told.push(format!("{} names {}", region.region, unknown.join(", ")));
        }
    }
    if told.is_empty() {
        return None;
    }
    let why = format!(
        "there are regions that this catalogue does not know, and that would be left behind ({}); take the catalogue \
         in which they are. Of a region that is gone for good, take the name away (vault kv metadata patch \
         -custom-metadata=regions=… in each Vault)",
        told.join("; ")
    );
    Some(request.refuse(why, &[]))
}

/// Waits count by the Vaults' clocks, and tokens by the pods': none may be too far from another.
fn clocks(request: &Request, taking: &[&Observed]) -> Option<Refusal> {
    let clock = |region: &Observed| Some((region.vault.as_ref().ok()?.ahead, region.region.clone()));
    let clocks = || taking.iter().filter_map(|region| clock(region));
    let (slowest, fastest) = (clocks().min()?, clocks().max()?);
    let apart = Duration::try_from(fastest.0 - slowest.0).unwrap_or_default();
    if apart <= request.ceilings.skew + READING {
        return None;
    }
    let why = format!(
        "the clocks of the Vaults of {} and {} are {:.1} s apart, and ceilings.skew is {:.1} s; set the clocks right",
        slowest.1,
        fastest.1,
        apart.as_secs_f64(),
        request.ceilings.skew.as_secs_f64()
    );
    Some(request.refuse(why, &[]))
}
