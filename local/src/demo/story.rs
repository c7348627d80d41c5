//! What happens in the demo, in order.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use local_region::pod::Pod;
use local_region::wait::wait_until;
use secrecy::{ExposeSecret as _, SecretString};
use secrets_agent_client::wire::VaultState;
use tokio::time::{Instant, sleep, sleep_until};

use super::checks::{self, Ask};
use super::documents::{self, CLIENT};
use super::observer;
use super::region::Region;
use super::stage::Stage;

/// How often the client looks for its secret, and the former one is tried: more often than a token lives.
const LOOKS: Duration = Duration::from_millis(250);
/// The client must have found its new secret within this.
const HANDED: Duration = Duration::from_secs(60);
/// How long one Vault is frozen.
const FROZEN: Duration = Duration::from_secs(20);
/// How long an agent may take to find its Vault again.
const RECOVERED: Duration = Duration::from_secs(15);
/// The region whose Vault is frozen, by its place among the waves.
const SECOND: usize = 1;
/// The life of tokens before the configuration changes, in seconds, and after.
pub(crate) const LIVES: (u64, u64) = (2, 3);
/// The phase of the signing key's rotation by which the new key signs.
pub(crate) const ACTIVATE: &str = "activate";

/// What the story starts with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) secret: SecretString,
    /// The id of the key that signs.
    pub(crate) kid: String,
}

/// Plays the whole story. What does not hold is noted on the stage; an error is what ends the story early.
pub(crate) async fn play(stage: &mut Stage<'_>, start: Start) -> Result<()> {
    rights(stage).await?;
    client_secret(stage, &start.secret).await.context("change the client's secret")?;
    configuration(stage).await.context("change the configuration")?;
    let new = publish(stage, &start.kid).await.context("publish a new signing key")?;
    third_region(stage, &new).await.context("make a third region")?;
    replace(stage, &start.kid, &new).await.context("replace the old signing key")
}

async fn rights(stage: &Stage<'_>) -> Result<()> {
    let mut least = true;
    for region in &stage.regions {
        least &= checks::rights_are_least(region).await?;
    }
    stage.check(least, "agents may read kv/service/*, watchers no value at all; the root tokens are revoked");
    Ok(())
}

async fn client_secret(stage: &Stage<'_>, old: &SecretString) -> Result<()> {
    stage.timeline.chapter("A client gets a new secret");
    let running = stage.rotating("clients", &[], None).await?;
    let mut asks = Vec::new();
    let rotation = tokio::select! {
        done = running.done() => done?,
        never = client(stage, old, &mut asks) => match never? {},
    };
    stage.keep(rotation);
    stage.observer.in_use("clients", "retire", stage.pods().count()).await?;
    ask(stage, old, &mut asks).await?;
    let retired = stage.observer.changes();
    let retired: Vec<_> =
        retired.iter().filter(|change| change.document == "clients" && change.phase == "retire").collect();
    let names: Vec<&str> = stage.pods().map(|pod| pod.name.as_str()).collect();
    let seen = checks::sides(&asks, &names, &retired, |ask| ask.taken, |ask| !ask.taken);
    stage.check(
        seen.wrong == 0 && seen.unseen == 0,
        format!(
            "the old secret was tried {} times before a pod had it retired, and always taken; {} times since, and \
             always refused; {} were wrong",
            seen.before, seen.after, seen.wrong
        ),
    );
    stage.check_former_are_gone("clients").await
}

/// What the client does meanwhile: it looks for its secret as any client does, uses what it finds, and tries the old
/// one on.
async fn client(stage: &Stage<'_>, old: &SecretString, asks: &mut Vec<Ask>) -> Result<Infallible> {
    let first = stage.regions.first().context("there is a region")?;
    let find = async || {
        let own = first.identities.probe.read("kv", &format!("client/{CLIENT}"), None).await;
        let own = own.map_err(|error| error.to_string())?.data;
        match own["secret"].as_str() {
            Some(new) if new != old.expose_secret() => Ok(SecretString::from(new)),
            _ => Err("the old one".to_owned()),
        }
    };
    let found = wait_until("the client to find a new secret", HANDED, async || {
        sleep(LOOKS).await;
        find().await
    });
    let new = found.await?;
    let mut both = true;
    for pod in stage.pods() {
        both &= checks::takes_secret(pod, old).await? && checks::takes_secret(pod, &new).await?;
    }
    stage.load.use_secret(new);
    stage.timeline.say("client", "has found its new secret in kv/client/probe and uses it");
    stage.check(both, "the old and the new secret are both taken by every pod, whichever the client has");
    loop {
        ask(stage, old, asks).await?;
        sleep(LOOKS).await;
    }
}

