//! From a `vault kv put` by somebody's hand until a service uses what was written, beside `vault agent`.

use std::fs;
use std::time::{Duration, Instant};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use local_region::pki::write_private;
use local_region::process::Program;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::pod::Pod;
use crate::region::Region;
use crate::spot::spotted;
use crate::statistics::summary;
use crate::watcher::Watcher;
use crate::{Arguments, Result};

const SECRET: &str = "config";
/// Promised for a region with a watcher, and for an agent that is nudged, in milliseconds.
const WATCHED: f64 = 2_000.0;
const NUDGED: f64 = 250.0;
/// The interval of vault agent. It is counted in whole seconds, and one is the least.
const INTERVAL: &str = "1s";
/// Writes come at moments that are spread evenly over this long, so that none of the three sides, each of which looks
/// once a second, is always written to at the same point of its second.
const SPREAD: Duration = Duration::from_secs(1);
/// The golden ratio's part after the point: its multiples fall evenly between zero and one.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// Each write is seen by three at once: a pod whose region has a watcher and that nobody else tells, a pod that is nudged
/// as soon as the write has returned, and vault agent. The time counts from the moment at which Vault wrote the version, by
/// its own word.
pub(crate) async fn measure(region: &Region, arguments: &Arguments) -> Result<Value> {
    let (watched, nudged) = (Pod::start(region, "watched").await?, Pod::start(region, "told").await?);
    let watcher = Watcher::start(region, "watched", &[&watched]).await?;
    watcher.view_of_all_adopted().await?;
    let (vault_agent, folder) = region.vault_agent("by-hand", &[SECRET], INTERVAL)?;
    let file = folder.join(SECRET);
    let there = file.clone();
    spotted("vault agent's secret", move || there.exists()).await?;
    let by_hand = ByHand::new(region)?;
    let mut former = nudged.adopts(SECRET, 0).await?.1.version;
    let (mut of_watched, mut of_nudged, mut of_theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=arguments.writes {
        sleep(SPREAD.mul_f64((f64::from(round) * GOLDEN).fract())).await;
        // Each write differs from the one before, and no other setting has either value.
        let life = if round % 2 == 0 { "3s" } else { "2s" };
        let (seen, text) = (file.clone(), format!("\"{life}\""));
        let clocks = (Instant::now(), Timestamp::now());
        let told = async {
            by_hand.put(region, life).await?;
            let nudge = json!({"name": SECRET, "version": former + 1});
            nudged.agent.tcp.json(Method::POST, "/v1/nudge", &nudge).await?;
            Ok::<_, crate::Failure>(())
        };
        let (told, first, second, third) = tokio::join!(
            told,
            watched.adopts(SECRET, former),
            nudged.adopts(SECRET, former),
            spotted("vault agent's change", move || {
                fs::read_to_string(&seen).is_ok_and(|found| found.contains(&text))
            }),
        );
        told?;
        let ((first, version), (second, other)) = (first?, second?);
        if version != other || version.version != former + 1 {
            return Err(format!("the pods use {version:?} and {other:?} after one write").into());
        }
        let since = |moment: Instant| {
            let moment = clocks.1 + SignedDuration::try_from(moment - clocks.0).unwrap_or_default();
            moment.duration_since(version.created_time).as_secs_f64() * 1000.0
        };
        of_watched.push(since(first));
        of_nudged.push(since(second));
        of_theirs.push(since(third?));
        former = version.version;
        eprint!("\rwrites by hand: {round}/{}", arguments.writes);
    }
    eprintln!();
    drop((watcher, vault_agent));
    println!(
        "vault kv put to adopted: watched {} ms, nudged {} ms",
        summary(&of_watched),
        summary(&of_nudged)
    );
    println!("vault kv put to vault agent's file, interval of {INTERVAL}: {} ms", summary(&of_theirs));
    let within = |row: &[f64], most: f64| row.iter().all(|took| *took <= most);
    Ok(json!({
        "with a watcher, to the service's acknowledgement, ms": summary(&of_watched),
        "nudged, to the service's acknowledgement, ms": summary(&of_nudged),
        "vault agent, interval of 1 s, to its file, ms": summary(&of_theirs),
        "with a watcher never more than 2 s": within(&of_watched, WATCHED),
        "nudged never more than 250 ms": within(&of_nudged, NUDGED),
    }))
}

/// Somebody who writes with Vault's own command.
struct ByHand {
    document: Value,
}

impl ByHand {
    fn new(region: &Region) -> Result<Self> {
        // Where the command looks for it, so that it is in no environment.
        let token = region.vault.root_token().expose_secret().as_bytes().to_vec();
        write_private(&region.folder.path().join(".vault-token"), &token)?;
        Ok(ByHand { document: region.config.clone() })
    }

    /// Writes the document with another life of tokens, and waits until the command has ended.
    async fn put(&self, region: &Region, life: &str) -> Result<()> {
        let folder = region.folder.path();
        let mut document = self.document.clone();
        document["oauth"]["token_life"] = life.into();
        let file = write_private(&folder.join("by-hand.json"), document.to_string().as_bytes())?;
        let process = Program::new("vault kv put", &region.vault_program)
            .arguments(["kv", "put", "-mount=kv", "service/config"])
            .argument(format!("@{}", file.display()))
            .variable("HOME", folder)
            .variable("VAULT_ADDR", region.vault.url())
            .variable("VAULT_CACERT", region.vault.ca_file())
            .log(folder.join("by-hand.log"))
            .start()?;
        if process.ended().await.success() { Ok(()) } else { Err(process.log_tail(5).into()) }
    }
}
