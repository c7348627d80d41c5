//! A small catalogue in a folder of its own, in which nothing is wrong until a test changes something.

use std::fs;
use std::path::{Path, PathBuf};

use regions::catalogue::Catalogue;
use regions::catalogue::problem::Invalid;
use tempfile::TempDir;

const QA: &str = "\
# yaml-language-server: $schema=../../schema/environment.schema.json
order: 1
project: meridian-qa
domain: qa.meridian.example
waves: [all]
bake: { time: 2m, samples: 500 }
gates: { error_ratio: 0.01, latency_p99: 250ms }
ceilings: { token_life: 1h, jwks_max_age: 5m, leeway: 30s, skew: 30s }
secrets:
  config: { kind: value }
  tls: { kind: value }
  clients: { kind: clients, generator: random }
  signing-keys: { kind: keyset, generator: ec-p256 }
workload: { min: 2, max: 10, cpu: 70 }
";

const QA_WEST: &str = "\
# yaml-language-server: $schema=../../schema/region.schema.json
location: europe-west4
wave: all
range: 10.0.0.0/14
pools:
  steady: { machine: e2-standard-4, min: 1, max: 2 }
";

const PRODUCTION: &str = "\
# yaml-language-server: $schema=../../schema/environment.schema.json
order: 2
project: meridian-production
domain: meridian.example
waves: [first, second]
bake: { time: 30m, samples: 10000 }
gates: { error_ratio: 0.01, latency_p99: 250ms }
ceilings: { token_life: 1h, jwks_max_age: 5m, leeway: 30s, skew: 30s }
secrets:
  config: { kind: value }
  tls: { kind: value }
  clients: { kind: clients, generator: random }
  signing-keys: { kind: keyset, generator: ec-p256 }
workload: { min: 2, max: 10, cpu: 70 }
defaults:
  pools:
    spot: { machine: e2-standard-4, min: 1, max: 8, spot: true }
    steady: { machine: e2-standard-4, min: 2, max: 6 }
";

const EU: &str = "\
# yaml-language-server: $schema=../../schema/region.schema.json
location: europe-west4
wave: first
range: 10.0.0.0/14
";

const US: &str = "\
# yaml-language-server: $schema=../../schema/region.schema.json
location: us-east4
wave: second
range: 10.4.0.0/14
zones: [b, c]
vault: { address: https://vault.us.example:8200 }
";

/// A catalogue: `qa` with the region `west`, `production` with `eu` and `us`.
pub(crate) struct Small {
    folder: TempDir,
}

impl Small {
    pub(crate) fn new() -> Self {
        let small = Self { folder: tempfile::tempdir().unwrap() };
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
        fs::create_dir_all(small.at("../schema")).unwrap();
        for schema in ["environment.schema.json", "region.schema.json"] {
            fs::copy(committed.join(schema), small.at("../schema").join(schema)).unwrap();
        }
        for (file, text) in [
            ("qa/_environment.yaml", QA),
            ("qa/west.yaml", QA_WEST),
            ("production/_environment.yaml", PRODUCTION),
            ("production/eu.yaml", EU),
            ("production/us.yaml", US),
        ] {
            small.write(file, text);
        }
        small
    }

    /// A path in the catalogue's folder.
    pub(crate) fn at(&self, file: &str) -> PathBuf {
        self.folder().join(file)
    }

    /// The catalogue's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        let folder = self.folder.path().join("catalogue");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Writes a file, and its folder where there is none.
    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let file = self.at(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    /// Replaces a text that stands once in a file.
    #[track_caller]
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.at(file)).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {file}:\n{text}");
        self.write(file, text.replace(from, to));
    }

    pub(crate) fn load(&self) -> Result<Catalogue, Invalid> {
        Catalogue::load(&self.folder())
    }

    /// All that is wrong, each with the path inside of the catalogue.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let Err(invalid) = self.load() else { return Vec::new() };
        let prefix = format!("{}/", self.folder().display());
        invalid.problems().iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
    }
}

#[test]
fn nothing_is_wrong_with_it() {
    assert_eq!(Small::new().wrong(), [""; 0]);
}
