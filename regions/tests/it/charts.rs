//! Releases: the fixture chart, packaged with contents of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

/// What a release differs in from another.
#[derive(Clone)]
pub(crate) struct Release {
    pub(crate) version: String,
    pub(crate) contents: Value,
}

/// A release whose pods become ready.
pub(crate) fn good(version: &str) -> Release {
    Release {
        version: version.to_owned(),
        contents: json!({"greeting": version, "image": format!("ready.invalid/service:{version}")}),
    }
}

impl Release {
    /// With another content of its file.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.contents[key] = value.into();
        self
    }

    /// Packages it into a folder.
    pub(crate) async fn package(&self, into: &Path) -> PathBuf {
        let source = into.join(format!("chart-{}", self.version));
        copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/chart")), &source);
        fs::write(source.join("release.yaml"), self.contents.to_string()).unwrap();
        package(&source, &self.version, into).await
    }
}

/// `helm package` of a chart's folder.
pub(crate) async fn package(chart: &Path, version: &str, into: &Path) -> PathBuf {
    let helm = local_region::tools::helm().unwrap();
    let output = Command::new(helm)
        .args(["package", "--version", version, "--destination"])
        .args([into, chart])
        .env_clear()
        .env("HOME", into)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    PathBuf::from(said.rsplit(": ").next().unwrap().trim())
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
