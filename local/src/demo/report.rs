//! What the demo came to: a table for people, and the same figures as JSON.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use secrets_agent_client::wire::Status;
use serde::Serialize;

use super::observer::Change;
use super::rotation::Rotation;
use super::stage::Check;
use local_region::load::{Figures, Load};

/// The load must be at least this, or little was shown.
pub(crate) const ENOUGH_REQUESTS: u64 = 20_000;
/// The median from a write to its use that is promised, in milliseconds.
pub(crate) const MEDIAN_ADOPTED_MS: f64 = 250.0;

/// Everything that the demo measured and checked.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) passed: bool,
    /// What ended the demo early.
    pub(crate) error: Option<String>,
    pub(crate) started: Timestamp,
    pub(crate) seconds: f64,
    pub(crate) cores: usize,
    pub(crate) rate_per_second: u32,
    #[serde(flatten)]
    pub(crate) load: Figures,
    pub(crate) tokens: Tokens,
    pub(crate) write_to_adopted_ms: Spread,
    pub(crate) pods: Vec<PodSummary>,
    /// Each run of `regions rotate`, with its own report.
    pub(crate) rotations: Vec<Rotation>,
    pub(crate) changes: Vec<Change>,
    pub(crate) checks: Vec<Check>,
}

/// Verifications: two for each token, with the JWKS of another region.
#[derive(Debug, Serialize)]
pub(crate) struct Tokens {
    pub(crate) issued: usize,
    pub(crate) verified: u64,
    pub(crate) unverifiable: u64,
    pub(crate) unverifiable_why: Vec<String>,
    /// Verifications for which a killed pod was asked for its JWKS.
    pub(crate) counted_apart: u64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) n: usize,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

/// One pod at the end.
#[derive(Debug, Serialize)]
pub(crate) struct PodSummary {
    pub(crate) pod: String,
    pub(crate) region: String,
    pub(crate) documents: Vec<Document>,
    pub(crate) write_to_delivered_ms: Spread,
    pub(crate) write_to_adopted_ms: Spread,
    pub(crate) agent_resident_bytes: Option<u64>,
    pub(crate) service_resident_bytes: Option<u64>,
    /// Nothing for a pod that came later, and was not under load.
    #[serde(flatten)]
    pub(crate) load: Option<Figures>,
}

/// What a pod uses at the end.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) version: Option<u64>,
    pub(crate) rotation_id: Option<String>,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            _ if sorted.is_empty() => 0.0,
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Spread { n: sorted.len(), median, max: sorted.last().copied().unwrap_or_default() }
    }
}

impl Tokens {
    pub(crate) fn of(load: &Load) -> Self {
        Tokens {
            issued: load.issues().len(),
            verified: load.verdicts.verified(),
            unverifiable: load.verdicts.unverifiable_so_far(),
            unverifiable_why: load.verdicts.refusals(),
            counted_apart: load.verdicts.counted_apart(),
        }
    }
}

impl PodSummary {
    pub(crate) fn new(
        pod: &local_region::pod::Pod,
        status: Option<&Status>,
        load: Option<Figures>,
        changes: &[Change],
    ) -> Self {
        let document = |secret: &secrets_agent_client::wire::SecretStatus| Document {
            name: secret.name.clone(),
            version: secret.version,
            rotation_id: secret.rotation_id.clone(),
        };
        let of_pod = || changes.iter().filter(|change| change.pod == pod.name);
        let (agent_resident_bytes, service_resident_bytes) = pod.resident();
        PodSummary {
            pod: pod.name.clone(),
            region: pod.region.clone(),
            documents: status.iter().flat_map(|status| &status.secrets).map(document).collect(),
            write_to_delivered_ms: Spread::of(of_pod().map(|change| change.write_to_delivered_ms)),
            write_to_adopted_ms: Spread::of(of_pod().map(|change| change.write_to_adopted_ms)),
            agent_resident_bytes,
            service_resident_bytes,
            load,
        }
    }
}

