//! The end of the demo: what was seen, put together, and what can be tried while everything is left running.

use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use local_region::documents::CLIENT;
use local_region::pki;
use secrecy::ExposeSecret;

use super::catalogue::ENVIRONMENT;
use super::observer::{self, Change};
use super::report::{self, PodSummary, Spread, Summary, Tokens};
use super::stage::{Check, Stage};
use super::{checks, story};
use local_region::load::Figures;

/// Looks at what the load saw, and puts everything together.
pub(crate) async fn summarise(
    stage: &Stage<'_>,
    started: Timestamp,
    rate: u32,
    error: Option<anyhow::Error>,
) -> Summary {
    if let Some(error) = &error {
        stage.timeline.alarm(&format!("ended early: {error:#}"));
    }
    let figures = Figures::of(&stage.load);
    let tokens = Tokens::of(&stage.load);
    let changes = stage.observer.changes();
    let adopted = Spread::of(changes.iter().map(|change| change.write_to_adopted_ms));
    if error.is_none() {
        tokens_changed_in_time(stage, &changes);
        let enough = figures.requests >= report::ENOUGH_REQUESTS;
        stage.check(enough, format!("{} requests, at least {}", figures.requests, report::ENOUGH_REQUESTS));
        stage.check(figures.failed == 0, format!("{} requests failed", figures.failed));
        stage.check(tokens.unverifiable == 0, format!("{} tokens unverifiable", tokens.unverifiable));
        let quick = adopted.median <= report::MEDIAN_ADOPTED_MS;
        stage.check(
            quick,
            format!(
                "from a write to its use: median {:.0} ms, at most {:.0}",
                adopted.median,
                report::MEDIAN_ADOPTED_MS
            ),
        );
    }
    let mut pods = Vec::new();
    for pod in stage.pods() {
        let status = observer::status(pod).await.ok();
        let target = stage.load.targets.iter().find(|target| target.name == pod.name);
        let load = target.map(|target| target.tally.figures());
        pods.push(PodSummary::new(pod, status.as_ref(), load, &changes));
    }
    let checks: Vec<Check> = stage.checks.borrow().clone();
    Summary {
        passed: error.is_none() && checks.iter().all(|check| check.held),
        error: error.map(|error| format!("{error:#}")),
        started,
        seconds: stage.timeline.elapsed().as_secs_f64(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        rate_per_second: rate,
        load: figures,
        tokens,
        write_to_adopted_ms: adopted,
        pods,
        rotations: stage.rotations.borrow().clone(),
        changes,
        checks,
    }
}

/// Says what can be tried while everything is left running.
pub(crate) fn explain_how_to_try(stage: &Stage<'_>, folder: &Path, ca_pem: &str) -> Result<()> {
    let ca = pki::write_private(&folder.join("ca.pem"), ca_pem.as_bytes())?;
    let secret = stage.load.secret();
    let curl = format!("user = \"{CLIENT}:{}\"\n", secret.expose_secret());
    let credentials = pki::write_private(&folder.join("probe.curlrc"), curl.as_bytes())?;
    let (ca, credentials) = (ca.display(), credentials.display());
    eprintln!("\nLeft running until Ctrl-C. To try:");
    for pod in stage.pods() {
        let (service, agent) = (pod.public.target().url(), pod.agent.target().url());
        eprintln!("\n  # {} in {}", pod.name, pod.region);
        eprintln!("  curl --cacert {ca} {service}/v1/region");
        eprintln!(
            "  curl --cacert {ca} --config {credentials} -d grant_type=client_credentials {service}/oauth2/token"
        );
        eprintln!("  curl --cacert {ca} {service}/.well-known/jwks.json");
        eprintln!("  curl {agent}/v1/status");
        eprintln!("  curl --unix-socket {} http://agent/v1/secrets", pod.socket_path().display());
    }
    let mut words = format!("--env {ENVIRONMENT} --vault-ca {}", stage.catalogue.authorities().display());
    for region in &stage.regions {
        let token = stage.catalogue.token(&region.name, region.rotator().token())?;
        words.push_str(&format!(" --vault-token {}={}", region.name, token.display()));
        eprintln!(
            "\n  # what the watcher of {} sees\n  curl {}/v1/region",
            region.name,
            region.watcher.url()
        );
    }
    let regions = stage.catalogue.words();
    eprintln!("\n  # the signing key once more; another secret, or what would be done: --help");
    eprintln!("  {regions} rotate signing-keys --again {words}");
    Ok(())
}

/// Tokens on both sides of the change of configuration and of the change of key.
fn tokens_changed_in_time(stage: &Stage<'_>, changes: &[Change]) {
    let issues = stage.load.issues();
    let pods: Vec<&str> = stage.load.targets.iter().map(|target| target.name.as_str()).collect();
    let changes = |document, phase| -> Vec<&Change> {
        let of = |change: &&Change| change.document == document && change.phase == phase;
        changes.iter().filter(of).collect()
    };
    let (before, after) = story::LIVES;
    let config = changes("config", "write");
    let lives =
        checks::sides(&issues, &pods, &config, |issue| issue.life == before, |issue| issue.life == after);
    let keys = changes("signing-keys", story::ACTIVATE);
    let old = issues.first().map(|issue| issue.kid.clone()).unwrap_or_default();
    let kids = checks::sides(&issues, &pods, &keys, |issue| issue.kid == old, |issue| issue.kid != old);
    for (seen, what) in [(lives, "the former life"), (kids, "the old key")] {
        stage.check(
            seen.wrong == 0 && seen.unseen == 0,
            format!(
                "{} tokens from before the change came to their pod have {what}, {} from after its acknowledgement the new; {} are wrong",
                seen.before, seen.after, seen.wrong
            ),
        );
    }
}
