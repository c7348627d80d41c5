//! Values of the configuration that have a form of their own.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A length of time, written as `250ms`, `3s`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Span(pub(crate) Duration);

/// A whole number, also when it is written in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub(super) u32);

/// An address to listen on, written as `0.0.0.0:8443`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listen(pub(super) SocketAddr);

/// A short text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

/// A short text that whoever fills it in may not know; it is empty then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known(pub(super) Option<String>);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed("a length of time such as 250ms, 3s or 1h", |text| {
            let span: SignedDuration = text.parse().ok()?;
            Duration::try_from(span).ok().map(Span)
        }))
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an IP address and a port such as 0.0.0.0:8443";
        deserializer.deserialize_str(Parsed(expected, |text| text.parse().ok().map(Listen)))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Parsed("a whole number", |text| text.parse().ok().map(Number)))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed(PLAIN, |text| plain(text).map(Text)))
    }
}

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed(PLAIN, |text| {
            if text.is_empty() { Some(Known(None)) } else { plain(text).map(|text| Known(Some(text))) }
        }))
    }
}

const PLAIN: &str = "a text without control characters";

fn plain(text: &str) -> Option<String> {
    let plain = !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control);
    plain.then(|| text.to_owned())
}

/// Reads a string with a function; what was found is not told, what is expected is.
pub(crate) struct Parsed<T>(pub(crate) &'static str, pub(crate) fn(&str) -> Option<T>);

impl<T> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::invalid_value(Unexpected::Other("another text"), &self))
    }

    /// For [`Number`] alone: the others ask for a string.
    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}
