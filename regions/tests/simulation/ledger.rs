//! What must never be, looked for whenever any pod changes: a token that does not verify somewhere, a client that is
//! turned away, a version that is said to be used everywhere and is not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regions::catalogue::types::SecretKind;
use regions::plan::rotation::times::Times;
use regions::plan::view;
use regions::vault::kv::Document;
use secrets_agent_client::Version;
use serde_json::Value;

use crate::documents::{keys, takes};
use crate::world::RegionState;

/// What was seen, and what was wrong with it.
#[derive(Default)]
pub(crate) struct Ledger {
    kind: Option<SecretKind>,
    pub(crate) violations: Vec<String>,
    kids: BTreeMap<String, Kid>,
    /// What the first key's tokens lived before the ceilings were lowered, at the beginning.
    pub(crate) former: Option<Times>,
    served: bool,
    pub(crate) clients: BTreeMap<String, Client>,
    /// Kids that each rotation brought.
    pub(crate) brought: BTreeMap<String, BTreeSet<String>>,
}

/// A key, as all pods in traffic show it.
#[derive(Default, Clone)]
struct Kid {
    /// When the last JWKS without it was given out.
    absent: Option<Duration>,
    /// When it last signed.
    signed: Option<Duration>,
    lacking: bool,
    signing: bool,
}

/// A client.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) secret: String,
    /// When it looked for its secret last.
    pub(crate) looked: Duration,
}

impl Ledger {
    pub(crate) fn of(kind: SecretKind) -> Self {
        Self { kind: Some(kind), ..Self::default() }
    }

    pub(crate) fn violation(&mut self, what: String) {
        // One wrong thing is seen again and again.
        if !self.violations.contains(&what) {
            self.violations.push(what);
        }
    }

    /// Looks at what every pod in traffic uses now. Until now, each used what it used at the look before.
    pub(crate) fn look(&mut self, now: Duration, regions: &[RegionState], times: Times) {
        let pods = regions.iter().filter(|region| !region.drained).flat_map(|region| &region.pods);
        let serving: Vec<(&str, &Value)> = pods
            .filter_map(|pod| {
                let (_, document) = pod.service.as_ref()?.used.as_ref()?;
                Some((pod.name.as_str(), document.as_ref()))
            })
            .collect();
        match self.kind {
            Some(SecretKind::Keyset) => self.keys(now, &serving, times),
            Some(SecretKind::Clients) => self.clients(now, &serving, times),
            _ => {}
        }
        self.served |= !serving.is_empty();
    }

    fn keys(&mut self, now: Duration, serving: &[(&str, &Value)], times: Times) {
        for kid in self.kids.values_mut() {
            if kid.lacking {
                kid.absent = Some(now);
            }
            if kid.signing {
                kid.signed = Some(now);
            }
        }
        let shown: Vec<_> = serving.iter().map(|(name, document)| (*name, keys(document))).collect();
        let every: BTreeSet<String> = shown.iter().flat_map(|(_, (kids, _))| kids.clone()).collect();
        for kid in &every {
            let absent = self.served.then_some(now);
            self.kids.entry(kid.clone()).or_insert(Kid { absent, ..Kid::default() });
        }
        let mut found = Vec::new();
        for (id, kid) in &mut self.kids {
            let without = shown.iter().find(|(_, (kids, _))| !kids.contains(id)).map(|(name, _)| *name);
            let signer =
                shown.iter().find(|(_, (_, signs))| signs.as_ref() == Some(id)).map(|(name, _)| *name);
            if let (Some(signer), Some(without)) = (signer, without) {
                found.push(format!("{signer} signs with {id}, and {without} does not show it"));
            }
            if let (Some(signer), Some(absent), false) = (signer, kid.absent, kid.signing)
                && without.is_none()
                && now < absent + times.jwks_max_age
            {
                let ago = (now - absent).as_secs_f64();
                found.push(format!(
                    "{signer} signs with {id}, and a JWKS without it was given out {ago:.3} s ago"
                ));
            }
            if let (Some(without), Some(signed)) = (without, kid.signed) {
                let life = times.token_life + times.leeway + times.skew / 2;
                let former =
                    self.former.filter(|_| id == "k0").map(|former| former.token_life + former.leeway);
                let end = (signed + life).max(former.unwrap_or_default());
                if signer.is_none() && now < end {
                    let left = (end - now).as_secs_f64();
                    found.push(format!(
                        "{without} does not show {id}, and tokens of it live for {left:.3} s more"
                    ));
                }
            }
            (kid.lacking, kid.signing) = (without.is_some(), signer.is_some());
        }
        found.into_iter().for_each(|what| self.violation(what));
    }

