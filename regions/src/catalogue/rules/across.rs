//! Rules between regions and between environments.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::EnvironmentDraft;
use crate::catalogue::problem::{Place, Problem, quoted};
use crate::catalogue::region::{Drafted, Origin, Provided};
use crate::catalogue::text::{Cidr, DomainName, Location, ProjectId};

/// What regions of one environment must not share.
pub(super) fn within(environment: &EnvironmentDraft, problems: &mut Vec<Problem>) {
    ranges(environment, problems);
    let mut locations = Unique::new("location", "one region in each location");
    let mut sources = Unique::new("geo", "clients of each location sent to one region");
    let mut twice = BTreeSet::new();
    for region in environment.drafted() {
        if let Some((location, place)) = region.own.get::<Location>("location").right()
            && !locations.take(location.as_str(), place, problems)
        {
            twice.insert(region.name);
        }
    }
    // Two regions in one location have one source, too: once is enough.
    let regions = environment.drafted().filter(|region| !twice.contains(region.name));
    sources.take_all(regions, |region| region.geo().map(|geo| geo.map(|geo| geo.to_string())), problems);
}

/// Ranges that overlap, each with one before it.
fn ranges(environment: &EnvironmentDraft, problems: &mut Vec<Problem>) {
    let ranges = environment.drafted().filter_map(|region| {
        let (range, place) = region.own.get::<Cidr>("range").right()?;
        Some((range.get().trunc(), place))
    });
    let mut ranges: Vec<_> = ranges.collect();
    // The wider of two that begin alike comes first, so a range overlaps the one before that reaches farthest,
    // or none.
    ranges.sort_by_key(|(range, place)| (range.network(), range.prefix_len(), place.clone()));
    let mut farthest: Option<&(Ipv4Net, Place)> = None;
    for current in &ranges {
        let (range, place) = current;
        match farthest {
            Some((other, elsewhere)) if range.network() <= other.broadcast() => {
                let found = format!("`{range}`, which overlaps `{other}` ({elsewhere})");
                let allowed = "a range apart from those of the environment's other regions";
                problems.push(Problem::new(place.clone(), "range", found, allowed));
            }
            _ => farthest = Some(current),
        }
    }
}

/// What environments, and regions of different environments, must not share.
pub(super) fn between(environments: &[EnvironmentDraft], problems: &mut Vec<Problem>) {
    let mut orders = Unique::new("order", "a place in the order that no other environment has");
    let mut projects = Unique::new("project", "a project that no other environment has");
    let mut domains = Unique::new("domain", "a name that no other environment has");
    let mut contexts = Unique::new("kubernetes.context", "a cluster that no other region has");
    let mut vaults = Unique::new("vault.address", "a Vault that no other region has");
    let mut watchers = Unique::new("watcher.address", "a watcher that no other region has");
    for own in environments.iter().filter_map(|environment| environment.own.as_ref()) {
        if let Some((order, place)) = own.get::<u16>("order").right() {
            orders.take(&order.to_string(), place, problems);
        }
        if let Some((project, place)) = own.get::<ProjectId>("project").right() {
            projects.take(project.as_str(), place, problems);
        }
        if let Some((domain, place)) = own.get::<DomainName>("domain").right() {
            domains.take(domain.as_str(), place, problems);
        }
    }
    let regions = || environments.iter().flat_map(EnvironmentDraft::drafted);
    contexts.take_all(
        regions(),
        |region| Some(region.context()?.map(|context| context.to_string())),
        problems,
    );
    let lower = |address: String| address.to_lowercase();
    // Within clusters, Vaults have the same name, as every Service has.
    let routed = regions().filter(|region| region.vault().is_some_and(|vault| !vault.value.port_forward));
    vaults.take_all(
        routed,
        |region| Some(region.vault()?.map(|vault| lower(vault.address.to_string()))),
        problems,
    );
    watchers.take_all(
        regions(),
        |region| Some(region.watcher()?.map(|one| lower(one.to_string()))),
        problems,
    );
}

/// Values that may be given once.
struct Unique {
    key: &'static str,
    allowed: &'static str,
    seen: BTreeMap<String, Place>,
}

impl Unique {
    fn new(key: &'static str, allowed: &'static str) -> Self {
        Self { key, allowed, seen: BTreeMap::new() }
    }

    /// Takes a value; tells of one that was taken before, and where. Whether it was new.
    fn take(&mut self, value: &str, place: Place, problems: &mut Vec<Problem>) -> bool {
        self.take_as(self.key.into(), value, place, problems)
    }

    fn take_as(&mut self, key: String, value: &str, place: Place, problems: &mut Vec<Problem>) -> bool {
        let Some(first) = self.seen.get(value) else {
            self.seen.insert(value.into(), place);
            return true;
        };
        let found = if *first == place {
            format!("{} for several regions", quoted(value))
        } else {
            format!("{} again, first at {first}", quoted(value))
        };
        problems.push(Problem::new(place, key, found, self.allowed));
        false
    }

    /// Takes what each region has. What a file says is told rather than what follows by convention.
    fn take_all<'a>(
        &mut self,
        regions: impl Iterator<Item = Drafted<'a>>,
        value: impl Fn(&Drafted<'a>) -> Option<Provided<String>>,
        problems: &mut Vec<Problem>,
    ) {
        let (conventions, given): (Vec<_>, Vec<_>) = regions
            .filter_map(|region| Some((value(&region)?, Place::file(&region.own.file))))
            .partition(|(provided, _)| provided.from == Origin::Convention);
        for (provided, file) in conventions.into_iter().chain(given) {
            let (key, place) = match provided.from {
                Origin::Convention => (self.key.into(), file),
                Origin::Region(place) => (self.key.into(), place),
                Origin::Defaults(place) => (format!("defaults.{}", self.key), place),
            };
            self.take_as(key, &provided.value, place, problems);
        }
    }
}
