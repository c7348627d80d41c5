//! Two regions of one environment, and what a test asks them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use local_region::kubernetes::{Kubeconfig, KubernetesApi, Write};
use local_region::pki::Ca;
use local_region::wait::wait_until;
use serde_json::Value;
use tempfile::TempDir;

use crate::charts::{self, Release};
use crate::front::{Front, LIMIT};
use crate::nodes::Nodes;
use crate::run::{self, Ran};

/// The environment of the local catalogue that has two regions in two waves.
pub(crate) const ENVIRONMENT: &str = "production";

/// No condition takes longer to come about, or it will not.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// In place of an argument of [`World::traffic`]: without `--yes`.
pub(crate) const UNASKED: &str = "unasked";

/// Wave one.
pub(crate) const EU: &str = "meridian-production-eu";

/// Wave two.
pub(crate) const US: &str = "meridian-production-us";

/// Two regions.
pub(crate) struct World {
    pub(crate) eu: Arc<KubernetesApi>,
    pub(crate) us: Arc<KubernetesApi>,
    pub(crate) folder: TempDir,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) catalogue: PathBuf,
    pub(crate) nodes: Nodes,
    pub(crate) fronts: [Front; 2],
    pub(crate) public: PathBuf,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with_certificates_for(90).await
    }

    /// One whose regions show clients certificates that hold for so many days.
    pub(crate) async fn with_certificates_for(days: i64) -> Self {
        let (eu, us) =
            tokio::try_join!(KubernetesApi::named("eu").start(), KubernetesApi::named("us").start()).unwrap();
        let (eu, us) = (Arc::new(eu), Arc::new(us));
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        Kubeconfig::new().context(EU, &eu).context(US, &us).write(&kubeconfig).unwrap();
        let nodes = Nodes::of(&[&eu, &us]);
        let ca = Ca::new("public").unwrap();
        let public = ca.write(folder.path().join("public.pem")).unwrap();
        let fronts = [Front::start(&eu, "eu", &ca, days).await, Front::start(&us, "us", &ca, days).await];
        let mut world = Self { eu, us, folder, kubeconfig, catalogue: catalogue(), nodes, fronts, public };
        world.own_catalogue();
        world
    }

    /// The environment alone, with a short bake and the tests' own watchers.
    fn own_catalogue(&mut self) {
        // Beside the schemas that its files name, as in the repository.
        let own = self.folder.path().join("local/catalogue");
        charts::copy(&self.catalogue.join(ENVIRONMENT), &own.join(ENVIRONMENT));
        charts::copy(
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schema")),
            &self.folder.path().join("regions/schema"),
        );
        self.catalogue = own;
        self.edit("_environment.yaml", "bake: { time: 5s, samples: 100 }", "bake: { time: 1s, samples: 4 }");
        self.edit("_environment.yaml", "latency_p99: 250ms", &format!("latency_p99: {LIMIT}ms"));
        for (region, front) in ["eu", "us"].into_iter().zip(&self.fronts) {
            let file = self.catalogue.join(ENVIRONMENT).join(format!("{region}.yaml"));
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, format!("{text}watcher: {{ address: '{}' }}\n", front.watcher())).unwrap();
        }
    }

    /// Changes a file of the environment.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let file = self.catalogue.join(ENVIRONMENT).join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(file, text.replace(from, to)).unwrap();
    }

    pub(crate) fn eu_front(&self) -> &Front {
        &self.fronts[0]
    }

    pub(crate) fn us_front(&self) -> &Front {
        &self.fronts[1]
    }

    /// Puts both regions into one wave.
    pub(crate) fn in_one_wave(&self) {
        self.edit("_environment.yaml", "waves: [first, second]", "waves: [first]");
        self.edit("us.yaml", "wave: second", "wave: first");
    }

    /// A packaged release.
    pub(crate) async fn release(&self, release: &Release) -> String {
        let ports = serde_json::json!({"eu": self.eu_front().port(), "us": self.us_front().port()});
        let release = release.clone().with("ports", ports);
        release.package(self.folder.path()).await.to_str().unwrap().to_owned()
    }

    /// A run of `regions promote --yes` with further arguments, to its end.
    pub(crate) async fn promote(&self, release: &str, further: &[&str]) -> Ran {
        let started = Instant::now();
        let arguments: Vec<&str> = ["--yes"].iter().chain(further).copied().collect();
        run::end(self.promotion(release, &arguments).spawn().unwrap(), started).await
    }

    /// `regions promote` with further arguments, not yet begun.
    pub(crate) fn promotion(&self, release: &str, further: &[&str]) -> tokio::process::Command {
        let helm = local_region::tools::helm().unwrap();
        let mut arguments = vec!["promote", "--env", ENVIRONMENT, "--release", release];
        arguments.extend(["--helm", helm.to_str().unwrap(), "--public-ca", self.public.to_str().unwrap()]);
        arguments.extend(["--lease", "4s"]);
        arguments.extend(further);
        run::command(&self.catalogue, &self.kubeconfig, &arguments)
    }

    /// A run of another verb to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        let started = Instant::now();
        run::end(run::command(&self.catalogue, &self.kubeconfig, arguments).spawn().unwrap(), started).await
    }

    /// `regions rollback --yes`, with further arguments, to its end.
    pub(crate) async fn back(&self, further: &[&str]) -> Ran {
        let public = self.public.to_str().unwrap();
        let mut arguments =
            vec!["rollback", "--env", ENVIRONMENT, "--yes", "--lease", "2s", "--public-ca", public];
        arguments.extend(further);
        self.run(&arguments).await
    }

    /// `regions drain` or `restore --yes` of a region, not yet begun.
    pub(crate) fn traffic(&self, verb: &str, region: &str, further: &[&str]) -> tokio::process::Command {
        let named = format!("{ENVIRONMENT}/{region}");
        let mut arguments = vec![verb, &named, "--window", "1s"];
        for [option, value] in [["--timeout", "60s"], ["--lease", "2s"]] {
            if !further.contains(&option) {
                arguments.extend([option, value]);
            }
        }
        if !further.contains(&UNASKED) {
            arguments.push("--yes");
        }
        let further: Vec<&str> = further.iter().filter(|one| **one != UNASKED).copied().collect();
        arguments.extend(["--public-ca", self.public.to_str().unwrap()]);
        arguments.extend(further);
        run::command(&self.catalogue, &self.kubeconfig, &arguments)
    }

    /// Takes away every pod of a region that clients reach.
    pub(crate) async fn without_pods(&self, api: &KubernetesApi) {
        patch(api, "deployments", "service", "somebody", serde_json::json!({"spec": {"replicas": 0}})).await;
        wait_until("no ready pod", SOON, async || {
            let deployment = get(api, "deployments", "service").await?;
            deployment["status"].get("readyReplicas").is_none().then_some(())
        })
        .await
        .unwrap();
    }

    /// Waits until all of a release is applied in wave one, and only its pods are still to come.
    pub(crate) async fn all_applied_in_wave_one(&self) {
        let last = || async { get(&self.eu, "horizontalpodautoscalers", "service").await };
        wait_until("the last object of the release", SOON, last).await.unwrap();
    }

    /// Takes all that releases made out of wave one: the namespace with what is in it, and the fence, which is in none.
    pub(crate) async fn without_release(&self) {
        const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
        let namespace = "/api/v1/namespaces/meridian".to_owned();
        let fence = ["validatingadmissionpolicybindings", "validatingadmissionpolicies"]
            .map(|kind| format!("{ADMISSION}/{kind}/fence.meridian.meridian.internal"));
        for path in fence.iter().chain([&namespace]) {
            // A killed run may not have come so far; what matters is that it is gone.
            let _ = self.eu.call(Method::DELETE, path, None).await;
            let gone = async || {
                let looked = self.eu.access().send(Method::GET, path, None).await;
                looked.is_ok_and(|answer| answer.status == 404)
            };
            wait_until("what the release made to be gone", SOON, gone).await.unwrap();
        }
    }

    /// Waits until the pods of wave one are available.
    pub(crate) async fn eu_pods_ready(&self) {
        wait_until("two available pods", SOON, async || {
            let deployment = get(&self.eu, "deployments", "service").await?;
            (deployment["status"]["availableReplicas"] == 2).then_some(())
        })
        .await
        .unwrap();
    }

    /// A run of `regions status` to its end.
    pub(crate) async fn status(&self, further: &[&str]) -> Ran {
        let started = Instant::now();
        let arguments: Vec<&str> = ["status", "--env", ENVIRONMENT].iter().chain(further).copied().collect();
        run::end(run::command(&self.catalogue, &self.kubeconfig, &arguments).spawn().unwrap(), started).await
    }
}

