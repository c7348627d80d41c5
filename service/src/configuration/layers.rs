//! The layers of the configuration, lowest first: defaults, the file, the environment, and the
//! document that the agent delivers.

use std::path::Path;

use figment::providers::{Env, Format, Toml};
use figment::util::nest;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use secrets_agent_client::ConfigurationError;
use serde::de::DeserializeOwned;

/// The name of the environment's layer, turned into the variable's name where an error is told.
const ENVIRONMENT: &str = "environment";
/// What every variable of the environment begins with; two underscores separate the parts of a key.
pub(super) const PREFIX: &str = "SERVICE__";

/// File and environment as they were at the start, so that a later change of a file cannot take effect
/// together with a document that has nothing to do with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers(Vec<Layer>);

#[derive(Debug, Clone)]
struct Layer {
    metadata: Metadata,
    values: Map<Profile, Dict>,
}

impl Layers {
    /// Reads the file, if one is named, and the environment.
    pub(super) fn read(file: Option<&Path>) -> Result<Self, Vec<ConfigurationError>> {
        let mut layers = Layers::default();
        let mut errors = Vec::new();
        if let Some(file) = file {
            match std::fs::read_to_string(file) {
                Ok(_) => layers.push(&Toml::file_exact(file), &mut errors),
                Err(error) => {
                    let place = secrets_agent_client::Place {
                        source: file.display().to_string(),
                        key: String::new(),
                    };
                    let message = format!("the file cannot be read: {error}");
                    errors.push(ConfigurationError { place, message });
                }
            }
        }
        layers.push(&Environment, &mut errors);
        if errors.is_empty() { Ok(layers) } else { Err(errors) }
    }

    /// Layers of TOML text, for tests.
    #[cfg(test)]
    pub(super) fn of(text: &str) -> Result<Self, Vec<ConfigurationError>> {
        let mut layers = Layers::default();
        let mut errors = Vec::new();
        layers.push(&Toml::string(text), &mut errors);
        if errors.is_empty() { Ok(layers) } else { Err(errors) }
    }

    /// These layers with one more on top.
    pub(super) fn with(&self, provider: &dyn Provider) -> Result<Self, Vec<ConfigurationError>> {
        let mut layers = self.clone();
        let mut errors = Vec::new();
        layers.push(provider, &mut errors);
        if errors.is_empty() { Ok(layers) } else { Err(errors) }
    }

    /// The values of the topmost layer.
    pub(super) fn top(&self) -> Dict {
        self.0.last().and_then(|layer| layer.values.get(&Profile::Default)).cloned().unwrap_or_default()
    }

    /// Reads all layers as one value. What cannot be read is noted and left to its default, so that
    /// every error of every layer is told at once.
    pub(super) fn extract<T: DeserializeOwned>(&self, errors: &mut Vec<ConfigurationError>) -> Option<T> {
        let mut layers = self.clone();
        loop {
            let error = match layers.figment().extract::<T>() {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let path = error.path.clone();
            errors.extend(ConfigurationError::all(error).into_iter().map(name_variable));
            if !layers.remove(&path) {
                return None;
            }
        }
    }

    /// An error about a key, with the source that its value came from.
    pub(super) fn error(&self, key: &str, message: String) -> ConfigurationError {
        let mut error = figment::Error::from(String::new()).with_path(key);
        error.metadata = self.figment().find_metadata(key).cloned();
        name_variable(ConfigurationError { message, ..ConfigurationError::from(error) })
    }

    fn figment(&self) -> Figment {
        self.0.iter().fold(Figment::new(), |figment, layer| figment.merge(layer.clone()))
    }

    fn push(&mut self, provider: &dyn Provider, errors: &mut Vec<ConfigurationError>) {
        let metadata = provider.metadata();
        match provider.data() {
            Ok(values) => self.0.push(Layer { metadata, values }),
            Err(mut error) => {
                error.metadata = Some(metadata);
                errors.extend(ConfigurationError::all(error));
            }
        }
    }

    /// Takes a key out of every layer; `false` if none has it.
    fn remove(&mut self, path: &[String]) -> bool {
        let mut removed = false;
        for layer in &mut self.0 {
            for values in layer.values.values_mut() {
                removed |= remove(values, path);
            }
        }
        removed
    }
}

fn remove(values: &mut Dict, path: &[String]) -> bool {
    match path {
        [] => false,
        [key] => values.remove(key).is_some(),
        [key, rest @ ..] => match values.get_mut(key) {
            Some(Value::Dict(_, inner)) => remove(inner, rest),
            // The path goes on into a list or a value of a form of its own: the whole goes.
            Some(_) => values.remove(key).is_some(),
            None => false,
        },
    }
}

/// An operator looks for the variable, not for the key.
fn name_variable(mut error: ConfigurationError) -> ConfigurationError {
    if error.place.source == ENVIRONMENT {
        let key = std::mem::take(&mut error.place.key).to_ascii_uppercase().replace('.', "__");
        error.place.source = format!("environment variable {PREFIX}{key}");
    }
    error
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(self.values.clone())
    }
}

fn merge(into: &mut Dict, from: Dict) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Dict(_, inner)), Value::Dict(_, more)) => merge(inner, more),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

struct Environment;

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(ENVIRONMENT)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        // Each value is the text that it is: `1.10` is no number, and `[::1]:80` no list.
        let variables = Env::prefixed(PREFIX).split("__");
        let nested = variables.iter().map(|(key, text)| nest(key.as_str(), Value::from(text)));
        let mut all = Dict::new();
        for dict in nested.filter_map(Value::into_dict) {
            merge(&mut all, dict);
        }
        Ok(Map::from([(Profile::Default, all)]))
    }
}
