//! The service's `/v1/region` beside bare hyper that sends the same bytes: processor time for each request.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use local_region::http::{Client, Target, client_tls};
use local_region::pki::write_private;
use local_region::ports::Port;
use local_region::process::{Process, Program};
use serde_json::{Value, json};

use crate::cost;
use crate::load;
use crate::region::{Region, soon};
use crate::statistics::summary;
use crate::{Arguments, Result};

const CONNECTIONS: u64 = 64;
const PATH: &str = "/v1/region";
/// What a service takes from its agent.
pub(crate) const SECRETS: [&str; 4] = ["config", "clients", "signing-keys", "tls"];
/// Set by hyper itself on both sides.
const BY_HYPER: [&str; 2] = ["date", "content-length"];

pub(crate) async fn measure(region: &Region, arguments: &Arguments) -> Result<Value> {
    let agent = region.agent("for-service", &SECRETS, "")?;
    let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
    let [public, admin, peer] = &ports;
    let service = start(region, "service", &agent.socket, [public, admin], "").await?;
    let bare = start_bare(region, public.address(), peer).await?;

    let tls = client_tls(&region.ca.pem())?;
    let mut sides = [Side::new(&service, public.address()), Side::new(&bare, peer.address())];
    for side in &mut sides {
        // Not counted: the first round pays for what is paid once.
        load::round(side.address, &tls, PATH, CONNECTIONS, arguments.requests / 4).await?;
    }
    let mut ratios = Vec::new();
    for pair in 1..=arguments.pairs {
        let [ours, theirs] = &mut sides;
        let ours = ours.round(&tls, arguments.requests).await?;
        let theirs = theirs.round(&tls, arguments.requests).await?;
        ratios.push(ours / theirs);
        eprint!("\rpairs: {pair}/{}", arguments.pairs);
    }
    eprintln!();
    let [ours, theirs] = &sides;
    println!(
        "processor time for each request: service {} µs, bare hyper {} µs",
        summary(&ours.row),
        summary(&theirs.row)
    );
    println!("service / bare hyper: {}", summary(&ratios));
    let mebibytes =
        |process: &Process| process.facts().resident().map(|bytes| bytes as f64 / f64::from(1 << 20));
    Ok(json!({
        "path": PATH,
        "connections": CONNECTIONS,
        "requests in a round": arguments.requests,
        "service, processor µs a request": summary(&ours.row),
        "bare hyper, processor µs a request": summary(&theirs.row),
        "ratio": summary(&ratios),
        "service, requests a second": summary(&ours.rates),
        "bare hyper, requests a second": summary(&theirs.rates),
        "service, resident MiB after the load": mebibytes(&service)?,
        "bare hyper, resident MiB after the load": mebibytes(&bare)?,
    }))
}

struct Side<'a> {
    process: &'a Process,
    address: SocketAddr,
    row: Vec<f64>,
    rates: Vec<f64>,
}

impl<'a> Side<'a> {
    fn new(process: &'a Process, address: SocketAddr) -> Self {
        Side { process, address, row: Vec::new(), rates: Vec::new() }
    }

    /// One round; gives the processor time for each request, in microseconds.
    async fn round(&mut self, tls: &Arc<rustls::ClientConfig>, requests: u64) -> Result<f64> {
        let before = cost::processor(self.process)?;
        let round = load::round(self.address, tls, PATH, CONNECTIONS, requests).await?;
        let each = (cost::processor(self.process)? - before) * 1000.0 / round.answered as f64;
        self.row.push(each);
        self.rates.push(round.answered as f64 / round.took.as_secs_f64());
        Ok(each)
    }
}

/// Starts a service with an agent's socket and further lines of configuration, and waits until it is ready.
pub(crate) async fn start(
    region: &Region,
    name: &str,
    socket: &Path,
    [public, admin]: [&Port; 2],
    further: &str,
) -> Result<Process> {
    let text = format!(
        r#"identity = {{ environment = "bench", region = "bench", zone = "bench-a", pod = "bench-1", release = "sha256:0" }}
public.listen = "{}"
admin.listen = "{}"
agent.socket = "{}"
{further}
"#,
        public.address(),
        admin.address(),
        socket.display()
    );
    let file = write_private(&region.folder.path().join(format!("{name}-service.toml")), text.as_bytes())?;
    let service = Program::new(name, &region.service_program)
        .argument("--config")
        .argument(file)
        .log(region.folder.path().join(format!("{name}-service.log")))
        .start()?;
    let ready = Client::new(Target::Tcp(admin.address()));
    soon("the service to be ready", service.started(), async || {
        ready.get("/readyz").await.is_ok_and(|answer| answer.status == 200)
    })
    .await?;
    Ok(service)
}

/// Starts the peer with the very answer that the service gives.
async fn start_bare(region: &Region, service: SocketAddr, port: &Port) -> Result<Process> {
    let client = Client::new(Target::localhost(service, &region.ca.pem())?);
    let answer = client.get(PATH).await?;
    let folder = region.folder.path();
    let headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !BY_HYPER.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default()))
        .collect();
    fs::write(folder.join("body"), &answer.body)?;
    fs::write(folder.join("headers"), headers.join("\n"))?;
    let process = Program::new("bare-hyper", &region.bare_program)
        .argument(folder.join("service.crt"))
        .argument(folder.join("service.key"))
        .argument(folder.join("body"))
        .argument(folder.join("headers"))
        .argument(port.address().to_string())
        .log(folder.join("bare-hyper.log"))
        .start()?;
    let peer = Client::new(Target::localhost(port.address(), &region.ca.pem())?);
    soon("bare hyper to answer", Instant::now(), async || {
        peer.get(PATH).await.is_ok_and(|own| own.body == answer.body)
    })
    .await?;
    Ok(process)
}
