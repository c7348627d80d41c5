//! The real programs that a local region is made of.
//!
//! What this machine has on its PATH is preferred. What it lacks is built once, from a pinned Go module
//! under `local/tools/`, into the cache: `${XDG_CACHE_HOME:-~/.cache}/meridian/<part>-<version>/`.

mod build;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The version of Vault that is built where none is on PATH.
pub const VAULT_VERSION: &str = "1.21.0";
/// The oldest Vault on PATH that is used: older ones lack what the tests lean on.
const VAULT_OLDEST: Version = (1, 16);
/// The version of Helm that is built where none is on PATH.
pub const HELM_VERSION: &str = "4.3.1";
/// The oldest Helm on PATH that is used.
const HELM_OLDEST: Version = (3, 14);
/// The version of Kubernetes that is built.
pub const KUBERNETES_VERSION: &str = "1.36.3";
/// The version of etcd that is built.
pub const ETCD_VERSION: &str = "3.6.13";
/// The version of CoreDNS that is built.
pub const COREDNS_VERSION: &str = "1.15.0";
/// The versions of etcd and CoreDNS on PATH that are used: from this one on.
const ETCD_OLDEST: Version = (3, 5);
const COREDNS_OLDEST: Version = (1, 11);
/// The one minor version of Kubernetes on PATH that is used, and the oldest kubectl that goes with it.
const KUBERNETES: Version = (1, 36);
const KUBECTL_OLDEST: Version = (1, 35);
/// The oldest Go that builds what is pinned here.
const GO_OLDEST: Version = (1, 26);

use build::Recipe;
pub(crate) use build::cache;

type Version = (u32, u32);

/// Why a tool could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Go is not there.
    #[error("build {part}: Go {}.{} or newer is needed and `go` is not on PATH; see https://go.dev/doc/install, or put {part} itself on PATH", GO_OLDEST.0, GO_OLDEST.1)]
    NoGo {
        /// What was to be built.
        part: &'static str,
    },
    /// Go is too old.
    #[error("build {part}: Go {}.{} or newer is needed, {} is {found}; see https://go.dev/doc/install, or put {part} itself on PATH", GO_OLDEST.0, GO_OLDEST.1, .go.display())]
    OldGo {
        /// What was to be built.
        part: &'static str,
        /// The program.
        go: PathBuf,
        /// What it said.
        found: String,
    },
    /// The cache cannot be used.
    #[error("{operation} {}", .path.display())]
    Cache {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The build failed.
    #[error("build {part}: `go build` in {} ended with {status}:\n{output}", .folder.display())]
    Build {
        /// What was to be built.
        part: &'static str,
        /// Where.
        folder: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote.
        output: String,
    },
}

/// The program `vault`: the one on PATH when it is 1.16 or newer, otherwise the one in the cache, which is
/// built first where it is missing, without what only clouds need (`local/tools/vault/main.go`). That takes 5 to 10 minutes,
/// once; progress goes to standard error.
///
/// # Errors
/// It has to be built and cannot be.
pub fn vault() -> Result<PathBuf, Error> {
    if let Some(found) = fitting("vault", "version", |version| version >= VAULT_OLDEST) {
        return Ok(found);
    }
    build::cached(&Recipe {
        part: "vault",
        // One that was built whole is another program.
        release: "vault-minimal",
        version: VAULT_VERSION,
        module: "vault",
        tags: "minimal",
        package: ".",
        link: "",
    })
}

/// The program `helm`: the one on PATH when it is 3.14 or newer, otherwise the one in the cache, which is
/// built first where it is missing. That takes 2 to 3 minutes, once.
///
/// # Errors
/// It has to be built and cannot be.
pub fn helm() -> Result<PathBuf, Error> {
    if let Some(found) = fitting("helm", "version --short", |version| version >= HELM_OLDEST) {
        return Ok(found);
    }
    build::cached(&Recipe {
        part: "helm",
        release: "helm",
        version: HELM_VERSION,
        module: "helm",
        tags: "",
        package: "helm.sh/helm/v4/cmd/helm",
        link: "",
    })
}

/// The program `coredns`: the one on PATH when it is 1.11 or newer, otherwise one with the plugins that a local region
/// uses, built into the cache where it is missing. That takes 2 to 3 minutes, once.
///
/// # Errors
/// It has to be built and cannot be.
pub fn coredns() -> Result<PathBuf, Error> {
    if let Some(found) = fitting("coredns", "-version", |version| version >= COREDNS_OLDEST) {
        return Ok(found);
    }
    build::cached(&Recipe {
        part: "coredns",
        release: "coredns",
        version: COREDNS_VERSION,
        module: "coredns",
        tags: "",
        package: ".",
        link: "",
    })
}

