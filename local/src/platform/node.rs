//! A node: containerd, kubelet and kube-proxy in namespaces of their own, under one process that ends them all.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{WaitOptions, wait};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Error, Plan, Setup, cgroups, network, registry, run};
use crate::pki::write_private;
use crate::process::{Process, Program};
use crate::wait::wait_until;

/// How long containerd may take until it answers.
const CONTAINERD: Duration = Duration::from_secs(30);

/// What kubelet wants of the kernel; it finds it so, and the machine's own settings stay as they are.
const WANTED: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// The image of the process that holds a pod's namespaces.
pub(super) const PAUSE: &str = "registry.local/pause:1";

/// The label and the taint of a spot node.
const SPOT: &str = "cloud.google.com/gke-spot";

/// Where a node finds the programs that it is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parts {
    /// `containerd`, with `ctr` and its shims beside it.
    pub containerd: PathBuf,
    /// `runc`.
    pub runc: PathBuf,
    /// The folder of the CNI plugins.
    pub plugins: PathBuf,
    /// `kubelet`.
    pub kubelet: PathBuf,
    /// `kube-proxy`.
    pub proxy: PathBuf,
}

/// What a node is told, in `node.json` of its folder.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The node's name, and that of its network namespace.
    name: String,
    folder: PathBuf,
    parts: Parts,
    /// Archives of images that it has from the beginning.
    images: Vec<PathBuf>,
    kubelet: Vec<String>,
    proxy: Vec<String>,
}

impl Spec {
    /// Writes everything that a node reads. `authority` vouches for the API server, `kubelet` and `proxy` are
    /// kubeconfigs.
    pub(super) fn write(
        plan: &Plan,
        node: u8,
        folder: &Path,
        setup: &Setup<'_>,
        authority: &Path,
        (kubelet, proxy): (&Path, &Path),
    ) -> Result<PathBuf, Error> {
        let name = plan.namespace(node);
        let address = plan.address(node);
        let at = |file: &str| folder.join(file);
        let system = |source| Error::System { operation: format!("write the files of node {name}"), source };
        for made in ["cni", "kubelet", "log", "containerd"] {
            fs::create_dir_all(at(made)).map_err(system)?;
        }
        let network = json!({"cniVersion": "1.0.0", "name": name, "plugins": [
            {
                "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": at("addresses"),
                    "ranges": [[{"subnet": plan.pods_of(node).to_string()}]], "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ]});
        let written = write_private(&at("cni/10-bridge.conflist"), network.to_string().as_bytes());
        written.map_err(|error| system(std::io::Error::other(error)))?;
        let registries = setup.registry.as_ref().map(|mirror| registry::hosts(folder, mirror));
        let registries = registries.transpose().map_err(system)?;
        let config = containerd(folder, setup.parts, registries.as_deref());
        fs::write(at("containerd.toml"), config).map_err(system)?;
        let cgroup = cgroup(&plan.environment, &name);
        let spot = plan.pool(node).is_some_and(|pool| pool.spot);
        let taint = || json!({"key": SPOT, "value": "true", "effect": "NoSchedule"});
        let taints: Vec<_> = spot.then(taint).into_iter().collect();
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupRoot": cgroup, "enforceNodeAllocatable": [],
            "localStorageCapacityIsolation": false, "failSwapOn": false,
            // What the kernel does for the whole machine is not a node's to change.
            "protectKernelDefaults": true,
            // The disk is the whole machine's: a node that evicts its pods cannot make room on it.
            "evictionHard": {"memory.available": "100Mi"},
            "authentication": {
                "anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": authority},
            },
            "authorization": {"mode": "Webhook"},
            "address": address, "containerRuntimeEndpoint": format!("unix://{}", at("containerd.sock").display()),
            "clusterDNS": [super::nth(plan.services, 10)], "clusterDomain": "cluster.local",
            "registerWithTaints": taints, "imageMinimumGCAge": "1000h", "nodeStatusUpdateFrequency": "2s", "shutdownGracePeriod": "15s",
            "resolvConf": at("resolv.conf"),
        });
        fs::write(at("kubelet.yaml"), config.to_string()).map_err(system)?;
        fs::write(at("resolv.conf"), "").map_err(system)?;
        let mut labels = format!(
            "topology.kubernetes.io/region={0},topology.kubernetes.io/zone={0}-{1}",
            plan.location,
            char::from(b'a' + (node - 1) % 26)
        );
        if let Some(pool) = plan.pool(node) {
            labels.push_str(&format!(",meridian.internal/pool={}", pool.name));
            if pool.spot {
                labels.push_str(&format!(",{SPOT}=true"));
            }
        }
        let spec = Spec {
            name: name.clone(),
            folder: folder.to_owned(),
            parts: setup.parts.clone(),
            images: setup.images.to_vec(),
            kubelet: vec![
                format!("--kubeconfig={}", kubelet.display()),
                format!("--config={}", at("kubelet.yaml").display()),
                format!("--hostname-override={name}"),
                format!("--root-dir={}", at("kubelet").display()),
                format!("--cert-dir={}", at("kubelet-certificates").display()),
                format!("--node-ip={address}"),
                format!("--node-labels={labels}"),
                "--housekeeping-interval=5s".into(),
            ],
            proxy: vec![
                format!("--kubeconfig={}", proxy.display()),
                format!("--hostname-override={name}"),
                "--proxy-mode=iptables".into(),
                format!("--cluster-cidr={}", plan.pods),
                // Connection tracking is the whole machine's, and stays as it is.
                "--conntrack-max-per-core=0".into(),
                "--conntrack-tcp-timeout-established=0".into(),
                "--conntrack-tcp-timeout-close-wait=0".into(),
            ],
        };
        let file = at("node.json");
        let text = serde_json::to_string_pretty(&spec).unwrap_or_default();
        fs::write(&file, text).map_err(system)?;
        Ok(file)
    }

    /// Runs the node to its end, as the first process of its own process namespace: so all of it ends with this.
    /// Returns when one of its parts has ended.
    ///
    /// # Errors
    /// A part did not come up.
    pub fn run(file: &Path) -> Result<(), Error> {
        let system = |operation: String| move |source| Error::System { operation, source };
        let text = fs::read_to_string(file).map_err(system(format!("read {}", file.display())))?;
        let spec: Spec = serde_json::from_str(&text)
            .map_err(|error| system(format!("read {}", file.display()))(std::io::Error::other(error)))?;
        spec.mounts()?;
        spec.cgroups().map_err(system("make cgroups".into()))?;
        let containerd = spec.start(
            "containerd",
            &spec.parts.containerd,
            &["--config".into(), spec.at("containerd.toml")],
        )?;
        spec.await_containerd()?;
        let socket = spec.at("containerd.sock");
        let ctr = spec.parts.containerd.with_file_name("ctr");
        for image in &spec.images {
            let image = image.display().to_string();
            let arguments = ["--address", &socket, "--namespace", "k8s.io", "images", "import", &image];
            run(&ctr.display().to_string(), &arguments)?;
        }
        let kubelet = spec.start("kubelet", &spec.parts.kubelet, &spec.kubelet)?;
        let proxy = spec.start("kube-proxy", &spec.parts.proxy, &spec.proxy)?;
        let parts = [("containerd", containerd), ("kubelet", kubelet), ("kube-proxy", proxy)];
        loop {
            // What containers leave comes here too, since this is the first process.
            let Ok(Some((pid, status))) = wait(WaitOptions::empty()) else { continue };
            let pid = pid.as_raw_nonzero().get();
            if let Some((name, _)) = parts.iter().find(|(_, part)| i32::try_from(part.id()) == Ok(pid)) {
                return Err(Error::Refused {
                    command: format!("{name} of node {}", spec.name),
                    said: format!("it ended ({status:?})"),
                });
            }
        }
    }

    fn at(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// What is written outside the node's folder goes to memory, and ends with the node.
    fn mounts(&self) -> Result<(), Error> {
        for folder in ["/run", "/var/lib", "/var/log"] {
            run("mount", &["-t", "tmpfs", "tmpfs", folder])?;
        }
        let system = |source| Error::System { operation: "prepare the node's folders".into(), source };
        for folder in ["/run/netns", "/run/lock", "/var/lib/cni", "/var/log/pods"] {
            fs::create_dir_all(folder).map_err(system)?;
        }
        for (setting, value) in WANTED {
            let own = self.folder.join(setting.replace('/', "."));
            fs::write(&own, value).map_err(system)?;
            run("mount", &["--bind", &own.display().to_string(), &format!("/proc/sys/{setting}")])?;
        }
        let kubelet = self.at("kubelet");
        run("mount", &["--bind", &kubelet, &kubelet])?;
        run("mount", &["--make-rshared", &kubelet]).map(drop)
    }

    /// The cgroup below which kubelet keeps its pods'.
    fn cgroups(&self) -> std::io::Result<()> {
        let config: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(self.at("kubelet.yaml"))?).unwrap_or_default();
        cgroups::make(config["cgroupRoot"].as_str().unwrap_or_default())
    }

    fn start(&self, name: &str, program: &Path, arguments: &[String]) -> Result<Child, Error> {
        let system = |source| Error::System { operation: format!("start {name}"), source };
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.folder.join(format!("{name}.log")));
        let log = log.map_err(system)?;
        let folders = [self.parts.containerd.parent(), self.parts.runc.parent()].into_iter().flatten();
        let path: Vec<String> = folders.map(|folder| folder.display().to_string()).collect();
        let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", path.join(":"));
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", path).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(system)?).stderr(log);
        command.spawn().map_err(system)
    }

