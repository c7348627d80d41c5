//! A file's tree against its JSON schema: every key, type, bound and pattern, and all that is wrong at once.
//!
//! It knows the part of JSON Schema that the generated schemas use, and a test sees to it that they use no
//! other. What a single schema cannot say is in `rules`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use regex::Regex;
use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::problem::{Place, Position, Problem, nearest, quoted};
use super::scalar::Scalar;
use super::schema::{ENVIRONMENT, Published, REGION};
use super::text::{DURATION, IN_WORDS, KEYS, Name};
use super::tree::{Entry, Kind, Node, join};

/// Checks a file. Gives what is right in it: each key at its top whose value has no problem.
pub(super) fn check(
    file: &Arc<str>,
    root: &Node,
    published: &'static Published,
    problems: &mut Vec<Problem>,
) -> Map<String, Value> {
    let schema = published.schema.as_value();
    let mut checker = Checker { file, schema, problems, right: Map::new() };
    let _ = checker.value(root, schema, root.position, "");
    checker.right
}

/// Whether text has the shape of a type of text.
pub(super) fn is<T: JsonSchema>(text: &str) -> bool {
    is_text_of(schemars::schema_for!(T).as_value(), text)
}

/// What the shape of a type of text is, in words.
pub(super) fn words<T: JsonSchema>() -> String {
    let schema = schemars::schema_for!(T);
    in_words(schema.as_value(), schema.as_value())
}

/// What a schema admits, in words.
fn in_words(schema: &Value, root: &Value) -> String {
    let schema = resolve(schema, root);
    let bound = |key: &str| schema.get(key).map(ToString::to_string);
    match schema["type"].as_str() {
        _ if schema.get("oneOf").is_some() => consts(schema).collect::<Vec<_>>().join(", "),
        Some("integer") => match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
            _ => "a whole number".into(),
        },
        Some("number") => match (bound("exclusiveMinimum"), bound("exclusiveMaximum")) {
            (Some(least), Some(most)) => format!("a number above {least} and below {most}"),
            _ => "a number".into(),
        },
        Some("boolean") => "true or false".into(),
        Some("array") => {
            let least = if bound("minItems").is_some() { "a list of one or more" } else { "a list" };
            format!("{least}, each {}", in_words(&schema["items"], root))
        }
        Some("object") => match schema.get("properties").and_then(Value::as_object) {
            Some(properties) => {
                let keys: Vec<&str> = properties.keys().map(String::as_str).collect();
                format!("a map with the key{} {}", if keys.len() == 1 { "" } else { "s" }, keys.join(", "))
            }
            None => "a map of one or more names".into(),
        },
        _ => schema[IN_WORDS].as_str().unwrap_or("text").into(),
    }
}

/// The values that a `oneOf` of constants lists.
fn consts(schema: &Value) -> impl Iterator<Item = &str> {
    schema["oneOf"].as_array().into_iter().flatten().filter_map(|one| one["const"].as_str())
}

/// The schema itself, or what it refers to.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    let target = reference.and_then(|reference| root.pointer(reference.trim_start_matches('#')));
    target.unwrap_or(schema)
}

struct Checker<'a> {
    file: &'a Arc<str>,
    schema: &'a Value,
    problems: &'a mut Vec<Problem>,
    right: Map<String, Value>,
}

