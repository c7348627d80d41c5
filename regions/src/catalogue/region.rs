//! A region as everything else sees it: its own file, its environment's defaults, and the conventions.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::draft::{Draft, Said};
use super::problem::Place;
use super::text::{
    Cidr, ContextName, DomainName, HttpAddress, HttpsAddress, Location, PoolName, WaveName, Zone,
};
use super::types::{Kubernetes, Monitoring, Pool, Vault, Watcher};

/// A region with all that its file leaves to its environment and to conventions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Region {
    /// Its name: its file's.
    pub name: String,
    /// The environment that it is part of.
    pub environment: String,
    /// Its file, as a path that starts with the catalogue's folder as it was given.
    pub file: String,
    /// Google region.
    pub location: Location,
    /// The wave in which it is promoted to.
    pub wave: WaveName,
    /// Its IPv4 range, and the parts of it.
    pub range: Cidr,
    /// Ranges of what runs in it.
    pub subnets: Subnets,
    /// Node pools by name.
    pub pools: Provided<BTreeMap<PoolName, Pool>>,
    /// Letters of its zones; Google's choice where there are none.
    pub zones: Option<Provided<Vec<Zone>>>,
    /// Google region whose clients Cloud DNS sends here.
    pub geo: Provided<Location>,
    /// Context of its cluster in the caller's kubeconfig.
    pub context: Provided<ContextName>,
    /// How its Vault is reached.
    pub vault: Provided<Vault>,
    /// Address of its watcher; where there is none, the watcher is reached through the API server's proxy for
    /// Services.
    pub watcher: Option<Provided<HttpAddress>>,
    /// Who reads the metrics of its pods and watches over its alerts.
    pub monitoring: Provided<Monitoring>,
    #[serde(skip)]
    pub(super) text: String,
    #[serde(skip)]
    pub(super) said: Map<String, Value>,
}

impl Region {
    /// Name of its GKE cluster, at most 40 characters.
    pub fn cluster(&self) -> String {
        cluster(&self.environment, &self.name)
    }

    /// Id of the Google service account of its nodes, at most 30 characters.
    pub fn nodes_account(&self) -> String {
        nodes_account(&self.name)
    }

    /// What its file says, as values.
    pub fn said(&self) -> &Map<String, Value> {
        &self.said
    }

    /// What its file says, as it stands.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The parts of a region's range, the same wherever they are derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Subnets {
    /// `cidrsubnet(range, 6, 0)`.
    pub nodes: Cidr,
    /// `cidrsubnet(range, 6, 1)`.
    pub services: Cidr,
    /// `cidrsubnet(range, 2, 1)`.
    pub pods: Cidr,
}

impl Subnets {
    /// The parts of a range; nothing when it is too small for them, which no range of a catalogue is.
    pub fn of(range: Cidr) -> Option<Self> {
        Some(Self { nodes: range.part(6, 0)?, services: range.part(6, 1)?, pods: range.part(2, 1)? })
    }
}

/// A value, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provided<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub from: Origin,
}

impl<T> Provided<T> {
    /// With another value from the same place.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Provided<U> {
        Provided { value: change(self.value), from: self.from }
    }
}

/// Where a value of a region comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The region's own file.
    Region(Place),
    /// The environment's defaults.
    Defaults(Place),
    /// A convention: neither file says anything.
    Convention,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(place) | Self::Defaults(place) => place.fmt(f),
            Self::Convention => f.write_str("convention"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Name of a GKE cluster.
pub(super) fn cluster(environment: &str, region: &str) -> String {
    format!("meridian-{environment}-{region}")
}

/// Id of the Google service account of a region's nodes.
pub(super) fn nodes_account(region: &str) -> String {
    format!("nodes-{region}")
}

/// A region on its way: what it says, and what its environment says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drafted<'a> {
    pub(super) name: &'a str,
    pub(super) environment: &'a str,
    pub(super) own: &'a Draft,
    /// The environment's file; nothing when it could not be read.
    pub(super) shared: Option<&'a Draft>,
}