/// The catalogue of this machine's regions.
fn catalogue() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../local/catalogue"))
}

/// A kind's path in the namespace, such as `configmaps` or `deployments`.
fn path(plural: &str) -> String {
    let group = match plural {
        "deployments" | "replicasets" => "apis/apps/v1",
        "horizontalpodautoscalers" => "apis/autoscaling/v2",
        _ => "api/v1",
    };
    format!("/{group}/namespaces/meridian/{plural}")
}

/// An object of the namespace, or nothing when it is not there.
pub(crate) async fn get(api: &KubernetesApi, plural: &str, name: &str) -> Option<Value> {
    api.call(Method::GET, &format!("{}/{name}", path(plural)), None).await.ok()
}

/// Merges a patch into an object, under a name of field manager.
pub(crate) async fn patch(api: &KubernetesApi, plural: &str, name: &str, manager: &str, patch: Value) {
    let path = format!("{}/{name}?fieldManager={manager}", path(plural));
    api.call(Method::PATCH, &path, Some(patch)).await.unwrap();
}

/// The release records of a region, oldest first.
pub(crate) async fn records(api: &KubernetesApi) -> Vec<Value> {
    let list = api.call(Method::GET, &path("configmaps"), None).await.unwrap();
    let maps = list["items"].as_array().unwrap();
    let records = maps.iter().filter_map(|map| map["data"]["record.json"].as_str());
    records.map(|record| serde_json::from_str(record).unwrap()).collect()
}

