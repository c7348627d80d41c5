//! Durations and sizes as people write them.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

/// A duration written as a whole number with a unit: `250ms`, `5s`, `10m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A size written as a whole number of bytes with an optional unit: `512`, `64KiB`, `1MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1), ("", 1)];

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes a number with the largest unit that divides it.
fn write(f: &mut fmt::Formatter<'_>, number: u64, units: &[(&str, u64)]) -> fmt::Result {
    let best =
        units.iter().filter(|(_, factor)| number.is_multiple_of(*factor)).max_by_key(|(_, factor)| *factor);
    let (unit, factor) = best.copied().unwrap_or(("", 1));
    write!(f, "{}{unit}", number / factor)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIMES)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0 as u64, &SIZES[..3])
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis = deserializer
            .deserialize_str(Text { units: &TIMES, expected: "a duration such as \"5s\" or \"10m\"" })?;
        Ok(Time(Duration::from_millis(millis)))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes =
            deserializer.deserialize_any(Text { units: &SIZES, expected: "a size such as \"1MiB\"" })?;
        usize::try_from(bytes)
            .map(Size)
            .map_err(|_| de::Error::invalid_value(Unexpected::Unsigned(bytes), &"a size"))
    }
}

struct Text {
    units: &'static [(&'static str, u64)],
    expected: &'static str,
}

impl Visitor<'_> for Text {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse(text, self.units).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        parse(&number.to_string(), self.units)
            .ok_or_else(|| E::invalid_type(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number)
            .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            .and_then(|n| self.visit_u64(n))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_required_for_times_and_optional_for_sizes() {
        for (text, millis) in [("250ms", 250), ("5s", 5000), ("10m", 600_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(parse(text, &TIMES), Some(millis), "{text}");
        }
        for text in
            ["", "5", "s", "5 s", "-5s", "5.5s", "5days", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(parse(text, &TIMES), None, "{text}");
        }
        assert_eq!(parse("64KiB", &SIZES), Some(65_536));
        assert_eq!(parse("512", &SIZES), Some(512));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0_u64..1_000_000_000_000) {
            let shown = Time(Duration::from_millis(millis)).to_string();
            prop_assert_eq!(parse(&shown, &TIMES), Some(millis));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text, &TIMES);
            let _ = parse(&text, &SIZES);
        }
    }
}
