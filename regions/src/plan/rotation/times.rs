//! How long things may last: the ceilings of the catalogue, those that the pods have, and those that they had.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Observed;
use crate::catalogue::text;
use crate::catalogue::types::Ceilings;

/// What the configuration of a service may say at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Life of a token.
    pub token_life: Duration,
    /// How long a JWKS may be cached.
    pub jwks_max_age: Duration,
    /// How long verifiers take a token after its end.
    pub leeway: Duration,
    /// Difference of clocks that is borne.
    pub skew: Duration,
}

/// Ceilings that were higher before, and count until every token that they allowed has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Former {
    /// The ceilings.
    pub times: Times,
    /// Until when, by the Vault's clock.
    pub until: Timestamp,
}

impl From<&Ceilings> for Times {
    fn from(ceilings: &Ceilings) -> Self {
        Self {
            token_life: ceilings.token_life.get(),
            jwks_max_age: ceilings.jwks_max_age.get(),
            leeway: ceilings.leeway.get(),
            skew: ceilings.skew.get(),
        }
    }
}

impl Times {
    /// The same for everything.
    pub fn all(duration: Duration) -> Self {
        Self { token_life: duration, jwks_max_age: duration, leeway: duration, skew: duration }
    }

    /// The greater of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            token_life: self.token_life.max(other.token_life),
            jwks_max_age: self.jwks_max_age.max(other.jwks_max_age),
            leeway: self.leeway.max(other.leeway),
            skew: self.skew.max(other.skew),
        }
    }

    /// From the last token that a key signed until no verifier takes it any more.
    pub fn token(self) -> Duration {
        self.token_life + self.leeway + self.skew
    }

    /// From the last JWKS without a key until nobody holds one any more.
    pub fn jwks(self) -> Duration {
        self.jwks_max_age + self.skew
    }

    /// From words such as `token_life=1h`.
    pub(super) fn read(words: &[&str]) -> Option<Self> {
        let [token_life, jwks_max_age, leeway, skew] = words else { return None };
        let of = |word: &str, key: &str| {
            let text = word.strip_prefix(key)?.strip_prefix('=')?;
            Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()
        };
        Some(Self {
            token_life: of(token_life, "token_life")?,
            jwks_max_age: of(jwks_max_age, "jwks_max_age")?,
            leeway: of(leeway, "leeway")?,
            skew: of(skew, "skew")?,
        })
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [token_life, jwks_max_age, leeway, skew] =
            [self.token_life, self.jwks_max_age, self.leeway, self.skew].map(text::Duration::from);
        write!(f, "token_life={token_life} jwks_max_age={jwks_max_age} leeway={leeway} skew={skew}")
    }
}

/// What counts: the highest of what the catalogue says, what pods show, and what was noted and has not run out.
pub(super) fn in_effect(catalogue: Times, regions: &[&Observed]) -> Times {
    regions.iter().fold(catalogue, |times, region| {
        let mut times = times.max(shown(region, catalogue));
        if let Ok(held) = &region.vault {
            times = held.notes.ceilings.map_or(times, |noted| times.max(noted));
            let former = held.notes.former.filter(|former| held.now < former.until);
            times = former.map_or(times, |former| times.max(former.times));
        }
        times
    })
}

/// What a region's note should say, where it does not say so.
///
/// A ceiling that was lowered counts only when no token of the former one can be left, and that is reckoned from the
/// moment at which every pod was seen to have the lower one.
pub(super) fn to_note(catalogue: Times, region: &Observed) -> Option<(Times, Option<Former>)> {
    let (Ok(held), Ok(_)) = (&region.vault, &region.view) else { return None };
    let now = catalogue.max(shown(region, catalogue));
    let Some(noted) = held.notes.ceilings else { return Some((now, None)) };
    let kept = held.notes.former.filter(|former| held.now < former.until);
    if noted == now {
        return (kept != held.notes.former).then_some((now, kept));
    }
    if noted.max(now) == now {
        return Some((now, kept));
    }
    let until = held.now.checked_add(noted.token()).unwrap_or(Timestamp::MAX);
    let former = match kept {
        Some(kept) => Former { times: kept.times.max(noted), until: kept.until.max(until) },
        None => Former { times: noted, until },
    };
    Some((now, Some(former)))
}

/// The highest that any pod of a region has now, or has as its own ceiling.
fn shown(region: &Observed, least: Times) -> Times {
    let services = region.view.as_ref().map(|view| view.pods.as_slice()).unwrap_or_default();
    services.iter().filter_map(|pod| pod.service.as_ref()).fold(least, |times, service| {
        let of = |key: &str, least: Duration| {
            let all = [&service.settings, &service.ceilings].into_iter().filter_map(|map| map.get(key));
            // What is no length of time is no statement. Up to whole milliseconds, as it is noted.
            let whole = |seconds: &f64| Duration::try_from_secs_f64((seconds * 1e3).ceil() / 1e3).ok();
            all.filter_map(whole).fold(least, Duration::max)
        };
        Times {
            token_life: of("token_life", times.token_life),
            jwks_max_age: of("jwks_max_age", times.jwks_max_age),
            leeway: of("leeway", times.leeway),
            skew: of("skew", times.skew),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_come_back_from_text(
            life in 1u64..90_000_000, age in 1u64..90_000_000, leeway in 1u64..1_000_000, skew in 1u64..1_000_000
        ) {
            let [token_life, jwks_max_age, leeway, skew] =
                [life, age, leeway, skew].map(Duration::from_millis);
            let times = Times { token_life, jwks_max_age, leeway, skew };
            let text = times.to_string();
            prop_assert_eq!(Times::read(&text.split(' ').collect::<Vec<_>>()), Some(times), "{}", text);
        }
    }
}
