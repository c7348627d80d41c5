//! One screen that says why a promotion was undone, and what runs now.

use std::fmt::Write as _;

use super::report::{RegionReport, Report};
use crate::plan::gate::text::percent;
use crate::print::columns;
use crate::status::{short, without};

/// Lines of reasons that are shown; the records hold all.
const MOST: usize = 12;

/// Why it failed first, then every region, then what to do.
pub(super) fn undone(report: &Report) -> String {
    let release = report.release.as_ref().map_or_else(
        || "the release".to_owned(),
        |release| format!("{} {} ({})", release.chart, release.version, short(&release.digest)),
    );
    let mut text = format!("{release} is not good, and was taken back from {}\n\n", report.environment);
    for (place, region) in report.regions.iter().filter(|region| region.error.is_some()).enumerate() {
        if place >= MOST {
            let _ = writeln!(text, "  …");
            break;
        }
        let why = without(&region.region, region.error.as_deref().unwrap_or_default());
        let _ = writeln!(text, "  {} (wave {}): {why}", region.region, region.wave);
        if let Some(gates) = gates(region) {
            let _ = writeln!(text, "    gates: {gates}");
        }
        if let Some(why) = &region.last_failure {
            let _ = writeln!(text, "    the last own transaction that failed: {why}");
        }
    }
    for error in &report.errors {
        let _ = writeln!(text, "  {error}");
    }
    let mut rows = vec![["REGION", "WAVE", "STATE", "RUNS", "PODS", "AFTER"].map(str::to_owned)];
    for region in &report.regions {
        rows.push([
            region.region.clone(),
            region.wave.clone(),
            region.state.as_str().to_owned(),
            region.former.as_ref().map_or_else(|| "-".to_owned(), |former| former.version.clone()),
            region.pods.map_or_else(|| "-".to_owned(), |pods| format!("{}/{}", pods.ready, pods.desired)),
            region.after_s.map_or_else(|| "-".to_owned(), |after| format!("{after:.1} s")),
        ]);
    }
    text.push('\n');
    text.push_str(&columns(&rows));
    if let Some(next) = &report.next {
        let _ = write!(text, "\nnext: {next}\n");
    }
    text
}

/// What each gate that has seen anything says, in one line.
fn gates(region: &RegionReport) -> Option<String> {
    let seen = region.gates.iter().filter(|reading| reading.total > 0);
    let said = seen
        .map(|reading| format!("{} {} of {}", reading.gate.short(), percent(reading.share()), reading.total));
    let said = said.collect::<Vec<_>>().join(" · ");
    (!said.is_empty()).then_some(said)
}

#[cfg(test)]
mod tests {
    use crate::plan::gate::{Breach, Gate, Reading};
    use crate::plan::readiness::Pods;
    use crate::plan::record::Release;
    use crate::promote::report::{Ending, RegionReport, RegionState, Report};

    fn release(version: &str) -> Release {
        Release {
            reference: "service.tgz".into(),
            digest: format!("sha256:{}", "ab".repeat(32)),
            package_sha256: String::new(),
            chart: "meridian".into(),
            version: version.into(),
        }
    }

    /// A release whose first wave failed its gates.
    fn report() -> Report {
        let reading = |gate, bad, total| Reading { gate, bad, total, limit: Some(0.01), former: (1, 20_000) };
        let failed = reading(Gate::ServerErrors, 31, 612);
        let region = |name: &str, wave: &str, state, error: Option<String>| RegionReport {
            state,
            former: Some(release(if name == "eu" { "1.0.0" } else { "0.9.0" })),
            pods: (state == RegionState::Undone).then_some(Pods { ready: 2, desired: 2 }),
            gates: if error.is_some() {
                vec![failed.clone(), reading(Gate::Transactions, 3, 60)]
            } else {
                Vec::new()
            },
            breaches: vec![Breach::Over(failed.clone())],
            last_failure: error.as_ref().map(|_| "GET /v1/region at eu.example: 500".into()),
            after_s: (state == RegionState::Undone).then_some(12.34),
            error,
            ..RegionReport::new(name, wave)
        };
        Report {
            environment: "production".into(),
            release: Some(release("1.1.0")),
            outcome: Ending::Undone,
            regions: vec![
                region(
                    "eu",
                    "first",
                    RegionState::Undone,
                    Some(format!("eu: {}", Breach::Over(failed.clone()))),
                ),
                region("us", "second", RegionState::Untouched, None),
            ],
            errors: Vec::new(),
            next: Some("regions history --env production".into()),
            times: None,
            is_back: false,
            begun: tokio::time::Instant::now(),
            asked: std::time::Duration::ZERO,
        }
    }

    #[test]
    fn one_screen_says_why() {
        let report = report();
        let expected = "\
meridian 1.1.0 (abababababab) is not good, and was taken back from production

  eu (wave first): 5.1 % of 612 answers had a status of 500 or above (31); 1.0 % are borne; of the former release's 20000 it is 0.005 %
    gates: 5xx 5.1 % of 612 · own failed 5.0 % of 60
    the last own transaction that failed: GET /v1/region at eu.example: 500

REGION  WAVE    STATE      RUNS   PODS  AFTER
eu      first   undone     1.0.0  2/2   12.3 s
us      second  untouched  0.9.0  -     -

next: regions history --env production
";
        assert_eq!(report.summary(), expected);
        assert_eq!(report.outcome.code(), 3);
    }

    #[test]
    fn one_that_cannot_go_back_says_why_its_own_transactions_failed() {
        let report = Report { outcome: Ending::Incomplete, ..report() };
        let line = "eu: the last own transaction that failed: GET /v1/region at eu.example: 500\n";
        assert!(report.summary().contains(line), "{}", report.summary());
    }
}
