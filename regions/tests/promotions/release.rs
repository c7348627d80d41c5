//! Releases: what they are made of, and what is wrong with them.

use std::collections::BTreeMap;

use regions::execute::Contents;
use regions::plan::manifest;
use regions::plan::object::Object;
use regions::plan::record::{Intent, Provenance, Release, Run, Wanted};
use regions::promote::carry::Work;
use serde_json::{Value, json};

/// What is wrong with a release in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    /// Its pods never become ready, and nobody says why.
    NeverReady,
    /// Its pods crash again and again.
    Crashes,
    /// Three of ten answers are errors.
    Errors,
    /// One of ten is, which mostly shows in the bake.
    Seldom,
    /// Three of ten answers are slow.
    Slow,
    /// Six of ten answers refuse the client.
    Refuses,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] =
        [Self::NeverReady, Self::Crashes, Self::Errors, Self::Seldom, Self::Slow, Self::Refuses];
}

/// A release: its number, and the regions where something is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) number: u64,
    pub(crate) faults: BTreeMap<usize, Fault>,
}

impl Made {
    pub(crate) fn good(number: u64) -> Self {
        Self { number, faults: BTreeMap::new() }
    }

    pub(crate) fn digest(&self) -> String {
        digest(self.number)
    }

    /// What Helm would make of it.
    fn manifest(&self) -> String {
        let settings = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": settings(&self.digest())},
            "data": {"release": self.number.to_string()},
        });
        let shared = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"},
            "data": {"release": self.number.to_string()},
        });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "service"},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": {"app": "service"}},
                "template": {"metadata": {"labels": {"app": "service"}}, "spec": {"containers": [{"name": "service"}]}},
            },
        });
        [settings, shared, deployment].map(|object| object.to_string()).join("\n---\n")
    }

    pub(crate) fn work(&self) -> Work {
        let manifest = self.manifest();
        let mut objects: Vec<Object> = manifest::parse(&manifest).unwrap();
        for object in &mut objects {
            object.mark(&self.digest());
            object.id.namespace = Some("meridian".into());
            object.value["metadata"]["namespace"] = "meridian".into();
        }
        let release = Release {
            reference: "release".into(),
            digest: self.digest(),
            package_sha256: String::new(),
            chart: "service".into(),
            version: self.number.to_string(),
        };
        let wanted = Wanted {
            release,
            values_sha256: "values".into(),
            manifest_sha256: self.digest(),
            provenance: Provenance::default(),
            intent: Intent::Run(Run { bakes: true, ..Run::default() }),
        };
        let contents = Contents { values: BTreeMap::new(), manifest };
        Work { objects, wanted, contents, shown: Vec::new() }
    }
}

pub(crate) fn digest(number: u64) -> String {
    format!("sha256:{number:064}")
}

/// The object that pods of a release read for as long as they run.
pub(crate) fn settings(digest: &str) -> String {
    format!("settings-{}", digest.trim_start_matches("sha256:").trim_start_matches('0'))
}

/// The release that a Deployment asks for.
pub(crate) fn digest_of(deployment: &Value) -> String {
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    annotations["meridian.internal/release"].as_str().unwrap_or_default().to_owned()
}
