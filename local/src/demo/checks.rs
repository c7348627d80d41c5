//! What must hold, looked at from outside.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use local_region::documents::ISSUER;
use local_region::http::StatusCode;
use local_region::load::Issue;
use local_region::pod::Pod;
use local_region::vault::Error as VaultError;
use local_region::wait::wait_until;
use secrecy::SecretString;
use secrets_agent_client::Error as AgentError;
use serde_json::{Value, json};

use super::observer::Change;
use super::region::Region;

/// A retired version must be gone from an agent within this.
const GONE: Duration = Duration::from_secs(5);

/// Whether a pod gives a token for this secret of the client.
pub(crate) async fn takes_secret(pod: &Pod, secret: &SecretString) -> Result<bool> {
    let request = local_region::load::token_request(&pod.public, secret)?;
    let answer = pod.public.send(request).await?;
    match answer.status {
        StatusCode::OK => Ok(true),
        StatusCode::UNAUTHORIZED => Ok(false),
        status => anyhow::bail!("{} answered {status} to a token request", pod.name),
    }
}

/// The ids of the keys that a pod's own JWKS shows.
pub(crate) async fn kids(pod: &Pod) -> Result<Vec<String>> {
    let jwks: Value = pod.public.get("/.well-known/jwks.json").await?.expect(StatusCode::OK)?.json()?;
    let keys = jwks["keys"].as_array().into_iter().flatten();
    Ok(keys.filter_map(|key| Some(key["kid"].as_str()?.to_owned())).collect())
}

/// Whether a pod's agent has stopped serving these versions.
pub(crate) async fn former_is_gone(pod: &Pod, document: &str, former: &[u64]) -> Result<bool> {
    let gone = wait_until(format!("the agent of {} to drop former {document}", pod.name), GONE, async || {
        for version in former {
            match pod.socket.get_version(document, *version).await {
                Err(AgentError::Refused { problem, .. }) if matches!(problem.status, 404 | 410) => {}
                Ok(_) => return Err(format!("version {version} is still served")),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    });
    Ok(gone.await.is_ok())
}

/// Whether the identities of agents and of the watcher can do no more than they need to, and the root token nothing.
pub(crate) async fn rights_are_least(region: &Region) -> Result<bool> {
    let anybody = region.vault.with_token(region.vault.root_token());
    let agent = anybody.login_approle(&region.identities.service).await?;
    let watcher = anybody.login_approle(&region.identities.watcher).await?;
    let may_read = agent.read("kv", "service/config", None).await.is_ok()
        && watcher.metadata("kv", "service/config").await.is_ok();
    let refused = [
        agent.put("kv", "service/config", &json!({}), None).await.err(),
        agent.read("kv", "client/probe", None).await.err(),
        agent.read("kv", "client-pending/probe", None).await.err(),
        agent.destroy("kv", "service/config", &[1]).await.err(),
        watcher.read("kv", "service/config", None).await.err(),
        watcher.put("kv", "service/config", &json!({}), None).await.err(),
        region.identities.probe.read("kv", "service/clients", None).await.err(),
        region.vault.admin().read("kv", "service/config", None).await.err(),
    ];
    // They end by themselves otherwise, and may have done so already where everything is slow.
    let _ = tokio::join!(agent.revoke_self(), watcher.revoke_self());
    let denied = |error: &Option<VaultError>| {
        matches!(error, Some(VaultError::Refused { status: StatusCode::FORBIDDEN, .. }))
    };
    Ok(may_read && refused.iter().all(denied))
}

/// A token of a pod.
pub(crate) async fn token(pod: &Pod, secret: &SecretString) -> Result<String> {
    let answer = pod.public.send(local_region::load::token_request(&pod.public, secret)?).await?;
    let issued: Value = answer.expect(StatusCode::OK)?.json()?;
    Ok(issued["access_token"].as_str().context("find the token in the answer")?.to_owned())
}

/// Whether a token verifies by what a pod shows.
pub(crate) async fn verifies(token: &str, pod: &Pod) -> Result<bool> {
    let jwks: JwkSet = pod.public.get("/.well-known/jwks.json").await?.expect(StatusCode::OK)?.json()?;
    let kid = decode_header(token)?.kid.unwrap_or_default();
    let Some(key) = jwks.find(&kid) else { return Ok(false) };
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[ISSUER]);
    Ok(decode::<Value>(token, &DecodingKey::from_jwk(key)?, &validation).is_ok())
}

/// A trial of a client's secret.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// The place of the pod.
    pub(crate) target: usize,
    pub(crate) sent: Timestamp,
    pub(crate) received: Timestamp,
    pub(crate) taken: bool,
}

