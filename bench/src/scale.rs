//! `regions status` and `regions rotate` over many regions: time, memory and processor time of the whole command.
//!
//! The regions are simulated, the sockets, the wire and the command are real. Each region is a Vault behind TLS and a
//! watcher, whose answer is that of a real watcher of a real pod with other names and versions in it.

mod command;
mod fleet;
mod hole;
mod region;
mod vault;
mod view;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use local_region::documents::{self, KeyState, Rotation, SigningKey};
use local_region::pki::{Ca, Issued, write_private};
use local_region::programs::program;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use tokio_rustls::TlsAcceptor;

use crate::pod::Pod;
use crate::region::Region as Real;
use crate::watcher::Watcher;
use crate::{Arguments, Result};
use command::{Command, Spent, shown};
use fleet::Fleet;
use hole::Hole;
use region::Kit;
use view::Template;

const ENVIRONMENT: &str = "bench";
const SECRETS: [&str; 5] = ["config", "clients", "signing-keys", "tls", "pepper"];
/// Pods of each region.
const PODS: u32 = 10;
/// The most memory that the command may have.
const MEMORY: f64 = 64.0;
/// The longest that a status may take while a region says nothing.
const STATUS: f64 = 3_000.0;

/// What is run. Each is told by its name in the results.
const VERBS: [Verb; 3] = [Verb::Status, Verb::Value, Verb::Keyset];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Status,
    Value,
    Keyset,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Verb::Status => "regions status",
            Verb::Value => "regions rotate, a value without a grace",
            Verb::Keyset => "regions rotate, a keyset with tokens of 3 s",
        }
    }

    fn secret(self) -> &'static str {
        if self == Verb::Keyset { "signing-keys" } else { "pepper" }
    }
}

pub(crate) async fn measure(real: &Real, arguments: &Arguments) -> Result<Value> {
    // For the listeners of all regions, and the other ends of what the command opens. The command itself gets what any
    // process gets.
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })?;
    let folder = tempfile::Builder::new().prefix("meridian-scale-").tempdir()?;
    let bench = Bench::new(real, folder.path()).await?;
    let mut fleets = Vec::new();
    for size in &arguments.sizes {
        let own = folder.path().join(size.to_string());
        fleets.push(Fleet::start(*size, &bench.kit, &bench.documents, &own).await?);
    }
    let mut runs: BTreeMap<(Verb, usize), Vec<Spent>> = BTreeMap::new();
    for run in 1..=arguments.runs {
        for fleet in &fleets {
            for verb in VERBS {
                runs.entry((verb, fleet.size())).or_default().push(bench.run(verb, fleet).await?);
                eprint!("\rscale: run {run}/{}, {} regions", arguments.runs, fleet.size());
            }
        }
    }
    let (silent, dropping) = (Hole::silent().await?, Hole::dropping().await?);
    let (mut of_silent, mut of_dropping) = (Vec::new(), Vec::new());
    let largest = fleets.last().ok_or("name a number of regions: --sizes 10")?;
    for _ in 0..arguments.runs {
        of_silent.push(bench.status_with(largest, &silent).await?);
        of_dropping.push(bench.status_with(largest, &dropping).await?);
    }
    eprintln!();
    let mut shown_verbs: Map<String, Value> =
        VERBS.into_iter().map(|verb| (verb.name().to_owned(), by_size(verb, &runs))).collect();
    let holes = [("takes connections and says nothing", &of_silent), ("takes no connection", &of_dropping)];
    for (hole, runs) in holes {
        let name = format!("regions status, {} regions, of which one {hole}", largest.size());
        println!("{name}: {}", shown(runs));
        shown_verbs.insert(name, shown(runs));
    }
    let all = || runs.values().flatten().chain(&of_silent).chain(&of_dropping);
    let peak = all().map(Spent::peak).fold(0.0, f64::max);
    let slowest = of_silent.iter().chain(&of_dropping).map(Spent::took).fold(0.0, f64::max);
    println!(
        "scale: the most memory was {peak:.1} MiB of {MEMORY}, the slowest status with a hole took {slowest:.0} ms of {STATUS}"
    );
    Ok(json!({
        "simulated": "Vaults and watchers of the regions; sockets, TLS, wire and command are real",
        "pods of each region": PODS,
        "bytes of a watcher's answer": bench.answer_bytes(largest).await?,
        "runs": shown_verbs,
        "most memory, MiB": peak,
        "no run had more than 64 MiB": peak <= MEMORY,
        "no status with a hole took more than 3 s": slowest <= STATUS,
    }))
}

