//! Values that are text of one shape. The shape is the pattern in the JSON schema, so that an editor, the
//! check and the types agree; `validate` says it in words.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration as StdDuration;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Keyword of a schema that says in words what its pattern admits; editors show it too.
pub(super) const IN_WORDS: &str = "patternErrorMessage";

/// Pattern of a duration.
pub(super) const DURATION: &str = Duration::PATTERN;

/// What the patterns of names that are keys admit, in words: schemas of keys have no room for it.
pub(super) const KEYS: [(&str, &str); 2] =
    [(SecretName::PATTERN, SecretName::WORDS), (PoolName::PATTERN, PoolName::WORDS)];

macro_rules! schema {
    ($name:ident, $longest:literal, $pattern:expr, $words:literal) => {
        impl $name {
            #[allow(dead_code, reason = "not every shape is spoken of")]
            const PATTERN: &str = $pattern;
            #[allow(dead_code, reason = "not every shape is spoken of")]
            const WORDS: &str = $words;
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string", "maxLength": $longest, "pattern": $pattern, (IN_WORDS): $words,
                })
            }
        }
    };
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $longest:literal, $pattern:expr, $words:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub(super) String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        schema!($name, $longest, $pattern, $words);
    };
}

/// Pattern of a host, by DNS name or IPv4 address, and perhaps a port.
macro_rules! authority {
    () => {
        concat!(
            "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
            "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
        )
    };
}

text!(
    /// Name of an environment or a region: that of its folder or file.
    Name, 40, "^[a-z]([a-z0-9-]*[a-z0-9])?$",
    "a name: a small letter, then small letters, digits and hyphens, at most 40, no hyphen at the end"
);
text!(
    /// Name of a wave.
    WaveName, 40, "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    "a name of small letters, digits and hyphens, at most 40, no hyphen at either end"
);
text!(
    /// Name of a secret, and of its path in Vault.
    SecretName, 63, "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
    "a name: a small letter, then small letters, digits and hyphens, at most 63, no hyphen at the end"
);
text!(
    /// Name of a node pool.
    PoolName, 40, "^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$",
    "a name: a small letter, then small letters, digits and hyphens, at most 40, no hyphen at the end"
);
text!(
    /// Id of a Google project.
    ProjectId, 30, "^[a-z][a-z0-9-]{4,}[a-z0-9]$",
    "the id of a Google project: 6 to 30 small letters, digits and hyphens, a letter first, no hyphen at the end"
);
text!(
    /// DNS name.
    DomainName, 200, "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
    "a DNS name in small letters with a dot in it, such as qa.example.com, at most 200 characters"
);
text!(
    /// Region of Google Cloud.
    Location, 40, "^[a-z]+(-[a-z]+)+[0-9]+$",
    "a Google region, such as europe-west4"
);
text!(
    /// Letter of a zone.
    Zone, 1, "^[a-z]$",
    "the letter of a zone, such as b"
);
text!(
    /// Google machine type.
    MachineType, 63, "^[a-z][a-z0-9]*(-[a-z0-9]+)+$",
    "a Google machine type, such as e2-standard-4"
);
text!(
    /// Name of a context in a kubeconfig.
    ContextName, 200, "^[A-Za-z0-9]([A-Za-z0-9._@:/-]*[A-Za-z0-9])?$",
    "the name of a kubeconfig context: letters, digits and ._@:/- between them, at most 200"
);
text!(
    /// Address of a server that is spoken to over TLS.
    HttpsAddress, 300, concat!("^https://", authority!(), "$"),
    "an address such as https://vault.example.com:8200, without a path"
);
text!(
    /// Address of a server that is spoken to with or without TLS.
    HttpAddress, 300, concat!("^https?://", authority!(), "$"),
    "an address such as https://watcher.example.com:9092, without a path"
);
text!(
    /// Issuer of OIDC tokens; without TLS on this machine only.
    Issuer, 300, concat!(
        "^(https://", authority!(), "|http://(localhost|127\\.0\\.0\\.1)(:[1-9][0-9]{0,4})?)(/[A-Za-z0-9._~-]+)*$"
    ),
    "an issuer such as https://oidc.example.com/org/1, or http:// on localhost"
);
text!(
    /// Id in the form of RFC 9562, in small letters.
    Uuid, 36, "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "an id such as 9f3c2a1e-0b4d-4c5e-8f6a-7b8c9d0e1f2a, in small letters"
);
text!(
    /// Public key on the curve P-256: base64 of its DER form.
    PublicKey, 124, "^MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE[A-Za-z0-9+/]{86}==$",
    "a public key on the curve P-256: what stands between the lines of its PEM form, 124 characters in one"
);

