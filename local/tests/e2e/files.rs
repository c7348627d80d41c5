//! Applications that read files, and jobs that end: the examples of `k8s/examples`, as they stand there.

use std::path::Path;
use std::process::Command;

use http::Method;
use local_region::platform::images;
use local_region::wait::wait_until;
use serde_json::{Value, json};

use crate::world::{PODS, Place, SOON, World, container};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/examples");

/// Applies an example by kubectl, after its variables have been given values.
struct Example {
    file: tempfile::NamedTempFile,
    kubeconfig: std::path::PathBuf,
    context: String,
}

impl Example {
    async fn apply(world: &World, eu: &Place, name: &str) -> Self {
        let service = eu.pods().await.remove(0);
        let containers = service["spec"]["initContainers"].as_array().unwrap();
        let agent = containers.iter().find(|container| container["name"] == "secrets-agent").unwrap();
        let text = std::fs::read_to_string(Path::new(EXAMPLES).join(name)).unwrap();
        let text = text
            .replace("${AGENT_IMAGE}", agent["image"].as_str().unwrap())
            .replace("${VAULT_ADDRESS}", "https://vault.vault.svc:8200")
            .replace("${APP_IMAGE}", &shell(world));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let (kubeconfig, context) = (world.environment.kubeconfig.clone(), eu.region.context.clone());
        let example = Self { file, kubeconfig, context };
        example.kubectl("apply");
        example
    }

    fn kubectl(&self, verb: &str) {
        let kubectl = local_region::tools::kubernetes(local_region::tools::KubernetesPart::Kubectl).unwrap();
        let mut command = Command::new(kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--context", &self.context, verb, "-f"]);
        let ran = command.arg(self.file.path()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

/// Pushes an image with a shell to the registry that nodes pull from, and gives its name there.
fn shell(world: &World) -> String {
    let registry = &world.environment.registry;
    let (archive, name) = (images::shell().unwrap(), format!("{}/test/shell", registry.name()));
    let digest = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("skopeo");
    command.args(["copy", "--quiet", "--digestfile"]).arg(digest.path());
    command.arg(format!("docker-archive:{}", archive.display())).arg(format!("docker://{name}:1"));
    let ran = command.env("SSL_CERT_FILE", &registry.authority).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    format!("{name}@{}", std::fs::read_to_string(digest.path()).unwrap().trim())
}

/// The pod of an example, once there is one.
async fn pod(eu: &Place, name: &str) -> Value {
    let path = format!("{PODS}?labelSelector=app.kubernetes.io/name%3D{name}");
    let found = wait_until(format!("a pod of {name}"), SOON, async || {
        let found = eu.cluster.call(Method::GET, &path, None).await.ok()?;
        found["items"].as_array()?.first().cloned()
    });
    found.await.unwrap()
}

/// What a container has written.
async fn log(eu: &Place, pod: &Value, which: &str) -> String {
    let path = format!("{PODS}/{}/log?container={which}", crate::world::name(pod));
    let answer = eu.cluster.send(Method::GET, &path, None).await.unwrap();
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_job_with_an_agent_ends() {
    let world = World::open().await;
    let eu = world.eu();
    let example = Example::apply(&world, &eu, "job.yaml").await;
    let path = "/apis/batch/v1/namespaces/meridian/jobs/example-job";
    let complete = wait_until("the Job to be complete", SOON, async || {
        let job = eu.get(path).await;
        let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let holds = |kind: &str| conditions.iter().any(|one| one["type"] == kind && one["status"] == "True");
        assert!(!holds("Failed"), "{job}");
        if holds("Complete") { Ok(()) } else { Err(job["status"].to_string()) }
    });
    complete.await.unwrap();
    let pod = pod(&eu, "example-job").await;
    let log = log(&eu, &pod, "job").await;
    assert!(log.contains("done, with "), "{log}");
    let agent = container(&pod, "secrets-agent")["state"]["terminated"]["exitCode"].clone();
    assert_eq!((pod["status"]["phase"].as_str(), agent), (Some("Succeeded"), json!(0)));
    example.kubectl("delete");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn an_application_that_reads_files_sees_each_version() {
    let world = World::open().await;
    let eu = world.eu();
    let example = Example::apply(&world, &eu, "files.yaml").await;
    let pod = pod(&eu, "example-files").await;
    let swaps = async |count: usize| {
        let seen = wait_until(format!("swap {count}"), SOON, async || {
            let log = log(&eu, &pod, "application").await;
            if log.contains(&format!("swap {count}: ")) { Ok(()) } else { Err(log) }
        });
        seen.await.unwrap();
    };
    swaps(1).await;
    let vault = world.environment.vault(&eu.region, "rotator").await.unwrap();
    let address = pod_address(&eu, &pod).await;
    for count in 2..=3 {
        let current = vault.read("kv", "service/config", None).await.unwrap();
        let written = vault.put("kv", "service/config", &current.data, Some(current.version)).await.unwrap();
        nudge(address, written.version).await;
        swaps(count).await;
    }
    example.kubectl("delete");
}

async fn pod_address(eu: &Place, pod: &Value) -> std::net::SocketAddr {
    let path = format!("{PODS}/{}", crate::world::name(pod));
    let found = wait_until("the pod's address", SOON, async || {
        let pod = eu.get(&path).await;
        pod["status"]["podIP"].as_str().and_then(|address| address.parse::<std::net::IpAddr>().ok())
    });
    (found.await.unwrap(), 9091).into()
}

/// Tells the agent of a new version, as the watcher would.
async fn nudge(agent: std::net::SocketAddr, version: u64) {
    use local_region::http::{Client, Target};
    let client = Client::new(Target::Tcp(agent));
    let hint = json!({"name": "config", "version": version});
    let answer = client.json(Method::POST, "/v1/nudge", &hint).await.unwrap();
    assert!(answer.status.is_success(), "{}", answer.status);
}
