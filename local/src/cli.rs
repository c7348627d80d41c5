//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A whole region on one machine, from real parts.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Live, in two minutes: two regions on real Vaults, under load, through a whole rotation.
    #[command(after_long_help = DEMO)]
    Demo(DemoOptions),
    /// Bring the regions of an environment up, each a whole Kubernetes cluster, and leave them running.
    #[command(after_long_help = PLATFORM)]
    Up(UpOptions),
    /// Take an environment down, and remove all that is left of it, however it ended.
    Down {
        /// The environment.
        environment: String,
    },
    /// Show what is up.
    Status {
        /// The environment.
        environment: String,
        /// For people, or for programs.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print where the kubeconfig with the regions' contexts is.
    Kubeconfig {
        /// The environment.
        environment: String,
    },
    /// Ask every region's service through its LoadBalancer, and verify each token in another region.
    Check {
        /// The environment.
        environment: String,
        /// Go on asking until SIGINT or SIGTERM, and then say what was seen.
        #[arg(long)]
        until_stopped: bool,
    },
    /// Stop processes of a region (SIGSTOP): connections are taken, and nothing answers.
    #[command(after_long_help = FAULTS)]
    Pause(PauseOptions),
    /// End every fault of a region, or of all regions of an environment.
    Resume {
        /// The environment.
        environment: String,
        /// The region; all where none is named.
        region: Option<String>,
    },
    /// Drop the packets between a region and something else, and tell nobody.
    #[command(after_long_help = FAULTS)]
    Cut {
        #[command(flatten)]
        place: Place,
        /// Another region, or: vault (its own), api (its API server), clients (who come in by its LoadBalancers),
        /// everything.
        from: String,
    },
    /// Let each packet in or out of a region come later.
    #[command(after_long_help = FAULTS)]
    Slow {
        #[command(flatten)]
        place: Place,
        /// By so much, each way; 0 ends it.
        #[arg(value_parser = clap::value_parser!(u32).range(0..=60_000))]
        milliseconds: u32,
    },
    /// Let every process of a region read another time of day.
    #[command(after_long_help = FAULTS, allow_negative_numbers = true)]
    Clock {
        #[command(flatten)]
        place: Place,
        /// Later by so much; earlier where negative; 0 ends it.
        #[arg(value_parser = clap::value_parser!(i64).range(-1_000_000_000..=1_000_000_000))]
        seconds: i64,
    },
    /// Holds the regions of an environment.
    #[command(hide = true)]
    Hold {
        /// The environment.
        environment: String,
    },
    /// Holds the registry of all environments.
    #[command(hide = true)]
    HoldRegistry {
        /// Its port.
        port: u16,
    },
    /// Holds packets of a queue of the kernel back.
    #[command(hide = true)]
    HoldPackets {
        /// The queue.
        queue: u16,
        /// By so much.
        milliseconds: u64,
    },
    /// Keeps the clocks of a region wrong.
    #[command(hide = true, allow_negative_numbers = true)]
    HoldClock {
        #[command(flatten)]
        place: Place,
        /// By so much.
        seconds: i64,
        /// The network namespaces of its nodes.
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Runs one node of a region, from inside its namespaces.
    #[command(hide = true)]
    Node {
        /// The node's description.
        spec: PathBuf,
    },
    /// Serves the API of metrics of a region, from inside its network.
    #[command(hide = true)]
    Metrics {
        /// What it is told.
        spec: PathBuf,
    },
    /// Get a tool, building it where it is missing, and print where it is.
    Tools {
        /// Which.
        #[arg(value_enum, default_value_t = Tool::Vault)]
        tool: Tool,
    },
}

/// A tool that people and tests use beside the regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    Vault,
    Kubectl,
}

/// What is brought up.
#[derive(Debug, Args)]
pub(crate) struct UpOptions {
    /// The environment.
    pub(crate) environment: String,
    /// The catalogue that has its regions.
    #[arg(long, value_name = "FOLDER", default_value = "local/catalogue")]
    pub(crate) catalogue: PathBuf,
    /// Nodes of each region. Every second is a spot node, where the region has such a pool.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) nodes: u8,
    /// Leave the regions without a Vault: only Kubernetes and the registry.
    #[arg(long)]
    pub(crate) without_vault: bool,
    /// The port of the registry that all environments share, on loopback.
    #[arg(long, value_name = "PORT", default_value_t = local_region::platform::registry::PORT)]
    pub(crate) registry: u16,
}

/// A region of an environment that is up.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The environment.
    pub(crate) environment: String,
    /// The region.
    pub(crate) region: String,
}

