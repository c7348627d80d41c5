//! How the agent ends.

use local_region::process::Signal;
use local_region::wait::wait_until;
use secrets_agent_client::Uuid;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::scenario::{Outcome, SOON, Scenario};

#[tokio::test]
async fn a_signal_ends_it_in_order() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    let mut events = agent.socket.events(&format!("/v1/watch?instance={}", Uuid::new_v4()), None).await?;
    timeout(SOON, events.next()).await??;
    agent.process.signal(Signal::TERM)?;
    assert!(timeout(SOON, events.next()).await??.is_none(), "streams end in order");
    let status = timeout(SOON, agent.process.ended()).await?;
    assert_eq!(status.code(), Some(0));
    assert!(!scenario.path("agent.sock").exists());
    assert_eq!(scenario.audited("auth/token/revoke-self"), 1, "its own token is revoked");
    Ok(())
}

#[tokio::test]
async fn an_ending_does_not_wait_for_a_vault_that_is_frozen() -> Outcome {
    let scenario = Scenario::new().await?;
    // However patient it is with Vault otherwise.
    let agent = scenario.settings().start_under(&["/usr/bin/env", "AGENT__VAULT__TIMEOUT=60s"])?;
    agent.delivered(1).await?;
    scenario.vault.pause().await?;
    agent.process.signal(Signal::TERM)?;
    let status = timeout(std::time::Duration::from_secs(5), agent.process.ended()).await;
    scenario.vault.resume()?;
    assert_eq!(status?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() -> Outcome {
    let scenario = Scenario::new().await?;
    let agent = scenario.agent().await?;
    // A request that does not end keeps the orderly end busy for half a second, a frozen Vault for another.
    let mut busy = tokio::net::UnixStream::connect(scenario.path("agent.sock")).await?;
    let head = "PUT /v1/secrets/config/adopted HTTP/1.1\r\nhost: a\r\ncontent-length: 90\r\n\r\n{";
    busy.write_all(head.as_bytes()).await?;
    scenario.vault.pause().await?;
    agent.process.signal(Signal::TERM)?;
    wait_until("the end to begin", SOON, async || agent.log().contains("\"ending\"")).await?;
    agent.process.signal(Signal::TERM)?;
    let status = timeout(SOON, agent.process.ended()).await?;
    scenario.vault.resume()?;
    assert_eq!(status.code(), Some(143), "{}", agent.log());
    assert!(agent.log().contains("ended at once by a second signal"), "{}", agent.log());
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() -> Outcome {
    let scenario = Scenario::new().await?;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut settings = scenario.settings();
    settings.admin = Some(taken.local_addr()?);
    let agent = settings.start()?;
    let status = timeout(SOON, agent.process.ended()).await?;
    assert_eq!(status.code(), Some(1));
    assert!(agent.log().contains(&format!("admin.listen {}", taken.local_addr()?)), "{}", agent.log());
    Ok(())
}