/// A program of Kubernetes: the one on PATH when it is of the minor version that the tests know, otherwise one that
/// is built into the cache where it is missing. That takes 5 to 10 minutes for all of them, once.
///
/// # Errors
/// It has to be built and cannot be.
pub fn kubernetes(part: KubernetesPart) -> Result<PathBuf, Error> {
    let (part, package) = match part {
        KubernetesPart::ApiServer => ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        KubernetesPart::ControllerManager => {
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager")
        }
        KubernetesPart::Scheduler => ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        KubernetesPart::Kubelet => ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
        KubernetesPart::Proxy => ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        KubernetesPart::Kubectl => ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        KubernetesPart::Etcd => {
            if let Some(found) = fitting("etcd", "--version", |version| version >= ETCD_OLDEST) {
                return Ok(found);
            }
            return build::cached(&Recipe {
                part: "etcd",
                release: "etcd",
                version: ETCD_VERSION,
                module: "kubernetes",
                tags: "",
                package: "go.etcd.io/etcd/server/v3",
                link: "",
            });
        }
    };
    let found = match part {
        "kubectl" => fitting(part, "version --client", |version| version >= KUBECTL_OLDEST),
        _ => fitting(part, "--version", |version| version == KUBERNETES),
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let set = "k8s.io/component-base/version";
    let link = format!("-X {set}.gitVersion=v{KUBERNETES_VERSION} -X {set}.gitMajor=1 -X {set}.gitMinor=36");
    let (release, version, module) = ("kubernetes", KUBERNETES_VERSION, "kubernetes");
    build::cached(&Recipe { part, release, version, module, tags: "", package, link: &link })
}

/// Every program that a region is made of: built into the cache where they are missing.
///
/// # Errors
/// One has to be built and cannot be.
pub fn region() -> Result<(), Error> {
    use KubernetesPart::{ApiServer, ControllerManager, Etcd, Kubelet, Proxy, Scheduler};
    for part in [Etcd, ApiServer, ControllerManager, Scheduler, Kubelet, Proxy] {
        kubernetes(part)?;
    }
    coredns().map(drop)
}

/// A program of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubernetesPart {
    /// `kube-apiserver`.
    ApiServer,
    /// `kube-controller-manager`.
    ControllerManager,
    /// `kube-scheduler`.
    Scheduler,
    /// `kubelet`.
    Kubelet,
    /// `kube-proxy`.
    Proxy,
    /// `kubectl`.
    Kubectl,
    /// `etcd`, which Kubernetes keeps its objects in.
    Etcd,
}

/// A program on PATH, where its version fits.
fn fitting(program: &str, argument: &str, fits: impl Fn(Version) -> bool) -> Option<PathBuf> {
    let found = on_path(program)?;
    version_of(&found, argument).is_some_and(|(version, _)| fits(version)).then_some(found)
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The first version in what a program prints, and all of what it prints.
fn version_of(program: &Path, argument: &str) -> Option<(Version, String)> {
    let output = Command::new(program).args(argument.split(' ')).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some((first_version(&text)?, text.trim().to_owned()))
}

/// Major and minor of the first `1.2` in a text, which may have letters before it.
fn first_version(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(|word| {
        let mut numbers = word.trim_start_matches(|letter: char| !letter.is_ascii_digit()).split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_programs_print_them() {
        assert_eq!(first_version("Vault v1.21.0, built 2025-11-23T15:20:09Z"), Some((1, 21)));
        assert_eq!(first_version("Vault v1.9.3 (abc)"), Some((1, 9)));
        assert_eq!(first_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(first_version("Kubernetes v1.36.3"), Some((1, 36)));
        assert_eq!(first_version("etcd Version: 3.6.13\nGit SHA: 1a2b"), Some((3, 6)));
        assert_eq!(first_version("CoreDNS-1.15.0\nlinux/amd64, go1.26.8"), Some((1, 15)));
        assert_eq!(first_version("no version"), None);
        assert!((1, 9) < VAULT_OLDEST && (1, 16) >= VAULT_OLDEST && (2, 0) > VAULT_OLDEST);
    }

    #[test]
    fn vault_can_be_run() {
        let (version, text) = version_of(&vault().unwrap(), "version").unwrap();
        assert!(version >= VAULT_OLDEST && text.starts_with("Vault v"), "{text}");
    }
}
