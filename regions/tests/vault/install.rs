//! Vault is installed in a region's cluster: a real API server with its controllers, and in the place of a
//! kubelet and what it runs, the tests' word and a Vault beside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use local_region::http::Target;
use local_region::kubernetes::{Kubeconfig, KubernetesApi};
use local_region::pki::Ca;
use local_region::proxy::{AnswerProxy, Rule};
use local_region::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::run::{self, Ran};
use crate::terminal::{Terminal, shares};
use crate::third::{Third, bundle};

const PODS: &str = "/api/v1/namespaces/vault/pods";

/// A third region with a cluster that nothing runs in yet.
struct World {
    third: Third,
    cluster: Arc<KubernetesApi>,
    kubeconfig: PathBuf,
    chart: PathBuf,
    _proxy: AnswerProxy,
}

impl World {
    async fn start() -> Self {
        let (third, cluster) = tokio::join!(Third::start(), KubernetesApi::named("ap").start());
        let cluster = Arc::new(cluster.unwrap());
        let folder = third.world.folder.path().to_owned();
        let kubeconfig = folder.join("kubeconfig");
        Kubeconfig::new().context("meridian-production-ap", &cluster).write(&kubeconfig).unwrap();
        let chart = package(Path::new(CHART), "0.32.0+local", &folder).await;
        let proxy = in_cluster(&third).await;
        Self { third, cluster, kubeconfig, chart, _proxy: proxy }
    }

    /// What a bootstrap is told of the cluster.
    fn arguments(&self) -> Vec<String> {
        let helm = local_region::tools::helm().unwrap();
        [("--kubeconfig", &self.kubeconfig), ("--vault-chart", &self.chart), ("--helm", &helm)]
            .map(|(name, file)| [name.to_owned(), file.display().to_string()])
            .concat()
    }

    async fn unattended(&self, further: &[&str]) -> Ran {
        let own = self.arguments();
        self.third.unattended(&[own.iter().map(String::as_str).collect(), further.to_vec()].concat()).await
    }

    async fn get(&self, path: &str) -> Option<Value> {
        self.cluster.call(Method::GET, path, None).await.ok()
    }

    /// Says of every pod of Vault that its container is in this state.
    async fn pods_are(&self, phase: &str, state: Value) {
        let pods = wait_until("Vault's pods", Duration::from_secs(30), async || {
            let pods = self.get(PODS).await.unwrap_or_default();
            let pods = pods["items"].as_array().cloned().unwrap_or_default();
            if pods.len() == 3 { Ok(pods) } else { Err(format!("{} pods", pods.len())) }
        });
        for pod in pods.await.unwrap() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let container = &pod["spec"]["containers"][0];
            let status = json!({"phase": phase, "containerStatuses": [{
                "name": "vault", "image": container["image"], "imageID": "", "ready": false, "restartCount": 0,
                "state": state,
            }]});
            let path = format!("{PODS}/{name}/status");
            self.cluster.call(Method::PATCH, &path, Some(json!({"status": status}))).await.unwrap();
        }
    }
}

pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../local/charts/vault");

/// Has the third region's Vault count as one in its cluster. It looks for a pod's own files when it is told where
/// the API server is; a proxy takes that call for it.
async fn in_cluster(third: &Third) -> AnswerProxy {
    let ca = Ca::new("proxy").unwrap();
    let authority = fs::read_to_string(third.ap.ca_file()).unwrap();
    let target = Target::localhost(third.ap.address(), &authority).unwrap();
    let proxy = AnswerProxy::start(&ca.issue(&["localhost", "127.0.0.1"]).unwrap(), target).await.unwrap();
    let config = |wanted: Method| {
        move |method: &Method, path: &str| *method == wanted && path == "/v1/auth/kubernetes/config"
    };
    proxy.add(Rule::when(config(Method::POST), 204));
    let answer = json!({"data": {
        "kubernetes_host": "https://kubernetes.default.svc", "kubernetes_ca_cert": "", "issuer": "",
        "disable_local_ca_jwt": false, "disable_iss_validation": true, "use_annotations_as_alias_metadata": false,
    }});
    proxy.add(Rule::when(config(Method::GET), 200).body(answer.to_string()));
    let bundle = bundle(&third.world);
    let authorities = fs::read_to_string(&bundle).unwrap() + &ca.pem();
    fs::write(&bundle, authorities).unwrap();
    let (direct, via) = (third.ap.url(), format!("https://localhost:{}", proxy.address().port()));
    third.world.edit("ap.yaml", |text| text.replace(&direct, &via).replace(", in_cluster: false", ""));
    proxy
}

