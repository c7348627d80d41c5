//! What is wrong with a catalogue: each problem with its place, what was found, and what is allowed.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A place in a file of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as a path that starts with the catalogue's folder as it was given.
    pub file: Arc<str>,
    /// Where in the file; nothing for the file as a whole.
    pub position: Option<Position>,
}

/// Line and column, both from 1. Columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// A file as a whole.
    pub fn file(file: &Arc<str>) -> Self {
        Self { file: file.clone(), position: None }
    }

    /// A line and column in a file.
    pub fn at(file: &Arc<str>, position: Position) -> Self {
        Self { file: file.clone(), position: Some(position) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "{}:{}", self.file, position.line),
            None => self.file.fmt(f),
        }
    }
}

/// One thing that is wrong. It is shown as `file:line: key: found …; allowed …; hint`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// The key, from the top of the file down, such as `pools.spot.max` or `waves[1]`. Empty for the whole file.
    pub key: String,
    /// What was found there.
    pub found: String,
    /// What is allowed there.
    pub allowed: String,
    /// What to do, where that can be said.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub(super) fn new(
        place: Place,
        key: impl Into<String>,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self { place, key: key.into(), found: found.into(), allowed: allowed.into(), hint: None }
    }

    /// With what to do.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What is shown after the place.
    pub fn message(&self) -> String {
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{key}found {}; allowed {}{hint}", self.found, self.allowed)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message())
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            file: &'a str,
            line: Option<usize>,
            column: Option<usize>,
            key: &'a str,
            found: &'a str,
            allowed: &'a str,
            hint: Option<&'a str>,
            message: String,
        }
        let position = self.place.position;
        let flat = Flat {
            file: &self.place.file,
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            key: &self.key,
            found: &self.found,
            allowed: &self.allowed,
            hint: self.hint.as_deref(),
            message: self.message(),
        };
        flat.serialize(serializer)
    }
}

/// A catalogue that cannot be used: everything that is wrong with it, in the order of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Invalid(Vec<Problem>);

impl Invalid {
    /// Problems, at least one of them, in the order of files and lines, each once.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }

    /// The problems, in the order of files and lines.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let mut files: Vec<&str> = self.0.iter().map(|problem| &*problem.place.file).collect();
        files.dedup();
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (problems, files) = (self.0.len(), files.len());
        write!(f, "{problems} error{} in {files} file{}", plural(problems), plural(files))
    }
}

/// Found text as it is shown: on one line, between backquotes, shortened.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    // What is escaped for Rust's sake alone is shown as it stands.
    format!("`{}`", shown.replace("\\'", "'").replace("\\\"", "\""))
}

/// The candidate that was probably meant, if one is close enough.
pub(super) fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// No key and no value is longer; what is compared stays small whatever a file holds.
    const LONGEST: usize = 64;
    if found.chars().nth(LONGEST).is_some() {
        return None;
    }
    let found = found.to_lowercase();
    let distance = |candidate: &str| {
        // Half a word that is right counts as near: `generator` for `gen`.
        let begins = found.len() >= 3 && candidate.starts_with(&found);
        if begins { 1 } else { strsim::damerau_levenshtein(&found, candidate) }
    };
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    let near = candidates.into_iter().map(|candidate| (distance(candidate), candidate));
    // Of two that are as near, the one with the same letters in another order was meant.
    let (distance, candidate) =
        near.min_by_key(|(distance, candidate)| (*distance, sorted(candidate) != sorted(&found)))?;
    (distance <= candidate.chars().count().div_ceil(3)).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_is_found() {
        let keys = ["location", "wave", "range", "pools", "kubernetes"];
        assert_eq!(nearest("locaton", keys), Some("location"));
        assert_eq!(nearest("Wave", keys), Some("wave"));
        assert_eq!(nearest("kube", keys), Some("kubernetes"));
        assert_eq!(nearest("pool", keys), Some("pools"));
        assert_eq!(nearest("cidr", keys), None);
        assert_eq!(nearest(&"w".repeat(1_000_000), keys), None);
    }

    #[test]
    fn found_text_is_one_short_line() {
        assert_eq!(quoted("it's \"1\""), "`it's \"1\"`");
        assert_eq!(quoted("a\nb\u{1b}[2J"), r"`a\nb\u{1b}[2J`");
        assert_eq!(quoted(&"x".repeat(100)), format!("`{}…`", "x".repeat(60)));
    }
}