/// Tries a secret on every pod.
async fn ask(stage: &Stage<'_>, secret: &SecretString, asks: &mut Vec<Ask>) -> Result<()> {
    for (target, pod) in stage.pods().enumerate() {
        let sent = Timestamp::now();
        let taken = checks::takes_secret(pod, secret).await?;
        asks.push(Ask { target, sent, received: Timestamp::now(), taken });
    }
    Ok(())
}

async fn configuration(stage: &Stage<'_>) -> Result<()> {
    stage
        .timeline
        .chapter(&format!("The configuration changes: tokens live {} s, not {} s", LIVES.1, LIVES.0));
    let document = documents::unmarked(documents::config(&super::FIRST, LIVES.1));
    let rotation = stage.rotating("config", &[], Some(&document)).await?.done().await?;
    stage.keep(rotation);
    stage.check_former_are_gone("config").await
}

/// Publishes a new key, and stops the rotation there. Gives the id of the new key.
async fn publish(stage: &Stage<'_>, old: &str) -> Result<String> {
    stage.timeline.chapter("A new signing key: published, and then the operator has to go");
    let running = stage.rotating("signing-keys", &[], None).await?;
    let published = stage.observer.in_use("signing-keys", "publish", stage.pods().count());
    stage.keep(running.stopped_when(published).await?);
    let mut kids = Vec::new();
    for pod in stage.pods() {
        kids.push(checks::kids(pod).await?);
    }
    let new = kids.iter().flatten().find(|kid| *kid != old).cloned().unwrap_or_default();
    let shown = !new.is_empty() && kids.iter().all(|kids| kids.contains(&new));
    let signs = stage.load.issues().iter().any(|issue| issue.kid == new);
    stage.check(
        shown && !signs,
        format!("every pod's own JWKS shows the new key {}, and no pod signs with it", short(&new)),
    );
    Ok(new)
}

/// Makes a third region while the others serve and the new key is only published.
async fn third_region(stage: &mut Stage<'_>, new: &str) -> Result<()> {
    let name = "ap";
    stage.timeline.chapter("A third region is made meanwhile");
    stage.catalogue.add(name, "local-ap1", "10.80.0.0/14")?;
    let vault = Region::start_vault(&stage.site, name).await?;
    stage.catalogue.place(&vault)?;
    let others: Vec<_> =
        stage.regions.iter().map(|region| (&region.vault, region.rotator().token())).collect();
    stage.catalogue.bootstrap(stage.timeline, (&vault, vault.root_token()), &others).await?;
    let mut region = Region::new(&stage.site, &stage.catalogue, vault).await?;
    let path = "service/signing-keys";
    let copied = region.rotator().read("kv", path, None).await?.data;
    let mut same = copied["keys"][new]["state"] == "published";
    for other in &stage.regions {
        same &= other.rotator().read("kv", path, None).await?.data == copied;
    }
    stage.check(same, format!("{name} has the keys of the others, {} published as it is there", short(new)));
    region.start_pods(&stage.site).await?;
    for pod in &region.pods {
        stage.observer.follow(pod, &region.identities.probe).await?;
    }
    stage.timeline.say("pods", &format!("{} pairs of service and agent ready in {name}", region.pods.len()));
    stage.regions.push(region);
    Ok(())
}

