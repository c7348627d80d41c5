//! The region's watcher, as a process beside pods that are processes.

use std::fs;
use std::time::Instant;

use local_region::http::{Client, StatusCode, Target};
use local_region::pki::write_private;
use local_region::ports::Port;
use local_region::process::{Process, Program};
use serde_json::Value;

use crate::Result;
use crate::pod::Pod;
use crate::region::{Region, soon};
use crate::service::SECRETS;

pub(crate) struct Watcher {
    pods: usize,
    _process: Process,
    client: Client,
    _port: Port,
}

impl Watcher {
    /// Starts it as it comes, told of these pods, and waits until it is ready.
    pub(crate) async fn start(region: &Region, name: &str, pods: &[&Pod]) -> Result<Self> {
        let folder = region.folder.path().join(format!("watcher-{name}"));
        fs::create_dir(&folder)?;
        let listed: Vec<Value> = pods.iter().map(|pod| pod.listed()).collect();
        let machines =
            write_private(&folder.join("machines.json"), Value::from(listed).to_string().as_bytes())?;
        let (role_id, secret_id) = region.watcher_role(&folder)?;
        let port = Port::reserve()?;
        let process = Program::new(format!("watcher {name}"), &region.regions_program)
            .arguments(["watch", "--env=bench", "--region=bench"])
            .argument(format!("--secrets={}", SECRETS.join(",")))
            .argument(format!("--vault-address={}", region.vault.url()))
            .argument(format!("--vault-ca={}", region.vault.ca_file().display()))
            .argument(format!("--vault-role-id-file={}", role_id.display()))
            .argument(format!("--vault-secret-id-file={}", secret_id.display()))
            .argument(format!("--agents={}", machines.display()))
            .argument(format!("--floor-dir={}", folder.join("floor").display()))
            .argument(format!("--listen={}", port.address()))
            .folder(&folder)
            .log(folder.join("log"))
            .start()?;
        let client = Client::new(Target::Tcp(port.address()));
        soon("the watcher to be ready", Instant::now(), async || {
            client.get("/readyz").await.is_ok_and(|answer| answer.status == StatusCode::OK)
        })
        .await?;
        Ok(Watcher { pods: pods.len(), _process: process, client, _port: port })
    }

    /// What it says of the region once every pod uses every secret.
    pub(crate) async fn view_of_all_adopted(&self) -> Result<Value> {
        let mut view = Value::Null;
        soon("every secret to be used", Instant::now(), async || {
            let Ok(answer) = self.client.get("/v1/region").await else { return false };
            view = answer.value().unwrap_or_default();
            let pods = view["pods"].as_array().map(Vec::as_slice).unwrap_or_default();
            pods.len() == self.pods && pods.iter().all(uses_all)
        })
        .await?;
        Ok(view)
    }
}

fn uses_all(pod: &Value) -> bool {
    let secrets = pod["agent"]["secrets"].as_array().map(Vec::as_slice).unwrap_or_default();
    secrets.len() == SECRETS.len()
        && secrets.iter().all(|secret| {
            secret["adopted"][0]["version"].is_u64() && secret["adopted"][0]["version"] == secret["version"]
        })
}
