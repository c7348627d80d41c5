//! What the catalogue's files say. The JSON schemas are generated from these types, and files are checked
//! against those schemas before they are read into these types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{
    Cidr, ContextName, DomainName, Duration, HttpAddress, HttpsAddress, Issuer, Location, MachineType,
    Moment, PoolName, ProjectId, PublicKey, Reason, SecretName, Uuid, WaveName, Zone,
};

/// An environment: what all of its regions share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "_environment.yaml of meridian's catalogue")]
pub struct EnvironmentFile {
    /// Place in the order of promotion, from low to high. Unique; gaps are allowed.
    #[schemars(range(min = 1, max = 1000))]
    pub order: u16,
    /// Google project. Each environment has its own.
    pub project: ProjectId,
    /// DNS name under which the environment is served; `https://` and it are the issuer of its tokens.
    pub domain: DomainName,
    /// Waves, in the order in which their regions are promoted to. Each has at least one region.
    #[schemars(length(min = 1, max = 20), extend("uniqueItems" = true))]
    pub waves: Vec<WaveName>,
    /// What must pass, and be seen, before the next wave.
    pub bake: Bake,
    /// What a bake must not exceed.
    pub gates: Gates,
    /// The most that the service lets its configuration say; a rotation waits for these.
    pub ceilings: Ceilings,
    /// Secrets by name. config, tls, clients and signing-keys must be there.
    pub secrets: BTreeMap<SecretName, Secret>,
    /// Pods of the service in each region.
    pub workload: Workload,
    /// CircleCI's jobs that log in to the environment's Vaults; none do where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Pipeline")]
    pub pipeline: Option<Pipeline>,
    /// Identities that also log in to the environment's Vaults by AppRole, for machines that are no pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Identity>", length(min = 1), extend("uniqueItems" = true))]
    pub approle: Option<Vec<Identity>>,
    /// Times in which nothing is promoted to the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Freeze>", length(min = 1, max = 50))]
    pub freezes: Option<Vec<Freeze>>,
    /// Public keys of those who sign releases: what none of them signed is not promoted. Where absent, nobody is
    /// asked. Two for as long as one takes the other's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<PublicKey>", length(min = 1, max = 5), extend("uniqueItems" = true))]
    pub signers: Option<Vec<PublicKey>>,
    /// Keys of a region that every region has unless it gives its own, which replaces the default whole.
    #[serde(default, skip_serializing_if = "RegionKeys::is_empty")]
    pub defaults: RegionKeys,
}

/// What must pass, and be seen, before the next wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Bake {
    /// Least time, 1s to 24h.
    pub time: Duration,
    /// Least number of requests.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub samples: u32,
}

/// What a bake must not exceed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Gates {
    /// Share of requests that fail, between 0 and 1.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub error_ratio: f64,
    /// Time within which 99 of 100 requests are answered, one of those up to which the service counts answers: 1ms, 5ms,
    /// 10ms, 25ms, 50ms, 100ms, 250ms, 500ms, 1s or 2500ms.
    pub latency_p99: Duration,
    /// By how much the share of answers from 400 to 499 may be over the former release's, between 0 and 1; 0.05 where
    /// absent.
    #[serde(default = "shift")]
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub client_error_shift: f64,
}

fn shift() -> f64 {
    0.05
}

/// A time in which nothing is promoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Freeze {
    /// Its begin.
    pub from: Moment,
    /// Its end, after its begin.
    pub until: Moment,
    /// Why, for whoever is refused.
    pub why: Reason,
}

/// The most that the service lets its configuration say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Ceilings {
    /// Life of a token, at most 24h.
    pub token_life: Duration,
    /// How long a JWKS may be cached, at most the life of a token.
    pub jwks_max_age: Duration,
    /// How long verifiers take a token after its end, at most 5m and less than the life of a token.
    pub leeway: Duration,
    /// Difference of clocks that is borne, at most 5m and less than the life of a token.
    pub skew: Duration,
}

/// A secret in each region's Vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Secret {
    /// How it rotates.
    pub kind: SecretKind,
    /// What makes a new one: random or password for a value (or nothing, when people write it), random for
    /// clients, ec-p256 for a keyset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Generator")]
    pub generator: Option<Generator>,
}

/// How a secret rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum SecretKind {
    /// One document, replaced whole.
    Value,
    /// Hashes of clients' secrets, two side by side during a change.
    Clients,
    /// Signing keys: published, active, retiring.
    Keyset,
}

/// What makes a new version of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Generator {
    /// Random bytes.
    Random,
    /// Random characters that can be typed.
    Password,
    /// A private key on the curve P-256.
    EcP256,
}

/// Pods of the service in each region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Workload {
    /// Least number of pods.
    #[schemars(range(min = 2, max = 10))]
    pub min: u8,
    /// Greatest number of pods, at least min.
    #[schemars(range(min = 2, max = 10))]
    pub max: u8,
    /// Share of the requested CPU that the autoscaler aims at, in percent.
    #[schemars(range(min = 1, max = 100))]
    pub cpu: u8,
}

