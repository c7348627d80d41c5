//! The catalogue as promotion needs it, until it is read with places and all of its checks.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::helm::Values;
use crate::promote::targets::{Environment, Target, Wave};

pub(crate) fn environment(catalogue: &Path, name: &str) -> Result<Environment, String> {
    let folder = catalogue.join(name);
    let read = |file: &str| {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let value: Value =
            serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>((text, value))
    };
    let (environment_text, environment) = read("_environment.yaml")?;
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|file| file.strip_suffix(".yaml").map(str::to_owned))
        .filter(|region| !region.starts_with('_'))
        .collect();
    names.sort();
    let waves = environment["waves"].as_array().cloned().unwrap_or_default();
    let mut waves: Vec<Wave> = waves
        .iter()
        .map(|wave| Wave { name: wave.as_str().unwrap_or_default().into(), targets: Vec::new() })
        .collect();
    for region in names {
        let (text, value) = read(&format!("{region}.yaml"))?;
        let context = value["kubernetes"]["context"].as_str();
        let context = context.map_or_else(|| format!("meridian-{name}-{region}"), str::to_owned);
        let values = Values {
            files: vec![
                ("_environment.yaml".into(), environment_text.clone()),
                (format!("{region}.yaml"), text),
            ],
            set: BTreeMap::from([("environment".into(), name.into()), ("region".into(), region.clone())]),
        };
        let wave = waves.iter_mut().find(|wave| value["wave"] == wave.name.as_str());
        let wave = wave.ok_or_else(|| format!("{region}: unknown wave"))?;
        wave.targets.push(Target { region, context, values });
    }
    Ok(Environment { name: name.into(), next: None, waves })
}