/// What the releases made of a region: each object without what the API server and controllers add.
pub(crate) async fn contents(api: &KubernetesApi) -> Vec<Value> {
    let mut contents = Vec::new();
    for plural in ["serviceaccounts", "configmaps", "deployments", "services", "horizontalpodautoscalers"] {
        let list = api.call(Method::GET, &path(plural), None).await.unwrap();
        for object in list["items"].as_array().unwrap() {
            let metadata = &object["metadata"];
            let record = metadata["labels"]["meridian.internal/record"] == "release";
            if metadata["labels"]["meridian.internal/owner"] == "regions" && !record {
                contents.push(serde_json::json!({
                    "kind": plural, "name": metadata["name"], "labels": metadata["labels"],
                    "data": object["data"], "template": object["spec"]["template"],
                }));
            }
        }
    }
    contents
}

/// The versions of all that releases made, records included. No write, no change.
pub(crate) async fn versions(api: &KubernetesApi) -> Vec<(String, String)> {
    let mut versions = Vec::new();
    for plural in ["serviceaccounts", "configmaps", "deployments", "services", "horizontalpodautoscalers"] {
        let list = api.call(Method::GET, &path(plural), None).await.unwrap();
        for object in list["items"].as_array().unwrap() {
            let text = |key: &str| object["metadata"][key].as_str().unwrap().to_owned();
            // Controllers write the status of some, so the specification stands for their version.
            let version = match plural {
                "deployments" | "services" | "horizontalpodautoscalers" => object["spec"].to_string(),
                _ => text("resourceVersion"),
            };
            versions.push((format!("{plural}/{}", text("name")), version));
        }
    }
    versions
}

/// Every write of runs that arrived and was taken, in the audit log after so many others: `VERB RESOURCE/NAME`, without the
/// number of a record, and without Leases, which are renewed all the time.
pub(crate) fn audited(api: &KubernetesApi, after: usize) -> std::collections::BTreeSet<String> {
    let own = |write: &Write| {
        write.user == "admin"
            && !write.dry_run
            && write.code < 300
            && !write.resource.contains('/')
            && write.resource != "selfsubjectreviews"
            && write.resource != "leases"
    };
    let named = |write: Write| match write.verb.as_str() {
        // The name is in no request's path.
        "create" => format!("create {}", write.resource),
        verb => format!("{verb} {}/{}", write.resource, unnumbered(&write.name)),
    };
    api.writes().unwrap().into_iter().skip(after).filter(own).map(named).collect()
}

/// The name of an object; of a record, whichever.
pub(crate) fn unnumbered(name: &str) -> &str {
    if name.starts_with("release-") { "release" } else { name }
}

/// The writes of a run: what the administrator wrote in the namespace that was no dry run and no test's own.
pub(crate) fn writes(api: &KubernetesApi) -> Vec<Write> {
    let own = |write: &Write| {
        write.user == "admin"
            && !write.dry_run
            && !write.resource.contains("/status")
            && write.resource != "selfsubjectreviews"
            && [
                "configmaps",
                "deployments",
                "services",
                "serviceaccounts",
                "horizontalpodautoscalers",
                "namespaces",
            ]
            .contains(&write.resource.as_str())
    };
    api.writes().unwrap().into_iter().filter(own).collect()
}
