//! Asks the agent now and then how it stands, so that `/readyz` of the service alone tells that secrets
//! come no more.

use std::sync::Arc;
use std::time::Duration;

use secrets_agent_client::AgentClient;
use secrets_agent_client::wire::{SecretList, SecretState};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Document;
use crate::state::State;

/// The agent answers from memory, over a socket of this machine.
const PERIOD: Duration = Duration::from_secs(2);
/// So many failures in a row are no restart of the agent any more.
const PATIENCE: u32 = 3;
const CONCERN: &str = "agent";

/// Asks again and again, for as long as the process lives. What it finds is a concern and never takes
/// readiness away.
pub async fn oversee(state: Arc<State>, agent: AgentClient) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures = 0;
    let mut troubled = false;
    loop {
        ticks.tick().await;
        let trouble = match agent.secrets().await {
            Ok(secrets) => {
                failures = 0;
                stale(&secrets)
            }
            Err(_) if failures + 1 < PATIENCE => {
                failures += 1;
                continue;
            }
            Err(error) => Some(error.to_string()),
        };
        match trouble {
            Some(trouble) => {
                // The words may change while the trouble lasts; it is logged as it begins.
                let first = !std::mem::replace(&mut troubled, true);
                if first {
                    warn!(trouble, "no news from secrets-agent; the last good documents stay in use");
                }
                state.concern(CONCERN, trouble);
            }
            None if std::mem::take(&mut troubled) => {
                state.settle(CONCERN);
                info!("secrets-agent is well again");
            }
            None => {}
        }
    }
}

/// What the agent says of documents that it could not confirm. Without its age, which changes all the time.
fn stale(secrets: &SecretList) -> Option<String> {
    let ours = secrets.secrets.iter().filter(|secret| Document::named(&secret.name).is_some());
    let stale: Vec<String> = ours
        .filter(|secret| secret.state != SecretState::Fresh)
        .map(|secret| {
            let state = if secret.state == SecretState::Missing { "missing" } else { "stale" };
            match &secret.error {
                Some(error) => format!("{} is {state} ({error})", secret.name),
                None => format!("{} is {state}", secret.name),
            }
        })
        .collect();
    (!stale.is_empty()).then(|| stale.join(", "))
}
