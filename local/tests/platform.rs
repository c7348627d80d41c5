//! Regions with nodes: what runs in them is real, and what is left of them is nothing.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use http::Method;
use ipnet::Ipv4Net;
use local_region::kubernetes::KubernetesApi;
use local_region::platform::{self, Network, Plan, Region, images};
use local_region::programs::program;
use local_region::wait::wait_until;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

fn plan(environment: &str, second: u8) -> Plan {
    let net = |third: u8, second: u8, length| Ipv4Net::new_assert([10, second, third, 0].into(), length);
    Plan {
        environment: environment.into(),
        name: "eu".into(),
        location: "local-eu1".into(),
        context: format!("meridian-{environment}-eu"),
        range: net(0, second, 14),
        nodes: net(0, second, 20),
        services: net(16, second, 20),
        pods: net(0, second + 1, 16),
        count: 2,
    }
}

/// What of the machine an environment may have touched.
fn traces(environment: &str) -> Vec<String> {
    let name = format!("meridian-{environment}");
    let ran = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut traces: Vec<String> = [
        ran("ip", &["netns", "list"]),
        ran("ip", &["-detail", "link", "show"]),
        ran("mount", &[]),
        ran("find", &["/sys/fs/cgroup", "-maxdepth", "2", "-type", "d"]),
        ran("ps", &["-eo", "args"]),
    ]
    .iter()
    .flat_map(|text| text.lines().filter(|line| line.contains(&name)).map(str::to_owned).collect::<Vec<_>>())
    .collect();
    traces.sort();
    traces
}

/// Settings of the kernel that a kubelet would change.
fn kernel() -> Vec<String> {
    ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"]
        .map(|setting| fs::read_to_string(Path::new("/proc/sys").join(setting)).unwrap())
        .into()
}

async fn create(api: &KubernetesApi, path: &str, object: Value) -> Value {
    api.call(Method::POST, path, Some(object)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: make test-platform"]
async fn pods_run_on_every_node_and_nothing_is_left_of_them() {
    platform::check().unwrap();
    let (environment, before) = ("test-nodes", kernel());
    platform::clean(environment).await.unwrap();
    let (plan, folder) = (plan(environment, 100), tempfile::tempdir().unwrap());
    Network::make(std::slice::from_ref(&plan)).unwrap();
    let (parts, own) = (platform::parts().unwrap(), program("local-region").unwrap());
    let archives = [images::pause().unwrap()];
    let region = Region::up(plan, folder.path(), &parts, &archives, &own).await.unwrap();
    let api = region.api();

    let labels = json!({"app": "waits"});
    let pod = json!({
        "containers": [{"name": "waits", "image": "registry.local/pause:1", "imagePullPolicy": "Never"}],
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": labels},
        }],
    });
    let deployment = json!({"metadata": {"name": "waits"}, "spec": {
        "replicas": 4, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }});
    create(api, "/apis/apps/v1/namespaces/default/deployments", deployment).await;
    let running = wait_until("four pods to be ready", SOON, async || {
        let pods = api.call(Method::GET, "/api/v1/namespaces/default/pods", None).await.unwrap_or_default();
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        let ready: Vec<Value> = pods.iter().filter(ready).cloned().collect();
        if ready.len() == 4 { Ok(ready) } else { Err(format!("{} of {}", ready.len(), pods.len())) }
    });
    let running = running.await.unwrap();
    for node in 1..=2 {
        let (name, pods) = (region.plan().namespace(node), format!("10.101.{node}."));
        let own = |pod: &&Value| pod["spec"]["nodeName"] == name.as_str();
        let addresses: Vec<_> =
            running.iter().filter(own).map(|pod| pod["status"]["podIP"].clone()).collect();
        assert_eq!(addresses.len(), 2, "{name}");
        assert!(
            addresses.iter().all(|address| address.as_str().unwrap().starts_with(&pods)),
            "{addresses:?}"
        );
    }
    assert_eq!(kernel(), before, "the machine's own settings");
    drop(region);
    platform::clean(environment).await.unwrap();
    assert_eq!(traces(environment), Vec::<String>::new());
}

/// `local-region` over a catalogue with one environment.
struct Platform {
    folder: tempfile::TempDir,
}

impl Platform {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("catalogue/scratch");
        fs::create_dir_all(&own).unwrap();
        let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/catalogue/qa"));
        for file in ["_environment.yaml", "qa.yaml"] {
            let text = fs::read_to_string(from.join(file)).unwrap();
            let text =
                text.replace("../../../regions/schema", "../../schema").replace("10.64.0.0", "10.108.0.0");
            fs::write(own.join(file), text.replace("meridian-qa-qa", "meridian-scratch-qa")).unwrap();
        }
        let schemas = folder.path().join("schema");
        let made = Command::new(program("regions").unwrap()).arg("schema").arg("--dir").arg(schemas).output();
        assert!(made.unwrap().status.success());
        Self { folder }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("local-region").unwrap());
        command.args(arguments);
        if arguments[0] == "up" {
            command.arg("--catalogue").arg(self.folder.path().join("catalogue"));
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn says(&self, arguments: &[&str], code: i32, text: &str) -> String {
        let ran = self.run(arguments);
        let said =
            format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.code(), Some(code), "{said}");
        assert!(said.contains(text), "{text:?} is not in {said}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: make test-platform"]
async fn an_environment_is_brought_up_once_and_what_was_killed_is_cleaned_up() {
    let platform = Platform::new();
    let _ = platform.run(&["down", "scratch"]);
    platform.says(&["status", "scratch"], 2, "scratch is not up: local-region up scratch");
    platform.says(&["up", "other"], 2, "has no environment other (it has: scratch)");
    platform.says(&["up", "scratch"], 0, "qa: 1 nodes ready");
    platform.says(&["up", "scratch"], 2, "take it down first: local-region down scratch");
    let state: Value =
        serde_json::from_str(&platform.says(&["status", "scratch", "--output", "json"], 0, "")).unwrap();
    let region = &state["regions"][0];
    assert_eq!((&region["name"], &region["context"]), (&json!("qa"), &json!("meridian-scratch-qa")));
    assert!(region["resident_mib"].as_u64().unwrap() > 100, "{region}");
    let kubeconfig = platform.says(&["kubeconfig", "scratch"], 0, "kubeconfig");
    assert!(fs::read_to_string(kubeconfig.trim()).unwrap().contains("meridian-scratch-qa"));

    let holder = rustix::process::Pid::from_raw(i32::try_from(state["holder"].as_i64().unwrap()).unwrap());
    rustix::process::kill_process(holder.unwrap(), rustix::process::Signal::KILL).unwrap();
    let gone = async || !platform.run(&["status", "scratch"]).status.success();
    wait_until("the holder to be gone", SOON, gone).await.unwrap();
    platform.says(&["up", "scratch"], 0, "removed what a run that was killed had left: meridian-scratch");
    platform.says(&["down", "scratch"], 0, "scratch is down");
    assert_eq!(traces("scratch"), Vec::<String>::new());
    platform.says(&["kubeconfig", "scratch"], 2, "scratch is not up");
    platform.says(&["down", "scratch"], 0, "scratch is down");
}
