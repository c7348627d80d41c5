//! What a scalar says, to every reader of the catalogue alike. Terraform, Helm and this program read the same
//! files with different YAML parsers, so what those take differently is disputed and never accepted.

use std::sync::LazyLock;

use regex::RegexSet;

/// What a scalar says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    /// Text.
    Text(&'a str),
    /// A whole number that every reader can hold.
    Whole(i64),
    /// A number with a fraction.
    Decimal(f64),
    /// True or false.
    Bool(bool),
    /// Nothing at all.
    Nothing,
    /// Something else to each reader; why.
    Disputed(&'static str),
}

impl<'a> Scalar<'a> {
    /// Reads a scalar. `plain` is whether it stands there without quotes.
    pub(super) fn read(text: &'a str, plain: bool) -> Self {
        if !plain {
            return Self::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Nothing,
            "true" => return Self::Bool(true),
            "false" => return Self::Bool(false),
            "=" | "<<" => return Self::Disputed("some readers give it a meaning of its own"),
            _ => {}
        }
        let word = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        if word(&["y", "n", "yes", "no", "on", "off", "true", "false"]) {
            return Self::Disputed("some readers take it for true or false, others for text");
        }
        // Whatever some reader takes for a number or a date begins like this.
        if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
            return Self::Text(text);
        }
        number(text).unwrap_or(Self::Text(text))
    }
}

/// What begins like a number; nothing when it is text to every reader.
fn number(text: &str) -> Option<Scalar<'static>> {
    /// Numbers up to here are whole to JSON readers, too.
    const LARGEST: i64 = 1 << 53;
    let (_, form) = FORMS[SET.matches(text).iter().next()?];
    Some(match form {
        Form::Whole => match text.parse::<i64>() {
            Ok(whole) if whole.abs() <= LARGEST => Scalar::Whole(whole),
            _ => Scalar::Disputed("some readers cannot hold so large a number"),
        },
        Form::Decimal => Scalar::Decimal(text.parse().ok()?),
        Form::Disputed(why) => Scalar::Disputed(why),
    })
}

#[derive(Clone, Copy)]
enum Form {
    Whole,
    Decimal,
    Disputed(&'static str),
}

/// Forms of what some reader takes for a number; the first that fits counts.
const FORMS: [(&str, Form); 7] = [
    ("^(0|-?[1-9][0-9]*)$", Form::Whole),
    (r"^-?(0|[1-9][0-9]{0,14})\.[0-9]{1,15}$", Form::Decimal),
    (
        r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t]|$)",
        Form::Disputed("some readers take it for a date, others for text"),
    ),
    (
        r"^[-+]?[0-9][0-9_]*(:[0-9]{1,2})+(\.[0-9_]*)?$",
        Form::Disputed("some readers take it for a number in base 60, others for text"),
    ),
    (
        r"^[-+]?\.([Ii][Nn][Ff]|[Nn][Aa][Nn])$",
        Form::Disputed("some readers take it for a number that is none, others for text"),
    ),
    ("^[-+]?0([xX][0-9a-fA-F_]+|[oO]?[0-9_]+|[bB][01_]+)$", Form::Disputed("readers disagree on its base")),
    (
        r"^[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9_]+)([eE][-+]?[0-9_]+)?$",
        Form::Disputed("some readers take it for a number, others for text"),
    ),
];

static SET: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new(FORMS.map(|(pattern, _)| pattern))
        .expect("the patterns are constant, and a test reads them")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_that_all_readers_take_alike() {
        for (text, scalar) in [
            ("0", Scalar::Whole(0)),
            ("-3", Scalar::Whole(-3)),
            ("10000", Scalar::Whole(10_000)),
            ("0.01", Scalar::Decimal(0.01)),
            ("true", Scalar::Bool(true)),
            ("false", Scalar::Bool(false)),
            ("null", Scalar::Nothing),
            ("~", Scalar::Nothing),
            ("", Scalar::Nothing),
        ] {
            assert_eq!(Scalar::read(text, true), scalar, "{text}");
        }
        for text in
            ["europe-west4", "10.0.0.0/14", "10m", "250ms", "1.2.3", "-", "+", ".", "inf", "nan", "0z", "e3"]
        {
            assert_eq!(Scalar::read(text, true), Scalar::Text(text));
        }
    }

    #[test]
    fn plain_scalars_that_readers_dispute() {
        for text in [
            "yes",
            "No",
            "ON",
            "off",
            "y",
            "N",
            "True",
            "FALSE",
            "=",
            "<<",
            "012",
            "-012",
            "08",
            "0x10",
            "0o17",
            "0b1",
            "1_000",
            "1e3",
            "1.5e-3",
            "+1",
            "-0",
            "5.",
            ".5",
            ".inf",
            "-.INF",
            ".nan",
            "1:30",
            "190:20:30.15",
            "2024-01-02",
            "2024-1-2",
            "2024-01-02T03:04:05Z",
            "2024-01-02 03:04:05",
            "9007199254740993",
            "99999999999999999999",
            "0.12345678901234567890",
        ] {
            assert!(
                matches!(Scalar::read(text, true), Scalar::Disputed(_)),
                "{text}: {:?}",
                Scalar::read(text, true)
            );
            assert_eq!(Scalar::read(text, false), Scalar::Text(text));
        }
    }
}
