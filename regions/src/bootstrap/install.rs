//! Vault is installed in the region's cluster, where it runs there.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep};

use super::{Failure, Work};
use crate::cluster::error::ClusterError;
use crate::cluster::{Applied, Cluster};
use crate::helm::{Helm, Naming, Values};
use crate::plan::manifest;
use crate::plan::object::{Object, ObjectRef};
use crate::plan::readiness::{Judge, Patience};
use crate::plan::vault::chart;
use crate::release::{self, Packaged};
use crate::vault::client::{Authorities, Vault};
use crate::vault::reach::Place;
use crate::vault::seal::SealStatus;

/// How long its pods may take until they run, and then until they answer.
const RUNNING: Duration = Duration::from_secs(300);
const ANSWERING: Duration = Duration::from_secs(60);

/// How long states of pods are borne that may pass by themselves.
const PATIENCE: Patience =
    Patience { unschedulable: Duration::from_secs(180), doubtful: Duration::from_secs(30) };

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// How Vault is installed.
#[derive(Debug, Clone, clap::Args)]
pub struct Install {
    /// Install Vault in the region's cluster from this packaged chart (CHART.tgz, or
    /// oci://REPOSITORY@sha256:DIGEST): HashiCorp's own, version 0.32.0
    #[arg(long, value_name = "CHART")]
    pub vault_chart: Option<String>,
    /// File with values that come after those from the catalogue
    #[arg(long, value_name = "FILE", requires = "vault_chart")]
    pub vault_values: Option<PathBuf>,
    /// The Helm program [default: `helm` from PATH]
    #[arg(long, value_name = "FILE", requires = "vault_chart")]
    pub helm: Option<PathBuf>,
}

/// Vault's servers, which have just been installed.
pub(super) struct Installed {
    cluster: Cluster,
    set: ObjectRef,
}

/// What is installed, and where.
struct Installation {
    cluster: Cluster,
    objects: Vec<Object>,
    what: String,
}