pub(crate) async fn package(chart: &Path, version: &str, into: &Path) -> PathBuf {
    let helm = local_region::tools::helm().unwrap();
    let mut command = tokio::process::Command::new(helm);
    command.args(["package", "--version", version, "--destination"]).args([into, chart]);
    let output = command.env_clear().env("HOME", into).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    into.join(format!("vault-{version}.tgz"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_gets_a_vault_and_the_vault_gets_everything() {
    let world = World::start().await;
    let planned = world.unattended(&["--dry-run"]).await.expect(0);
    planned
        .says("would apply 9 objects of vault 0.32.0+local (sha256:")
        .says("in namespace vault")
        .says("would initialise it: 5 shares")
        .says("would copy from eu: service/clients, service/config");
    assert_eq!(world.get("/api/v1/namespaces/vault").await, None, "a dry run makes nothing");

    let own = world.arguments();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let mut terminal = Terminal::start(world.third.command(&own));
    world.pods_are("Running", json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})).await;
    terminal.shows("Press Enter", 1).await;
    terminal.types("");
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(0), "{screen}");
    world.third.shows_no_secret(&screen);
    let keys: Vec<SecretString> = shares(&screen).into_iter().map(SecretString::from).collect();
    let (ap, root) = world.third.root(&keys).await;
    world.third.is_seeded(&ap).await;

    let set = world.get("/apis/apps/v1/namespaces/vault/statefulsets/vault").await.unwrap();
    assert_eq!(set["spec"]["replicas"], 3);
    assert_eq!(set["metadata"]["labels"]["meridian.internal/owner"], "regions");
    let spec = &set["spec"]["template"]["spec"];
    let off_spot = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(off_spot["nodeSelectorTerms"][0]["matchExpressions"][0]["key"], "cloud.google.com/gke-spot");
    let config = world.get("/api/v1/namespaces/vault/configmaps/vault-config").await.unwrap();
    let config = config["data"]["extraconfig-from-values.hcl"].as_str().unwrap();
    for line in [
        "project    = \"local-production\"",
        "region     = \"local-ap1\"",
        "key_ring   = \"meridian-production-ap\"",
        "leader_api_addr         = \"https://vault-2.vault-internal:8200\"",
        "leader_tls_servername   = \"vault.vault.svc\"",
    ] {
        assert!(config.contains(line), "{line}\n{config}");
    }
    for name in ["vault", "vault-active", "vault-internal"] {
        assert!(world.get(&format!("/api/v1/namespaces/vault/services/{name}")).await.is_some(), "{name}");
    }
    let audit = fs::read_to_string(world.cluster.folder().join("audit.log")).unwrap();
    world.third.shows_no_secret(&audit);
    assert_eq!(world.get("/api/v1/namespaces/vault/secrets").await.unwrap()["items"], json!([]));

    let again = world.unattended(&["--vault-token", &root]).await.expect(0);
    again.says("no change");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_will_not_run_are_told_with_their_reason() {
    let world = World::start().await;
    let keys = ["--key-shares", "1"];
    let own = world.arguments();
    let arguments: Vec<&str> = own.iter().map(String::as_str).chain(keys).collect();
    let started = Instant::now();
    let mut child = world.third.command(&arguments).spawn().unwrap();
    let reason = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
    run::meanwhile(&mut child, world.pods_are("Pending", reason)).await;
    let ran = run::end(child, started).await.expect(4);
    ran.says("0 of 3 servers of StatefulSet vault/vault run: Pod vault-0, container vault: ImagePullBackOff")
        .says("They need the Secret vault/vault-tls with ca.crt, tls.crt and tls.key, for vault.vault.svc and *.vault-internal")
        .says("incomplete; run it again");
    assert!(!world.third.initialised().await);
}

/// Runs with the cluster behind a proxy, each killed at its so many-th write to the API server.
struct Killer {
    pid: Arc<AtomicI32>,
    left: Arc<AtomicUsize>,
    lost: Arc<AtomicBool>,
    fatal: Arc<Mutex<BTreeSet<(bool, String)>>>,
    _proxy: AnswerProxy,
}

impl Killer {
    async fn before(world: &World) -> Self {
        let (pid, left, lost, fatal) = Default::default();
        let certificate = world.cluster.ca().issue(&["localhost", "127.0.0.1"]).unwrap();
        let target = Target::localhost(world.cluster.address(), &world.cluster.ca().pem()).unwrap();
        let proxy = AnswerProxy::start(&certificate, target).await.unwrap();
        let killer = Self { pid, left, lost, fatal, _proxy: proxy };
        let (pid, left, lost, fatal): (Arc<AtomicI32>, _, _, _) =
            (killer.pid.clone(), killer.left.clone(), killer.lost.clone(), killer.fatal.clone());
        let springs = move |method: &Method, path: &str| {
            if method == Method::GET || left.fetch_sub(1, Ordering::SeqCst) != 1 {
                return false;
            }
            let lost = lost.load(Ordering::SeqCst);
            fatal.lock().unwrap().insert((lost, format!("{method} {}", path.split('?').next().unwrap())));
            kill_process(Pid::from_raw(pid.load(Ordering::SeqCst)).unwrap(), Signal::KILL).unwrap();
            lost
        };
        killer._proxy.add(Rule::when(springs, 503));
        Kubeconfig::new()
            .context_via(
                "meridian-production-ap",
                &world.cluster,
                killer._proxy.address(),
                world.cluster.admin_token(),
            )
            .write(&world.kubeconfig)
            .unwrap();
        killer
    }

    async fn run(&self, world: &World, at: usize, lost: bool) {
        self.lost.store(lost, Ordering::SeqCst);
        let own = world.arguments();
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let started = Instant::now();
        let child = world.third.command(&own).spawn().unwrap();
        self.pid.store(i32::try_from(child.id().unwrap()).unwrap(), Ordering::SeqCst);
        self.left.store(at, Ordering::SeqCst);
        let ran = run::end(child, started).await;
        assert_eq!(ran.code, None, "write {at}, lost {lost}: {}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make test-regions"]
async fn killed_at_any_write_to_the_api_server_it_converges() {
    let world = World::start().await;
    let killer = Killer::before(&world).await;
    // The first write that is due makes the namespace; after that every run applies all objects again.
    for at in std::iter::once(1).chain(1..=9) {
        for lost in [true, false] {
            killer.run(&world, at, lost).await;
        }
    }
    let fatal = killer.fatal.lock().unwrap().clone();
    let of = |wanted: bool| -> BTreeSet<&String> {
        fatal.iter().filter(|(lost, _)| *lost == wanted).map(|(_, write)| write).collect()
    };
    assert_eq!(of(true), of(false));
    assert_eq!(of(true).len(), 10, "{fatal:?}");
    world.pods_are("Running", json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})).await;
    // The servers run, and the Vault is there; only its shares have nobody to go to.
    world.unattended(&[]).await.expect(2).says("shown on a terminal only");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_chart_that_the_values_are_for_is_installed_and_only_in_a_cluster() {
    let mut world = World::start().await;
    let right = world.chart.clone();
    world.chart = package(Path::new(CHART), "0.31.0", world.third.world.folder.path()).await;
    world
        .unattended(&[])
        .await
        .expect(2)
        .says("is vault 0.31.0, and the catalogue's values are for vault 0.32.0: helm pull");
    world.chart = right;
    world.third.world.edit("ap.yaml", |text| text.replace(" }", ", in_cluster: false }"));
    world.unattended(&[]).await.expect(2).says("leave --vault-chart out");
    assert_eq!(world.get("/api/v1/namespaces/vault").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_others_are_not_taken_over() {
    let world = World::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vault"}});
    world.cluster.call(Method::POST, "/api/v1/namespaces", Some(namespace)).await.unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vault-config"},
        "data": {"extraconfig-from-values.hcl": "ui = true\n"},
    });
    let path = "/api/v1/namespaces/vault/configmaps?fieldManager=somebody";
    world.cluster.call(Method::POST, path, Some(config)).await.unwrap();
    let ran = world.unattended(&["--key-shares", "1"]).await;
    ran.says("others own fields that Vault's chart sets; nothing is forced:").says("somebody");
    assert!(!world.third.initialised().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_through_a_cluster_that_is_closed_is_told() {
    let world = World::start().await;
    world.third.world.edit("ap.yaml", |text| {
        let start = text.find("vault: {").unwrap();
        text[..start].to_owned()
            + "vault: { address: 'https://vault-active.vault.svc:8200', port_forward: true }\n"
    });
    let token = world.third.world.token_file("any", "any");
    let ca = bundle(&world.third.world);
    let kubeconfig = world.kubeconfig.to_str().unwrap();
    let apply =
        async || world.third.world.apply_as("ap", &token, &ca, &["--kubeconfig", kubeconfig]).await.expect(1);
    apply().await.says("get Service vault/vault: services \"vault\" not found (404)");

    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vault"}});
    world.cluster.call(Method::POST, "/api/v1/namespaces", Some(namespace)).await.unwrap();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "vault"},
        "spec": {"ports": [{"name": "https", "port": 8200}]},
    });
    world.cluster.call(Method::POST, "/api/v1/namespaces/vault/services", Some(service)).await.unwrap();
    apply().await.says("port-forward Service vault/vault: none of its pods is ready");

    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "vault-a", "labels": {"kubernetes.io/service-name": "vault"}},
        "ports": [{"name": "https", "port": 8200}],
        "endpoints": [{
            "addresses": ["10.0.0.1"], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "namespace": "vault", "name": "vault-0"},
        }],
    });
    let path = "/apis/discovery.k8s.io/v1/namespaces/vault/endpointslices";
    world.cluster.call(Method::POST, path, Some(slice)).await.unwrap();
    apply().await.says("port-forward port 8200 of Pod vault-0: pods \"vault-0\" not found (404)");
    let ran = world.third.unattended(&["--kubeconfig", kubeconfig]).await.expect(1);
    ran.says("where its cluster has no Vault yet, have it installed (--vault-chart vault-0.32.0.tgz)");
    ran.says_not("ap: ap:");
}