    fn await_containerd(&self) -> Result<(), Error> {
        let system = |source| Error::System { operation: "wait for containerd".into(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(system)?;
        let socket = self.folder.join("containerd.sock");
        let answers = async || UnixStream::connect(&socket).map(drop);
        let waited = runtime.block_on(wait_until("containerd to answer", CONTAINERD, answers));
        waited.map_err(|waited| Error::Refused {
            command: "containerd".into(),
            said: format!("{waited}; see {}", self.folder.join("containerd.log").display()),
        })
    }
}

/// Where a node's cgroups lie, below the name of all that is its environment's.
fn cgroup(environment: &str, name: &str) -> String {
    format!("/{}/{name}", network::router(environment))
}

fn containerd(folder: &Path, parts: &Parts, registries: Option<&Path>) -> String {
    let registries = registries.map_or_else(String::new, |folder| {
        format!(
            "  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n    config_path = \"{}\"\n",
            folder.display()
        )
    });
    let (folder, plugins) = (folder.display(), parts.plugins.display());
    let runc = parts.runc.display();
    format!(
        r#"version = 2
root = "{folder}/containerd/root"
state = "/run/containerd"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
{registries}"#
    )
}

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) process: Process,
}

impl Node {
    /// Starts the node that a spec describes, by this workspace's own program.
    pub(super) fn start(name: &str, spec: &Path, program: &Path) -> Result<Self, Error> {
        let log = spec.with_file_name("node.log");
        let process = Program::new(format!("node {name}"), "/usr/bin/unshare")
            .arguments(["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"])
            .argument(program)
            .argument("node")
            .argument(spec)
            .variable("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .within(&network::file(name))
            .log(log)
            .start()?;
        Ok(Self { name: name.to_owned(), process })
    }
}
