//! What is wrong with a configuration, and where, without the value that was found.

use std::fmt;

use figment::error::{Actual, Kind};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A file with its path, an environment variable, or a Vault path with its version.
    pub source: String,
    /// The key, its parts joined by dots; empty for the whole source.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.source.is_empty(), self.key.is_empty()) {
            (true, true) => f.write_str("configuration"),
            (true, false) => f.write_str(&self.key),
            (false, true) => f.write_str(&self.source),
            (false, false) => write!(f, "{}: {}", self.source, self.key),
        }
    }
}

/// A configuration that cannot be used, with the place and what is allowed there.
///
/// figment's own errors print the value that they choked on, which may be a secret; this is what is
/// kept of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigurationError {
    /// Where the value is, or should be.
    pub place: Place,
    /// What is wrong and what is allowed. Never the value.
    pub message: String,
}

impl ConfigurationError {
    /// All that figment found, one for each of its errors.
    pub fn all(error: figment::Error) -> Vec<Self> {
        error.into_iter().map(Self::from).collect()
    }
}

impl From<figment::Error> for ConfigurationError {
    /// Keeps the first of the errors; [`ConfigurationError::all`] keeps each.
    fn from(error: figment::Error) -> Self {
        let source = error.metadata.as_ref().map(describe_source).unwrap_or_default();
        let key = error.path.join(".");
        ConfigurationError { place: Place { source, key }, message: describe(&error.kind) }
    }
}

fn describe_source(metadata: &figment::Metadata) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        Some(figment::Source::Code(_)) | None => metadata.name.to_string(),
        Some(other) => other.to_string(),
    }
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::MissingField(field) => format!("{field} is missing"),
        Kind::DuplicateField(field) => format!("{field} is given twice"),
        Kind::UnknownField(field, allowed) => unknown("key", field, allowed),
        // An unknown variant is a value, so only what is allowed is said.
        Kind::UnknownVariant(_, allowed) => format!("is not one of {}", allowed.join(", ")),
        Kind::InvalidType(actual, expected) => format!("expected {expected}, found {}", kind_of(actual)),
        Kind::InvalidValue(_, expected) => format!("expected {expected}"),
        Kind::InvalidLength(length, expected) => format!("expected {expected}, found {length} of them"),
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => "is a number out of range".to_owned(),
        Kind::Unsupported(actual) => format!("{} cannot stand here", kind_of(actual)),
        Kind::UnsupportedKey(_, expected) => format!("expected {expected} as the key"),
        Kind::Message(message) => syntax_place(message)
            .unwrap_or_else(|| "is not valid here; check its form in the documentation".to_owned()),
    }
}

fn unknown(what: &str, found: &str, allowed: &[&str]) -> String {
    if allowed.is_empty() {
        return format!("unknown {what} `{found}`: none is allowed here");
    }
    format!("unknown {what} `{found}`; allowed: {}", allowed.join(", "))
}

/// What was found, by kind alone.
fn kind_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) => "a whole number",
        Actual::Float(_) => "a number with a fraction",
        Actual::Char(_) | Actual::Str(_) => "a string",
        Actual::Bytes(_) => "bytes",
        Actual::Unit | Actual::Option => "nothing",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        Actual::NewtypeStruct
        | Actual::Enum
        | Actual::UnitVariant
        | Actual::NewtypeVariant
        | Actual::TupleVariant
        | Actual::StructVariant
        | Actual::Other(_) => "something else",
    }
}

/// The line and column of a syntax error, from a parser's message whose other lines quote the text.
fn syntax_place(message: &str) -> Option<String> {
    let after = |marker: &str| -> Option<u64> {
        let rest = &message[message.find(marker)? + marker.len()..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some(format!("the text cannot be parsed at line {}, column {}", after("line ")?, after("column ")?))
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format, Toml};
    use serde::Deserialize;

    use super::*;

    const CANARY: &str = "canary-51d0";

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors of reading it are looked at")]
    struct Example {
        port: u16,
        mode: Mode,
        listen: std::net::SocketAddr,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Safe,
    }

    fn refused(text: &str) -> String {
        let error = Figment::from(Toml::string(text)).extract::<Example>().unwrap_err();
        let said: Vec<String> =
            ConfigurationError::all(error).into_iter().map(|error| format!("{error} {error:?}")).collect();
        let said = said.join("\n");
        assert!(!said.contains(CANARY), "{said}");
        said
    }

    #[test]
    fn each_kind_of_error_keeps_its_place_and_drops_the_value() {
        let good = "port = 1\nmode = 'fast'\nlisten = '127.0.0.1:1'\n";
        assert!(Figment::from(Toml::string(good)).extract::<Example>().is_ok());
        for (text, expected) in [
            (
                format!("port = '{CANARY}'\nmode = 'fast'\nlisten = '127.0.0.1:1'"),
                "port: expected u16, found a string",
            ),
            (
                format!("port = 1\nmode = '{CANARY}'\nlisten = '127.0.0.1:1'"),
                "mode: is not one of fast, safe",
            ),
            (format!("port = 1\nmode = 'fast'\nlisten = '{CANARY}'"), "listen: is not valid here"),
            ("mode = 'fast'\nlisten = '127.0.0.1:1'".to_owned(), "port is missing"),
            (format!("{good}prot = '{CANARY}'"), "unknown key `prot`; allowed: port, mode, listen"),
            (format!("port = 1\nmode = [{CANARY}"), "cannot be parsed at line 2"),
            ("port = 99999\nmode = 'fast'\nlisten = '127.0.0.1:1'".to_owned(), "port: expected u16"),
        ] {
            let said = refused(&text);
            assert!(said.contains(expected), "wanted {expected:?} in {said:?}");
        }
    }

    #[test]
    fn the_file_is_named() {
        let folder = std::env::temp_dir().join(format!("client-configuration-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("example.toml");
        std::fs::write(&file, "port = true").unwrap();
        let error = Figment::from(Toml::file(&file)).extract::<Example>().unwrap_err();
        let said = ConfigurationError::from(error).to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(said.contains("example.toml: port: expected u16, found a boolean"), "{said}");
    }
}
