//! Rules between regions and between environments.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::EnvironmentDraft;
use crate::catalogue::problem::{Place, Problem, quoted};
use crate::catalogue::region::{Drafted, Origin, Provided};
use crate::catalogue::text::{Cidr, DomainName, Location, ProjectId};

/// What regions of one environment must not share.
pub(super) fn within(environment: &EnvironmentDraft, problems: &mut Vec<Problem>) {
    ranges(environment, problems);
    let place = |region: &Drafted<'_>, key: &str| region.own.place(&[key]);
    let mut locations = Unique::new("location", "one region in each location");
    let mut sources = Unique::new("geo", "clients of each location sent to one region");
    for region in environment.drafted() {
        let location: Option<(Location, Place)> = region.own.get("location").right();
        let seen =
            location.is_none_or(|(location, place)| locations.take(location.as_str(), place, problems));
        // Two regions in one place have one source, too: once is enough.
        if let Some(geo) = region.geo().filter(|_| seen) {
            let place = provided_at(&geo, &region).unwrap_or_else(|| place(&region, "location"));
            let _ = sources.take(geo.value.as_str(), place, problems);
        }
    }
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
    for environment in environments {
        if let Some(own) = &environment.own {
            if let Some((order, place)) = own.get::<u16>("order").right() {
                let _ = orders.take(&order.to_string(), place, problems);
            }
            if let Some((project, place)) = own.get::<ProjectId>("project").right() {
                let _ = projects.take(project.as_str(), place, problems);
            }
            if let Some((domain, place)) = own.get::<DomainName>("domain").right() {
                let _ = domains.take(domain.as_str(), place, problems);
            }
        }
        for region in environment.drafted() {
            if let Some(context) = region.context() {
                contexts.take_of(&region, context.value.as_str(), &context, problems);
            }
            if let Some(vault) = region.vault() {
                vaults.take_of(&region, &vault.value.as_str().to_lowercase(), &vault, problems);
            }
            if let Some(watcher) = region.watcher() {
                watchers.take_of(&region, &watcher.value.as_str().to_lowercase(), &watcher, problems);
            }
        }
    }
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
        if let Some(first) = self.seen.get(value) {
            let found = format!("{} again, first at {first}", quoted(value));
            problems.push(Problem::new(place, self.key, found, self.allowed));
            return false;
        }
        self.seen.insert(value.into(), place);
        true
    }

    /// Takes a region's value.
    fn take_of<T>(
        &mut self,
        region: &Drafted<'_>,
        value: &str,
        from: &Provided<T>,
        problems: &mut Vec<Problem>,
    ) {
        let place = provided_at(from, region).unwrap_or_else(|| Place::file(&region.own.file));
        let _ = self.take(value, place, problems);
    }
}

/// Where a region's value is given; nothing for a convention. A default is given to the region, so to speak in
/// its own file: that is where another value would go.
fn provided_at<T>(provided: &Provided<T>, region: &Drafted<'_>) -> Option<Place> {
    match &provided.from {
        Origin::Region(place) => Some(place.clone()),
        Origin::Defaults(_) => Some(Place::file(&region.own.file)),
        Origin::Convention => None,
    }
}
