//! A status as a table.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Found, RegionStatus, SecretStatus, Status, Watched};

/// Lines of one region below the table.
const MOST_CONCERNS: usize = 4;

impl Status {
    /// As a table. What cannot be read, why a release failed, and what somebody should look at stands below it.
    pub fn table(&self, now: Timestamp) -> String {
        let watched = || self.regions.iter().filter_map(|own| own.watched.as_ref());
        let secrets: BTreeSet<&String> = watched().flat_map(|watched| watched.secrets.keys()).collect();
        let mut head: Vec<String> =
            ["REGION", "WAVE", "KUBERNETES", "RELEASE", "STATE", "PODS", "SINCE"].map(str::to_owned).to_vec();
        // Where nobody watches, there is nothing to show of it.
        let anybody = watched().next().is_some();
        if anybody {
            head.extend(["AGENTS", "VAULT", "CERTIFICATE"].map(str::to_owned));
            head.extend(secrets.iter().map(|name| name.to_uppercase()));
        }
        let mut rows = vec![head];
        for own in &self.regions {
            let mut row = row(own, now);
            if anybody {
                row.extend(seen(own.watched.as_ref(), &secrets, now));
            }
            rows.push(row);
        }
        let mut text = columns(&rows);
        let below = self.below(now);
        if !below.is_empty() {
            text.push('\n');
            text.push_str(&below);
        }
        text
    }

    fn below(&self, now: Timestamp) -> String {
        let mut lines = Vec::new();
        for own in &self.regions {
            let failure = own.found.as_ref().and_then(|found| found.release.as_ref()?.failure.as_ref());
            lines.extend(failure.map(|failure| format!("{}: {failure}", own.region)));
            lines.extend(own.found.as_ref().and_then(|found| found.undone.as_ref()).map(|undone| {
                let why = undone.failure.as_deref().unwrap_or("its promotion failed");
                let why = without(&own.region, why);
                let release = format!("{} {}", undone.version, short(&undone.digest));
                format!("{}: {release} was taken back {} ago: {why}", own.region, ago(undone.since, now))
            }));
            lines.extend(own.error.clone());
            if own.error.is_none() {
                let why = own.unwatched.as_ref();
                lines.extend(why.map(|why| format!("{}: its watcher cannot be asked: {why}", own.region)));
            }
            let concerns =
                own.watched.as_ref().map(|watched| watched.concerns.as_slice()).unwrap_or_default();
            lines.extend(concerns.iter().take(MOST_CONCERNS).map(|one| format!("{}: {one}", own.region)));
            if concerns.len() > MOST_CONCERNS {
                lines.push(format!("{}: and {} more", own.region, concerns.len() - MOST_CONCERNS));
            }
        }
        lines.extend(self.drift());
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Secrets that are not of the same phase of the same rotation everywhere.
    fn drift(&self) -> Vec<String> {
        let mut marks: BTreeMap<&String, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
        for own in &self.regions {
            for (name, secret) in own.watched.iter().flat_map(|watched| &watched.secrets) {
                let mark = secret.mark.as_ref().map_or("written by hand".to_owned(), ToString::to_string);
                marks.entry(name).or_default().entry(mark).or_default().push(&own.region);
            }
        }
        let differing = marks.into_iter().filter(|(_, marks)| marks.len() > 1);
        let told = differing.map(|(name, marks)| {
            let marks = marks.into_iter().map(|(mark, regions)| format!("{mark} in {}", regions.join(", ")));
            format!("{name}: {}", marks.collect::<Vec<_>>().join("; "))
        });
        told.collect()
    }
}

fn none() -> String {
    "-".to_owned()
}

fn row(own: &RegionStatus, now: Timestamp) -> Vec<String> {
    let (region, wave) = (own.region.clone(), own.wave.clone());
    let Some(found) = &own.found else {
        let (state, pods) = match (&own.error, &own.watched) {
            (None, Some(watched)) => (none(), watched.pods.to_string()),
            _ => ("unreadable".into(), none()),
        };
        return vec![region, wave, none(), none(), state, pods, none()];
    };
    let Found { kubernetes, release, pods, .. } = found;
    let pods = format!("{}/{}", pods.ready, pods.desired);
    match release {
        None => vec![region, wave, kubernetes.clone(), none(), "nothing yet".into(), pods, none()],
        Some(running) => vec![
            region,
            wave,
            kubernetes.clone(),
            format!("{} {}", running.version, short(&running.digest)),
            running.state.as_str().into(),
            pods,
            ago(running.since, now),
        ],
    }
}

/// What its watcher sees of a region.
fn seen(watched: Option<&Watched>, secrets: &BTreeSet<&String>, now: Timestamp) -> Vec<String> {
    let Some(watched) = watched else { return vec![none(); 3 + secrets.len()] };
    let mut cells = vec![
        format!("{}/{}", watched.agents_well, watched.pods),
        watched.vault.as_str().to_owned(),
        watched.certificate_end.map_or_else(none, |end| left(end, now)),
    ];
    cells.extend(
        secrets.iter().map(|name| watched.secrets.get(*name).map_or_else(none, |own| cell(own, watched))),
    );
    cells
}

/// A secret in a few words: the phase that its rotation has, and the pods that use it.
fn cell(secret: &SecretStatus, watched: &Watched) -> String {
    let adopted = format!("{}/{}", secret.adopted, watched.pods);
    match (&secret.absence, &secret.mark) {
        (Some(_), _) => "gone".into(),
        _ if secret.stepped_back => format!("restored? {adopted}"),
        (None, None) => format!("by hand {adopted}"),
        (None, Some(mark)) => format!("{} {adopted}", mark.phase),
    }
}

/// A reason without the region that it begins with, where that stands before it.
pub fn without<'a>(region: &str, why: &'a str) -> &'a str {
    why.strip_prefix(region).and_then(|why| why.strip_prefix(": ")).unwrap_or(why)
}

