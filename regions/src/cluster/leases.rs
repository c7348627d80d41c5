//! Leases: by which one at a time writes to a region, or watches it.
//! <https://kubernetes.io/docs/concepts/architecture/leases/>

use jiff::Timestamp;
use kube::api::GetParams;
use kube::core::Request;
use serde_json::{Value, json};

use super::error::ClusterError;
use super::objects::MAKER;
use super::{Cluster, NAMESPACE};
use crate::plan::object::OWNER;

const API: &str = "coordination.k8s.io/v1";

/// A Lease as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it; nobody where empty.
    pub holder: String,
    /// When it was renewed, by the holder's clock.
    pub renewed: String,
    /// For how many seconds it holds without being renewed, by what its holder said.
    pub seconds: u32,
    /// How often it has changed hands.
    pub transitions: u64,
    /// Its version; empty where there is none yet.
    pub version: String,
}

impl Cluster {
    /// A Lease; an empty one where there is none.
    ///
    /// # Errors
    /// The region cannot be asked.
    pub async fn lease(&self, name: &str) -> Result<Lease, ClusterError> {
        let answer: Result<Value, _> =
            self.call("get", &shown(name), || Ok(path().get(name, &GetParams::default())?)).await;
        match answer {
            Err(error) if error.cause.status().is_some_and(kube::core::Status::is_not_found) => {
                Ok(Lease::default())
            }
            answer => answer.map(|lease| read(&lease)),
        }
    }

    /// Writes a Lease over the version that was read. It is tried once: an answer that is lost may be one that says
    /// yes, so it is read again.
    ///
    /// # Errors
    /// Somebody else wrote it meanwhile, or the region cannot be asked.
    pub async fn write_lease(
        &self,
        name: &str,
        over: &Lease,
        holder: &str,
        seconds: u32,
    ) -> Result<Lease, ClusterError> {
        let version = match over.version.as_str() {
            "" => self.make_lease(name).await?,
            version => version.to_owned(),
        };
        let now = format!("{:.6}", Timestamp::now());
        let transitions = over.transitions + u64::from(!holder.is_empty() && holder != over.holder);
        let body = json!({
            "apiVersion": API, "kind": "Lease",
            "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": version},
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": now,
                "leaseTransitions": transitions,
            },
        });
        Ok(read(&self.impose(&path(), name, &body, OWNER).await?))
    }

    /// Makes a Lease that nobody holds, or finds the one that somebody made meanwhile. Gives its version.
    async fn make_lease(&self, name: &str) -> Result<String, ClusterError> {
        let body = json!({
            "apiVersion": API, "kind": "Lease", "metadata": {"name": name, "namespace": NAMESPACE},
        });
        let Lease { holder, version, .. } = read(&self.impose(&path(), name, &body, MAKER).await?);
        if holder.is_empty() { Ok(version) } else { Err(self.overtaken(&shown(name))) }
    }
}

fn path() -> Request {
    Request::new(format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"))
}

fn shown(name: &str) -> String {
    format!("Lease {NAMESPACE}/{name}")
}

fn read(lease: &Value) -> Lease {
    let text = |pointer: &str| lease.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    Lease {
        holder: text("/spec/holderIdentity"),
        renewed: text("/spec/renewTime"),
        seconds: lease["spec"]["leaseDurationSeconds"]
            .as_u64()
            .and_then(|all| all.try_into().ok())
            .unwrap_or(0),
        transitions: lease["spec"]["leaseTransitions"].as_u64().unwrap_or(0),
        version: text("/metadata/resourceVersion"),
    }
}
