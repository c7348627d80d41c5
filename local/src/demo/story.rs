//! What happens in the demo, in order.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::join_all;
use jiff::Timestamp;
use local_region::wait::wait_until;
use secrecy::{ExposeSecret, SecretString};
use secrets_agent_client::wire::VaultState;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::checks;
use super::documents::{self, CLIENT, KeyState, Rotation, SigningKey};
use super::region::Region;
use super::stage::Stage;
use super::watcher;

/// What the demo's documents allow: every wait follows from these.
const TOKEN_LIFE: Duration = Duration::from_secs(3);
const JWKS_MAX_AGE: Duration = Duration::from_secs(1);
const LEEWAY: Duration = Duration::from_secs(1);
const SKEW: Duration = Duration::from_secs(1);
/// How long one Vault is frozen.
const FROZEN: Duration = Duration::from_secs(20);
/// How long an agent may take to find its Vault again.
const RECOVERED: Duration = Duration::from_secs(15);
/// The life of tokens before the configuration changes, in seconds, and after.
pub(crate) const LIVES: (u64, u64) = (2, 3);

/// What the story starts with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) secret: SecretString,
    pub(crate) key: SigningKey,
}

/// Plays the whole story. What does not hold is noted on the stage; an error is what ends the story early.
pub(crate) async fn play(stage: &mut Stage<'_>, start: Start) -> Result<()> {
    rights(stage).await?;
    client_secret(stage, &start.secret).await.context("change the client's secret")?;
    configuration(stage).await.context("change the configuration")?;
    let (old, new) = activate(stage, start.key).await.context("change the signing key")?;
    frozen(stage).await.context("freeze a Vault")?;
    retire(stage, &old, &new).await.context("retire the old signing key")
}

async fn rights(stage: &mut Stage<'_>) -> Result<()> {
    let mut least = true;
    for region in &stage.regions {
        least &= checks::rights_are_least(region).await?;
    }
    stage.check(least, "agents may read kv/service/* and nothing else; the root tokens are revoked");
    Ok(())
}

async fn client_secret(stage: &mut Stage<'_>, old: &SecretString) -> Result<()> {
    stage.timeline.chapter("A client gets a new secret");
    let new = documents::client_secret()?;
    let clear = json!({"secret": new.expose_secret()});
    for region in &stage.regions {
        region.rotator().put("kv", &format!("client-pending/{CLIENT}"), &clear, None).await?;
    }
    let rotation = |phase| Rotation::new("clients-1", phase);
    let both = documents::clients(&rotation("publish"), &[(old, None), (&new, None)]);
    stage.roll_out(rotation("publish"), "clients", &both).await?;
    let taken = takes(stage, old).await? && takes(stage, &new).await?;
    stage.check(taken, "the old and the new secret are both taken by every pod");

    for region in &stage.regions {
        region.rotator().put("kv", &format!("client/{CLIENT}"), &clear, None).await?;
    }
    let own =
        stage.regions.first().context("there is a region")?.identities.probe.read("kv", "client/probe", None);
    let own: SecretString = own.await?.data["secret"].as_str().context("the client finds its secret")?.into();
    stage.load.use_secret(own);
    stage.timeline.say("clients", "the client has read its new secret from kv/client/probe and uses it");

    let end = Timestamp::now() + Duration::from_secs(2);
    let ending = documents::clients(&rotation("end"), &[(old, Some(end)), (&new, None)]);
    stage.roll_out(rotation("end"), "clients", &ending).await?;
    let taken = takes(stage, old).await?;
    let in_time = Timestamp::now() < end;
    sleep_until(Instant::now() + checks::until(end)).await;
    let mut refused = true;
    for pod in stage.pods() {
        refused &= !checks::takes_secret(pod, old).await?;
    }
    stage.check(taken && in_time && refused, "the old secret is taken until its end, and by no pod after it");

    let without = documents::clients(&rotation("retire"), &[(&new, None)]);
    stage.roll_out(rotation("retire"), "clients", &without).await?;
    stage.destroy_former("clients").await
}

/// Whether every pod takes this secret.
async fn takes(stage: &Stage<'_>, secret: &SecretString) -> Result<bool> {
    let mut taken = true;
    for pod in stage.pods() {
        taken &= checks::takes_secret(pod, secret).await?;
    }
    Ok(taken)
}

async fn configuration(stage: &mut Stage<'_>) -> Result<()> {
    stage
        .timeline
        .chapter(&format!("The configuration changes: tokens live {} s, not {} s", LIVES.1, LIVES.0));
    let rotation = Rotation::new("config-1", "write");
    stage.roll_out(rotation, "config", &documents::config(&rotation, LIVES.1)).await
}

/// Publishes a new key and activates it. Gives the old one, retiring, and the new one.
async fn activate(stage: &mut Stage<'_>, old: SigningKey) -> Result<(SigningKey, SigningKey)> {
    stage.timeline.chapter("A new signing key: published, then activated");
    let new = SigningKey::make(KeyState::Published)?;
    stage.timeline.say("signing-keys", &format!("{} signs; {} is new", old.short(), new.short()));
    let rotation = |phase| Rotation::new(ROTATION, phase);
    let document = documents::signing_keys(&rotation("publish"), &[&old, &new]);
    stage.roll_out(rotation("publish"), "signing-keys", &document).await?;
    let mut shown = true;
    for pod in stage.pods() {
        shown &= checks::kids(pod).await?.contains(&new.kid);
    }
    stage.check(shown, "every pod's own JWKS shows the new key, before any pod signs with it");
    third_region(stage, &new).await.context("make a third region's Vault")?;
    stage
        .wait_out(JWKS_MAX_AGE + SKEW, "until no client can hold a JWKS without the new key (max-age + skew)")
        .await;

    let (old, new) = (old.into_state(KeyState::Retiring), new.into_state(KeyState::Active));
    let document = documents::signing_keys(&rotation(ACTIVATE), &[&old, &new]);
    stage.roll_out(rotation(ACTIVATE), "signing-keys", &document).await?;
    Ok((old, new))
}

