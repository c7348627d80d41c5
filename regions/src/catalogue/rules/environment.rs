//! Rules of one environment.

use std::collections::BTreeMap;
use std::time::Duration as Time;

use super::EnvironmentDraft;
use crate::catalogue::draft::Draft;
use crate::catalogue::problem::{Place, Problem, quoted};
use crate::catalogue::shape;
use crate::catalogue::text::{Duration, Name, WaveName};
use crate::catalogue::types::{Bake, Ceilings, Freeze, Gates, Generator, Secret, SecretKind, Workload};

/// Secrets that the service cannot do without, and how each rotates.
const FIXED: [(&str, SecretKind); 4] = [
    ("config", SecretKind::Value),
    ("tls", SecretKind::Value),
    ("clients", SecretKind::Clients),
    ("signing-keys", SecretKind::Keyset),
];

/// In milliseconds, the bounds of the service's latency buckets (`LATENCY` of `service/src/metrics.rs`) that a duration can
/// say. Of any other time nobody can tell how many answers took longer.
const LATENCY_BOUNDS: [u64; 10] = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500];

const DAY: Time = Time::from_secs(24 * 3600);
const MINUTE: Time = Time::from_secs(60);

pub(super) fn check(environment: &EnvironmentDraft, problems: &mut Vec<Problem>) {
    if !shape::is::<Name>(&environment.name) {
        let found = format!("the name {}", quoted(&environment.name));
        problems.push(Problem::new(Place::file(&environment.path), "", found, shape::words::<Name>()));
    }
    if environment.regions.is_empty() && !environment.incomplete {
        let problem =
            Problem::new(Place::file(&environment.path), "", "no region", "one file for each region");
        problems.push(problem.hint("add REGION.yaml, or take the folder away"));
    }
    let Some(own) = &environment.own else { return };
    times(own, problems);
    secrets(own, problems);
    latency(own, problems);
    waves(environment, own, problems);
    freezes(own, problems);
    if let Some((Workload { min, max, .. }, _)) = own.get("workload").right()
        && min > max
    {
        let (place, allowed) =
            (own.place(&["workload", "min"]), format!("a whole number from 2 to max, which is {max}"));
        problems.push(Problem::new(place, "workload.min", format!("the number `{min}`"), allowed));
    }
}

/// Bounds of durations, and what they are to each other.
fn times(own: &Draft, problems: &mut Vec<Problem>) {
    let mut within = |path: [&str; 2], duration: Duration, least: Time, most: Time, is: &str| {
        if duration.get() < least || duration.get() > most {
            let allowed = format!("{} to {}{is}", Duration::from(least), Duration::from(most));
            problems.push(Problem::new(
                own.place(&path),
                path.join("."),
                quoted(&duration.to_string()),
                allowed,
            ));
        }
    };
    let instant = Time::from_millis(1);
    if let Some((Bake { time, .. }, _)) = own.get("bake").right() {
        within(["bake", "time"], time, Time::from_secs(1), DAY, "");
    }
    if let Some((Ceilings { token_life, jwks_max_age, leeway, skew }, _)) = own.get("ceilings").right() {
        within(["ceilings", "token_life"], token_life, Time::from_secs(1), DAY, "");
        // A key verifies for as long as a JWKS that holds it may be cached; a token must not outlive that twice.
        let is = " (token_life)";
        within(["ceilings", "jwks_max_age"], jwks_max_age, instant, token_life.get(), is);
        for (key, given) in [("leeway", leeway), ("skew", skew)] {
            let (most, is) =
                [(5 * MINUTE, ""), (token_life.get(), is)].into_iter().min().unwrap_or((MINUTE, ""));
            within(["ceilings", key], given, instant, most, is);
        }
    }
}

/// The gates can judge nothing but what the pods' latency buckets tell.
fn latency(own: &Draft, problems: &mut Vec<Problem>) {
    let Some((Gates { latency_p99, .. }, _)) = own.get("gates").right() else { return };
    let given = latency_p99.get();
    let bounds = LATENCY_BOUNDS.map(Time::from_millis);
    if bounds.contains(&given) {
        return;
    }
    let below = bounds.into_iter().rev().find(|bound| *bound < given).map(Duration::from);
    let above = bounds.into_iter().find(|bound| *bound > given).map(Duration::from);
    let allowed = match (below, above) {
        (Some(below), Some(above)) => {
            format!("{below} or {above}: the service counts answers by these times and none between")
        }
        (Some(most), None) => format!("{most} at most: the service counts answers by no longer time"),
        // No duration is as short as that.
        (None, _) => return,
    };
    let place = own.place(&["gates", "latency_p99"]);
    problems.push(Problem::new(place, "gates.latency_p99", quoted(&latency_p99.to_string()), allowed));
}

