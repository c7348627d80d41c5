//! From a kubeconfig and a region's context to a client with bounds on every call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::error::Cause;

/// A kubeconfig that could not be read at all, for every region alike.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {why}; give a kubeconfig with --kubeconfig or KUBECONFIG")]
pub struct KubeconfigUnreadable {
    place: String,
    why: String,
}

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(3);

/// Reads the kubeconfig: the file named, else the files of `KUBECONFIG`, else the user's own.
///
/// # Errors
/// When there is none, or it is not a kubeconfig. What stands in it is never quoted.
pub fn kubeconfig(file: Option<&Path>) -> Result<Kubeconfig, KubeconfigUnreadable> {
    let place = match file {
        Some(file) => file.display().to_string(),
        None => std::env::var_os("KUBECONFIG").map_or_else(
            || "the user's kubeconfig (~/.kube/config)".to_owned(),
            |files| format!("KUBECONFIG ({})", PathBuf::from(files).display()),
        ),
    };
    let read = match file {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::from_env().and_then(|found| found.map_or_else(Kubeconfig::read, Ok)),
    };
    read.map_err(|error| KubeconfigUnreadable { place, why: unreadable(&error) })
}

/// Makes the client of a context. Runs the context's credential plugin, where it has one, so it may take long
/// and blocks: call it on a thread of its own.
///
/// # Errors
/// When the context is not there or cannot be used.
pub fn client(kubeconfig: Kubeconfig, context: &str, answer: Duration) -> Result<kube::Client, Cause> {
    let known: Vec<String> = kubeconfig.contexts.iter().map(|known| known.name.clone()).collect();
    if !known.iter().any(|name| name == context) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Cause::Access(format!("the kubeconfig has no context {context} (it has: {known})")));
    }
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    // The future only reads files; it never waits for the network.
    let config =
        futures_util::FutureExt::now_or_never(kube::Config::from_custom_kubeconfig(kubeconfig, &options))
            .ok_or_else(|| Cause::Unexpected("reading the context took too long".into()))?;
    let config =
        config.map_err(|error| Cause::Access(format!("context {context}: {}", unreadable(&error))))?;
    bounded(config, answer)
}

/// Makes the client of the cluster that this process is a pod of, as its ServiceAccount.
///
/// # Errors
/// It is no pod, or what pods are given is not there.
pub(crate) fn in_cluster(answer: Duration) -> Result<kube::Client, Cause> {
    let config = kube::Config::incluster();
    let config = config
        .map_err(|_| Cause::Access("this is no pod of a cluster, or it has no ServiceAccount".into()))?;
    bounded(config, answer)
}

/// A client with bounds on every call.
fn bounded(mut config: kube::Config, answer: Duration) -> Result<kube::Client, Cause> {
    config.connect_timeout = Some(CONNECT.min(answer));
    config.read_timeout = Some(answer);
    config.write_timeout = Some(answer);
    config.reset_reader_on_write = true;
    // Retries are this command's own, so that each is bounded and shown.
    config.default_retry = false;
    kube::Client::try_from(config).map_err(Cause::from_client)
}

/// What is wrong with a kubeconfig, without quoting it: it may hold tokens and keys.
fn unreadable(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, path) => format!("{} cannot be read: {error}", path.display()),
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!("not a kubeconfig (line {}, column {})", at.line(), at.column()),
            None => "not a kubeconfig".into(),
        },
        KubeconfigError::FindPath => "there is none".into(),
        KubeconfigError::LoadClusterOfContext(cluster) => {
            format!("it names the cluster {cluster}, which is not there")
        }
        KubeconfigError::LoadContext(context) => format!("the context {context} is not there"),
        KubeconfigError::MissingClusterUrl => "its cluster has no server address".into(),
        KubeconfigError::ParseClusterUrl(_) => "its cluster's server address is not a URL".into(),
        KubeconfigError::LoadCertificateAuthority(_) => "its certificate-authority cannot be loaded".into(),
        KubeconfigError::LoadClientCertificate(_) => "its client-certificate cannot be loaded".into(),
        KubeconfigError::LoadClientKey(_) => "its client-key cannot be loaded".into(),
        KubeconfigError::ParseCertificates(_) => "its certificates are not PEM".into(),
        _ => "it cannot be used".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_context_lists_the_known_ones() {
        let text = "contexts:\n- {name: a, context: {cluster: c, user: u}}\n- {name: b, context: {cluster: c, user: u}}\n";
        let kubeconfig = Kubeconfig::from_yaml(text).unwrap();
        let Err(cause) = client(kubeconfig, "eu", Duration::from_secs(1)) else { panic!("no error") };
        assert_eq!(cause.to_string(), "the kubeconfig has no context eu (it has: a, b)");
    }

    #[test]
    fn a_broken_kubeconfig_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, "users:\n- name: u\n  user: {token: [canary-token]}\n").unwrap();
        let text = kubeconfig(Some(&file)).unwrap_err().to_string();
        assert!(text.contains("line 3") && !text.contains("canary"), "{text}");
        let missing = kubeconfig(Some(&folder.path().join("none"))).unwrap_err().to_string();
        assert!(missing.contains("cannot be read") && missing.contains("--kubeconfig"), "{missing}");
    }
}