/// CircleCI's jobs, known by the OIDC token of each: its organisation, project and context, on the branch main,
/// not rerun with SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Pipeline {
    /// Id of the organisation, which is the audience of its tokens.
    pub organisation: Uuid,
    /// Id of the project.
    pub project: Uuid,
    /// Ids of the contexts whose jobs may log in.
    pub contexts: Contexts,
    /// Who signs the tokens, where that is not `https://oidc.circleci.com/org/ORGANISATION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Issuer")]
    pub issuer: Option<Issuer>,
}

/// Ids of CircleCI's contexts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Contexts {
    /// Of the jobs that promote.
    pub promoter: Uuid,
    /// Of the jobs that rotate; none do where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Uuid")]
    pub rotator: Option<Uuid>,
}

/// Who a program is in a Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Identity {
    /// The agent beside the service: reads the service's documents.
    Service,
    /// The region's watcher: reads their metadata and the names of their keys.
    Watcher,
    /// Who promotes: what the watcher reads, and the secret of the client `probe`.
    Promoter,
    /// Who rotates: writes the documents and the clients' secrets, and destroys old versions.
    Rotator,
}

/// Keys that a region has of its own or from its environment's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RegionKeys {
    /// Node pools by name, in the region or in the defaults. At least one is not spot, and those that are not
    /// may hold two nodes or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BTreeMap<PoolName, Pool>", extend("minProperties" = 1))]
    pub pools: Option<BTreeMap<PoolName, Pool>>,
    /// Letters of the zones; Google's choice where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Zone>", length(min = 1), extend("uniqueItems" = true))]
    pub zones: Option<Vec<Zone>>,
    /// Google region whose clients Cloud DNS sends here; the location where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Location")]
    pub geo: Option<Location>,
    /// The cluster, where its context is not `meridian-ENVIRONMENT-REGION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Kubernetes")]
    pub kubernetes: Option<Kubernetes>,
    /// The region's Vault, where its address is not `https://vault.REGION.DOMAIN:8200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vault")]
    pub vault: Option<Vault>,
    /// The region's watcher, where it is not reached through the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Watcher")]
    pub watcher: Option<Watcher>,
    /// Who reads the metrics of the region's pods and watches over its alerts; nobody where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Monitoring")]
    pub monitoring: Option<Monitoring>,
}

impl RegionKeys {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A region, in at most 12 lines. Its name is the file's.
// The check against the schema refuses unknown keys; serde cannot where something is flattened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "A region of meridian's catalogue", extend("additionalProperties" = false))]
pub struct RegionFile {
    /// Google region.
    pub location: Location,
    /// The environment's wave in which it is promoted to.
    pub wave: WaveName,
    /// Private IPv4 range, of which nodes, services and pods are parts. Apart from those of the environment's
    /// other regions.
    pub range: Cidr,
    /// What may come from the environment's defaults.
    #[serde(flatten)]
    pub keys: RegionKeys,
}

/// Nodes of one machine type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Pool {
    /// Machine type.
    pub machine: MachineType,
    /// Least number of nodes.
    #[schemars(range(min = 0, max = 1000))]
    pub min: u16,
    /// Greatest number of nodes, at least min.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u16,
    /// Whether Google may take the nodes away at any time.
    #[serde(default)]
    pub spot: bool,
}

/// How the cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Kubernetes {
    /// Context in the caller's kubeconfig.
    pub context: ContextName,
}

/// How the region's Vault is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Vault {
    /// Its address; with port_forward that of a Service, `https://NAME.NAMESPACE.svc:PORT`.
    pub address: HttpsAddress,
    /// Whether it is reached through the API server of the region's cluster.
    #[serde(default)]
    pub port_forward: bool,
    /// Whether it runs in the region's cluster. Where it does not, nobody logs in to it by a ServiceAccount.
    #[serde(default = "yes")]
    pub in_cluster: bool,
}

fn yes() -> bool {
    true
}

impl Vault {
    /// The port of its address.
    pub fn port(&self) -> u16 {
        let rest = self.address.as_str().trim_start_matches("https://");
        let port = rest.split('/').next().and_then(|authority| authority.rsplit_once(':')?.1.parse().ok());
        port.unwrap_or(443)
    }

    /// The Service that its address names: namespace and name. Nothing for any other address.
    pub fn service(&self) -> Option<(&str, &str)> {
        let host = self.address.as_str().strip_prefix("https://")?.split(':').next()?;
        let host = host.strip_suffix(".cluster.local").unwrap_or(host).strip_suffix(".svc")?;
        let (name, namespace) = host.split_once('.')?;
        (!namespace.contains('.')).then_some((namespace, name))
    }
}

/// How the region's watcher is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Watcher {
    /// Its address.
    pub address: HttpAddress,
}

/// Who reads metrics and watches over alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Monitoring {
    /// Nobody.
    None,
    /// Google Cloud Managed Service for Prometheus, which GKE has built in.
    Google,
    /// A Prometheus operator of one's own, its Prometheus in the namespace `monitoring`.
    Operator,
}
