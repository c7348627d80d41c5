//! Looks at every region: first at its pods, then at its Vault's clock, and then at what it holds.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use secrets_agent_client::Version;
use tokio::time::Instant;

use super::fences::Fences;
use super::region::{Asking, Found, Region, Trouble};
use crate::catalogue::types::SecretKind;
use crate::plan::rotation::clients::{CLIENT, PENDING};
use crate::plan::rotation::facts::{Facts, Kept, Salt, Stored, of_client, of_document};
use crate::plan::rotation::notes::Notes;
use crate::plan::rotation::{Held, Observed, Request, Traffic};
use crate::vault::kv::Metadata;

/// Regions that are looked at at the same time.
pub(super) const AT_ONCE: usize = 32;

/// Versions of one region that are read at the same time.
const READS: usize = 4;

/// Region, path and version of a document.
type Place = (String, String, Version);

/// Looks, and remembers what it has read: a version never changes.
pub(super) struct Observer {
    salt: Salt,
    known: RefCell<BTreeMap<Place, Facts>>,
    /// Regions that are left out, and since when each was seen to take no traffic at every look.
    out: RefCell<BTreeMap<String, Instant>>,
    /// The operator's clock when it began; from then on it goes as time does, whatever is done to the clock.
    began: (Timestamp, Instant),
}

impl Observer {
    pub(super) fn new(salt: Salt) -> Self {
        Self {
            salt,
            known: RefCell::default(),
            out: RefCell::default(),
            began: (Timestamp::now(), Instant::now()),
        }
    }

    /// Looks at every region.
    pub(super) async fn look<R: Region>(
        &self,
        regions: &[R],
        request: &Request,
        asking: &Asking,
        fences: &Fences,
    ) -> Vec<Observed> {
        let looks = regions.iter().map(|region| self.look_at(region, request, asking, fences));
        stream::iter(looks).buffered(AT_ONCE).collect().await
    }

    async fn look_at<R: Region>(
        &self,
        region: &R,
        request: &Request,
        asking: &Asking,
        fences: &Fences,
    ) -> Observed {
        let (name, wave) = (region.name().to_owned(), region.wave());
        let fenced = fences.of(&name);
        if request.without.contains(&name) {
            let away = || "it is left out".to_owned();
            let traffic = region.traffic().await;
            let out_for = self.out_for(&name, &traffic);
            let (vault, view) = (Err(away()), Err(away()));
            return Observed { region: name, wave, vault, view, fenced, traffic, out_for };
        }
        let view = region.view(asking).await.map_err(|trouble| trouble.to_string());
        let vault = self.held(region, request).await.map_err(|trouble| trouble.to_string());
        let traffic = Traffic::In("it is not left out".into());
        Observed { region: name, wave, vault, view, fenced, traffic, out_for: Duration::ZERO }
    }

    /// How long a region has been seen to take no traffic.
    fn out_for(&self, region: &str, traffic: &Traffic) -> Duration {
        let mut out = self.out.borrow_mut();
        match traffic {
            Traffic::In(_) => {
                out.remove(region);
                Duration::ZERO
            }
            Traffic::Out(_) => out.entry(region.to_owned()).or_insert_with(Instant::now).elapsed(),
        }
    }

    async fn held<R: Region>(&self, region: &R, request: &Request) -> Result<Held, Trouble> {
        let before = self.clock();
        let now = region.clock().await?;
        let ahead = ahead(now, before, self.clock());
        let path = format!("service/{}", request.secret);
        let mut found = Found::new();
        found.extend(region.metadata(&path).await?.map(|metadata| (path.clone(), metadata)));
        if request.kind == SecretKind::Clients {
            for folder in [CLIENT, PENDING] {
                for name in region.list(folder).await? {
                    let path = format!("{folder}/{name}");
                    found.extend(region.metadata(&path).await?.map(|metadata| (path, metadata)));
                }
            }
        }
        let notes = found.get(&path).map(|metadata| Notes::read(&metadata.custom)).unwrap_or_default();
        let stored = found.iter().map(|(path, metadata)| self.stored(region, request, path, metadata));
        let stored = stream::iter(stored).buffered(READS).try_collect().await?;
        Ok(Held { now, ahead, path, stored, notes })
    }

    async fn stored<R: Region>(
        &self,
        region: &R,
        request: &Request,
        path: &str,
        metadata: &Metadata,
    ) -> Result<(String, Stored), Trouble> {
        let mut stored = Stored { current: metadata.version, versions: BTreeMap::new() };
        for (number, state) in &metadata.versions {
            let version = Version { version: *number, created_time: state.created_time };
            let facts = match state.readable {
                true => self.facts(region, request, path, version).await?,
                false => None,
            };
            let kept = Kept { created: state.created_time, facts, destroyed: state.destroyed };
            stored.versions.insert(*number, kept);
        }
        Ok((path.to_owned(), stored))
    }

    async fn facts<R: Region>(
        &self,
        region: &R,
        request: &Request,
        path: &str,
        version: Version,
    ) -> Result<Option<Facts>, Trouble> {
        let place = (region.name().to_owned(), path.to_owned(), version);
        if let Some(facts) = self.known.borrow().get(&place) {
            return Ok(Some(facts.clone()));
        }
        let Some(document) = region.document(path, version.version).await? else { return Ok(None) };
        if document.created_time != version.created_time {
            let changed = format!("{path}: version {} became another one while it was read", version.version);
            return Err(Trouble::Away(changed));
        }
        let facts = match path.starts_with("service/") {
            true => of_document(request.kind, document.expose(), &self.salt),
            false => of_client(document.expose(), &self.salt),
        };
        self.known.borrow_mut().insert(place, facts.clone());
        Ok(Some(facts))
    }

    /// The operator's clock, to which the Vaults' are compared.
    fn clock(&self) -> Timestamp {
        let (time, instant) = self.began;
        let elapsed = SignedDuration::try_from(instant.elapsed()).unwrap_or(SignedDuration::MAX);
        time.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }
}

/// How far a Vault's clock is ahead of the operator's, when it was read between these two moments of the operator's: the
/// least that this can mean, so that a slow answer is not taken for a wrong clock.
fn ahead(now: Timestamp, before: Timestamp, after: Timestamp) -> SignedDuration {
    let (least, most) = (now.duration_since(after), now.duration_since(before));
    SignedDuration::ZERO.clamp(least, most.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_no_wrong_clock() {
        let at = |millisecond| Timestamp::from_millisecond(millisecond).unwrap();
        let ms = |now, before, after| ahead(at(now), at(before), at(after)).as_millis();
        assert_eq!(ms(10_000, 9_990, 10_010), 0);
        // It was asked, and answered at once; the answer was read seconds later.
        assert_eq!(ms(10_000, 9_990, 16_000), 0);
        assert_eq!(ms(10_000, 4_000, 10_010), 0);
        // Its clock is wrong, whenever it was read meanwhile.
        assert_eq!(ms(10_000, 4_000, 6_000), 4_000);
        assert_eq!(ms(10_000, 13_000, 15_000), -3_000);
    }
}
