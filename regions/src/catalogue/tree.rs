//! A file of the catalogue as a tree in which everything knows its line and column.
//!
//! serde stops at the first error and forgets places, so this is built from the parser's events (the parser is
//! the one inside serde-saphyr). What YAML readers take differently, or what could make a small file large, is
//! a problem here: anchors, aliases, merge keys, tags, directives, several documents.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::problem::{Place, Position, Problem, quoted};
use super::scalar::Scalar;

/// Lists and maps inside of each other that are read; a catalogue has five.
const DEEPEST: usize = 16;

/// A node and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) kind: Kind,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A scalar; `plain` without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file, each key once.
    Map(Vec<Entry>),
    /// Something of which a problem was already told.
    Broken,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) position: Position,
    pub(super) value: Node,
}

impl Node {
    /// An item, if this is a list that has it.
    pub(super) fn item(&self, index: usize) -> Option<&Node> {
        match &self.kind {
            Kind::List(nodes) => nodes.get(index),
            _ => None,
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }
}

/// Reads a file's text. Nothing comes back when there is nothing to check: what is wrong is in `problems`.
pub(super) fn parse(file: &Arc<str>, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let strange = unreadable_characters(file, text);
    if !strange.is_empty() {
        problems.extend(strange);
        return None;
    }
    let mut builder = Builder { file, problems, open: Vec::new(), root: None };
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
        emit_unresolved_aliases: true,
        strict_indentation: true,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((Event::DocumentStart(marked, _), span)) => {
                documents += 1;
                if documents > 1 {
                    builder.refuse(span, "", "a second document", "one document in a file");
                    break;
                }
                if marked {
                    builder.refuse(span, "", "a document marker (`---`)", "a file without document markers");
                }
            }
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                builder.problems.push(syntax(file, &error));
                return None;
            }
        }
    }
    builder.root
}

/// A collection whose end has not come yet.
struct Open {
    position: Position,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, lines: HashMap<String, usize>, key: Option<Key> },
}

/// A key whose value has not come yet.
struct Key {
    text: String,
    position: Position,
    /// Whether a problem was told of it, so that it and its value are left out.
    broken: bool,
}

struct Builder<'a> {
    file: &'a Arc<str>,
    problems: &'a mut Vec<Problem>,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) {
        let position = position(span.start);
        if event.anchor_id().is_some() {
            self.refuse(span, "", "an anchor (`&`)", "values written out where they stand");
        }
        if let Some(tag) = event.tag() {
            self.refuse(span, "", quoted(&tag.original()), "values without tags (`!`)");
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                self.place(Node { position, kind: Kind::Scalar { text: text.into_owned(), plain } });
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(span, "", "an alias (`*`)", "values written out where they stand");
                self.place(Node { position, kind: Kind::Broken });
            }
            Event::SequenceStart(..) => {
                self.open.push(Open { position, content: Content::List(Vec::new()) });
            }
            Event::MappingStart(..) => {
                let content = Content::Map { entries: Vec::new(), lines: HashMap::new(), key: None };
                self.open.push(Open { position, content });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { position, content }) = self.open.pop() {
                    let kind = match content {
                        Content::List(nodes) => Kind::List(nodes),
                        Content::Map { entries, .. } => Kind::Map(entries),
                    };
                    self.place(Node { position, kind });
                }
            }
            _ => {}
        }
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node) {
        let path = self.path();
        let Some(Open { content, .. }) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match content {
            Content::List(nodes) => nodes.push(node),
            Content::Map { entries, lines, key } => match key.take() {
                None => *key = Some(read_key(self.file, &path, node, lines, self.problems)),
                Some(Key { broken: true, .. }) => {}
                Some(Key { text, position, .. }) => entries.push(Entry { key: text, position, value: node }),
            },
        }
    }

    /// The key of what is being read, from the top of the file down.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match &open.content {
                Content::List(nodes) => path = format!("{path}[{}]", nodes.len()),
                Content::Map { key: Some(key), .. } => path = join(&path, &key.text),
                Content::Map { key: None, .. } => {}
            }
        }
        path
    }

    fn refuse(&mut self, span: Span, key: &str, found: impl Into<String>, allowed: &str) {
        let path = join(&self.path(), key);
        let place = Place::at(self.file, position(span.start));
        self.problems.push(Problem::new(place, path, found, allowed));
    }
}

