//! Asks a pod: its agent for who uses what, its service for its keys, its health and its counts.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::openmetrics;
use super::round::{Addresses, Answer};
use crate::plan::view::Service;

/// Bound of one call. A pod answers from memory.
const CALL: Duration = Duration::from_millis(1_500);

/// What a pod answers is no larger.
const LARGEST: usize = 1 << 20;

/// Asks pods, over connections that are kept.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    http: reqwest::Client,
}

impl Asker {
    pub(super) fn new() -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(super::tls::unchecked()?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(CALL)
            .connect_timeout(CALL)
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|_| "the HTTP client cannot be built".to_owned())?;
        Ok(Self { http })
    }

    /// Everything that a pod shows.
    pub(super) async fn ask(&self, addresses: &Addresses) -> Answer {
        let Addresses { agent, admin, public } = addresses;
        let status = format!("{agent}/v1/status");
        let (metrics, readiness) = (format!("{admin}/metrics"), format!("{admin}/readyz"));
        let (status, kids, metrics, readiness) = tokio::join!(
            self.json(&status),
            self.kids(public),
            self.text(&metrics),
            self.get(&readiness, true),
        );
        let (agent, agent_error) = split(status);
        let mut service = Service::default();
        let mut errors = Vec::new();
        match kids {
            Ok(kids) => service.kids = Some(kids),
            Err(error) => errors.push(error),
        }
        match &metrics {
            Ok(text) => openmetrics::read(text, &mut service),
            Err(error) => {
                service.unread = true;
                errors.push(error.clone());
            }
        }
        if let Ok(bytes) = readiness {
            service.degraded = degraded(&bytes);
        }
        let nothing = service.kids.is_none() && metrics.is_err();
        Answer {
            agent,
            agent_error,
            service: (!nothing).then_some(service),
            service_error: (!errors.is_empty()).then(|| errors.join("; ")),
        }
    }

    /// Tells an agent that a secret changed.
    pub(super) async fn nudge(&self, agent: &str, secret: &str, version: u64) -> Result<(), String> {
        let url = format!("{agent}/v1/nudge");
        let body = json!({"name": secret, "version": version}).to_string();
        let request = self.http.post(&url).header(http::header::CONTENT_TYPE, "application/json").body(body);
        let answer = request.send().await.map_err(|error| told(&url, &error))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("{url} answered {status}")),
        }
    }

    async fn kids(&self, public: &str) -> Result<BTreeSet<String>, String> {
        let jwks: Value = self.json(&format!("{public}/.well-known/jwks.json")).await?;
        let keys = jwks["keys"].as_array().ok_or("its JWKS has no keys")?;
        Ok(keys.iter().filter_map(|key| key["kid"].as_str()).map(str::to_owned).collect())
    }

    async fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let bytes = self.get(url, false).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            format!("{url}: no answer that can be read (line {}, column {})", error.line(), error.column())
        })
    }

    async fn text(&self, url: &str) -> Result<String, String> {
        let bytes = self.get(url, false).await?;
        String::from_utf8(bytes).map_err(|_| format!("{url}: the answer is no text"))
    }

    async fn get(&self, url: &str, any_status: bool) -> Result<Vec<u8>, String> {
        let mut answer = self.http.get(url).send().await.map_err(|error| told(url, &error))?;
        if !any_status && !answer.status().is_success() {
            return Err(format!("{url} answered {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| told(url, &error))? {
            if bytes.len() + chunk.len() > LARGEST {
                return Err(format!("{url}: the answer is too large"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

fn split<T>(result: Result<T, String>) -> (Option<T>, Option<String>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error)),
    }
}

/// What a service's `/readyz` says an operator should look at.
fn degraded(bytes: &[u8]) -> Vec<String> {
    let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let concerns = answer["degraded"].as_array().into_iter().flatten().filter_map(Value::as_str);
    concerns.map(str::to_owned).collect()
}

fn told(url: &str, error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("{url}: no answer within {} ms", CALL.as_millis());
    }
    let what = if error.is_connect() { "it cannot be reached" } else { "the connection broke" };
    format!("{url}: {what}")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A pod whose metrics are answered with this status; its address.
    async fn pod(metrics: u16) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let metered = head.starts_with(b"GET /metrics");
                let (status, body) = match metered {
                    true => {
                        (metrics, "service_ready 1\nservice_requests_total{route=\"/\",code=\"200\"} 3\n")
                    }
                    false => (200, r#"{"keys": [{"kid": "one"}]}"#),
                };
                let answer = format!(
                    "HTTP/1.1 {status} As said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    async fn asked(metrics: u16) -> Answer {
        let address = pod(metrics).await;
        let addresses = Addresses { agent: address.clone(), admin: address.clone(), public: address };
        Asker::new().unwrap().ask(&addresses).await
    }

    #[tokio::test]
    async fn counts_that_could_not_be_read_are_not_told_as_zero() {
        let answer = asked(503).await;
        let service = answer.service.unwrap();
        assert!(service.unread && service.kids.is_some());
        assert!(answer.service_error.unwrap().contains("/metrics answered 503"));
    }

    #[tokio::test]
    async fn counts_that_were_read_are_told() {
        let service = asked(200).await.service.unwrap();
        assert!(!service.unread && service.ready);
        assert_eq!(service.answers["/"]["200"], 3);
    }
}