impl Drafted<'_> {
    /// All of it. Nothing when something that it needs is wrong or missing.
    pub(super) fn region(&self) -> Option<Region> {
        let range = self.own.get("range").right()?.0;
        Some(Region {
            name: self.name.into(),
            environment: self.environment.into(),
            file: self.own.file.to_string(),
            location: self.own.get("location").right()?.0,
            wave: self.own.get("wave").right()?.0,
            range,
            subnets: Subnets::of(range)?,
            pools: self.pools().right()?.0,
            zones: self.key("zones").right().map(|(zones, _)| zones),
            geo: self.geo()?,
            context: self.context()?,
            vault: self.vault()?,
            watcher: self
                .key("watcher")
                .right()
                .map(|(watcher, _): (Provided<Watcher>, _)| watcher.map(|watcher| watcher.address)),
            monitoring: self.or("monitoring", || Some(Monitoring::None))?,
            text: self.own.text.clone(),
            said: self.own.said().clone(),
        })
    }

    pub(super) fn pools(&self) -> Said<Provided<BTreeMap<PoolName, Pool>>> {
        self.key("pools")
    }

    pub(super) fn geo(&self) -> Option<Provided<Location>> {
        self.or("geo", || Some(self.own.get("location").right()?.0))
    }

    pub(super) fn context(&self) -> Option<Provided<ContextName>> {
        let own = |kubernetes: Provided<Kubernetes>| kubernetes.map(|kubernetes| kubernetes.context);
        match self.key("kubernetes") {
            Said::Right(kubernetes, _) => Some(own(kubernetes)),
            Said::Wrong => None,
            Said::Absent => convention(ContextName(cluster(self.environment, self.name))),
        }
    }

    pub(super) fn vault(&self) -> Option<Provided<Vault>> {
        match self.key::<Vault>("vault") {
            Said::Right(vault, _) => Some(vault),
            Said::Wrong => None,
            Said::Absent => {
                let domain: DomainName = self.shared?.get("domain").right()?.0;
                let address = HttpsAddress(format!("https://vault.{}.{domain}:8200", self.name));
                convention(Vault { address, port_forward: false, in_cluster: true })
            }
        }
    }

    pub(super) fn watcher(&self) -> Option<Provided<HttpAddress>> {
        let (watcher, _) = self.key::<Watcher>("watcher").right()?;
        Some(watcher.map(|watcher| watcher.address))
    }

    fn or<T: DeserializeOwned>(
        &self,
        key: &str,
        otherwise: impl FnOnce() -> Option<T>,
    ) -> Option<Provided<T>> {
        match self.key(key) {
            Said::Right(value, _) => Some(value),
            Said::Wrong => None,
            Said::Absent => convention(otherwise()?),
        }
    }

    /// A key of the region, else of the environment's defaults, whole.
    fn key<T: DeserializeOwned>(&self, key: &str) -> Said<Provided<T>> {
        match self.own.get(key) {
            Said::Right(value, place) => {
                Said::Right(Provided { value, from: Origin::Region(place.clone()) }, place)
            }
            Said::Wrong => Said::Wrong,
            Said::Absent => self.default(key),
        }
    }

    fn default<T: DeserializeOwned>(&self, key: &str) -> Said<Provided<T>> {
        // Without the environment's file nobody knows.
        let Some(shared) = self.shared else { return Said::Wrong };
        match shared.get::<Value>("defaults") {
            Said::Wrong => Said::Wrong,
            Said::Absent => Said::Absent,
            Said::Right(defaults, _) => match defaults.get(key) {
                None => Said::Absent,
                Some(value) => match serde_json::from_value(value.clone()) {
                    Err(_) => Said::Wrong,
                    Ok(value) => {
                        let place = shared.place(&["defaults", key]);
                        Said::Right(Provided { value, from: Origin::Defaults(place.clone()) }, place)
                    }
                },
            },
        }
    }
}

fn convention<T>(value: T) -> Option<Provided<T>> {
    Some(Provided { value, from: Origin::Convention })
}