/// The rows of a verb by the number of regions, and what each further region costs from one number to the next: the same
/// everywhere where the cost is linear. A keyset's rotation looks at every region again and again while tokens live, and
/// lasts longer where there are more regions: so it also has what each region costs in each second.
fn by_size(verb: Verb, runs: &BTreeMap<(Verb, usize), Vec<Spent>>) -> Value {
    let own: Vec<(usize, &Vec<Spent>)> =
        runs.iter().filter(|((of, _), _)| *of == verb).map(|((_, size), runs)| (*size, runs)).collect();
    let mut all = Map::new();
    for (size, runs) in &own {
        println!("{}, {size} regions: {}", verb.name(), shown(runs));
        all.insert(format!("{size} regions"), shown(runs));
        if verb == Verb::Keyset {
            let each = median(runs, |spent| spent.processor() / spent.took() * 1e3) / *size as f64;
            println!("{}, {size} regions: {each:.3} ms of a processor a second for each", verb.name());
            all.insert(format!("{size} regions, processor of each in a second, ms"), json!(each));
        }
    }
    for pair in own.windows(2) {
        let [(few, cheap), (many, dear)] = pair else { continue };
        let further = (many - few) as f64;
        let each = |pick: fn(&Spent) -> f64| (median(dear, pick) - median(cheap, pick)) / further;
        let each = json!({
            "took, ms": each(Spent::took),
            "processor, ms": each(Spent::processor),
            "peak, KiB": each(Spent::peak) * 1024.0,
        });
        println!("{}, each further region from {few} to {many}: {each}", verb.name());
        all.insert(format!("each further region from {few} to {many}"), each);
    }
    Value::Object(all)
}

fn median(runs: &[Spent], pick: fn(&Spent) -> f64) -> f64 {
    let mut row: Vec<f64> = runs.iter().map(pick).collect();
    row.sort_by(f64::total_cmp);
    row.get(row.len() / 2).copied().unwrap_or_default()
}

struct Bench {
    kit: Arc<Kit>,
    documents: Vec<(&'static str, Value)>,
    command: Command,
}

impl Bench {
    async fn new(real: &Real, folder: &Path) -> Result<Self> {
        let ca = Ca::new("the simulated regions' authority")?;
        let issued = ca.issue(&["localhost"])?;
        ca.write(folder.join("vault-ca.pem"))?;
        // What it says is checked by a real Vault alone.
        write_private(&folder.join("job.jwt"), b"e30.e30.e30")?;
        let kit = Kit {
            tls: TlsAcceptor::from(Arc::new(tls(&issued)?)),
            template: Template::new(real_view(real).await?)?,
            secrets: SECRETS.to_vec(),
            pods: PODS,
        };
        let command = Command {
            regions: real.regions_program.clone(),
            measured: program("measured")?,
            folder: folder.to_owned(),
        };
        Ok(Bench { kit: Arc::new(kit), documents: documents(&ca, &issued)?, command })
    }

    async fn run(&self, verb: Verb, fleet: &Fleet) -> Result<Spent> {
        match verb {
            Verb::Status => self.status(fleet).await,
            Verb::Value | Verb::Keyset => self.rotate(verb, fleet).await,
        }
    }

    async fn status(&self, fleet: &Fleet) -> Result<Spent> {
        let (spent, said) = self.command.run(&fleet.catalogue, &["status", "--env", ENVIRONMENT], 0).await?;
        let well = said["regions"].as_array().into_iter().flatten().filter(|own| is_well(own)).count();
        if well == fleet.size() {
            Ok(spent)
        } else {
            Err(format!("{well} regions are well\n{said:#}").into())
        }
    }

    /// A status while the first region is a hole: it is told, and every other is shown.
    async fn status_with(&self, fleet: &Fleet, hole: &Hole) -> Result<Spent> {
        let folder = tempfile::tempdir_in(&self.command.folder)?;
        let catalogue = fleet.with_hole(folder.path(), hole.address)?;
        let (spent, said) = self.command.run(&catalogue, &["status", "--env", ENVIRONMENT], 4).await?;
        let regions: Vec<&Value> = said["regions"].as_array().into_iter().flatten().collect();
        let well = regions.iter().filter(|own| is_well(own)).count();
        let told = regions.iter().any(|own| own["region"] == "region-001" && own["error"].is_string());
        if told && well + 1 == fleet.size() {
            Ok(spent)
        } else {
            Err(format!("{well} are well\n{said:#}").into())
        }
    }

