//! The configuration in effect, and where each of its values came from.

use std::fmt::Write as _;

use figment::Figment;
use serde_json::Value;

use super::{Config, ENVIRONMENT};

/// A line `key = value` for each value, with its source beside it. No value of the configuration is a
/// secret: those are in the files that it names.
pub(super) fn describe(config: &Config, figment: &Figment) -> String {
    let mut lines = Vec::new();
    // Everything in a configuration becomes JSON: its keys are text and its numbers are whole.
    let whole = serde_json::to_value(config).unwrap_or_default();
    collect("", &whole, figment, &mut lines);
    let widest = lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width <= 60).max();
    let mut text = String::new();
    for (line, source) in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line:width$}  # {source}", width = widest.unwrap_or(0));
    }
    text
}

fn collect(key: &str, value: &Value, figment: &Figment, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(keys) => {
            for (name, value) in keys {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                collect(&key, value, figment, lines);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (place, value) in items.iter().enumerate() {
                collect(&format!("{key}.{place}"), value, figment, lines);
            }
        }
        value => {
            let source = source(figment, key).unwrap_or_else(|| "default".to_owned());
            lines.push((format!("{key} = {value}"), source));
        }
    }
}

/// Where a value came from: a file, or the variable by its name; `None` for a default.
pub(super) fn source(figment: &Figment, key: &str) -> Option<String> {
    let whole = outside_lists(key).join(".");
    figment.find_value(&whole).ok()?;
    let metadata = figment.find_metadata(&whole)?;
    Some(match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ => variable(key),
    })
}

/// The environment variable that sets a key. A place in a list is none of its own.
pub(super) fn variable(key: &str) -> String {
    format!("{ENVIRONMENT}{}", outside_lists(key).join("__").to_ascii_uppercase())
}

fn outside_lists(key: &str) -> Vec<&str> {
    key.split('.').take_while(|part| part.parse::<usize>().is_err()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_variable() {
        assert_eq!(variable("kv.max_size"), "AGENT__KV__MAX_SIZE");
        assert_eq!(variable("socket.allow_uids.0"), "AGENT__SOCKET__ALLOW_UIDS");
    }
}
