//! What the watcher counts and shows, in OpenMetrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use secrets_agent_client::Version;
use tokio::time::Instant;

use crate::plan::rotation::adoption::{Wanted, adoption};
use crate::plan::view::{HealthState, Pod, View};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSecret {
    secret: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPod {
    pod: String,
    secret: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRotation {
    secret: String,
    rotation: String,
    phase: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

/// What is shown.
pub(super) struct Metrics {
    nudges: Counter,
    /// Since when each secret has its current version.
    since: Mutex<BTreeMap<String, (Option<Version>, Instant)>>,
}

impl Metrics {
    pub(super) fn new(nudges: Counter) -> Self {
        Self { nudges, since: Mutex::default() }
    }

    /// Everything, as of a round; little where none has ended.
    pub(super) fn encode(&self, view: Option<&View>) -> String {
        let mut registry = Registry::with_prefix("watcher");
        registry.register("nudges", "Nudges that agents took", self.nudges.clone());
        let up = Gauge::<i64>::default();
        up.set(i64::from(view.is_some()));
        registry.register("sees_region", "1 while the last look at the region came to its end", up);
        if let Some(view) = view {
            self.observe(&mut registry, view);
        }
        let mut text = String::new();
        // Writing to a string fails only if an encoder does, and then what came before it is still worth showing.
        let _ = encode(&mut text, &registry);
        text
    }

    fn observe(&self, registry: &mut Registry, view: &View) {
        let version = Family::<OfSecret, Gauge>::default();
        let info = Family::<OfRotation, Gauge>::default();
        let unmanaged = Family::<OfSecret, Gauge>::default();
        let stepped_back = Family::<OfSecret, Gauge>::default();
        let adopted = Family::<OfSecret, Gauge>::default();
        let behind = Family::<OfPod, Gauge>::default();
        let now = Instant::now();
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, secret) in &view.secrets {
            let label = OfSecret { secret: name.clone() };
            let (known, at) = since.entry(name.clone()).or_insert((secret.current, now));
            if *known != secret.current {
                (*known, *at) = (secret.current, now);
            }
            let late = i64::try_from(now.duration_since(*at).as_secs()).unwrap_or(i64::MAX);
            let number = secret.current.map_or(0, |current| current.version);
            version.get_or_create(&label).set(i64::try_from(number).unwrap_or(i64::MAX));
            let by_hand = secret.current.is_some() && secret.absence.is_none() && secret.mark.is_none();
            unmanaged.get_or_create(&label).set(i64::from(by_hand));
            stepped_back.get_or_create(&label).set(i64::from(secret.stepped_back()));
            if let Some(mark) = &secret.mark {
                let (rotation, phase) = (mark.id.clone(), mark.phase.clone());
                info.get_or_create(&OfRotation { secret: name.clone(), rotation, phase }).set(1);
            }
            let Some(current) = secret.current.filter(|_| secret.absence.is_none()) else { continue };
            let wanted = Wanted { secret: name, version: current, kids: None };
            let found = adoption(view, wanted);
            adopted.get_or_create(&label).set(i64::try_from(found.adopted).unwrap_or(i64::MAX));
            for pod in &view.pods {
                let is_late = found.missing.iter().any(|missing| missing.pod == pod.name);
                let label = OfPod { pod: pod.name.clone(), secret: name.clone() };
                behind.get_or_create(&label).set(if is_late { late } else { 0 });
            }
        }
        registry.register("secret_version", "The current version, 0 for none", version);
        registry.register(
            "secret_rotation_info",
            "The rotation and phase that wrote the current version; compare it between regions",
            info,
        );
        registry.register("secret_unmanaged", "1 while the current version was written by hand", unmanaged);
        registry.register(
            "secret_stepped_back",
            "1 while Vault holds an older version than the region has seen",
            stepped_back,
        );
        registry.register("secret_adopted_pods", "Pods that use the current version", adopted);
        registry.register_with_unit(
            "pod_behind",
            "For how long a pod has not used the current version",
            Unit::Seconds,
            behind,
        );
        self.region(registry, view);
    }

    fn region(&self, registry: &mut Registry, view: &View) {
        let count = |which: fn(&&Pod) -> bool| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(view.pods.iter().filter(which).count()).unwrap_or(i64::MAX));
            gauge
        };
        registry.register("pods", "Pods of the workload that have not ended", count(|_| true));
        registry.register(
            "pods_silent",
            "Pods whose agent cannot be asked",
            count(|pod| pod.agent.is_none()),
        );
        let leads = Gauge::<i64>::default();
        leads.set(i64::from(view.watcher.leads));
        registry.register("leads", "1 while this watcher holds the region's Lease", leads);
        let vault = Family::<OfState, Gauge>::default();
        for state in [
            HealthState::Unknown,
            HealthState::Ok,
            HealthState::Sealed,
            HealthState::Unreachable,
            HealthState::Denied,
            HealthState::Faulty,
        ] {
            let label = OfState { state: state.as_str() };
            vault.get_or_create(&label).set(i64::from(state == view.vault.state));
        }
        registry.register("vault_state", "1 for the outcome of the last call of Vault", vault);
    }
}
