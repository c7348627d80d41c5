//! What the agent counts, in OpenMetrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use secrets_agent_client::wire::VaultState;

use crate::memory;
use crate::store::Store;

/// The secret that a number is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfSecret {
    /// Its name.
    pub secret: String,
}

/// The secret and the outcome that a number is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfFetch {
    /// Its name.
    pub secret: String,
    /// `delivered`, `unchanged`, `older`, `unusable` or `failed`.
    pub outcome: &'static str,
}

/// The counters that the parts of the agent move.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Reads of Vault's data, by secret and outcome.
    pub fetches: Family<OfFetch, Counter>,
    /// Nudges that were taken, by secret.
    pub nudges: Family<OfSecret, Counter>,
    /// Logins that succeeded.
    pub logins: Counter,
    /// Logins that failed.
    pub login_failures: Counter,
    /// Renewals of the token that succeeded.
    pub renewals: Counter,
    /// Renewals of the token that failed.
    pub renewal_failures: Counter,
    /// Callers of the socket whose uid is not allowed.
    pub refused_callers: Counter,
    /// Times that the files were replaced.
    pub file_swaps: Counter,
    /// Times that the files could not be replaced.
    pub file_failures: Counter,
}

impl Metrics {
    /// Everything as OpenMetrics text, with what `store` holds now.
    pub(crate) fn encode(&self, store: &Store) -> String {
        let mut registry = Registry::with_prefix("secrets_agent");
        registry.register("fetches", "Reads of a secret from Vault", self.fetches.clone());
        registry.register("nudges", "Nudges taken", self.nudges.clone());
        registry.register("logins", "Logins to Vault", self.logins.clone());
        registry.register("login_failures", "Logins to Vault that failed", self.login_failures.clone());
        registry.register("renewals", "Renewals of the Vault token", self.renewals.clone());
        registry.register(
            "renewal_failures",
            "Renewals of the Vault token that failed",
            self.renewal_failures.clone(),
        );
        registry.register(
            "refused_callers",
            "Calls from a uid that is not allowed",
            self.refused_callers.clone(),
        );
        registry.register("file_swaps", "Replacements of the files", self.file_swaps.clone());
        registry.register(
            "file_failures",
            "Replacements of the files that failed",
            self.file_failures.clone(),
        );
        self.observe(&mut registry, store);
        let mut text = String::new();
        // Writing to a string fails only if an encoder does, and then what came before it is still worth showing.
        let _ = encode(&mut text, &registry);
        text
    }

    fn observe(&self, registry: &mut Registry, store: &Store) {
        let version = Family::<OfSecret, Gauge>::default();
        let age = Family::<OfSecret, Gauge>::default();
        let stale = Family::<OfSecret, Gauge>::default();
        let step_back = Family::<OfSecret, Gauge>::default();
        for seen in store.observe() {
            let label = OfSecret { secret: seen.name.clone() };
            let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            version.get_or_create(&label).set(number(seen.version.map_or(0, |version| version.version)));
            if let Some(seconds) = seen.age_s {
                age.get_or_create(&label).set(number(seconds));
            }
            stale.get_or_create(&label).set(i64::from(seen.error.is_some()));
            step_back.get_or_create(&label).set(i64::from(seen.stepped_back));
        }
        registry.register("secret_version", "The delivered version, 0 for none", version);
        registry.register_with_unit(
            "secret_age",
            "Time since Vault confirmed the secret",
            Unit::Seconds,
            age,
        );
        registry.register("secret_stale", "1 while the last attempt to read the secret failed", stale);
        registry.register(
            "secret_stepped_back",
            "1 while Vault holds an older version than was delivered",
            step_back,
        );
        let instances = Gauge::<i64>::default();
        instances.set(i64::try_from(store.instances().len()).unwrap_or(i64::MAX));
        registry.register("instances", "Instances of the application that watch", instances);
        let not_locked = Gauge::<u64, AtomicU64>::default();
        not_locked.set(memory::not_locked());
        registry.register("values_not_locked", "Values that the memory-lock limit left unlocked", not_locked);
        let vault = Family::<OfState, Gauge>::default();
        let present = store.vault().state;
        for state in STATES {
            let name = serde_json::to_value(state).ok().and_then(|name| name.as_str().map(str::to_owned));
            let label = OfState { state: name.unwrap_or_default() };
            vault.get_or_create(&label).set(i64::from(state == present));
        }
        registry.register(
            "vault_state",
            "1 for the outcome of the last exchange with Vault, 0 for the others",
            vault,
        );
    }
}

const STATES: [VaultState; 9] = [
    VaultState::Unknown,
    VaultState::Ok,
    VaultState::Unreachable,
    VaultState::Untrusted,
    VaultState::Unavailable,
    VaultState::Throttled,
    VaultState::Denied,
    VaultState::LoginRefused,
    VaultState::Faulty,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: String,
}
