//! What verbs print when they are done.

use std::fmt::Display;
use std::io::Write as _;

use serde::Serialize;

/// Prints a result. A reader that went away is no reason to fail.
pub(crate) fn result(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// Prints a result for programs.
pub(crate) fn json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(value) {
        result(&format!("{text}\n"));
    }
}

/// Says what is wrong, on standard error.
pub(crate) fn complaint(wrong: &impl Display) {
    let _ = writeln!(std::io::stderr(), "{wrong}");
}

/// Says what is wrong, with its causes.
pub(crate) fn error(error: &dyn std::error::Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    complaint(&text);
}

/// Rows as columns that stand below each other.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
