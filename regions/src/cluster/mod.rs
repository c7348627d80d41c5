//! A region's API server: every call has a bound, a region's name in its error, and a way to be tried again.

pub mod access;
pub mod ends;
pub mod error;
pub mod fence;
pub mod forward;
pub mod leases;
pub mod nodes;
mod objects;
mod records;
mod traffic;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::config::Kubeconfig;
use tokio::sync::Mutex;
use tokio::time::timeout;

use error::{Cause, ClusterError};

pub use objects::Applied;
pub use records::NewRecord;

/// The namespace of the workload and of its release records.
pub const NAMESPACE: &str = "meridian";

/// The Deployment whose pods clients reach. What else a release runs, such as the watcher, carries no traffic.
pub const WORKLOAD: &str = "service";

/// How patiently a region is spoken to.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Bound of one call.
    pub call: Duration,
    /// How often a call is made at most when no answer comes.
    pub tries: u32,
}

/// One region's API server.
#[derive(Clone)]
pub struct Cluster {
    region: String,
    context: String,
    client: kube::Client,
    patience: Patience,
    served: Arc<Mutex<BTreeMap<String, Vec<APIResource>>>>,
    fence: u64,
}

impl Cluster {
    /// Makes the client for a region. Nothing is asked of the API server yet.
    ///
    /// # Errors
    /// When the context cannot be used, or its credential plugin takes longer than one call may.
    pub async fn connect(
        region: &str,
        context: &str,
        kubeconfig: Kubeconfig,
        patience: Patience,
    ) -> Result<Self, ClusterError> {
        let name = context.to_owned();
        let made = tokio::task::spawn_blocking(move || access::client(kubeconfig, &name, patience.call));
        let client = match timeout(patience.call, made).await {
            Ok(Ok(client)) => client,
            Ok(Err(_)) => Err(Cause::Unexpected("the context's credentials cannot be loaded".into())),
            Err(_) => Err(Cause::Access(format!(
                "its credential plugin gave nothing within {} s",
                patience.call.as_secs_f64()
            ))),
        };
        let client = client.map_err(|cause| ClusterError {
            region: region.to_owned(),
            context: context.to_owned(),
            verb: "use",
            object: format!("context {context}"),
            cause,
        })?;
        Ok(Self::of(region, context, client, patience))
    }

    /// A region whose client is there already.
    pub(crate) fn of(region: &str, context: &str, client: kube::Client, patience: Patience) -> Self {
        let (region, context) = (region.to_owned(), context.to_owned());
        Self { region, context, client, patience, served: Arc::default(), fence: 0 }
    }

    /// The same, whose writes carry this fence.
    #[must_use]
    pub fn fenced(&self, fence: u64) -> Self {
        Self { fence, ..self.clone() }
    }

    /// The same, spoken to in another way.
    #[must_use]
    pub fn patient(&self, patience: Patience) -> Self {
        Self { patience, ..self.clone() }
    }

    /// What all that is written carries; 0 where the region's Lease is not held.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// The region's name.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The context under which the region is reached.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The API server's version, such as `v1.36.3`. Asked once only, and asked first: a region that cannot be
    /// reached is to be found soon.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn version(&self) -> Result<String, ClusterError> {
        let info: k8s_openapi::apimachinery::pkg::version::Info = self
            .call_once("get", "/version", || Ok(http::Request::get("/version").body(Vec::new())?))
            .await?;
        Ok(info.git_version)
    }

    /// The caller's name as the API server knows it.
    ///
    /// # Errors
    /// When it does not answer or does not know the caller.
    pub async fn caller(&self) -> Result<String, ClusterError> {
        let review =
            serde_json::json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = kube::core::Request::new("/apis/authentication.k8s.io/v1/selfsubjectreviews");
        let answer: serde_json::Value = self
            .call("create", "SelfSubjectReview", || {
                Ok(path.create(&kube::api::PostParams::default(), review.to_string().into_bytes())?)
            })
            .await?;
        let name = answer.pointer("/status/userInfo/username").and_then(serde_json::Value::as_str);
        let unnamed = || Cause::Unexpected("the answer has no user name".into());
        name.map(str::to_owned).ok_or_else(|| self.error("create", "SelfSubjectReview", unnamed()))
    }

    /// Makes a call, and makes it again while it may succeed and tries are left.
    async fn call<T, F>(&self, verb: &'static str, object: &str, request: F) -> Result<T, ClusterError>
    where
        T: serde::de::DeserializeOwned,
        F: Fn() -> Result<http::Request<Vec<u8>>, RequestError>,
    {
        let mut pause = Duration::from_millis(200);
        let mut left = self.patience.tries;
        loop {
            let error = match self.call_once(verb, object, &request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            left = left.saturating_sub(1);
            if left == 0 || !error.cause.is_transient() {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    async fn call_once<T, F>(&self, verb: &'static str, object: &str, request: F) -> Result<T, ClusterError>
    where
        T: serde::de::DeserializeOwned,
        F: Fn() -> Result<http::Request<Vec<u8>>, RequestError>,
    {
        let request = request().map_err(|error| self.error(verb, object, Cause::Unexpected(error.0)))?;
        let cause = match timeout(self.patience.call, self.client.request(request)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Cause::from_client(error),
            Err(_) => Cause::TimedOut(self.patience.call),
        };
        Err(self.error(verb, object, cause))
    }

    fn error(&self, verb: &'static str, object: &str, cause: Cause) -> ClusterError {
        ClusterError {
            region: self.region.clone(),
            context: self.context.clone(),
            verb,
            object: object.to_owned(),
            cause,
        }
    }
}

/// A request that could not be put together.
struct RequestError(String);

impl<E: std::error::Error> From<E> for RequestError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}
