//! A JSON document as a tree that knows the place of everything in it.
//!
//! serde's own errors quote the value that they could not read and stop at the first. The documents
//! read here hold private keys, and an operator wants to see everything that is wrong at once.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// What is wrong with a document, and where. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError {
    /// Each problem, as `place: what is wrong and what is allowed`.
    pub problems: Vec<String>,
}

impl DocumentError {
    /// An error with a single problem, about the whole document.
    pub fn whole(problem: impl Into<String>) -> Self {
        DocumentError { problems: vec![problem.into()] }
    }
}

/// So many problems are written out; the rest is counted.
const SHOWN: usize = 8;

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(SHOWN).enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            f.write_str(problem)?;
        }
        match self.problems.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for DocumentError {}

/// Reads a whole document: `read` walks it and gives what it holds, or `None` after it has noted why not.
pub(super) fn read_document<T>(
    json: &[u8],
    read: impl FnOnce(&Cursor<'_>) -> Option<T>,
) -> Result<T, DocumentError> {
    let node: Node = serde_json::from_slice(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        DocumentError::whole(format!("the text is no JSON at line {line}, column {column}"))
    })?;
    let problems = RefCell::default();
    let found = read(&Cursor { node: &node, place: String::new(), problems: &problems });
    let problems = problems.into_inner();
    match found {
        Some(found) if problems.is_empty() => Ok(found),
        _ if problems.is_empty() => Err(DocumentError::whole("the document cannot be read")),
        _ => Err(DocumentError { problems }),
    }
}

/// One value of the document, with its place.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    node: &'a Node,
    place: String,
    problems: &'a RefCell<Vec<String>>,
}

impl<'a> Cursor<'a> {
    /// Notes what is wrong here. `problem` must not hold the value.
    pub(super) fn refuse(&self, problem: impl fmt::Display) {
        let problem = match self.place.is_empty() {
            true => problem.to_string(),
            false => format!("{}: {problem}", self.place),
        };
        self.problems.borrow_mut().push(problem);
    }

    /// A string.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.node {
            Node::Text(text) => Some(text),
            other => self.mismatch("a string", other),
        }
    }

    /// A list, each item with its place.
    pub(super) fn list(&self) -> Option<Vec<Cursor<'a>>> {
        match self.node {
            Node::List(items) => {
                let items = items.iter().enumerate();
                Some(
                    items.map(|(index, node)| self.inner(format!("{}[{index}]", self.place), node)).collect(),
                )
            }
            other => self.mismatch("a list", other),
        }
    }

    /// A table whose keys are names that the document's author chose. A key given twice is refused.
    pub(super) fn entries(&self) -> Option<Vec<(&'a str, Cursor<'a>)>> {
        let Node::Table(entries) = self.node else { return self.mismatch("a table", self.node) };
        let mut seen = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            let cursor = self.inner(self.below(key), node);
            if seen.iter().any(|(other, _): &(&str, Cursor<'_>)| other == key) {
                cursor.refuse("is given twice");
            }
            seen.push((key.as_str(), cursor));
        }
        Some(seen)
    }

    /// A table with these keys and no other.
    pub(super) fn table(&self, allowed: &[&str]) -> Option<Table<'a>> {
        let entries = self.entries()?;
        for (key, cursor) in &entries {
            if !allowed.contains(key) {
                cursor.refuse(format_args!("unknown key; allowed here: {}", allowed.join(", ")));
            }
        }
        Some(Table { place: self.inner(self.place.clone(), self.node), entries })
    }

    /// The value of a key, without noting anything when there is none.
    pub(super) fn peek(&self, key: &str) -> Option<Cursor<'a>> {
        let Node::Table(entries) = self.node else { return None };
        let (_, node) = entries.iter().find(|(name, _)| name == key)?;
        Some(self.inner(self.below(key), node))
    }

    /// A string, without noting anything when it is none.
    pub(super) fn peek_text(&self) -> Option<&'a str> {
        match self.node {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    fn inner(&self, place: String, node: &'a Node) -> Cursor<'a> {
        Cursor { node, place, problems: self.problems }
    }

    fn below(&self, key: &str) -> String {
        let mut key: String = key.escape_debug().take(MAX_KEY).collect();
        if key.is_empty() {
            key.push_str("\"\"");
        }
        if self.place.is_empty() { key } else { format!("{}.{key}", self.place) }
    }

    fn mismatch<T>(&self, expected: &str, found: &Node) -> Option<T> {
        self.refuse(format_args!("expected {expected}, found {}", found.kind()));
        None
    }
}

/// A longer key is cut where it is written into a message.
const MAX_KEY: usize = 80;

/// A table with known keys.
#[derive(Debug)]
pub(super) struct Table<'a> {
    place: Cursor<'a>,
    entries: Vec<(&'a str, Cursor<'a>)>,
}

impl<'a> Table<'a> {
    /// The value of a key that must be there.
    pub(super) fn required(&self, key: &str) -> Option<&Cursor<'a>> {
        let found = self.optional(key);
        if found.is_none() {
            self.place.inner(self.place.below(key), self.place.node).refuse("is missing");
        }
        found
    }

    /// The value of a key that may be absent or null.
    pub(super) fn optional(&self, key: &str) -> Option<&Cursor<'a>> {
        let (_, cursor) = self.entries.iter().find(|(name, _)| *name == key)?;
        (!matches!(cursor.node, Node::Null)).then_some(cursor)
    }
}

/// A JSON value. Strings are wiped when they are dropped.
enum Node {
    Null,
    Flag,
    Number,
    Text(Zeroizing<String>),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Flag => "a boolean",
            Node::Number => "a number",
            Node::Text(_) => "a string",
            Node::List(_) => "a list",
            Node::Table(_) => "a table",
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
                Ok(Node::Flag)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Number)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Number)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Number)
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(Zeroizing::new(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
                let mut table = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    table.push(entry);
                }
                Ok(Node::Table(table))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(json: &str) -> Vec<String> {
        read_document(json.as_bytes(), |root| {
            let table = root.table(&["name", "items", "note"])?;
            let name = table.required("name").and_then(Cursor::text);
            let items = table.required("items").and_then(Cursor::list);
            for item in items? {
                item.text();
            }
            table.optional("note").and_then(Cursor::text);
            name.map(drop)
        })
        .map_or_else(|error| error.problems, |()| Vec::new())
    }

    #[test]
    fn a_good_document_is_read_and_null_counts_as_absent() {
        assert_eq!(problems(r#"{"name": "n", "items": ["a"], "note": null}"#), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_told_with_its_place_and_without_its_value() {
        let found = problems(
            r#"{"name": 4711, "items": ["a", {"canary": 1}], "nmae": "canary", "note": ["canary"]}"#,
        );
        assert_eq!(
            found,
            [
                "nmae: unknown key; allowed here: name, items, note",
                "name: expected a string, found a number",
                "items[1]: expected a string, found a table",
                "note: expected a string, found a list",
            ]
        );
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        assert_eq!(problems(r#"{"name": "a", "items": [], "name": "b"}"#), ["name: is given twice"]);
    }

    #[test]
    fn what_is_no_json_says_where() {
        assert_eq!(problems("{\n\"name\": canary}"), ["the text is no JSON at line 2, column 9"]);
    }

    #[test]
    fn a_long_list_of_problems_is_cut() {
        let error = DocumentError { problems: (0..11).map(|n| format!("p{n}")).collect() };
        assert!(error.to_string().ends_with("p7; and 3 more"), "{error}");
    }
}
