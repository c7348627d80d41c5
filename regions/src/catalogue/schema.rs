//! JSON schemas of the catalogue's files, for editors and for the check, from one source: the Rust types.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::types::{EnvironmentFile, RegionFile};

/// A schema and the name of its file.
#[derive(Debug)]
pub struct Published {
    /// Name of the file in the folder of schemas.
    pub file: &'static str,
    /// The schema.
    pub schema: Schema,
}

/// Schema of `_environment.yaml`.
pub static ENVIRONMENT: LazyLock<Published> =
    LazyLock::new(|| Published { file: "environment.schema.json", schema: generate::<EnvironmentFile>() });

/// Schema of a region's file.
pub static REGION: LazyLock<Published> =
    LazyLock::new(|| Published { file: "region.schema.json", schema: generate::<RegionFile>() });

impl Published {
    /// The keys at the top of a file.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str))
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let mut schema = self.schema.as_value().clone();
        // Whatever features other crates ask serde_json for, the text is the same.
        schema.sort_all_objects();
        format!("{schema:#}\n")
    }
}

/// Draft 7 is what editors know best, and what the chart's schema is written in.
fn generate<T: JsonSchema>() -> Schema {
    SchemaSettings::draft07().into_generator().into_root_schema_for::<T>()
}
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_schemas_are_current() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
        for published in [&ENVIRONMENT, &REGION] {
            let found = std::fs::read_to_string(folder.join(published.file)).unwrap();
            assert!(found == published.text(), "{} is stale; run: regions schema", published.file);
        }
    }

    #[test]
    fn schemas_say_nothing_that_the_check_does_not_know() {
        let known = [
            "$ref",
            "$schema",
            "additionalProperties",
            "allOf",
            "const",
            "default",
            "definitions",
            "description",
            "exclusiveMaximum",
            "exclusiveMinimum",
            "format",
            "items",
            "maxItems",
            "maxLength",
            "maximum",
            "minItems",
            "minProperties",
            "minimum",
            "oneOf",
            "pattern",
            "patternErrorMessage",
            "patternProperties",
            "properties",
            "required",
            "title",
            "type",
            "uniqueItems",
        ];
        fn keywords(schema: &Value, found: &mut Vec<String>) {
            for (keyword, value) in schema.as_object().into_iter().flatten() {
                found.push(keyword.clone());
                match keyword.as_str() {
                    "properties" | "patternProperties" | "definitions" => {
                        value
                            .as_object()
                            .into_iter()
                            .flatten()
                            .for_each(|(_, schema)| keywords(schema, found));
                    }
                    "items" => keywords(value, found),
                    "allOf" | "oneOf" => {
                        value.as_array().into_iter().flatten().for_each(|schema| keywords(schema, found));
                    }
                    _ => {}
                }
            }
        }
        for published in [&ENVIRONMENT, &REGION] {
            let mut found = Vec::new();
            keywords(published.schema.as_value(), &mut found);
            assert!(found.len() > 100);
            found.retain(|keyword| !known.contains(&keyword.as_str()));
            assert_eq!(found, [""; 0], "{}", published.file);
        }
    }
}
