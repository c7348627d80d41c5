//! `regions render`: exactly what Helm is given for a region, and what a chart makes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::catalogue::problem::Invalid;
use crate::catalogue::region::Region;
use crate::catalogue::{Catalogue, ENVIRONMENT_FILE, Environment};
use crate::cluster::NAMESPACE;
use crate::helm::{Helm, HelmError, SERVICE, Values};
use crate::named::{NameError, Named};
use crate::plan::manifest::{self, ManifestError};
use crate::print;

/// What to render.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Which region
    #[command(flatten)]
    pub named: Named,
    /// Print what Helm makes of this chart, a folder or a package, in place of the values
    #[arg(long, value_name = "CHART")]
    pub chart: Option<PathBuf>,
    /// The Kubernetes version that the chart is rendered for
    #[arg(long, value_name = "VERSION", default_value = "1.33.0", requires = "chart")]
    pub kube_version: String,
    /// The Helm program [default: `helm` from PATH]
    #[arg(long, value_name = "FILE", requires = "chart")]
    pub helm: Option<PathBuf>,
}

/// Why a region is not rendered.
#[derive(Debug, thiserror::Error)]
enum RenderError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("find the chart {chart}", chart = .chart.display())]
    Chart {
        chart: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("render {chart} for {environment}/{region}", chart = .chart.display())]
    Helm {
        chart: PathBuf,
        environment: String,
        region: String,
        #[source]
        source: HelmError,
    },
    #[error("read what Helm rendered")]
    Manifest(#[from] ManifestError),
}

/// Renders a region.
pub fn run(args: &Args, folder: &Path, json: bool) -> ExitCode {
    match rendered(args, folder, json) {
        Ok(text) => {
            print::result(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            print::error(&error);
            // What Helm refuses was understood; everything else lies in the arguments or the catalogue.
            ExitCode::from(match error {
                RenderError::Helm { source: HelmError::Refused { .. }, .. } | RenderError::Manifest(_) => 1,
                _ => 2,
            })
        }
    }
}

/// What Helm is given for a region: both files, then both names.
pub fn values(environment: &Environment, region: &Region) -> Values {
    Values {
        files: vec![
            (ENVIRONMENT_FILE.into(), environment.text().into()),
            (format!("{}.yaml", region.name), region.text().into()),
        ],
        set: BTreeMap::from([
            ("environment".into(), environment.name.clone()),
            ("region".into(), region.name.clone()),
        ]),
    }
}

/// What a chart sees as its values. No key is in both files.
pub fn merged(environment: &Environment, region: &Region) -> Map<String, Value> {
    let names = [("environment", &environment.name), ("region", &region.name)];
    let names = names.into_iter().map(|(key, name)| (key.to_owned(), Value::from(name.as_str())));
    let files = environment.said().iter().chain(region.said());
    files.map(|(key, value)| (key.clone(), value.clone())).chain(names).collect()
}

fn rendered(args: &Args, folder: &Path, json: bool) -> Result<String, RenderError> {
    let catalogue = Catalogue::load(folder)?;
    let (environment, region) = args.named.find(&catalogue)?;
    let Some(chart) = &args.chart else {
        return Ok(if json { pretty(&merged(environment, region)) } else { documents(environment, region) });
    };
    let rendering = Runtime::new().map_err(RenderError::Runtime)?.block_on(async {
        // Helm runs elsewhere, and takes a chart that is not there for the name of one.
        let chart =
            chart.canonicalize().map_err(|source| RenderError::Chart { chart: chart.clone(), source })?;
        let helm = |source| RenderError::Helm {
            chart: chart.clone(),
            environment: environment.name.clone(),
            region: region.name.clone(),
            source,
        };
        let program = Helm::find(args.helm.as_deref()).map_err(helm)?;
        program
            .template(&chart, SERVICE, &values(environment, region), &args.kube_version)
            .await
            .map_err(helm)
    })?;
    if !json {
        return Ok(rendering);
    }
    let objects: Vec<Value> = manifest::parse(&rendering)?.into_iter().map(|object| object.value).collect();
    Ok(pretty(&json!({"values": merged(environment, region), "objects": objects})))
}

/// Helm's command line, then each thing that Helm is given as a document.
fn documents(environment: &Environment, region: &Region) -> String {
    let mut text = format!(
        "# {}/{}: what Helm is given; a later document overrides an earlier one\n\
         # helm template {} CHART --namespace {NAMESPACE} --no-hooks --include-crds \\\n\
         #   --values {} \\\n#   --values {} \\\n",
        environment.name, region.name, SERVICE.release, environment.file, region.file,
    );
    let values = values(environment, region);
    let set: Vec<String> =
        values.set.iter().map(|(key, value)| format!("--set-string {key}={value}")).collect();
    text.push_str(&format!("#   {}\n", set.join(" ")));
    for (path, (_, content)) in [&environment.file, &region.file].into_iter().zip(&values.files) {
        text.push_str(&format!("---\n# {path}\n{}\n", content.trim_end()));
    }
    text.push_str("---\n# names\n");
    for (key, value) in &values.set {
        // Helm is given text, whatever a YAML reader would take the name for.
        text.push_str(&format!("{key}: {}\n", Value::from(value.as_str())));
    }
    text
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).map(|text| text + "\n").unwrap_or_default()
}
