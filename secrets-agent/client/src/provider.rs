//! A delivered secret as a layer of figment configuration.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use secrecy::ExposeSecret;

use crate::{Delivered, Secret, Version};

/// A figment [`Provider`] whose values come from one delivered document, and which knows from which
/// Vault path and version: an error about a value names them as its source.
pub struct AgentProvider<'a> {
    path: &'a str,
    version: Version,
    data: &'a Secret,
}

impl<'a> AgentProvider<'a> {
    /// The layer that this document makes.
    pub fn new(delivered: &'a Delivered) -> Self {
        AgentProvider { path: &delivered.path, version: delivered.version(), data: &delivered.data }
    }
}

impl std::fmt::Debug for AgentProvider<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AgentProvider({} {})", self.path, self.version)
    }
}

impl Provider for AgentProvider<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("Vault {} version {}", self.path, self.version.version))
            // The default writes keys with the profile before them, which means nothing to an operator.
            .interpolater(|_, keys| keys.join("."))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        // serde_json's message may quote the text, so its place alone is kept.
        let dict: Dict = serde_json::from_slice(self.data.expose_secret()).map_err(|error| {
            figment::Error::from(format!("line {}, column {}", error.line(), error.column()))
        })?;
        Ok(Map::from([(Profile::Default, without_nulls(dict))]))
    }
}

/// `null` in JSON says that a key is left to the layers below.
fn without_nulls(dict: Dict) -> Dict {
    dict.into_iter()
        .filter_map(|(key, value)| match value {
            Value::Empty(..) => None,
            Value::Dict(tag, inner) => Some((key, Value::Dict(tag, without_nulls(inner)))),
            other => Some((key, other)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format, Toml};
    use serde::Deserialize;

    use super::*;
    use crate::ConfigurationError;

    #[derive(Debug, Deserialize)]
    struct Tokens {
        life: u32,
    }

    #[derive(Debug, Deserialize)]
    struct Example {
        tokens: Tokens,
    }

    fn delivered(document: &str) -> Delivered {
        Delivered {
            name: "config".to_owned(),
            path: "kv/service/config".to_owned(),
            version: 7,
            created_time: "2026-01-01T00:00:00Z".parse().unwrap(),
            rotation_id: None,
            data: Secret::from(document.as_bytes().to_vec()),
        }
    }

    #[test]
    fn a_document_lies_over_the_layers_below_and_null_leaves_them() {
        let defaults = Figment::from(Toml::string("tokens.life = 60"));
        let over = delivered(r#"{"tokens": {"life": 5}}"#);
        let example: Example = defaults.clone().merge(AgentProvider::new(&over)).extract().unwrap();
        assert_eq!(example.tokens.life, 5);
        let absent = delivered(r#"{"tokens": {"life": null}}"#);
        let example: Example = defaults.merge(AgentProvider::new(&absent)).extract().unwrap();
        assert_eq!(example.tokens.life, 60);
    }

    #[test]
    fn an_error_names_path_version_and_key_and_not_the_value() {
        let document = delivered(r#"{"tokens": {"life": "canary-c0de"}}"#);
        let error = Figment::from(AgentProvider::new(&document)).extract::<Example>().unwrap_err();
        let said = ConfigurationError::from(error).to_string();
        assert_eq!(said, "Vault kv/service/config version 7: tokens.life: expected u32, found a string");
    }

    #[test]
    fn a_document_that_is_no_json_says_where() {
        let document = delivered("{\"tokens\": canary-c0de}");
        let error = Figment::from(AgentProvider::new(&document)).extract::<Example>().unwrap_err();
        let said = ConfigurationError::from(error).to_string();
        assert!(said.contains("cannot be parsed at line 1, column 12"), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}