/// Reads a key of a map, and tells what is wrong with it.
fn read_key(
    file: &Arc<str>,
    path: &str,
    node: Node,
    lines: &mut HashMap<String, usize>,
    problems: &mut Vec<Problem>,
) -> Key {
    let position = node.position;
    let mut refuse = |key: &str, found: String, allowed: &str, hint: Option<String>| {
        let problem = Problem::new(Place::at(file, position), join(path, key), found, allowed);
        problems.push(Problem { hint, ..problem });
    };
    let Kind::Scalar { text, plain } = node.kind else {
        if node.kind != Kind::Broken {
            refuse("", "a list or a map as a key".into(), "keys that are text", None);
        }
        return Key { text: "?".into(), position, broken: true };
    };
    let mut broken = true;
    match Scalar::read(&text, plain) {
        Scalar::Text(_) => broken = false,
        Scalar::Disputed(_) if text == "<<" => {
            refuse(&text, "a merge key (`<<`)".into(), "values written out where they stand", None);
        }
        Scalar::Disputed(why) => {
            let found = format!("{} as a key, without quotes: {why}", quoted(&text));
            refuse(&text, found, "keys that are text to every reader", Some("choose another name".into()));
        }
        _ => {
            let found = format!("{} as a key, which is not text", quoted(&text));
            refuse(&text, found, "keys that are text", None);
        }
    }
    if let Some(line) = lines.get(&text) {
        let found = format!("{} again, first on line {line}", quoted(&text));
        refuse(&text, found, "each key once", None);
        broken = true;
    } else {
        lines.insert(text.clone(), position.line);
    }
    Key { text, position, broken }
}

/// A key below another.
pub(super) fn join(path: &str, key: &str) -> String {
    match (path, key) {
        (path, "") => path.to_owned(),
        ("", key) => key.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// Characters that readers take differently, once for each line that has one.
fn unreadable_characters(file: &Arc<str>, text: &str) -> Vec<Problem> {
    let text = text.replace("\r\n", "\n");
    let in_line = |(line, text): (usize, &str)| {
        let (column, found) = (1..).zip(text.chars()).find(|(_, c)| is_strange(*c))?;
        let place = Place::at(file, Position { line, column });
        let (found, hint) = match found {
            '\t' => ("a tab".to_owned(), "indent with spaces"),
            '\u{feff}' => ("a byte order mark".to_owned(), "save the file as UTF-8 without it"),
            other => (format!("the character U+{:04X}", u32::from(other)), "take it out"),
        };
        Some(Problem::new(place, "", found, "visible characters, spaces and line feeds").hint(hint))
    };
    (1..).zip(text.split('\n')).filter_map(in_line).collect()
}

/// Control characters, and line breaks that only some readers know.
fn is_strange(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// An error of the parser. Nothing after it can be read.
fn syntax(file: &Arc<str>, error: &ScanError) -> Problem {
    let place = Place::at(file, position(*error.marker()));
    let problem = |found: String, allowed: &str| Problem::new(place, "", found, allowed);
    match error.kind() {
        ErrorKind::DirectiveDisallowed => problem("a directive (`%`)".into(), "a file without directives"),
        ErrorKind::RecursionLimitExceeded => {
            problem("lists and maps inside of each other".into(), &format!("at most {DEEPEST} of them"))
        }
        kind => {
            let hint = match kind {
                ErrorKind::SimpleKeyExpected => "write `key: value`, with a space after the colon",
                _ => "look at this line and those above: indentation, and brackets or quotes without an end",
            };
            problem(format!("what is not YAML: {}", error.info()), "YAML").hint(hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Node>, Vec<String>) {
        let mut problems = Vec::new();
        let node = parse(&"f".into(), text, &mut problems);
        (node, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn everything_knows_its_place() {
        let (node, problems) = read("a: 1\nb:\n  c: [x, 'y']\n");
        assert_eq!(problems, [""; 0]);
        let c = node.as_ref().unwrap().get("b").unwrap().value.get("c").unwrap();
        assert_eq!((c.position.line, c.position.column), (3, 3));
        let Kind::List(items) = &c.value.kind else { panic!("{c:?}") };
        assert_eq!(items[1].position, Position { line: 3, column: 10 });
        assert_eq!(items[1].kind, Kind::Scalar { text: "y".into(), plain: false });
    }

    #[test]
    fn what_only_some_readers_know_is_told_all_at_once() {
        let (_, problems) =
            read("a: &x 1\nb: *x\n<<: {c: 1}\nd: !!str 1\ne: [*missing]\n? [f]\n: 1\nyes: 1\na: 2\n");
        assert_eq!(
            problems,
            [
                "f:1: a: found an anchor (`&`); allowed values written out where they stand",
                "f:2: b: found an alias (`*`); allowed values written out where they stand",
                "f:3: <<: found a merge key (`<<`); allowed values written out where they stand",
                "f:4: d: found `!!str`; allowed values without tags (`!`)",
                "f:5: e[0]: found an alias (`*`); allowed values written out where they stand",
                "f:6: found a list or a map as a key; allowed keys that are text",
                "f:8: yes: found `yes` as a key, without quotes: some readers take it for true or false, others \
                 for text; allowed keys that are text to every reader; choose another name",
                "f:9: a: found `a` again, first on line 1; allowed each key once",
            ]
        );
    }
}
