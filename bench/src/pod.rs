//! A pod of ours: an agent, and a service that uses what it delivers and says so.

use std::time::Instant;

use bytes::Bytes;
use http::Method;
use local_region::http::{Client, Connection, Target};
use local_region::ports::Port;
use local_region::process::Process;
use secrets_agent_client::Version;
use secrets_agent_client::wire::{Adopted, Status};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::region::{Agent, Region, SOON};
use crate::service::{self, SECRETS};
use crate::{PAUSE, Result};

/// Short ceilings, so that a rotation that is shown this pod waits for seconds.
const CEILINGS: &str = r#"ceilings = { token_life = "3s", jwks_max_age = "1s", leeway = "1s", skew = "1s" }"#;

pub(crate) struct Pod {
    name: String,
    pub(crate) agent: Agent,
    _service: Process,
    public: Client,
    admin: Client,
    _ports: [Port; 2],
}

impl Pod {
    /// Starts both, and waits until the service is ready.
    pub(crate) async fn start(region: &Region, name: &str) -> Result<Self> {
        let agent = region.agent(name, &SECRETS, "")?;
        let ports = [Port::reserve()?, Port::reserve()?];
        let [public, admin] = &ports;
        let process = service::start(region, name, &agent.socket, [public, admin], CEILINGS).await?;
        Ok(Pod {
            name: name.to_owned(),
            agent,
            _service: process,
            public: Client::new(Target::localhost(public.address(), &region.ca.pem())?),
            admin: Client::new(Target::Tcp(admin.address())),
            _ports: ports,
        })
    }

    /// How a watcher of machines finds it.
    pub(crate) fn listed(&self) -> Value {
        let url = |client: &Client| client.target().url();
        json!({
            "name": self.name, "agent": url(&self.agent.tcp),
            "admin": url(&self.admin), "public": url(&self.public),
        })
    }

    /// Waits until the service has said that it uses a version after this one, looking each [`PAUSE`]. Gives the
    /// moment, and the version.
    pub(crate) async fn adopts(&self, secret: &str, after: u64) -> Result<(Instant, Version)> {
        let look = async {
            let mut open: Option<Connection> = None;
            loop {
                let request = self.agent.tcp.request(Method::GET, "/v1/status", None, Bytes::new())?;
                let (answer, connection) = self.agent.tcp.look(open.take(), request).await?;
                let seen = Instant::now();
                let status: Status = serde_json::from_slice(&answer.body)?;
                let adopted = status.secrets.iter().filter(|own| own.name == secret);
                let adopted = adopted.flat_map(|own| &own.adopted);
                if let Some(adopted) = adopted.map(Adopted::version).find(|own| own.version > after) {
                    return Ok::<_, crate::Failure>((seen, adopted));
                }
                open = Some(connection);
                sleep(PAUSE).await;
            }
        };
        let waited = timeout(SOON, look).await;
        waited.map_err(|_| format!("waited {} s for {} to use {secret}", SOON.as_secs(), self.name))?
    }
}
