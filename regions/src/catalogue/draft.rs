//! A file on its way from bytes to types: its tree, and what in it is right so far.

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::files::Content;
use super::problem::{Place, Position, Problem, quoted};
use super::schema::Published;
use super::tree::{Kind, Node};
use super::{modeline, shape, tree};

/// A file that could be read as YAML.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) file: Arc<str>,
    pub(super) text: String,
    root: Node,
    right: Map<String, Value>,
}

/// What a draft says under one of its keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said<T> {
    /// Something right, and where.
    Right(T, Place),
    /// Something wrong, which was told.
    Wrong,
    /// Nothing.
    Absent,
}

impl<T> Said<T> {
    /// What is right, if it is.
    pub(super) fn right(self) -> Option<(T, Place)> {
        match self {
            Self::Right(value, place) => Some((value, place)),
            Self::Wrong | Self::Absent => None,
        }
    }
}

impl Draft {
    /// Reads a file and checks its shape. Nothing comes back when it holds no map at all, which was told.
    pub(super) fn read(
        content: &Content,
        schema: &'static Published,
        is_file: &dyn Fn(&Path) -> bool,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let file = content.path.clone();
        let text = match std::str::from_utf8(&content.bytes) {
            Ok(text) => text.to_owned(),
            Err(error) => {
                let (before, after) = content.bytes.split_at(error.valid_up_to());
                let position = end_of(&String::from_utf8_lossy(before));
                let found =
                    format!("the byte 0x{:02x}, which is not UTF-8", after.first().copied().unwrap_or(0));
                problems.push(Problem::new(Place::at(&file, position), "", found, "text in UTF-8"));
                return None;
            }
        };
        if !text.trim().is_empty() {
            problems.extend(modeline::check(&file, &text, schema.file, is_file));
        }
        let already = problems.len();
        let Some(root) = tree::parse(&file, &text, problems) else {
            if problems.len() == already {
                let found = if text.trim().is_empty() { "an empty file" } else { "comments alone" };
                let keys = schema.keys().collect::<Vec<_>>().join(", ");
                problems.push(Problem::new(Place::file(&file), "", found, format!("the keys {keys}")));
            }
            return None;
        };
        let right = shape::check(&file, &root, schema, problems);
        if !matches!(root.kind, Kind::Map(_)) {
            return None;
        }
        Some(Self { file, text, root, right })
    }

    /// What the file says under a key at its top.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Said<T> {
        let Some(entry) = self.root.get(key) else { return Said::Absent };
        let read = self.right.get(key).and_then(|value| serde_json::from_value(value.clone()).ok());
        read.map_or(Said::Wrong, |value| Said::Right(value, Place::at(&self.file, entry.value.position)))
    }

    /// What is right in the file, by key.
    pub(super) fn said(&self) -> &Map<String, Value> {
        &self.right
    }

    /// All of the file, when nothing in it is wrong.
    pub(super) fn whole<T: DeserializeOwned>(&self, problems: &mut Vec<Problem>) -> Option<T> {
        let read = serde_json::from_value(Value::Object(self.right.clone()));
        read.map_err(|error| problems.push(impossible(&self.file, &error.to_string()))).ok()
    }

    /// The place of a line.
    pub(super) fn line(&self, line: usize) -> Place {
        Place::at(&self.file, Position { line, column: 1 })
    }

    /// The place of a value below keys, or of the nearest above it that is there.
    pub(super) fn place(&self, path: &[&str]) -> Place {
        let mut node = &self.root;
        let mut position = node.position;
        for key in path {
            let item = key.parse().ok().and_then(|index: usize| node.item(index));
            match (node.get(key), item) {
                (Some(entry), _) => (node, position) = (&entry.value, entry.position),
                (None, Some(item)) => (node, position) = (item, item.position),
                (None, None) => break,
            }
        }
        Place::at(&self.file, position)
    }
}

/// A file that passed every check and still does not fit the types. The schemas are generated from the types,
/// so only an error in this program comes here.
pub(super) fn impossible(file: &Arc<str>, why: &str) -> Problem {
    let allowed = "what the schema admits; this is an error in `regions` itself, please report it";
    Problem::new(Place::file(file), "", quoted(why), allowed)
}

/// The position just after a text.
fn end_of(text: &str) -> Position {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Position { line, column }
}
