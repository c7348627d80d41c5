//! Our agent beside `vault agent`: memory, the time to the first secret, and the time from a write to its
//! use.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use secrets_agent_client::{AgentClient, Subscription};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::cost::{self, Cost};
use crate::region::{Agent, Region, SOON, soon, until};
use crate::service::SECRETS;
use crate::spot::{listening, spotted};
use crate::statistics::summary;
use crate::{Arguments, Result};

pub(crate) async fn measure(region: &Region, arguments: &Arguments) -> Result<Value> {
    let starts = starts(region, arguments.starts).await?;
    let changes = changes(region, arguments.rounds).await?;
    let defaults =
        if arguments.skip_default_interval { Value::Null } else { default_interval(region).await? };
    Ok(
        json!({"first secret": starts, "write to use": changes, "vault agent at its default interval": defaults}),
    )
}

/// From exec to the first secret that an application can use, and what both have cost when the last is there.
///
/// An application of ours connects when the socket is there, is told by the watch stream, and fetches; one of
/// vault agent finds the file.
async fn starts(region: &Region, count: u32) -> Result<Value> {
    let mut ours = Starts::default();
    let mut theirs = Starts::default();
    for round in 0..count {
        let agent = region.agent(&format!("start-{round}"), &SECRETS, "")?;
        let began = agent.process.started();
        ours.listening.push(since(began, listening(agent.socket.clone()).await?));
        let client = AgentClient::new(&agent.socket);
        let mut stream = client.watch(Uuid::new_v4(), None).await?;
        let mut told = BTreeSet::new();
        while told.len() < SECRETS.len() {
            let next = timeout(SOON, stream.next()).await.map_err(|_| "our agent told of no secret")??;
            let (_, change) = next.ok_or("our agent ended its watch stream")?;
            client.get(&change.name).await?;
            if told.is_empty() {
                ours.first.push(since(began, Instant::now()));
            }
            told.insert(change.name);
        }
        ours.last.push(since(began, Instant::now()));
        ours.costs.push(Cost::of(&agent.process)?);
        drop(agent);

        let (process, folder) = region.vault_agent(&format!("vault-start-{round}"), &SECRETS, "")?;
        let files = SECRETS.map(|secret| folder.join(secret));
        let any = files.clone();
        let first = spotted("vault agent's first secret", move || any.iter().any(|file| file.exists()));
        theirs.first.push(since(process.started(), first.await?));
        let last = spotted("vault agent's last secret", move || files.iter().all(|file| file.exists()));
        theirs.last.push(since(process.started(), last.await?));
        theirs.costs.push(Cost::of(&process)?);
        drop(process);
        eprint!("\rstarts: {}/{count}", round + 1);
    }
    eprintln!();
    println!(
        "first secret: secrets-agent {} ms, vault agent {} ms",
        summary(&ours.first),
        summary(&theirs.first)
    );
    let resident =
        |starts: &Starts| summary(&starts.costs.iter().map(|cost| cost.resident).collect::<Vec<_>>());
    println!("resident: secrets-agent {} MiB, vault agent {} MiB", resident(&ours), resident(&theirs));
    Ok(json!({"secrets-agent": ours.shown(), "vault agent": theirs.shown()}))
}

/// The starts of one agent; times in milliseconds since its exec.
#[derive(Default)]
struct Starts {
    listening: Vec<f64>,
    first: Vec<f64>,
    last: Vec<f64>,
    costs: Vec<Cost>,
}

impl Starts {
    fn shown(&self) -> Value {
        let mut shown = json!({
            "exec to first secret, ms": summary(&self.first),
            "exec to last of four secrets, ms": summary(&self.last),
            "cost with all four": cost::shown(&self.costs),
        });
        if !self.listening.is_empty() {
            shown["exec to listening, ms"] = json!(summary(&self.listening));
        }
        shown
    }
}

fn since(start: Instant, moment: Instant) -> f64 {
    moment.saturating_duration_since(start).as_secs_f64() * 1000.0
}