/// Makes the Vault of a third region while the others serve and the new key is only published, and takes it away
/// again: it has no pods yet.
async fn third_region(stage: &mut Stage<'_>, new: &SigningKey) -> Result<()> {
    let name = "ap";
    stage.catalogue.add(name, "local-ap1", "10.80.0.0/14")?;
    let vault = Region::start_vault(&stage.site, name).await?;
    stage.catalogue.place(&vault)?;
    let others: Vec<_> =
        stage.regions.iter().map(|region| (&region.vault, region.rotator().token())).collect();
    stage.catalogue.bootstrap(stage.timeline, (&vault, vault.root_token()), &others).await?;
    let path = "service/signing-keys";
    let copied = vault.admin().read("kv", path, None).await?.data;
    let mut same = copied["keys"][&new.kid]["state"] == "published";
    for region in &stage.regions {
        same &= region.rotator().read("kv", path, None).await?.data == copied;
    }
    stage.check(same, format!("{name} has the keys of the others, {} published as it is there", new.short()));
    vault.stop().await;
    Ok(())
}

pub(crate) const ROTATION: &str = "signing-keys-1";
pub(crate) const ACTIVATE: &str = "activate";

/// Freezes the Vault of the second region, and kills a service beside it meanwhile.
async fn frozen(stage: &mut Stage<'_>) -> Result<()> {
    let Some(region) = stage.regions.last_mut() else { return Ok(()) };
    let name = region.name.clone();
    stage.timeline.chapter(&format!("The Vault of {name} freezes for {} s (SIGSTOP)", FROZEN.as_secs()));
    region.vault.pause()?;
    let thaw = Instant::now() + FROZEN;
    stage.timeline.say("vault", &format!("the Vault of {name} answers nothing any more"));

    for pod in &region.pods {
        watcher::nudge(pod, "config", None).await?;
    }
    let unwell = join_all(region.pods.iter().map(async |pod| {
        let what = format!("the agent of {} to say that its Vault is away", pod.name);
        wait_until(what, FROZEN / 2, async || {
            let status = watcher::status(pod).await.map_err(|error| format!("{error:#}"))?;
            let error = status.vault.error.unwrap_or_default();
            (status.vault.state != VaultState::Ok)
                .then_some(error)
                .ok_or_else(|| "it says that all is well".to_owned())
        })
        .await
    }));
    let unwell = unwell.await;
    let told = unwell.iter().all(Result::is_ok);
    if let Some(Ok(error)) = unwell.first() {
        stage.timeline.say("agent", &format!("{name}-1 says: {error}"));
    }

    let Some(pod) = region.pods.last_mut() else { return Ok(()) };
    let target = stage
        .load
        .targets
        .iter()
        .find(|target| target.name == pod.name)
        .context("every pod is under load")?;
    target.begin_apart();
    pod.kill_service().await;
    stage.timeline.say("service", &format!("{} killed (SIGKILL) while its Vault is frozen", pod.name));
    let took = pod.restart_service().await?;
    target.end_apart();
    let ready = Instant::now() < thaw;
    stage.timeline.say("service", &format!("{} is ready again after {} ms", pod.name, took.as_millis()));

    sleep_until(thaw).await;
    region.vault.resume()?;
    let thawed = Instant::now();
    stage.timeline.say("vault", &format!("the Vault of {name} goes on"));
    for pod in &region.pods {
        wait_until(format!("the agent of {} to find its Vault again", pod.name), RECOVERED, async || {
            let status = watcher::status(pod).await.map_err(|error| format!("{error:#}"))?;
            match status.vault.state {
                VaultState::Ok => Ok(()),
                state => Err(format!("{state:?}: {}", status.vault.error.unwrap_or_default())),
            }
        })
        .await?;
    }
    let recovered = thawed.elapsed().as_secs_f64();
    stage
        .timeline
        .say("agent", &format!("the agents of {name} have found their Vault again, after {recovered:.1} s"));
    stage.check(
        told,
        format!("the agents of {name} said that their Vault was away, and served what they had"),
    );
    stage.check(ready, "the killed service was ready again from its agent's memory, its Vault still frozen");
    Ok(())
}

/// Retires the old key, and destroys every version that held its private part.
async fn retire(stage: &mut Stage<'_>, old: &SigningKey, new: &SigningKey) -> Result<()> {
    stage.timeline.chapter("The old signing key goes");
    let activated =
        stage.changes.iter().filter(|change| change.phase == ACTIVATE).map(|change| change.adopted).max();
    let last_token = activated.context("the new key was activated")? + TOKEN_LIFE + LEEWAY + SKEW;
    match checks::until(last_token) {
        Duration::ZERO => stage
            .timeline
            .say("wait", "no token of the old key is taken any more (token life + leeway + skew are over)"),
        left => stage.wait_out(left, "until the last token of the old key has ended").await,
    }
    let rotation = Rotation::new(ROTATION, "retire");
    let document = documents::signing_keys(&rotation, &[new]);
    stage.roll_out(rotation, "signing-keys", &document).await?;
    let mut gone = true;
    for pod in stage.pods() {
        gone &= checks::kids(pod).await? == [new.kid.as_str()];
    }
    stage.check(gone, format!("no pod's JWKS shows the old key {} any more", old.short()));
    stage.destroy_former("signing-keys").await
}