impl Checker<'_> {
    /// The value of a node, or nothing when something in it is wrong, which is told. `at` is where it begins to
    /// be spoken of: its key.
    fn value(&mut self, node: &Node, schema: &Value, at: Position, path: &str) -> Option<Value> {
        let schema = resolve(schema, self.schema);
        match (&node.kind, schema["type"].as_str()) {
            (Kind::Broken, _) => None,
            (Kind::Map(entries), Some("object")) => self.map(entries, schema, at, path),
            (Kind::List(nodes), Some("array")) => self.list(nodes, schema, at, path),
            (Kind::Scalar { text, plain }, kind) => {
                self.scalar(text, Scalar::read(text, *plain), kind, schema, node.position, path)
            }
            (Kind::Map(_), _) => self.wrong(node.position, path, "a map", schema),
            (Kind::List(_), _) => self.wrong(node.position, path, "a list", schema),
        }
    }

    fn map(&mut self, entries: &[Entry], schema: &Value, at: Position, path: &str) -> Option<Value> {
        let mut map = Map::new();
        let mut meant = BTreeSet::new();
        for entry in entries {
            let path = join(path, &entry.key);
            let Some(schema) = self.schema_of(entry, entries, schema, &path, &mut meant) else { continue };
            if let Some(value) = self.value(&entry.value, schema, entry.position, &path) {
                map.insert(entry.key.clone(), value);
            }
        }
        let mut complete = map.len() == entries.len();
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if entries.iter().any(|entry| entry.key == key) {
                continue;
            }
            complete = false;
            // A key that is there, but misspelt, was already told.
            if !meant.contains(key) {
                let _ = self.wrong(at, &join(path, key), "nothing", &schema["properties"][key]);
            }
        }
        if entries.is_empty() && schema.get("minProperties").is_some() {
            return self.wrong(at, path, "an empty map", schema);
        }
        if path.is_empty() {
            self.right = map.clone();
        }
        complete.then_some(Value::Object(map))
    }

    /// The schema of a key's value; a key that is not allowed is told.
    fn schema_of<'s>(
        &mut self,
        entry: &Entry,
        entries: &[Entry],
        schema: &'s Value,
        path: &str,
        meant: &mut BTreeSet<&'s str>,
    ) -> Option<&'s Value> {
        let key = entry.key.as_str();
        if let Some((pattern, value)) =
            schema["patternProperties"].as_object().and_then(|all| all.iter().next())
        {
            if matches(pattern, key) {
                return Some(value);
            }
            let words =
                KEYS.iter().find(|(known, _)| known == pattern).map_or("other names", |(_, words)| words);
            self.tell(entry.position, path, format!("the name {}", quoted(key)), words);
            return None;
        }
        let properties = schema["properties"].as_object()?;
        if let Some(value) = properties.get(key) {
            return Some(value);
        }
        let keys = || properties.keys().map(String::as_str);
        let problem = self.tell(
            entry.position,
            path,
            "a key that is not known here",
            format!("the keys {}", keys().collect::<Vec<_>>().join(", ")),
        );
        let missing = keys().filter(|key| entries.iter().all(|entry| entry.key != *key));
        if let Some(near) = nearest(key, missing) {
            problem.hint = Some(format!("did you mean `{near}`?"));
            meant.insert(near);
        } else if let Some((name, _)) = key.split_once(':').filter(|(name, _)| properties.contains_key(*name))
        {
            problem.hint = Some("put a space after the colon".into());
            meant.extend(keys().find(|key| *key == name));
        } else if path == key {
            problem.hint = elsewhere(key, schema).map(str::to_owned);
        }
        None
    }

    fn list(&mut self, nodes: &[Node], schema: &Value, at: Position, path: &str) -> Option<Value> {
        if nodes.is_empty() && schema.get("minItems").is_some() {
            return self.wrong(at, path, "an empty list", schema);
        }
        if schema["maxItems"].as_u64().is_some_and(|most| nodes.len() as u64 > most) {
            let most = format!("at most {}", schema["maxItems"]);
            self.tell(at, path, format!("{} items", nodes.len()), most);
            return None;
        }
        let mut values = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            let item = format!("{path}[{index}]");
            let Some(value) = self.value(node, &schema["items"], node.position, &item) else { continue };
            let text = value.to_string();
            if let Some(first) = seen.get(&text).filter(|_| schema["uniqueItems"] == true) {
                let found = format!("{} again, as in {path}[{first}]", quoted(text.trim_matches('"')));
                self.tell(node.position, &item, found, "each item once");
                continue;
            }
            seen.insert(text, index);
            values.push(value);
        }
        (values.len() == nodes.len()).then_some(Value::Array(values))
    }

    fn scalar(
        &mut self,
        text: &str,
        scalar: Scalar<'_>,
        kind: Option<&str>,
        schema: &Value,
        position: Position,
        path: &str,
    ) -> Option<Value> {
        let right = match (kind, scalar) {
            (Some("integer"), Scalar::Whole(whole)) if within(schema, whole as f64) => {
                return Some(whole.into());
            }
            (Some("number"), Scalar::Whole(whole)) if within(schema, whole as f64) => {
                return Some(whole.into());
            }
            (Some("number"), Scalar::Decimal(number)) if within(schema, number) => {
                return Some(number.into());
            }
            (Some("boolean"), Scalar::Bool(bool)) => return Some(bool.into()),
            (Some("integer" | "number" | "boolean" | "object" | "array"), _) => None,
            (_, Scalar::Text(text)) if is_text_of(schema, text) => return Some(text.into()),
            (_, Scalar::Text(_)) => None,
            // It would be right as text, but some reader, or every one, takes it for something else.
            (_, Scalar::Nothing) => None,
            (_, _) => is_text_of(schema, text).then_some("put it in quotes"),
        };
        let found = match scalar {
            Scalar::Text("") => "empty text".into(),
            Scalar::Text(text) => match kind {
                Some("integer" | "number" | "boolean") => format!("the text {}", quoted(text)),
                _ => quoted(text),
            },
            Scalar::Whole(_) | Scalar::Decimal(_) => format!("the number {}", quoted(text)),
            Scalar::Bool(_) => quoted(text),
            Scalar::Nothing => "nothing".into(),
            Scalar::Disputed(why) => format!("{}: {why}", quoted(text)),
        };
        let hint = right.map(str::to_owned).or_else(|| hint(text, scalar, kind, schema));
        let allowed = in_words(schema, self.schema);
        self.tell(position, path, found, allowed).hint = hint;
        None
    }

    fn wrong(&mut self, at: Position, path: &str, found: &str, schema: &Value) -> Option<Value> {
        let allowed = in_words(schema, self.schema);
        self.tell(at, path, found, allowed);
        None
    }

    fn tell(
        &mut self,
        at: Position,
        path: &str,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> &mut Problem {
        let problem = Problem::new(Place::at(self.file, at), path, found, allowed);
        self.problems.push_mut(problem)
    }
}

