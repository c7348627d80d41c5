//! Requests that go on while something else happens, and none of which may fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Method;
use local_region::http::{Client, StatusCode};
use tokio::task::JoinHandle;

/// Running load.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Worked>>,
}

#[derive(Debug, Default)]
pub(crate) struct Worked {
    pub(crate) answered: u64,
    pub(crate) failures: Vec<String>,
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
        let workers =
            asks.iter().map(|ask| tokio::spawn(work(client.clone(), ask.clone(), Arc::clone(&stop))));
        Load { workers: workers.collect(), stop }
    }

    /// Ends it, and gives how many requests were answered with 200; panics if one was not.
    pub(crate) async fn end_without_failure(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut answered = 0;
        for worker in self.workers {
            let worked = worker.await.unwrap();
            assert!(worked.failures.is_empty(), "{:?}", worked.failures);
            assert!(worked.answered > 0, "a worker sent nothing");
            answered += worked.answered;
        }
        answered
    }
}

async fn work(client: Client, ask: Ask, stop: Arc<AtomicBool>) -> Worked {
    let mut worked = Worked::default();
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
                worked.answered += 1;
                if answer.header("connection") == "close" {
                    connection = None;
                }
            }
            Ok(answer) => worked.failures.push(format!("{}: {}", answer.call, answer.status)),
            Err(error) => {
                worked.failures.push(error);
                connection = None;
            }
        }
        if worked.failures.len() > 20 {
            break;
        }
    }
    worked
}
