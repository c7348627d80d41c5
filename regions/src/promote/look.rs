//! The look at everything before anything is written: all that speaks against a promotion is told at once.

use std::io::Write as _;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::watch;

use super::args::{Args, How};
use super::prepare::{Chart, Common, Prepared, Refusal, prepare};
use super::report::{Ending, RegionState, Report, chain, describe, left_out};
use super::targets::Environment;
use super::{FIRST_CALLS, limits, needed};
use crate::cluster::{Cluster, access};
use crate::execute::{Orders, execute};
use crate::helm::Helm;
use crate::output::Progress;
use crate::plan::promotion::refusal::{self, Before, Credential};
use crate::plan::record::Provenance;
use crate::probe::door::Roots;
use crate::release;
use crate::signature;
use crate::vault::secrets::{Access, Vaults};

/// Looks at every region at once. Nothing when the promotion ends here; the report says why.
pub(super) async fn look(
    args: &Args,
    environment: &Environment,
    report: &mut Report,
    quiet: bool,
) -> Option<Vec<Prepared>> {
    let (chart, common) = match everything(args, environment, report).await {
        Ok(found) => found,
        Err(error) => {
            report.errors.push(error);
            return None;
        }
    };
    let general = general(args, environment, &chart, &common).await;
    let looked: Vec<Result<Prepared, Refusal>> = stream::iter(environment.targets())
        .map(|target| prepare(&common, &chart, target))
        .buffered(usize::from(args.how.parallel).max(8))
        .collect()
        .await;
    told(environment, report, looked, &general, quiet, || args.command(environment, true))
}

/// Says what was found in the regions, and gives it where nothing speaks against it.
pub(super) fn told(
    environment: &Environment,
    report: &mut Report,
    looked: Vec<Result<Prepared, Refusal>>,
    general: &[refusal::Refusal],
    quiet: bool,
    again: impl FnOnce() -> String,
) -> Option<Vec<Prepared>> {
    let mut prepared = Vec::new();
    let mut refusals = Vec::new();
    for (own, looked) in report.regions.iter_mut().zip(looked) {
        match looked {
            Ok(found) => {
                own.kubernetes = Some(found.kubernetes.clone());
                own.changes.clone_from(&found.plan.changes);
                own.skipped.clone_from(&found.skipped);
                own.state = if found.plan.writes() { RegionState::Planned } else { RegionState::NoChange };
                prepared.push(found);
            }
            Err(refusal) => {
                own.error = Some(chain(&refusal));
                refusals.push(refusal);
            }
        }
    }
    let now = Timestamp::now();
    let ending: Vec<refusal::Refusal> =
        prepared.iter().flat_map(|one| refusal::ending(&one.credentials, now, one.needed)).collect();
    // Where nothing is to be done, nothing speaks against it.
    let to_do = prepared.iter().any(|one| one.plan.writes() || one.is_open) || !refusals.is_empty();
    if to_do {
        report.errors.extend(general.iter().chain(&ending).map(ToString::to_string));
    }
    if !quiet {
        show(environment, report, &prepared);
    }
    if refusals.is_empty() && report.errors.is_empty() {
        return Some(prepared);
    }
    for own in &mut report.regions {
        own.state = RegionState::Untouched;
    }
    let configuration = !refusals.is_empty() && refusals.iter().all(Refusal::is_configuration);
    report.outcome = if configuration { Ending::Misconfigured } else { Ending::Refused };
    report.next = Some(again());
    None
}

/// The release and what every region shares; the release is in the report as soon as it is known.
async fn everything(
    args: &Args,
    environment: &Environment,
    report: &mut Report,
) -> Result<(Chart, Common), String> {
    let helm = Helm::find(args.helm.as_deref()).map_err(|error| chain(&error))?;
    let reference = args.release.as_deref().unwrap_or_default();
    let packaged = release::resolve(reference, &helm).await.map_err(|error| {
        if error.is_refusal() {
            report.outcome = Ending::Refused;
        }
        chain(&error)
    })?;
    report.release = Some(packaged.release.clone());
    signature::verify(&packaged.release, &environment.signers).await.map_err(|error| {
        report.outcome = Ending::Refused;
        chain(&error)
    })?;
    let overridden = [("freeze overridden", &args.override_freeze), ("unproven", &args.unproven)];
    let overridden =
        overridden.into_iter().filter_map(|(what, why)| Some(format!("{what}: {}", why.as_ref()?)));
    let why = args.why.clone().into_iter().chain(overridden).collect::<Vec<_>>().join("; ");
    let why = Some(why).filter(|why| !why.is_empty());
    let common = common(environment, &args.how, &args.vaults, why, args.build.clone())?;
    Ok((Chart { packaged, helm }, common))
}