/// Something that a pod answered between two moments.
pub(crate) trait Answered {
    /// The place of the pod, before the request was sent, and after its answer was read.
    fn answered(&self) -> (usize, Timestamp, Timestamp);
}

impl Answered for Issue {
    fn answered(&self) -> (usize, Timestamp, Timestamp) {
        (self.target, self.sent, self.received)
    }
}

impl Answered for Ask {
    fn answered(&self) -> (usize, Timestamp, Timestamp) {
        (self.target, self.sent, self.received)
    }
}

/// What answers showed on both sides of a change, for every pod.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sides {
    /// Those that came before the agent delivered the change.
    pub(crate) before: usize,
    /// Those to requests that were sent after the pod had said that it uses it.
    pub(crate) after: usize,
    /// Those of either that were not as they must be.
    pub(crate) wrong: usize,
    /// Pods for which one of the sides has none, so that nothing is shown.
    pub(crate) unseen: usize,
}

/// Compares the answers of each pod with the moments at which a change was delivered and adopted there.
pub(crate) fn sides<A: Answered>(
    answers: &[A],
    pods: &[&str],
    changes: &[&Change],
    former: impl Fn(&A) -> bool,
    new: impl Fn(&A) -> bool,
) -> Sides {
    let mut sides = Sides::default();
    for (index, pod) in pods.iter().enumerate() {
        let Some(change) = changes.iter().find(|change| change.pod == *pod) else {
            sides.unseen += 1;
            continue;
        };
        let of_pod = || {
            let all = answers.iter().map(|answer| (answer, answer.answered()));
            all.filter(|(_, (target, ..))| *target == index)
        };
        let before = of_pod().filter(|(_, (_, _, received))| *received < change.delivered);
        let before: Vec<&A> = before.map(|(answer, _)| answer).collect();
        let after = of_pod().filter(|(_, (_, sent, _))| *sent > change.adopted);
        let after: Vec<&A> = after.map(|(answer, _)| answer).collect();
        sides.wrong += before.iter().filter(|answer| !former(answer)).count();
        sides.wrong += after.iter().filter(|answer| !new(answer)).count();
        sides.unseen += usize::from(before.is_empty() || after.is_empty());
        sides.before += before.len();
        sides.after += after.len();
    }
    sides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    fn issue(sent: i64, received: i64, kid: &str) -> Issue {
        Issue { target: 0, sent: at(sent), received: at(received), kid: kid.to_owned(), life: 3 }
    }

    fn change() -> Change {
        Change {
            document: "signing-keys".to_owned(),
            rotation: "signing-keys-1".to_owned(),
            phase: "activate".to_owned(),
            region: "eu".to_owned(),
            pod: "eu-1".to_owned(),
            version: 2,
            write_to_delivered_ms: 1.0,
            write_to_adopted_ms: 2.0,
            delivered: at(100),
            adopted: at(110),
        }
    }

    fn look(issues: &[Issue]) -> Sides {
        sides(issues, &["eu-1"], &[&change()], |issue| issue.kid == "old", |issue| issue.kid == "new")
    }

    #[test]
    fn between_delivery_and_acknowledgement_either_key_is_right() {
        let seen = look(&[
            issue(10, 20, "old"),
            issue(95, 105, "old"),
            issue(101, 109, "new"),
            issue(105, 112, "new"),
            issue(120, 125, "new"),
        ]);
        assert_eq!(seen, Sides { before: 1, after: 1, wrong: 0, unseen: 0 });
    }

    #[test]
    fn a_key_used_too_early_or_too_long_is_seen() {
        assert_eq!(look(&[issue(10, 20, "new"), issue(120, 125, "old")]).wrong, 2);
    }

    #[test]
    fn a_pod_without_tokens_on_both_sides_shows_nothing() {
        assert_eq!(look(&[issue(120, 125, "new")]).unseen, 1);
    }
}