    /// A rotation to its end: afterwards every region has the same new document, and no former one.
    async fn rotate(&self, verb: Verb, fleet: &Fleet) -> Result<Spent> {
        let secret = verb.secret();
        let before = newest(fleet, secret)?;
        let grace: &[&str] = if verb == Verb::Value { &["--grace", "0s"] } else { &[] };
        let arguments = ["rotate", secret, "--env", ENVIRONMENT, "--again"];
        let access = ["--vault-ca", "vault-ca.pem", "--vault-jwt-file", "job.jwt"];
        let (spent, said) =
            self.command.run(&fleet.catalogue, &[&arguments[..], &access[..], grace].concat(), 0).await?;
        let after = newest(fleet, secret)?;
        let left = fleet.regions.iter().filter(|region| region.readable(secret).len() != 1).count();
        if said["outcome"] != "done" || before == after || left > 0 {
            return Err(
                format!("{secret} was not rotated; {left} regions keep a former version\n{said:#}").into()
            );
        }
        Ok(spent)
    }

    async fn answer_bytes(&self, fleet: &Fleet) -> Result<usize> {
        let address = fleet.regions.first().ok_or("no region")?.watcher;
        let client = local_region::http::Client::new(local_region::http::Target::Tcp(address));
        Ok(client.get("/v1/region").await?.body.len())
    }
}

/// The current document of a secret, which must be the same everywhere.
fn newest(fleet: &Fleet, secret: &str) -> Result<Option<Value>> {
    let mut all = fleet.regions.iter().map(|region| region.readable(secret).pop());
    let first = all.next().flatten();
    if all.any(|other| other != first) {
        return Err(format!("{secret} differs between regions").into());
    }
    Ok(first)
}

/// Whether a region was read whole, with every pod using every secret.
fn is_well(own: &Value) -> bool {
    let watched = &own["watched"];
    let mut secrets = watched["secrets"].as_object().into_iter().flatten();
    watched["agents_well"] == PODS
        && watched["secrets"].as_object().is_some_and(|secrets| secrets.len() == SECRETS.len())
        && secrets.all(|(_, secret)| secret["adopted"] == PODS)
}

/// What a real watcher says of a region with one real pod, once that uses every secret.
async fn real_view(real: &Real) -> Result<Value> {
    let pod = Pod::start(real, "template").await?;
    let watcher = Watcher::start(real, "template", &[&pod]).await?;
    watcher.view_of_all_adopted().await
}

/// As people have written them, so that no rotation is under way; the same in every region.
fn documents(ca: &Ca, issued: &Issued) -> Result<Vec<(&'static str, Value)>> {
    let rotation = Rotation::new("first", "write");
    let (key, secret) = (SigningKey::make(KeyState::Active)?, documents::client_secret()?);
    let mut all = vec![
        ("config", documents::config(&rotation, 3)),
        ("clients", documents::clients(&rotation, &[(&secret, None)])),
        ("signing-keys", documents::signing_keys(&rotation, &[&key])),
        ("tls", documents::tls(&rotation, ca, issued)),
        ("pepper", json!({"value": documents::client_secret()?.expose_secret()})),
    ];
    for (_, document) in &mut all {
        if let Some(document) = document.as_object_mut() {
            document.remove("rotation");
        }
    }
    Ok(all)
}

fn tls(issued: &Issued) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes())
        .collect::<std::result::Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.expose_secret().as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut tls = tls.with_no_client_auth().with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_further_region_costs_the_difference() {
        let spent = |took: f64| -> Vec<Spent> {
            let one = json!({"took_ms": took, "user_ms": took, "system_ms": 0.0, "peak_kib": 1024.0 * took});
            vec![serde_json::from_value(one).unwrap()]
        };
        let runs = [(10, 30.0), (50, 110.0)].map(|(size, took)| ((Verb::Status, size), spent(took)));
        let runs = BTreeMap::from(runs);
        let shown = by_size(Verb::Status, &runs);
        let each = &shown["each further region from 10 to 50"];
        assert_eq!(each, &json!({"took, ms": 2.0, "processor, ms": 2.0, "peak, KiB": 2048.0}));
    }

    #[test]
    fn a_rotation_that_waits_costs_each_region_its_share_of_a_second() {
        let one = json!({"took_ms": 12_000.0, "user_ms": 300.0, "system_ms": 60.0, "peak_kib": 1024.0});
        let spent: Vec<Spent> = vec![serde_json::from_value(one).unwrap()];
        let shown = by_size(Verb::Keyset, &BTreeMap::from([((Verb::Keyset, 10), spent)]));
        assert_eq!(shown["10 regions, processor of each in a second, ms"], json!(3.0));
    }
}