/// What every region shares, whatever it is to run.
pub(super) fn common(
    environment: &Environment,
    how: &How,
    vaults: &Vaults,
    why: Option<String>,
    build: Option<String>,
) -> Result<Common, String> {
    let kubeconfig = access::kubeconfig(how.clusters.kubeconfig.as_deref()).map_err(|error| chain(&error))?;
    let vault = vaults.access(&how.clusters).map_err(|error| chain(&error))?;
    let roots = match &how.public_ca {
        Some(file) => Roots::read(file)?,
        None => Roots::System,
    };
    let provenance = Provenance { who: String::new(), why, build };
    let (issuer, domain) = (environment.issuer(), environment.domain.clone());
    let needed = needed(environment, how);
    Ok(Common { kubeconfig, vault, roots, issuer, domain, provenance, needed })
}

/// What speaks against it in no single region.
async fn general(
    args: &Args,
    environment: &Environment,
    chart: &Chart,
    common: &Common,
) -> Vec<refusal::Refusal> {
    let now = Timestamp::now();
    let mut refusals = Vec::new();
    if args.override_freeze.is_none() {
        refusals.extend(refusal::frozen(&environment.name, &environment.freezes, now));
    }
    if let Some(ends) = common.vault.as_ref().and_then(Access::ends) {
        let what = "the JWT of --vault-jwt-file".to_owned();
        let credential = Credential { region: "every region".into(), what, ends };
        // Vault is asked before the first wave only.
        refusals.extend(refusal::ending(&[credential], now, jiff::SignedDuration::ZERO));
    }
    if let Some(before) = environment.before.as_ref().filter(|_| args.unproven.is_none()) {
        let asked = before.regions.iter().map(async |(region, context)| {
            let records = async {
                let cluster =
                    Cluster::connect(region, context, common.kubeconfig.clone(), FIRST_CALLS).await?;
                cluster.records().await
            };
            let records = records.await.map_err(|error| error.to_string());
            let records = records.map(|all| all.into_iter().map(|stored| stored.record).collect());
            Before { region: region.clone(), records }
        });
        let asked = futures_util::future::join_all(asked).await;
        let (digest, release) = (&chart.packaged.release.digest, args.release.as_deref().unwrap_or_default());
        refusals.extend(refusal::unproven(&before.name, &asked, digest, release));
    }
    refusals
}

/// Prints the plan of every region that could be looked at.
fn show(environment: &Environment, report: &Report, prepared: &[Prepared]) {
    let mut out = std::io::stdout().lock();
    if let Some(release) = &report.release {
        let _ = writeln!(out, "release {} {}  {}", release.chart, release.version, release.digest);
    }
    let gates = &environment.gates;
    let (time, samples) = (gates.time.as_secs(), gates.samples);
    for wave in &environment.waves {
        let bakes = if report.is_back {
            String::new()
        } else {
            format!(", bakes for {time} s and {samples} answers")
        };
        let _ = writeln!(out, "{} wave {}{bakes}", environment.name, wave.name);
        for target in &wave.targets {
            let found = prepared.iter().find(|prepared| prepared.plan.region == target.region);
            let Some(found) = found else {
                let _ = writeln!(out, "  {}  cannot be promoted to, see below", target.region);
                continue;
            };
            let _ = write!(out, "{}", describe(&target.region, &found.kubernetes, &found.plan));
            if !found.is_fenced && found.plan.writes() {
                let _ = writeln!(out, "    its fence does not hold before this release brings its policy");
            }
        }
    }
    if prepared.iter().any(|one| one.plan.writes() || one.is_open) {
        let _ = write!(out, "{}", left_out(&report.regions));
    }
}

/// Waits until every region that runs the release already is ready; why one is not.
pub(super) async fn all_ready(prepared: &[Prepared], how: &How) -> Option<String> {
    let progress = Progress::new();
    let waits = prepared.iter().map(async |one| {
        let (stop, halt) = (watch::Sender::new(false), watch::Sender::new(false));
        let orders = Orders { stop: stop.subscribe(), halt: halt.subscribe() };
        let line = progress.region(&one.plan.region);
        let outcome = execute(&one.live, &one.plan, &one.work.contents, limits(how), orders, &line).await;
        outcome.result.err().map(|failure| format!("{}: {}", one.plan.region, chain(&failure)))
    });
    let failed: Vec<String> = futures_util::future::join_all(waits).await.into_iter().flatten().collect();
    (!failed.is_empty()).then(|| failed.join("\n"))
}