/// Which processes are stopped.
#[derive(Debug, Args)]
pub(crate) struct PauseOptions {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Only those of one node, from 1. The first has the control plane.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) node: Option<u8>,
    /// Only those of one program, such as vault, kube-apiserver, service or secrets-agent.
    #[arg(long, value_name = "NAME")]
    pub(crate) program: Option<String>,
}

/// What the demo may be told.
#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Requests a second, over all four services.
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(40..=5000))]
    pub(crate) rate: u32,
    /// Where the summary and the logs go.
    #[arg(long, value_name = "FOLDER", default_value = "target/demo")]
    pub(crate) out: PathBuf,
    /// The catalogue whose regions of the environment `production` are started.
    #[arg(long, value_name = "FOLDER", default_value = "local/catalogue")]
    pub(crate) catalogue: PathBuf,
    /// Leave everything running at the end, until Ctrl-C. Also: KEEP=1.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Skip the waits of the signing key's rotation (regions rotate --compromised), to see that the demo notices: tokens
    /// become unverifiable, and it fails.
    #[arg(long)]
    pub(crate) without_waits: bool,
    /// What goes to standard output at the end: a table, or the summary as JSON.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

const PLATFORM: &str = "\
Every region is real: etcd, API server, controllers, scheduler, and nodes with kubelet, containerd and kube-proxy, in
network namespaces of its own, with the addresses that the catalogue gives it; and its Vault, a pod with Raft storage
and TLS, made by `regions bootstrap`, and unsealed by a helper Vault in the place of Cloud KMS. Services of type
LoadBalancer get addresses that this machine reaches. One OCI registry serves all environments. It needs Linux and
root. Nothing of the machine is changed but one network interface for each environment and its routes.

On another system, or without root, use contexts of clusters that are there (kind, minikube, GKE): name them in the
catalogue (kubernetes.context).

Examples:
  local-region up production
  export KUBECONFIG=$(local-region kubeconfig production)
  kubectl --context meridian-production-eu get nodes
  local-region status production --output json
  local-region down production

Exit codes:
  0  done
  2  it could not be; the message says why";

const FAULTS: &str = "\
A fault lasts until `resume`, or until the environment is taken down. Nothing of this machine outside the environment's
own namespaces is touched.

Examples:
  local-region pause production eu --program vault    # its Vault hangs
  local-region cut production eu us                   # the two do not reach each other
  local-region cut production eu api                  # operators and nodes do not reach its API server
  local-region slow production us 80                  # as if it were 160 ms away
  local-region clock production us -30                # its clocks are 30 s late
  local-region resume production                      # everything is as it was

Exit codes:
  0  done
  2  it could not be; the message says why";

const DEMO: &str = "\
Everything runs on loopback as processes of this machine: per region (eu and us, from local/catalogue) a real
Vault server with Raft storage and TLS, initialised and unsealed here, a watcher, and two pairs of service and
secrets-agent. `regions vault apply` makes the first Vault what the catalogue wants, and `regions bootstrap` each
other, with the first one's documents. While an open-loop load asks all four services for /v1/region and for
tokens, and verifies each token twice with the other region's JWKS, the demo gives the commands of an operator, and
shows what they say:
  - `regions rotate clients`: the client's secret changes, and the client finds the new one in the middle;
  - `regions rotate config --from-stdin`: the configuration changes;
  - `regions rotate signing-keys`, ended by SIGINT once the new key is published in every pod; a third region is made
    meanwhile, with a Vault from `regions bootstrap` and pods of its own; then the same command again, which goes on
    with three regions until the old key is gone;
  - while that runs, one Vault is frozen for 20 s (SIGSTOP), and a service beside it is killed (SIGKILL).
Each region's watcher (`regions watch`) tells agents what is new; the demo itself tells nobody anything. How long each
version took to each pod is measured from Vault's own moment of writing to when the pod's agent was seen to say that
every instance uses it. With --without-waits the signing key is rotated with `--compromised --yes`.
Requests sent to the killed service until it is ready again are counted apart; nothing else may fail. A
request fails when its answer is not the right one, or comes later than 1 s after the moment at which it was
due. Nothing is repeated.

Files, under --out: summary.json, and logs/ with the output of every process.

Exit codes:
  0    every request was answered, every token verified, every check held
  1    something failed; the table and summary.json say what
  2    usage, or the demo could not be set up (a program not built, Vault not there)
  130  interrupted (Ctrl-C); everything was ended in order. A second Ctrl-C ends at once";