impl Summary {
    /// Writes it to `summary.json` in this folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("summary.json");
        let json = serde_json::to_string_pretty(self).context("render the summary")?;
        fs::write(&path, json + "\n").with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// The tables.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self
            .changes_table(&mut text)
            .and_then(|()| self.pods_table(&mut text))
            .and_then(|()| self.result(&mut text));
        text
    }

    fn changes_table(&self, text: &mut String) -> std::fmt::Result {
        let pods: Vec<&str> = self.pods.iter().map(|pod| pod.pod.as_str()).collect();
        write!(text, "\nfrom the write to delivered → adopted, ms\n{:<23}", "document      phase")?;
        for pod in &pods {
            write!(text, "{pod:>16}")?;
        }
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for change in &self.changes {
            let row = (change.document.as_str(), change.phase.as_str());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        for (document, phase) in rows {
            write!(text, "\n{:<23}", format!("{document:<13} {phase}"))?;
            for pod in &pods {
                let found = self.changes.iter().find(|change| {
                    (change.document.as_str(), change.phase.as_str(), change.pod.as_str())
                        == (document, phase, pod)
                });
                let cell = found.map_or_else(String::new, |change| {
                    format!("{:.0} → {:.0}", change.write_to_delivered_ms, change.write_to_adopted_ms)
                });
                write!(text, "{cell:>16}")?;
            }
        }
        writeln!(text)
    }

    fn pods_table(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "\n{:<7}{:<42}{:>15}{:>10}{:>8}{:>7}{:>22}",
            "pod",
            "documents in use (version, rotation)",
            "adopted ms",
            "requests",
            "failed",
            "apart",
            "p50 / p99 / max ms"
        )?;
        for pod in &self.pods {
            let mut documents = pod.documents.iter().map(|document| {
                let version = document.version.map_or("none".to_owned(), |version| format!("v{version}"));
                format!(
                    "{} {version} {}",
                    document.name,
                    document.rotation_id.as_deref().unwrap_or("by hand")
                )
            });
            let adopted =
                format!("{:.0} / {:.0}", pod.write_to_adopted_ms.median, pod.write_to_adopted_ms.max);
            let document = documents.next().unwrap_or_default();
            write!(text, "{:<7}{document:<42}{adopted:>15}", pod.pod)?;
            match &pod.load {
                Some(Figures { requests, failed, counted_apart, latency_ms, .. }) => {
                    let latency =
                        format!("{:.1} / {:.1} / {:.0}", latency_ms.p50, latency_ms.p99, latency_ms.max);
                    let apart = counted_apart.answered + counted_apart.failed;
                    writeln!(text, "{requests:>10}{failed:>8}{apart:>7}{latency:>22}")?;
                }
                None => writeln!(text, "{:>10}", "none")?,
            }
            for document in documents {
                writeln!(text, "{:<7}{document}", "")?;
            }
        }
        Ok(())
    }

    fn result(&self, text: &mut String) -> std::fmt::Result {
        let Figures { requests, failed, failures, counted_apart, latency_ms, .. } = &self.load;
        let Spread { n, median, max } = &self.write_to_adopted_ms;
        let apart = counted_apart.answered + counted_apart.failed;
        writeln!(
            text,
            "\nrequests        {requests}, {failed} failed, no retries; {apart} more met the killed service"
        )?;
        writeln!(
            text,
            "latency, ms     p50 {:.1}, p99 {:.1}, max {:.0}, from the moment each was due",
            latency_ms.p50, latency_ms.p99, latency_ms.max
        )?;
        let Tokens { issued, verified, unverifiable, .. } = &self.tokens;
        writeln!(
            text,
            "tokens          {issued} issued, {verified} verifications in the other region, {unverifiable} unverifiable"
        )?;
        writeln!(text, "write→adopted   median {median:.0} ms, max {max:.0} ms, n = {n}")?;
        let held = self.checks.iter().filter(|check| check.held).count();
        writeln!(text, "checks          {held} of {} held", self.checks.len())?;
        for failure in failures {
            writeln!(text, "  failed: {failure}")?;
        }
        for why in &self.tokens.unverifiable_why {
            writeln!(text, "  unverifiable: {why}")?;
        }
        for check in self.checks.iter().filter(|check| !check.held) {
            writeln!(text, "  ✗ {}", check.what)?;
        }
        if let Some(error) = &self.error {
            writeln!(text, "  ended early: {error}")?;
        }
        writeln!(text, "\n{} in {:.1} s", if self.passed { "PASSED" } else { "FAILED" }, self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_a_median_of_even_and_odd_numbers() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        let none = Spread::of([]);
        assert_eq!((none.n, none.median, none.max), (0, 0.0, 0.0));
    }
}