impl Work<'_> {
    /// Installs Vault where that was asked for, and waits until its servers run. With `--dry-run` it is only said
    /// what would be done. Gives what is to be waited for.
    pub(super) async fn install(&mut self) -> Result<Option<Installed>, Failure> {
        let Some(reference) = self.args.install.vault_chart.clone() else { return Ok(None) };
        self.line.say("render Vault's chart");
        let installation = self.rendered(&reference).await?;
        let (namespace, name) = chart::service(self.region);
        let there = installation.cluster.has_namespace(namespace).await.map_err(|error| refused(&error))?;
        if self.args.dry_run {
            let (count, what) = (installation.objects.len(), &installation.what);
            self.report.foreseen.push(format!("apply {count} objects of {what} in namespace {namespace}"));
            return Ok(None);
        }
        if !there {
            self.wrote = true;
            let created = installation.cluster.create_namespace(namespace).await;
            created.map_err(|error| refused(&error))?;
        }
        let all = installation.objects.len();
        for (number, object) in (1..).zip(&installation.objects) {
            self.check_stop()?;
            self.line.say(&format!("install {number}/{all}  {}", object.id));
            self.put(&installation.cluster, object).await?;
        }
        let set = ObjectRef {
            api_version: "apps/v1".into(),
            kind: "StatefulSet".into(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        };
        let installed = Installed { cluster: installation.cluster, set };
        self.running(&installed).await?;
        Ok(Some(installed))
    }

    async fn rendered(&self, reference: &str) -> Result<Installation, Failure> {
        let name = &self.region.name;
        if !self.region.vault.value.in_cluster {
            return Err(Failure::Usage(format!(
                "{name}: its Vault does not run in its cluster (vault.in_cluster: false); leave --vault-chart out"
            )));
        }
        let usage = |error: &dyn std::error::Error| Failure::Usage(chained(error));
        let helm = Helm::find(self.args.install.helm.as_deref()).map_err(|error| usage(&error))?;
        let packaged = release::resolve(reference, &helm).await.map_err(|error| usage(&error))?;
        let Packaged { release, file, .. } = &packaged;
        if !chart::is_chart(&release.chart, &release.version) {
            return Err(Failure::Usage(format!(
                "{reference} is {} {}, and the catalogue's values are for {} {}: helm pull {1} --version {3} \
                 --repo https://helm.releases.hashicorp.com",
                release.chart,
                release.version,
                chart::CHART,
                chart::VERSION
            )));
        }
        let (namespace, service) = chart::service(self.region);
        let values = serde_json::to_string_pretty(&chart::values(self.environment, self.region));
        let mut files = vec![("catalogue.json".to_owned(), values.unwrap_or_default())];
        if let Some(own) = &self.args.install.vault_values {
            let text = std::fs::read_to_string(own);
            let text = text.map_err(|error| Failure::Usage(format!("{}: {error}", own.display())))?;
            files.push((own.display().to_string(), text));
        }
        let values = Values { files, set: std::collections::BTreeMap::new() };
        let cluster = self.args.clusters.cluster(Place::of(self.region)).await;
        let cluster = cluster.map_err(|source| self.failed(source))?;
        let kubernetes = cluster.version().await.map_err(|error| refused(&error))?;
        let naming = Naming { release: service, namespace };
        let rendering = helm.template(file, naming, &values, &kubernetes).await;
        let rendering =
            rendering.map_err(|error| Failure::Refused(format!("{name}: {}", chained(&error))))?;
        let mut objects = manifest::parse(&rendering)
            .map_err(|error| Failure::Refused(format!("{name}: {}", chained(&error))))?;
        for object in &mut objects {
            object.mark(&release.digest);
            cluster.place(object, namespace).await.map_err(|error| refused(&error))?;
        }
        let what = format!("{} {} ({})", release.chart, release.version, release.digest);
        Ok(Installation { cluster, objects, what })
    }

    /// Applies one object; nothing that others own is forced.
    async fn put(&mut self, cluster: &Cluster, object: &Object) -> Result<(), Failure> {
        let version = |value: &serde_json::Value| value["metadata"]["resourceVersion"].clone();
        let live = cluster.get(&object.id).await.map_err(|error| refused(&error))?;
        let applied = cluster.apply(object, live.as_ref(), false).await.map_err(|error| refused(&error))?;
        match applied {
            Applied::Done(now) => {
                self.wrote |= live.is_none_or(|live| version(&live) != version(&now));
                Ok(())
            }
            Applied::Conflicts(conflicts) => {
                let lines: Vec<String> = conflicts.iter().map(|conflict| format!("\n  {conflict}")).collect();
                Err(Failure::Refused(format!(
                    "{}: others own fields that Vault's chart sets; nothing is forced:{}",
                    self.region.name,
                    lines.concat()
                )))
            }
        }
    }

    /// Waits until every server runs. None of them is ready before it is initialised.
    async fn running(&self, Installed { cluster, set }: &Installed) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut judge = Judge::new(PATIENCE, 0);
        loop {
            self.check_stop()?;
            let (found, pods) = cluster.members(set).await.map_err(|error| refused(&error))?;
            let wanted = found.spec.and_then(|spec| spec.replicas).unwrap_or(1);
            let running = pods.iter().filter(|pod| runs(pod)).count();
            if i32::try_from(running).is_ok_and(|running| running >= wanted) {
                return Ok(());
            }
            self.line.say(&format!("{running} of {wanted} servers run"));
            let problems = judge.pods(&pods, begun.elapsed());
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let late = begun.elapsed() >= RUNNING;
            if late || !problems.is_empty() {
                let why =
                    if late { format!("not within {} s", RUNNING.as_secs()) } else { problems.join("; ") };
                return Err(Failure::Incomplete(format!(
                    "{}: {running} of {wanted} servers of {set} run: {why}. They need the Secret {}/{} with ca.crt, \
                     tls.crt and tls.key, for {}",
                    self.region.name,
                    set.namespace.as_deref().unwrap_or_default(),
                    chart::tls_secret(self.region),
                    chart::tls_names(self.region).join(" and ")
                )));
            }
            sleep(LOOK).await;
        }
    }

    /// The new region's Vault and how far it is. One that has just been installed may need a moment.
    pub(super) async fn reach(
        &self,
        authorities: &Authorities,
        installed: Option<&Installed>,
    ) -> Result<(Vault, SealStatus), Failure> {
        let begun = Instant::now();
        let mut judge = Judge::new(PATIENCE, 0);
        loop {
            let answer = match self.vault(authorities).await {
                Ok(vault) => match vault.seal_status().await {
                    Ok(status) => return Ok((vault, status)),
                    Err(source) => self.failed(source),
                },
                Err(failure) => failure,
            };
            let Some(installed) = installed else { return Err(self.without_vault(answer)) };
            // A server that ends again and again may still run whenever it is looked at.
            let problems = self.problems(installed, &mut judge, begun.elapsed()).await;
            if !problems.is_empty() {
                return Err(Failure::Incomplete(format!(
                    "{answer}; its servers do not stay up: {problems}; see kubectl --context {} logs --previous \
                     --namespace {} {}-0",
                    self.region.context.value,
                    installed.set.namespace.as_deref().unwrap_or_default(),
                    installed.set.name
                )));
            }
            if begun.elapsed() >= ANSWERING {
                return Err(self.without_vault(answer));
            }
            self.check_stop()?;
            self.line.say(&format!("wait for Vault to answer: {answer}"));
            sleep(LOOK).await;
        }
    }

    /// What keeps its servers from running, in words; nothing where that cannot be told.
    async fn problems(&self, installed: &Installed, judge: &mut Judge, since: Duration) -> String {
        let Ok((_, pods)) = installed.cluster.members(&installed.set).await else { return String::new() };
        let problems = judge.pods(&pods, since);
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Where a Vault that should run in a cluster does not answer, it may never have been installed.
    fn without_vault(&self, failure: Failure) -> Failure {
        if !self.region.vault.value.in_cluster || self.args.install.vault_chart.is_some() {
            return failure;
        }
        Failure::Refused(format!(
            "{failure}; where its cluster has no Vault yet, have it installed (--vault-chart {}-{}.tgz)",
            chart::CHART,
            chart::VERSION
        ))
    }
}

/// Whether a pod's containers run.
fn runs(pod: &Pod) -> bool {
    let living = pod.metadata.deletion_timestamp.is_none();
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut states = containers.map(|container| container.state.as_ref());
    living
        && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
        && states.all(|state| state.is_some_and(|state| state.running.is_some()))
}

fn refused(error: &ClusterError) -> Failure {
    Failure::Refused(error.to_string())
}

/// An error with its causes in one line.
fn chained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
