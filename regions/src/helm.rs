//! Helm, as the renderer of a release. It never speaks to a cluster: what it prints is applied by `regions`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use crate::cluster::NAMESPACE;
use crate::release::hex_sha256;

/// Names that templates see.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// Name of the Helm release.
    pub release: &'a str,
    /// The namespace.
    pub namespace: &'a str,
}

/// Those of the platform's own chart.
pub const SERVICE: Naming<'static> = Naming { release: "service", namespace: NAMESPACE };

/// Bound of a rendering; a template that loops ends here.
const RENDER: Duration = Duration::from_secs(60);

/// Bound of a download.
const PULL: Duration = Duration::from_secs(120);

/// Why Helm did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// There is no such program.
    #[error("{0}; install Helm 3.14 or newer, or name it with --helm")]
    NotFound(String),
    /// It could not be run.
    #[error("run {} {what}", .program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The subcommand.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It did not end.
    #[error("helm {what} did not end within {} s; a template may loop, or a registry not answer", .after.as_secs())]
    TimedOut {
        /// The subcommand.
        what: &'static str,
        /// The bound.
        after: Duration,
    },
    /// It said no.
    #[error("helm {what} refused: {said}")]
    Refused {
        /// The subcommand.
        what: &'static str,
        /// What it wrote.
        said: String,
    },
    /// Its output is not what it should be.
    #[error("helm {what}: {why}")]
    Unexpected {
        /// The subcommand.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// What Helm is given for one region: exactly what `regions render` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// Files in the order in which they are given, by name and content.
    pub files: Vec<(String, String)>,
    /// Single values that come after the files, such as the region's name.
    pub set: BTreeMap<String, String>,
}

impl Values {
    /// Digest of what the values say, whatever their comments and their order of keys.
    pub fn digest(&self) -> String {
        let read = |text: &String| {
            serde_saphyr::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.clone()))
        };
        let files: Vec<serde_json::Value> = self.files.iter().map(|(_, text)| read(text)).collect();
        hex_sha256(serde_json::json!({"files": files, "set": self.set}).to_string().as_bytes())
    }
}

/// What a chart says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ChartFacts {
    /// The chart's name.
    pub name: String,
    /// The chart's version.
    pub version: String,
}

/// The Helm program.
#[derive(Debug, Clone)]
pub struct Helm {
    program: PathBuf,
}

impl Helm {
    /// The program named, else `helm` from PATH.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(named: Option<&Path>) -> Result<Self, HelmError> {
        let is_file = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.is_file());
        if let Some(program) = named {
            let missing = || HelmError::NotFound(format!("{} is not a program", program.display()));
            return is_file(program).then(|| Self { program: program.to_owned() }).ok_or_else(missing);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join("helm")).find(|path| is_file(path));
        let missing = || HelmError::NotFound("helm is not on PATH".into());
        found.map(|program| Self { program }).ok_or_else(missing)
    }

    /// Renders a packaged chart for a Kubernetes version, without hooks. The rendering sees nothing of the
    /// caller's environment or Helm settings, so that it is the same on every machine.
    ///
    /// # Errors
    /// When Helm refuses the chart or the values.
    pub async fn template(
        &self,
        package: &Path,
        naming: Naming<'_>,
        values: &Values,
        kubernetes: &str,
    ) -> Result<String, HelmError> {
        let folder = tempfile::tempdir().map_err(|source| self.run_error("template", source))?;
        let mut arguments: Vec<OsString> = ["template", naming.release].map(OsString::from).into();
        arguments.push(package.into());
        for argument in
            ["--namespace", naming.namespace, "--no-hooks", "--include-crds", "--kube-version", kubernetes]
        {
            arguments.push(argument.into());
        }
        for (index, (_, content)) in values.files.iter().enumerate() {
            let file = folder.path().join(format!("{index}.yaml"));
            std::fs::write(&file, content).map_err(|source| self.run_error("template", source))?;
            arguments.extend(["--values".into(), file.into()]);
        }
        for (key, value) in &values.set {
            arguments.extend(["--set-string".into(), format!("{key}={value}").into()]);
        }
        let mut command = self.command(&arguments);
        command.env_clear().current_dir(folder.path());
        for home in ["HOME", "HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"] {
            command.env(home, folder.path());
        }
        self.output("template", command, RENDER).await
    }

    /// What a packaged chart says about itself.
    ///
    /// # Errors
    /// When it is not a chart.
    pub async fn show(&self, package: &Path) -> Result<ChartFacts, HelmError> {
        let command = self.command(&[OsStr::new("show"), OsStr::new("chart"), package.as_os_str()]);
        let text = self.output("show chart", command, RENDER).await?;
        let what = "show chart";
        serde_saphyr::from_str(&text).map_err(|error| HelmError::Unexpected { what, why: error.to_string() })
    }

    /// Downloads a chart from a registry into a folder, with the caller's own registry credentials.
    ///
    /// # Errors
    /// When it is not there, or may not be had.
    pub async fn pull(&self, reference: &str, into: &Path) -> Result<PathBuf, HelmError> {
        let arguments = ["pull".as_ref(), reference.as_ref(), "--destination".as_ref(), into.as_os_str()];
        self.output("pull", self.command(&arguments), PULL).await?;
        let what = "pull";
        let files = std::fs::read_dir(into).map_err(|source| self.run_error(what, source))?;
        let mut packages = files.filter_map(Result::ok).map(|file| file.path());
        let package = packages.find(|file| file.extension().is_some_and(|extension| extension == "tgz"));
        package.ok_or_else(|| HelmError::Unexpected {
            what,
            why: format!("{reference} brought no packaged chart"),
        })
    }

    fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn output(
        &self,
        what: &'static str,
        mut command: Command,
        after: Duration,
    ) -> Result<String, HelmError> {
        let output = timeout(after, command.output())
            .await
            .map_err(|_| HelmError::TimedOut { what, after })?
            .map_err(|source| self.run_error(what, source))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().trim_start_matches("Error: ").to_owned();
            let said = if said.is_empty() { output.status.to_string() } else { said };
            return Err(HelmError::Refused { what, said });
        }
        let not_text = |_| HelmError::Unexpected { what, why: "its output is not UTF-8".into() };
        String::from_utf8(output.stdout).map_err(not_text)
    }

    fn run_error(&self, what: &'static str, source: std::io::Error) -> HelmError {
        HelmError::Run { program: self.program.clone(), what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_do_not_change_what_values_say() {
        let values = |text: &str| Values {
            files: vec![("_environment.yaml".into(), text.into())],
            set: BTreeMap::from([("region".into(), "eu".into())]),
        };
        assert_eq!(values("a: 1\nb: 2\n").digest(), values("# why\nb: 2\na: 1\n").digest());
        assert_ne!(values("a: 1\n").digest(), values("a: 2\n").digest());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Helm::find(Some(Path::new("/nowhere/helm"))).unwrap_err().to_string();
        assert!(error.contains("/nowhere/helm is not a program") && error.contains("--helm"), "{error}");
    }
}