/// From the moment at which Vault has taken a write to the moment at which an application holds it. The same
/// write is watched on three agents at once: ours with a nudge, ours with none and a poll of 1 s, and vault
/// agent with an interval of 1 s.
async fn changes(region: &Region, rounds: u32) -> Result<Value> {
    let nudged = region.agent("nudged", &["probe"], "")?;
    let polling = region.agent("polling", &["probe"], "kv.poll = \"1s\"")?;
    let (vault_agent, folder) = region.vault_agent("interval-1s", &["probe"], "1s")?;
    let file = folder.join("probe");
    let (mut with, mut without) = (Application::of(&nudged), Application::of(&polling));
    with.holds(1).await?;
    without.holds(1).await?;
    let seen = file.clone();
    spotted("vault agent's secret", move || shows(&seen, "0")).await?;
    let (mut with_nudge, mut with_poll, mut with_interval) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let value = round.to_string();
        let written = region.admin.put("kv", "service/probe", &json!({"value": value}), None).await?;
        let taken = Instant::now();
        let nudge = json!({"name": "probe", "version": written.version});
        let file = file.clone();
        let (answer, first, second, third) = tokio::join!(
            nudged.tcp.json(Method::POST, "/v1/nudge", &nudge),
            with.holds(written.version),
            without.holds(written.version),
            spotted("vault agent's change", move || shows(&file, &value)),
        );
        answer?;
        with_nudge.push(since(taken, first?));
        with_poll.push(since(taken, second?));
        with_interval.push(since(taken, third?));
        eprint!("\rchanges: {round}/{rounds}");
    }
    eprintln!();
    drop(vault_agent);
    println!("write to use, nudged: secrets-agent {} ms", summary(&with_nudge));
    println!(
        "write to use, 1 s: secrets-agent {} ms, vault agent {} ms",
        summary(&with_poll),
        summary(&with_interval)
    );
    Ok(json!({
        "secrets-agent, nudged, ms": summary(&with_nudge),
        "secrets-agent, poll of 1 s, ms": summary(&with_poll),
        "vault agent, interval of 1 s, ms": summary(&with_interval),
    }))
}

/// Two vault agents as they come, one write, and how long each takes.
async fn default_interval(region: &Region) -> Result<Value> {
    eprintln!("two vault agents at their default interval: about five minutes");
    let (first, one) = region.vault_agent("default-1", &["probe"], "")?;
    let (second, two) = region.vault_agent("default-2", &["probe"], "")?;
    let (one, two) = (one.join("probe"), two.join("probe"));
    soon("both with the secret", Instant::now(), async || one.exists() && two.exists()).await?;
    region.admin.put("kv", "service/probe", &json!({"value": "default"}), None).await?;
    let (written, long) = (Instant::now(), Duration::from_secs(600));
    let (a, b) = tokio::join!(
        until("the first vault agent", long, written, async || shows(&one, "default")),
        until("the second vault agent", long, written, async || shows(&two, "default")),
    );
    drop((first, second));
    let row = [a?, b?];
    println!("write to use, default interval: vault agent {} ms", summary(&row));
    Ok(json!({"write to use, ms": summary(&row)}))
}

/// What an application does: it is told of a change and fetches it.
struct Application {
    client: AgentClient,
    changes: Subscription,
}

impl Application {
    fn of(agent: &Agent) -> Self {
        let client = AgentClient::new(&agent.socket);
        Application { changes: Subscription::start(client.clone()), client }
    }

    /// Waits for a version and gives the moment at which its value is there.
    async fn holds(&mut self, version: u64) -> Result<Instant> {
        let held = async {
            while let Some(change) = self.changes.next().await {
                if change.version >= version {
                    self.client.get_version(&change.name, change.version).await?;
                    return Ok(Instant::now());
                }
            }
            Err("the watch was lost".into())
        };
        timeout(SOON, held).await.map_err(|_| format!("waited {} s for version {version}", SOON.as_secs()))?
    }
}

fn shows(file: &Path, value: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text == format!("{{\"value\":\"{value}\"}}"))
}