/// What to do about a scalar that is not allowed, where that can be guessed.
fn hint(text: &str, scalar: Scalar<'_>, kind: Option<&str>, schema: &Value) -> Option<String> {
    match (kind, scalar) {
        (Some("integer" | "number"), Scalar::Text(text)) => {
            let unquoted = Scalar::read(text, true);
            matches!(unquoted, Scalar::Whole(_) | Scalar::Decimal(_)).then(|| "take the quotes away".into())
        }
        (Some("integer" | "number"), Scalar::Disputed(_)) => Some("write it in plain decimal digits".into()),
        (Some("boolean"), Scalar::Text("true" | "false")) => Some("take the quotes away".into()),
        (Some("boolean"), Scalar::Disputed(_)) => {
            let yes = matches!(text.to_ascii_lowercase().as_str(), "y" | "yes" | "on" | "true");
            Some(format!("write {yes}"))
        }
        (Some("boolean" | "object" | "array"), _) => None,
        (_, Scalar::Text(text)) => {
            let small = text.trim().to_ascii_lowercase();
            if let Some(near) = nearest(text, consts(schema)) {
                return Some(format!("did you mean `{near}`?"));
            }
            (small != text && is_text_of(schema, &small)).then(|| format!("did you mean `{small}`?"))
        }
        (_, Scalar::Whole(_)) if schema["pattern"] == DURATION => {
            Some(format!("give it a unit: {text}s for seconds, {text}m for minutes"))
        }
        _ => None,
    }
}

/// Where a key belongs that is known, but not at the top of this file.
fn elsewhere(key: &str, schema: &Value) -> Option<&'static str> {
    let has = |published: &Published| published.schema.pointer(&format!("/properties/{key}")).is_some();
    let shared = |schema: &Value| schema.pointer(&format!("/properties/defaults/properties/{key}")).is_some();
    if shared(schema) {
        Some("it belongs under `defaults`, or into a region's file")
    } else if has(&ENVIRONMENT) {
        Some("it belongs into _environment.yaml")
    } else if has(&REGION) {
        Some("it belongs into a region's file")
    } else {
        None
    }
}

/// Whether a number is within a schema's bounds.
fn within(schema: &Value, number: f64) -> bool {
    let bound = |key: &str| schema[key].as_f64();
    bound("minimum").is_none_or(|least| number >= least)
        && bound("maximum").is_none_or(|most| number <= most)
        && bound("exclusiveMinimum").is_none_or(|least| number > least)
        && bound("exclusiveMaximum").is_none_or(|most| number < most)
}

/// Whether text is what a schema of text admits.
fn is_text_of(schema: &Value, text: &str) -> bool {
    if schema.get("oneOf").is_some() {
        return consts(schema).any(|one| one == text);
    }
    let short = schema["maxLength"].as_u64().is_none_or(|most| text.chars().count() as u64 <= most);
    short && schema["pattern"].as_str().is_none_or(|pattern| matches(pattern, text))
}

/// Whether text matches one of the schemas' patterns.
fn matches(pattern: &str, text: &str) -> bool {
    PATTERNS.get(pattern).is_some_and(|pattern| pattern.is_match(text))
}

/// Every pattern of both schemas, and of names of files, compiled once.
static PATTERNS: LazyLock<HashMap<String, Regex>> = LazyLock::new(|| {
    let mut patterns = HashMap::new();
    for published in [&ENVIRONMENT, &REGION] {
        collect(published.schema.as_value(), &mut patterns);
    }
    collect(schemars::schema_for!(Name).as_value(), &mut patterns);
    patterns
});

fn collect(schema: &Value, patterns: &mut HashMap<String, Regex>) {
    let mut compile = |pattern: &String| {
        let compiled = Regex::new(pattern).expect("patterns are constant, and a test compiles them all");
        patterns.insert(pattern.clone(), compiled);
    };
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(pattern)) = map.get("pattern") {
                compile(pattern);
            }
            if let Some(Value::Object(properties)) = map.get("patternProperties") {
                properties.keys().for_each(&mut compile);
            }
            map.values().for_each(|value| collect(value, patterns));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, patterns)),
        _ => {}
    }
}