/// The first 12 digits of a digest, as they are shown everywhere.
pub fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

/// How long ago, in the largest unit that says enough.
fn ago(then: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(then).as_secs().max(0))
}

/// How long something lasts.
fn left(end: Timestamp, now: Timestamp) -> String {
    match end.duration_since(now).as_secs() {
        ..=0 => "ended".into(),
        seconds => span(seconds),
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> =
        (0..count).map(|column| rows.iter().map(|row| cell(row, column)).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::readiness::Pods;
    use crate::plan::record::State;
    use crate::plan::rotation::mark::{Mark, Phase};
    use crate::plan::view::HealthState;
    use crate::status::Running;

    fn region(name: &str, found: Option<Found>, error: Option<&str>) -> RegionStatus {
        RegionStatus {
            region: name.into(),
            wave: "first".into(),
            context: format!("meridian-qa-{name}"),
            found,
            watched: None,
            error: error.map(str::to_owned),
            unwatched: None,
        }
    }

    fn found(release: Option<Running>) -> Option<Found> {
        let pods = Pods { ready: 1, desired: 2 };
        Some(Found { kubernetes: "v1.36.3".into(), release, undone: None, pods })
    }

    fn running(version: &str, state: State, failure: Option<&str>) -> Running {
        Running {
            number: 3,
            digest: format!("sha256:{}", "ab".repeat(32)),
            version: version.into(),
            state,
            since: Timestamp::UNIX_EPOCH,
            who: "somebody".into(),
            failure: failure.map(str::to_owned),
        }
    }

    #[test]
    fn what_was_taken_back_stands_below_what_runs() {
        let mut own = found(Some(running("1.1.0", State::Applied, None)));
        own.as_mut().unwrap().undone = Some(running("1.2.0", State::Undone, Some("eu: it is not ready")));
        let status = Status { environment: "qa".into(), regions: vec![region("eu", own, None)] };
        let expected = "\
REGION  WAVE   KUBERNETES  RELEASE             STATE    PODS  SINCE
eu      first  v1.36.3     1.1.0 abababababab  applied  1/2   3m

eu: 1.2.0 abababababab was taken back 3m ago: it is not ready
";
        assert_eq!(status.table(Timestamp::from_second(200).unwrap()), expected);
    }

    #[test]
    fn the_table_shows_what_runs_and_what_cannot_be_read() {
        let release = running("1.2.0", State::Failed, Some("it will not become ready"));
        let status = Status {
            environment: "qa".into(),
            regions: vec![
                region("eu", found(Some(release)), None),
                region("new", found(None), None),
                region("us", None, Some("us: get /version: unreachable")),
            ],
        };
        let expected = "\
REGION  WAVE   KUBERNETES  RELEASE             STATE        PODS  SINCE
eu      first  v1.36.3     1.2.0 abababababab  failed       1/2   3m
new     first  v1.36.3     -                   nothing yet  1/2   -
us      first  -           -                   unreadable   -     -

eu: it will not become ready
us: get /version: unreachable
";
        assert_eq!(status.table(Timestamp::from_second(200).unwrap()), expected);
        assert_eq!(status.code(), 4);
    }

    #[test]
    fn what_watchers_see_stands_beside_it_and_what_differs_below() {
        let secret = |mark: Option<Mark>, adopted| SecretStatus {
            version: Some(3),
            mark,
            adopted,
            stepped_back: false,
            absence: None,
        };
        let watched = |mark, adopted| Watched {
            pods: 2,
            agents_well: 1,
            vault: HealthState::Ok,
            certificate_end: Some(Timestamp::from_second(864_200).unwrap()),
            secrets: [("tls".to_owned(), secret(mark, adopted))].into(),
            concerns: vec!["eu-1: tls is stale".into()],
        };
        let (mut eu, mut us) = (region("eu", found(None), None), region("us", None, None));
        eu.watched = Some(watched(Some(Mark::new("r-1", Phase::Write)), 2));
        us.watched = Some(Watched { concerns: Vec::new(), vault: HealthState::Sealed, ..watched(None, 0) });
        let mut ap = region("ap", found(None), None);
        ap.unwatched = Some("it cannot be reached".into());
        let status = Status { environment: "qa".into(), regions: vec![ap, eu, us] };
        let expected = "\
REGION  WAVE   KUBERNETES  RELEASE  STATE        PODS  SINCE  AGENTS  VAULT   CERTIFICATE  TLS
ap      first  v1.36.3     -        nothing yet  1/2   -      -       -       -            -
eu      first  v1.36.3     -        nothing yet  1/2   -      1/2     ok      10d          write 2/2
us      first  -           -        -            2     -      1/2     sealed  10d          by hand 0/2

ap: its watcher cannot be asked: it cannot be reached
eu: eu-1: tls is stale
tls: r-1 (write) in eu; written by hand in us
";
        assert_eq!(status.table(Timestamp::from_second(200).unwrap()), expected);
        assert_eq!(status.code(), 0);
    }

    #[test]
    fn ages_are_short() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let ages = [-5, 0, 119, 120, 7_199, 7_200, 172_800]
            .map(|age| ago(Timestamp::from_second(1_000_000 - age).unwrap(), now));
        assert_eq!(ages, ["0s", "0s", "119s", "2m", "119m", "2h", "2d"]);
        assert_eq!(left(now, now), "ended");
    }
}