    /// Whether nobody signs with a key any more, and no token of it is left.
    pub(crate) fn has_ended(&self, id: &str, now: Duration, times: Times) -> bool {
        let Some(kid) = self.kids.get(id) else { return true };
        let life = self.former.unwrap_or(times).max(times).token();
        !kid.signing && kid.signed.is_none_or(|signed| signed + life < now)
    }

    /// Whether a document lacks what is in use: a key that signs, or what a client has found.
    pub(crate) fn misses(&self, document: &Value) -> bool {
        let (kids, _) = keys(document);
        let mut signing = self.kids.iter().filter(|(_, kid)| kid.signing);
        signing.any(|(id, _)| !kids.contains(id))
            || self.clients.iter().any(|(id, client)| !takes(document, id, &client.secret))
    }

    /// The clients that have looked for their secrets. One that could not for so long has been told nothing, by nobody's fault
    /// here.
    fn told(&self, now: Duration, times: Times) -> impl Iterator<Item = (&String, &Client)> {
        let long = times.token_life + Duration::from_secs(1);
        self.clients.iter().filter(move |(_, client)| now < client.looked + long)
    }

    /// Whether no document takes a client with the secret that it was told.
    pub(crate) fn turns_away(&self, documents: &[Document], now: Duration, times: Times) -> bool {
        let takes = |id, secret| documents.iter().any(|document| takes(document.expose(), id, secret));
        self.told(now, times).any(|(id, client)| !takes(id, &client.secret))
    }

    fn clients(&mut self, now: Duration, serving: &[(&str, &Value)], times: Times) {
        let mut found = Vec::new();
        for (id, client) in self.told(now, times) {
            for (name, document) in serving {
                if !takes(document, id, &client.secret) {
                    found.push(format!("{name} turns the client {id} away, which has {}", client.secret));
                }
            }
        }
        found.into_iter().for_each(|what| self.violation(what));
    }

    /// Somebody says that every pod of a region uses a version.
    pub(crate) fn claim(&mut self, region: &RegionState, version: Version) {
        for pod in &region.pods {
            let Some(service) = &pod.service else { continue };
            if let Some((used, _)) = &service.used
                && *used < version
            {
                let what = format!("{} is said to use {version} and uses {used}", pod.name);
                self.violation(what);
            }
        }
    }

    /// A watcher has looked at a region's pods: every one is told of that was there when the last of them answered. One
    /// that is left out counts nowhere, whatever it uses.
    pub(crate) fn looked(&mut self, region: &RegionState, answered: Duration, told: &[view::Pod]) {
        for pod in region.pods.iter().filter(|pod| pod.born < answered) {
            if !told.iter().any(|told| told.uid == pod.uid) {
                self.violation(format!(
                    "{} was there in {}, and is left out of a look",
                    pod.name, region.name
                ));
            }
        }
    }

    /// A version is destroyed.
    pub(crate) fn destroyed(&mut self, region: &RegionState, numbers: &[u64]) {
        for pod in &region.pods {
            let used = pod.service.as_ref().and_then(|service| service.used.as_ref());
            if let Some((version, _)) = used.filter(|(version, _)| numbers.contains(&version.version)) {
                let what = format!("{version} is destroyed in {}, and {} uses it", region.name, pod.name);
                self.violation(what);
            }
        }
    }

    /// A document was written; a rotation brings one new key.
    pub(crate) fn written(&mut self, former: Option<&Value>, document: &Value, publishes: Option<String>) {
        let Some(id) = publishes else { return };
        let (kids, _) = keys(document);
        let before = former.map(|former| keys(former).0).unwrap_or_default();
        let brought = self.brought.entry(id).or_default();
        brought.extend(kids.into_iter().filter(|kid| !before.contains(kid) && !kid.starts_with("hand")));
        if brought.len() > 1 {
            let what = format!("a rotation made more than one key: {brought:?}");
            self.violation(what);
        }
    }
}