/// Gives the same command again, and lets a Vault freeze while it waits for the last tokens of the old key.
async fn replace(stage: &mut Stage<'_>, old: &str, new: &str) -> Result<()> {
    stage.timeline.chapter("The same command again: it goes on where it was, in three regions");
    let compromised: &[&str] = if stage.without_waits { &["--compromised", "--yes"] } else { &[] };
    let running = stage.rotating("signing-keys", compromised, None).await?;
    let rotation = if stage.without_waits {
        stage.timeline.alarm("the waits are skipped, to see that this is noticed; no Vault is frozen");
        running.done().await?
    } else {
        tokio::try_join!(running.done(), frozen(stage))?.0
    };
    stage.keep(rotation);

    stage.timeline.chapter("What is left");
    let mut gone = true;
    for pod in stage.pods() {
        gone &= checks::kids(pod).await? == [new];
    }
    stage.check(gone, format!("no pod's JWKS shows the old key {} any more", short(old)));
    stage.check_former_are_gone("signing-keys").await?;
    let secret = stage.load.secret();
    let tokens = try_join_all(stage.pods().map(|pod| checks::token(pod, &secret))).await?;
    let mut verified = true;
    for pod in stage.pods() {
        for token in &tokens {
            verified &= checks::verifies(token, pod).await?;
        }
    }
    stage.check(verified, "a token of each pod, the new region's too, verifies with the JWKS of every other");
    Ok(())
}

/// Freezes the Vault of the second region once the new key signs everywhere, and kills a service beside it meanwhile.
async fn frozen(stage: &mut Stage<'_>) -> Result<()> {
    stage.observer.in_use("signing-keys", ACTIVATE, stage.pods().count()).await?;
    let pods = stage.pods().count();
    let region = stage.regions.get_mut(SECOND).context("there is a second region")?;
    let (timeline, name) = (stage.timeline, region.name.clone());
    timeline.say("signing-keys", &format!("the new key signs in all {pods} pods"));
    timeline.chapter(&format!(
        "The Vault of {name} freezes for {} s (SIGSTOP), the rotation under way",
        FROZEN.as_secs()
    ));
    region.vault.pause().await?;
    let thaw = Instant::now() + FROZEN;
    timeline.say("vault", &format!("the Vault of {name} answers nothing any more"));

    let pod = region.pods.last_mut().context("it has pods")?;
    let target = stage.load.targets.iter().find(|target| target.name == pod.name);
    let target = target.context("every pod of the first regions is under load")?;
    target.begin_apart();
    pod.kill_service().await;
    timeline.say("service", &format!("{} killed (SIGKILL) while its Vault is frozen", pod.name));
    let took = pod.restart_service().await?;
    target.end_apart();
    let ready = Instant::now() < thaw;
    timeline.say("service", &format!("{} is ready again after {} ms", pod.name, took.as_millis()));

    // Nobody tells them: their tokens run out, and they ask for others.
    let left = thaw.saturating_duration_since(Instant::now());
    let unwell =
        join_all(region.pods.iter().map(|pod| vault_state(pod, left, |state| state != VaultState::Ok)));
    let unwell = unwell.await;
    let told = unwell.iter().all(Result::is_ok);
    if let Some(Ok(error)) = unwell.first() {
        timeline.say("agent", &format!("{name}-1 says: {error}"));
    }

    sleep_until(thaw).await;
    region.vault.resume()?;
    let thawed = Instant::now();
    timeline.say("vault", &format!("the Vault of {name} goes on"));
    let well = region.pods.iter().map(|pod| vault_state(pod, RECOVERED, |state| state == VaultState::Ok));
    try_join_all(well).await?;
    let recovered = thawed.elapsed().as_secs_f64();
    timeline
        .say("agent", &format!("the agents of {name} have found their Vault again, after {recovered:.1} s"));
    stage.check(
        told,
        format!("the agents of {name} said that their Vault was away, and served what they had"),
    );
    stage.check(ready, "the killed service was ready again from its agent's memory, its Vault still frozen");
    Ok(())
}

/// Waits until a pod's agent says so of its Vault. Gives what it says is wrong.
async fn vault_state(pod: &Pod, within: Duration, is: impl Fn(VaultState) -> bool) -> Result<String> {
    let what = format!("what the agent of {} says of its Vault to change", pod.name);
    let said = wait_until(what, within, async || {
        let status = observer::status(pod).await.map_err(|error| format!("{error:#}"))?;
        let error = status.vault.error.unwrap_or_default();
        if is(status.vault.state) { Ok(error) } else { Err(format!("{:?}: {error}", status.vault.state)) }
    });
    Ok(said.await?)
}

/// The first characters of a key's id, for people.
fn short(kid: &str) -> &str {
    kid.get(..8).unwrap_or(kid)
}