text!(
    /// Why something is so, for people.
    Reason, 200, "^[^\\x00-\\x1f\\x7f]*[^\\x00-\\x20\\x7f][^\\x00-\\x1f\\x7f]*$",
    "a reason in one line, at most 200 characters"
);
text!(
    /// A moment, in UTC.
    Moment, 20,
    "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$",
    "a moment in UTC, such as '2026-12-18T18:00:00Z', in quotes"
);

impl Moment {
    /// The moment; nothing for a day that the month does not have.
    pub fn get(&self) -> Option<Timestamp> {
        self.0.parse().ok()
    }
}

/// A span of time above zero, written as a whole number and one unit: `250ms`, `5s`, `10m` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(StdDuration);

impl Duration {
    /// The span of time.
    pub fn get(self) -> StdDuration {
        self.0
    }

    /// Reads what the schema's pattern admits.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (count, unit) = (text[..digits].parse().ok()?, &text[digits..]);
        let seconds = |seconds: u64| Some(StdDuration::from_secs(seconds.checked_mul(count)?));
        match unit {
            "ms" => Some(StdDuration::from_millis(count)),
            "s" => seconds(1),
            "m" => seconds(60),
            "h" => seconds(3600),
            _ => None,
        }
        .map(Self)
    }
}

impl From<StdDuration> for Duration {
    fn from(duration: StdDuration) -> Self {
        Self(duration)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
        let (unit, name) =
            units.into_iter().find(|(unit, _)| milliseconds.is_multiple_of(*unit)).unwrap_or((1, "ms"));
        write!(f, "{}{name}", milliseconds / unit)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not a duration"))
    }
}

impl Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

schema!(
    Duration,
    8,
    "^[1-9][0-9]*(ms|s|m|h)$",
    "a duration: a whole number and one unit, such as 250ms, 5s, 10m or 1h"
);

/// A private IPv4 range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cidr(Ipv4Net);

impl Cidr {
    /// The range.
    pub fn get(self) -> Ipv4Net {
        self.0
    }

    /// The part that Terraform's `cidrsubnet(range, bits, number)` gives; nothing where there is no such part.
    pub fn part(self, bits: u8, number: u32) -> Option<Self> {
        let prefix = self.0.prefix_len().checked_add(bits).filter(|prefix| *prefix <= 32)?;
        let within = 1_u64.checked_shl(u32::from(bits)).is_some_and(|parts| u64::from(number) < parts);
        let size = 1_u64 << (32 - prefix);
        let start = u64::from(u32::from(self.0.network())) + u64::from(number) * size;
        let start = u32::try_from(start).ok().filter(|_| within)?;
        Ipv4Net::new(start.into(), prefix).ok().map(Self)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// One octet is 0 to 255 without leading zeros, which Terraform refuses.
schema!(
    Cidr,
    18,
    "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])/(1[2-6])$",
    "a private IPv4 range with a prefix of /12 to /16, such as 10.4.0.0/14"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_one_number_and_one_unit() {
        let read = |text| Duration::parse(text).map(Duration::get);
        assert_eq!(read("250ms"), Some(StdDuration::from_millis(250)));
        assert_eq!(read("90s"), Some(StdDuration::from_secs(90)));
        assert_eq!(read("1h"), Some(StdDuration::from_secs(3600)));
        for wrong in ["", "h", "5", "5d", "1h30m", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_shown_in_their_largest_whole_unit() {
        for (given, shown) in [("60s", "1m"), ("90s", "90s"), ("3600000ms", "1h"), ("1500ms", "1500ms")] {
            assert_eq!(Duration::parse(given).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn parts_are_those_of_terraform() {
        let range = Cidr("10.4.0.0/14".parse().unwrap());
        let part = |bits, number| range.part(bits, number).map(|part| part.to_string());
        // From `terraform console`: cidrsubnet("10.4.0.0/14", 6, 0) and so on.
        assert_eq!(part(6, 0).as_deref(), Some("10.4.0.0/20"));
        assert_eq!(part(6, 1).as_deref(), Some("10.4.16.0/20"));
        assert_eq!(part(2, 1).as_deref(), Some("10.5.0.0/16"));
        assert_eq!(part(2, 4), None);
        assert_eq!(part(19, 0), None);
        assert_eq!(part(200, 0), None);
    }
}
