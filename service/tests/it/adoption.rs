//! Documents taken from an agent: what is in use, what is acknowledged, and what is refused. The agent
//! here is a stand-in, for what the real one does seldom.

use local_region::http::StatusCode;
use local_region::pki::Ca;
use local_region::wait::wait_until;
use serde_json::{Value, json};

use crate::documents::{Key, clients, config, keyset, tls};
use crate::pod::{Pod, SOON};
use crate::stand_in::StandIn;

async fn acknowledged(agent: &StandIn, name: &str, version: u64) {
    wait_until(format!("{name} version {version} to be acknowledged"), SOON, async || {
        let told = agent.acknowledged(name);
        if told.last() == Some(&version) { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn not_ready_before_every_document_and_nothing_acknowledged_before_it_is_in_use() {
    let ca = Ca::new("it").unwrap();
    let agent = StandIn::start();
    let pod = Pod::with_agent(&agent.socket, &ca).start().await;
    let waits_for = async |what: &str| {
        wait_until(format!("waiting for {what}"), SOON, async || {
            let (status, told) = pod.readiness().await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            let reason = told["reason"].as_str().unwrap().to_owned();
            if reason == format!("waiting for the first valid {what} from secrets-agent") {
                Ok(())
            } else {
                Err(reason)
            }
        })
        .await
        .unwrap();
    };
    waits_for("clients, config, signing-keys, tls").await;
    assert!(pod.public.get("/v1/region").await.is_err(), "a handshake without a certificate");
    agent.deliver("tls", 1, tls(&ca));
    agent.deliver("clients", 1, clients(&[("one", None)]));
    waits_for("config, signing-keys").await;
    agent.deliver("config", 1, json!({"oauth": {"token_life": "60s"}}));
    agent.deliver("signing-keys", 1, keyset(&[(&Key::new(), "active")]));
    waits_for("config").await;
    assert_eq!(agent.acknowledged("tls"), Vec::<u64>::new());
    agent.deliver("config", 2, config());
    pod.ready().await;
    for (name, version) in [("tls", 1), ("clients", 1), ("signing-keys", 1), ("config", 2)] {
        acknowledged(&agent, name, version).await;
        let series = format!("service_document_version{{document=\"{name}\"}}");
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let version = version as f64;
        assert_eq!(pod.metric(&series).await, Some(version), "{series}");
        let series = format!("service_document_created_timestamp_seconds{{document=\"{name}\"}}");
        assert!(pod.metric(&series).await.is_some_and(|created| created > 0.0), "{series}");
    }
    let (_, claims) = pod.verified_token("probe", "one").await;
    assert_eq!(claims["iss"], crate::documents::ISSUER);
}

#[tokio::test]
async fn a_process_that_was_never_ready_ends_without_waiting_for_load_balancers() {
    let ca = Ca::new("it").unwrap();
    let agent = StandIn::start();
    let pod =
        Pod::with_agent(&agent.socket, &ca).configured("[shutdown]\naccept_for = \"10m\"").start().await;
    pod.process.signal(rustix::process::Signal::TERM).unwrap();
    let status = tokio::time::timeout(SOON, pod.process.ended()).await.expect("the process ends");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn an_agent_that_crashes_changes_nothing_and_is_told_again_what_is_in_use() {
    let (ca, key) = (Ca::new("it").unwrap(), Key::new());
    let mut agent = StandIn::with_documents(&ca, &key);
    let pod = Pod::with_agent(&agent.socket, &ca).start().await;
    pod.ready().await;
    acknowledged(&agent, "clients", 1).await;
    agent.crash().await;
    assert_eq!(pod.verified_token("probe", "one").await.0, key.kid);
    assert_eq!(pod.readiness().await.0, StatusCode::OK);
    agent.come_back();
    for name in ["clients", "config", "signing-keys", "tls"] {
        acknowledged(&agent, name, 1).await;
    }
    let next = Key::new();
    agent.deliver("signing-keys", 2, keyset(&[(&key, "retiring"), (&next, "active")]));
    acknowledged(&agent, "signing-keys", 2).await;
    assert_eq!(pod.verified_token("probe", "one").await.0, next.kid);
}

#[tokio::test]
async fn a_refused_acknowledgement_is_sent_again() {
    let (ca, key) = (Ca::new("it").unwrap(), Key::new());
    let agent = StandIn::with_documents(&ca, &key);
    agent.refuse_acknowledgements(true);
    let pod = Pod::with_agent(&agent.socket, &ca).start().await;
    pod.ready().await;
    assert_eq!(agent.acknowledged("clients"), Vec::<u64>::new());
    agent.refuse_acknowledgements(false);
    acknowledged(&agent, "clients", 1).await;
}

#[tokio::test]
async fn an_agent_that_comes_back_without_its_documents_is_told_once_it_has_them() {
    let (ca, key) = (Ca::new("it").unwrap(), Key::new());
    let mut agent = StandIn::with_documents(&ca, &key);
    let pod = Pod::with_agent(&agent.socket, &ca).start().await;
    pod.ready().await;
    for name in ["clients", "config", "signing-keys", "tls"] {
        acknowledged(&agent, name, 1).await;
    }
    agent.crash().await;
    // As a real one does that has not read Vault yet.
    agent.refuse_acknowledgements(true);
    agent.come_back();
    wait_until("each document's acknowledgement to be refused", SOON, async || agent.refused() >= 4)
        .await
        .unwrap();
    agent.refuse_acknowledgements(false);
    for name in ["clients", "config", "signing-keys", "tls"] {
        acknowledged(&agent, name, 1).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_no_document_is_asked_for_again_and_never_quoted() {
    let (ca, key) = (Ca::new("it").unwrap(), Key::new());
    let agent = StandIn::with_documents(&ca, &key);
    agent.answer_garbage(true);
    let pod = Pod::with_agent(&agent.socket, &ca).start().await;
    wait_until("the trouble to be logged", SOON, async || pod.log().contains("a document cannot be fetched"))
        .await
        .unwrap();
    agent.answer_garbage(false);
    pod.ready().await;
    assert!(!pod.log().contains("canary"), "{}", pod.log());
}

#[tokio::test]
async fn an_older_version_is_not_adopted() {
    let (ca, key) = (Ca::new("it").unwrap(), Key::new());
    let agent = StandIn::with_documents(&ca, &key);
    agent.deliver("clients", 5, clients(&[("five", None)]));
    let pod = Pod::with_agent(&agent.socket, &ca).start().await;
    pod.ready().await;
    agent.deliver("clients", 4, clients(&[("four", None)]));
    let told = pod.degraded("clients: version 4 of").await;
    assert!(told.contains("is older than version 5 of"), "{told}");
    assert_eq!(pod.token("probe", "five").await.status, StatusCode::OK);
    assert_eq!(pod.token("probe", "four").await.status, StatusCode::UNAUTHORIZED);
    agent.deliver("clients", 6, clients(&[("six", None)]));
    pod.healed().await;
    assert_eq!(pod.token("probe", "six").await.status, StatusCode::OK);
    assert!(!agent.acknowledged("clients").contains(&4));
}

#[tokio::test]
async fn a_document_of_another_name_is_left_alone() {
    let (ca, key) = (Ca::new("it").unwrap(), Key::new());
    let agent = StandIn::with_documents(&ca, &key);
    agent.deliver("database", 1, Value::Null);
    let pod = Pod::with_agent(&agent.socket, &ca).start().await;
    pod.ready().await;
    acknowledged(&agent, "tls", 1).await;
    assert_eq!(agent.acknowledged("database"), Vec::<u64>::new());
    assert!(agent.folder().is_dir());
}

#[tokio::test]
async fn the_log_level_follows_the_document() {
    let (ca, key) = (Ca::new("it").unwrap(), Key::new());
    let agent = StandIn::with_documents(&ca, &key);
    let quiet = {
        let mut quiet = config();
        quiet["log"] = json!({"level": "warn"});
        quiet
    };
    let pod = Pod::with_agent(&agent.socket, &ca).start().await;
    pod.ready().await;
    let lines = |pod: &Pod| pod.log().matches(r#""message":"request""#).count();
    pod.public.get("/v1/region").await.unwrap();
    wait_until("a line for the request", SOON, async || lines(&pod) == 1).await.unwrap();
    agent.deliver("config", 2, quiet);
    acknowledged(&agent, "config", 2).await;
    pod.public.get("/v1/region").await.unwrap();
    assert_eq!(lines(&pod), 1);
}
