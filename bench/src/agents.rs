//! Our agent beside `vault agent`: memory, the time to the first secret, and the time from a write to its
//! use.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use local_region::process::Process;
use secrets_agent_client::{AgentClient, ExposeSecret};
use serde_json::{Value, json};

use crate::region::{Region, soon, until};
use crate::statistics::summary;
use crate::{Arguments, Result};

const SECRETS: [&str; 4] = ["config", "clients", "signing-keys", "tls"];

pub(crate) async fn measure(region: &Region, arguments: &Arguments) -> Result<Value> {
    let starts = starts(region, arguments.starts).await?;
    let changes = changes(region, arguments.rounds).await?;
    let defaults =
        if arguments.skip_default_interval { Value::Null } else { default_interval(region).await? };
    Ok(
        json!({"first secret": starts, "write to use": changes, "vault agent at its default interval": defaults}),
    )
}

/// From exec to the first secret that an application can use, and what both hold then.
async fn starts(region: &Region, count: u32) -> Result<Value> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut our_memory, mut their_memory) = (Vec::new(), Vec::new());
    for round in 0..count {
        let agent = region.agent(&format!("start-{round}"), &SECRETS, "")?;
        let client = AgentClient::new(&agent.socket);
        let began = agent.process.started();
        ours.push(
            soon("our agent's first secret", began, async || client.get("config").await.is_ok()).await?,
        );
        soon("our agent's last secret", began, async || delivered(&client).await == SECRETS.len()).await?;
        our_memory.push(memory(&agent.process)?);
        drop(agent);

        let (process, folder) = region.vault_agent(&format!("vault-start-{round}"), &SECRETS, "")?;
        let file = folder.join("config");
        theirs.push(soon("vault agent's first secret", process.started(), async || file.exists()).await?);
        soon("vault agent's last secret", process.started(), async || {
            SECRETS.iter().all(|secret| folder.join(secret).exists())
        })
        .await?;
        their_memory.push(memory(&process)?);
        drop(process);
        eprint!("\rstarts: {}/{count}", round + 1);
    }
    eprintln!();
    let rows =
        |rows: &[Memory], pick: fn(&Memory) -> f64| summary(&rows.iter().map(pick).collect::<Vec<_>>());
    let shown = |times: &[f64], rows_of: &[Memory]| {
        json!({
            "exec to first secret, ms": summary(times),
            "resident, MiB": rows(rows_of, |memory| memory.resident),
            "proportional, MiB": rows(rows_of, |memory| memory.proportional),
            "private, MiB": rows(rows_of, |memory| memory.private),
        })
    };
    println!("first secret: secrets-agent {} ms, vault agent {} ms", summary(&ours), summary(&theirs));
    println!(
        "resident: secrets-agent {} MiB, vault agent {} MiB",
        rows(&our_memory, |memory| memory.resident),
        rows(&their_memory, |memory| memory.resident)
    );
    Ok(json!({"secrets-agent": shown(&ours, &our_memory), "vault agent": shown(&theirs, &their_memory)}))
}

async fn delivered(client: &AgentClient) -> usize {
    let listed = client.secrets().await.map(|list| list.secrets).unwrap_or_default();
    listed.iter().filter(|secret| secret.version.is_some()).count()
}

struct Memory {
    resident: f64,
    proportional: f64,
    private: f64,
}

fn memory(process: &Process) -> Result<Memory> {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let facts = process.facts();
    Ok(Memory {
        resident: mebibytes(facts.resident()?),
        proportional: mebibytes(facts.proportional()?),
        private: mebibytes(facts.private()?),
    })
}

/// From the moment at which Vault has taken a write to the moment at which an application holds it. The same
/// write is watched on three agents at once: ours with a nudge, ours with none and a poll of 1 s, and vault
/// agent with an interval of 1 s.
async fn changes(region: &Region, rounds: u32) -> Result<Value> {
    let nudged = region.agent("nudged", &["probe"], "")?;
    let polling = region.agent("polling", &["probe"], "kv.poll = \"1s\"")?;
    let (vault_agent, folder) = region.vault_agent("interval-1s", &["probe"], "1s")?;
    let file = folder.join("probe");
    let (nudged_client, polling_client) =
        (AgentClient::new(&nudged.socket), AgentClient::new(&polling.socket));
    let began = Instant::now();
    soon("three agents with the secret", began, async || {
        holds(&nudged_client, "0").await && holds(&polling_client, "0").await && shows(&file, "0")
    })
    .await?;
    let (mut with_nudge, mut with_poll, mut with_interval) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let value = round.to_string();
        let written = region.admin.put("kv", "service/probe", &json!({"value": value}), None).await?;
        let taken = Instant::now();
        let nudge = json!({"name": "probe", "version": written.version});
        nudged.tcp.json(Method::POST, "/v1/nudge", &nudge).await?;
        let (first, second, third) = tokio::join!(
            soon("the nudged agent", taken, async || holds(&nudged_client, &value).await),
            soon("the polling agent", taken, async || holds(&polling_client, &value).await),
            soon("vault agent", taken, async || shows(&file, &value)),
        );
        with_nudge.push(first?);
        with_poll.push(second?);
        with_interval.push(third?);
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

async fn holds(client: &AgentClient, value: &str) -> bool {
    let wanted = format!("{{\"value\":\"{value}\"}}");
    client.get("probe").await.is_ok_and(|secret| secret.data.expose_secret() == wanted.as_bytes())
}

fn shows(file: &Path, value: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text == format!("{{\"value\":\"{value}\"}}"))
}