/// Each freeze is of days that there are, and ends after it begins.
fn freezes(own: &Draft, problems: &mut Vec<Problem>) {
    let Some((freezes, _)) = own.get::<Vec<Freeze>>("freezes").right() else { return };
    for (index, freeze) in freezes.iter().enumerate() {
        let at = index.to_string();
        let mut wrong = |key: &str, found: &str, allowed: String| {
            let place = own.place(&["freezes", &at, key]);
            problems.push(Problem::new(place, format!("freezes[{index}].{key}"), quoted(found), allowed));
        };
        let [from, until] = [("from", &freeze.from), ("until", &freeze.until)].map(|(key, moment)| {
            if moment.get().is_none() {
                wrong(key, moment.as_str(), "a day that its month has".into());
            }
            moment.get()
        });
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            wrong("until", freeze.until.as_str(), format!("a moment after from, which is {}", freeze.from));
        }
    }
}

/// The fixed secrets, and each secret's generator.
fn secrets(own: &Draft, problems: &mut Vec<Problem>) {
    let Some((secrets, place)) = own.get::<BTreeMap<String, Secret>>("secrets").right() else { return };
    for (name, kind) in FIXED {
        let key = format!("secrets.{name}");
        match secrets.get(name) {
            None => {
                let allowed = format!("{{ kind: {} }}: the service needs it", shown(kind));
                problems.push(Problem::new(place.clone(), key, "nothing", allowed));
            }
            Some(secret) if secret.kind != kind => {
                let place = own.place(&["secrets", name, "kind"]);
                let found = quoted(&shown(secret.kind));
                let allowed = format!("{}: the service reads it so", shown(kind));
                problems.push(Problem::new(place, format!("{key}.kind"), found, allowed));
            }
            Some(_) => {}
        }
    }
    for (name, Secret { kind, generator }) in &secrets {
        let allowed: &[Generator] = match kind {
            SecretKind::Value => &[Generator::Random, Generator::Password],
            SecretKind::Clients => &[Generator::Random],
            SecretKind::Keyset => &[Generator::EcP256],
        };
        let right = match generator {
            None => *kind == SecretKind::Value,
            Some(generator) => allowed.contains(generator),
        };
        if !right {
            let found = generator.map_or("nothing".into(), |generator| quoted(&shown(generator)));
            let allowed: Vec<String> = allowed.iter().map(|generator| shown(*generator)).collect();
            let allowed = format!("{} for a secret of the kind {}", allowed.join(" or "), shown(*kind));
            let place = own.place(&["secrets", name, "generator"]);
            problems.push(Problem::new(place, format!("secrets.{name}.generator"), found, allowed));
        }
    }
}

/// Each wave has a region. Not asked while a region's wave is not known.
fn waves(environment: &EnvironmentDraft, own: &Draft, problems: &mut Vec<Problem>) {
    let Some((waves, place)) = own.get::<Vec<WaveName>>("waves").right() else { return };
    let used: Vec<WaveName> =
        environment.drafted().filter_map(|region| Some(region.own.get("wave").right()?.0)).collect();
    let known = used.len() == environment.regions.len()
        && used.iter().all(|wave| waves.contains(wave))
        && !environment.incomplete;
    if !known || used.is_empty() {
        return;
    }
    for (index, wave) in waves.iter().enumerate().filter(|(_, wave)| !used.contains(wave)) {
        let found = format!("{}, a wave without a region", quoted(wave.as_str()));
        let problem =
            Problem::new(place.clone(), format!("waves[{index}]"), found, "waves that a region is in");
        problems.push(problem.hint("take it out, or name it in a region's file"));
    }
}

/// A value as the file says it.
fn shown(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_services_buckets_that_a_duration_can_say() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../service/src/metrics.rs");
        let source = std::fs::read_to_string(file).unwrap();
        let (_, list) = source.split_once("const LATENCY: ").unwrap();
        let (_, list) = list.split_once('=').unwrap();
        let (list, _) = list.trim_start().trim_start_matches('[').split_once(']').unwrap();
        let bounds = list.split(',').map(|bound| bound.trim().parse::<f64>().unwrap() * 1000.0);
        let said: Vec<u64> = bounds
            .filter(|bound| *bound >= 1.0 && (bound - bound.round()).abs() < 1e-9)
            .map(|bound| bound.round() as u64)
            .collect();
        assert_eq!(said, LATENCY_BOUNDS);
    }
}
