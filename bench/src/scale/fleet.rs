//! So many simulated regions, and the catalogue that names them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::ENVIRONMENT;
use super::region::{Kit, Region};
use crate::Result;

/// What the regions share. Tokens are short-lived, so that a rotation waits for seconds and not for hours.
const SHARED: &str = "\
# yaml-language-server: $schema=../../schema/environment.schema.json
order: 1
project: meridian-bench
domain: bench.test
waves: [first, second]
bake: { time: 10s, samples: 100 }
gates: { error_ratio: 0.01, latency_p99: 250ms }
ceilings: { token_life: 3s, jwks_max_age: 1s, leeway: 1s, skew: 1s }
secrets:
  config: { kind: value }
  tls: { kind: value }
  clients: { kind: clients, generator: random }
  signing-keys: { kind: keyset, generator: ec-p256 }
  pepper: { kind: value, generator: random }
workload: { min: 2, max: 10, cpu: 70 }
approle: [service, watcher, promoter, rotator]
defaults:
  pools:
    on-demand: { machine: e2-standard-4, min: 1, max: 3 }
";

/// The schemas that the catalogue's files name, as the repository has them.
const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../regions/schema");

/// A fleet.
pub(super) struct Fleet {
    pub(super) regions: Vec<Region>,
    /// The folder of its catalogue.
    pub(super) catalogue: PathBuf,
}

impl Fleet {
    /// Starts so many regions, each with these documents, below a folder of their own.
    pub(super) async fn start(
        size: usize,
        kit: &Arc<Kit>,
        documents: &[(&'static str, Value)],
        folder: &Path,
    ) -> Result<Self> {
        let mut regions = Vec::new();
        for number in 1..=size {
            regions.push(Region::start(format!("region-{number:03}"), Arc::clone(kit), documents).await?);
        }
        let catalogue = write(folder, &regions, None)?;
        Ok(Fleet { regions, catalogue })
    }

    /// A catalogue of the same regions in which the watcher of the first is somewhere else.
    pub(super) fn with_hole(&self, folder: &Path, hole: SocketAddr) -> Result<PathBuf> {
        write(folder, &self.regions, Some(hole))
    }

    /// How many regions it has.
    pub(super) fn size(&self) -> usize {
        self.regions.len()
    }
}

fn write(folder: &Path, regions: &[Region], hole: Option<SocketAddr>) -> Result<PathBuf> {
    let catalogue = folder.join("catalogue");
    let (own, schemas) = (catalogue.join(ENVIRONMENT), folder.join("schema"));
    fs::create_dir_all(&own)?;
    fs::create_dir_all(&schemas)?;
    for entry in fs::read_dir(SCHEMAS)? {
        let entry = entry?;
        fs::copy(entry.path(), schemas.join(entry.file_name()))?;
    }
    fs::write(own.join("_environment.yaml"), SHARED)?;
    for (place, region) in regions.iter().enumerate() {
        let watcher = hole.filter(|_| place == 0).unwrap_or(region.watcher);
        // The first is a wave of its own, as a careful operator has it.
        let wave = if place == 0 { "first" } else { "second" };
        let text = format!(
            "# yaml-language-server: $schema=../../schema/region.schema.json\n\
             location: bench-place{}\n\
             wave: {wave}\n\
             range: 10.{place}.0.0/16\n\
             vault: {{ address: 'https://localhost:{}', in_cluster: false }}\n\
             watcher: {{ address: 'http://{watcher}' }}\n",
            place + 1,
            region.vault.port(),
        );
        fs::write(own.join(format!("{}.yaml", region.name)), text)?;
    }
    Ok(catalogue)
}
