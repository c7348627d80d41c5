//! Requests that go on while something else happens, and none of which may fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::Method;
use local_region::http::{Client, StatusCode};
use local_region::wait::wait_until;
use tokio::task::JoinHandle;

use crate::pod::SOON;

/// Running load.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    /// Each with the number of requests that were answered with 200.
    workers: Vec<(Arc<AtomicU64>, JoinHandle<Vec<String>>)>,
}

/// What a worker asks for, again and again.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) form: String,
    /// On one connection, or on a new one each time.
    pub(crate) kept: bool,
}

impl Ask {
    pub(crate) fn get(path: &'static str, kept: bool) -> Self {
        Ask { method: Method::GET, path, form: String::new(), kept }
    }

    pub(crate) fn token(secret: &str, kept: bool) -> Self {
        let form = format!("grant_type=client_credentials&client_id=probe&client_secret={secret}");
        Ask { method: Method::POST, path: "/oauth2/token", form, kept }
    }
}

impl Load {
    pub(crate) fn start(client: &Client, asks: &[Ask]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |ask: &Ask| {
            let answered = Arc::new(AtomicU64::new(0));
            let worker = work(client.clone(), ask.clone(), Arc::clone(&stop), Arc::clone(&answered));
            (answered, tokio::spawn(worker))
        };
        Load { workers: asks.iter().map(start).collect(), stop }
    }

    /// Waits until each worker has had three more answers, so that what comes next meets all of them.
    pub(crate) async fn goes_on(&self) {
        let count = || self.workers.iter().map(|(answered, _)| answered.load(Ordering::Relaxed));
        let before: Vec<u64> = count().collect();
        wait_until("three more answers for each worker", SOON, async || {
            let now: Vec<u64> = count().collect();
            let enough = now.iter().zip(&before).all(|(now, before)| *now >= before + 3);
            if enough { Ok(()) } else { Err(format!("{now:?} after {before:?}")) }
        })
        .await
        .unwrap();
    }

    /// Ends it; panics if one request was not answered with 200.
    pub(crate) async fn end_without_failure(self) {
        self.stop.store(true, Ordering::Relaxed);
        for (answered, worker) in self.workers {
            let failures = worker.await.unwrap();
            assert!(failures.is_empty(), "{failures:?}");
            assert!(answered.load(Ordering::Relaxed) > 0, "a worker had no answer");
        }
    }
}

async fn work(client: Client, ask: Ask, stop: Arc<AtomicBool>, answered: Arc<AtomicU64>) -> Vec<String> {
    let mut failures = Vec::new();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let content_type = (ask.method == Method::POST).then_some("application/x-www-form-urlencoded");
        let body = Bytes::from(ask.form.clone());
        let request = client.request(ask.method.clone(), ask.path, content_type, body).unwrap();
        let answer = if ask.kept {
            if connection.is_none() {
                connection = client.connect().await.ok();
            }
            match &mut connection {
                Some(open) => open.send(request).await.map_err(|error| error.to_string()),
                None => Err("no connection".to_owned()),
            }
        } else {
            client.send(request).await.map_err(|error| error.to_string())
        };
        match answer {
            Ok(answer) if answer.status == StatusCode::OK => {
                answered.fetch_add(1, Ordering::Relaxed);
                if answer.header("connection") == "close" {
                    connection = None;
                }
            }
            Ok(answer) => failures.push(format!("{}: {}", answer.call, answer.status)),
            Err(error) => {
                failures.push(error);
                connection = None;
            }
        }
        if failures.len() > 20 {
            break;
        }
    }
    failures
}
