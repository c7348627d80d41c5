//! Telling an application over HTTP that its files changed. Its answer is its acknowledgement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use secrets_agent_client::Version;
use secrets_agent_client::wire::{Adopted, Change};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::store::{Document, Store, Stream};

/// How long the application may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Calls the application, and stands for it among the instances: it has no watch stream of its own, so what
/// it acknowledges counts for as long as the agent runs.
pub(crate) struct Notifier {
    address: Uri,
    store: Arc<Store>,
    instance: Uuid,
    _stream: Stream,
    told: BTreeMap<String, Version>,
}

impl Notifier {
    /// A notifier of the application at `address`; `None` when the address is none, or too many instances
    /// watch.
    pub(crate) fn new(address: &str, store: Arc<Store>) -> Option<Self> {
        let instance = Uuid::new_v4();
        let stream = store.open(instance)?;
        Some(Notifier {
            address: address.parse().ok()?,
            store,
            instance,
            _stream: stream,
            told: BTreeMap::new(),
        })
    }

    /// Tells of each version that was not told of yet, and notes it as adopted when the answer is 2xx.
    ///
    /// # Errors
    /// The application could not be reached or answered something else.
    pub(crate) async fn tell(&mut self, documents: &BTreeMap<String, Arc<Document>>) -> Result<(), String> {
        for (name, document) in documents {
            let version = document.version;
            if self.told.get(name) == Some(&version) {
                continue;
            }
            let change = Change {
                name: name.clone(),
                version: version.version,
                created_time: version.created_time,
                rotation_id: document.rotation_id.clone(),
            };
            let exchange = tokio::time::timeout(PATIENCE, self.post(&change)).await;
            let status = exchange.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs())).flatten();
            match status {
                Ok(status) if status.is_success() => {
                    let Version { version: number, created_time } = version;
                    let adopted = Adopted { version: number, created_time, instance: self.instance };
                    // It may have been replaced meanwhile; the next round tells of what came.
                    let _ = self.store.adopt(name, &adopted);
                    self.told.insert(name.clone(), version);
                }
                Ok(status) => return Err(format!("files.notify {}: it answered {status}", self.address)),
                Err(reason) => return Err(format!("files.notify {}: {reason}", self.address)),
            }
        }
        Ok(())
    }

    async fn post(&self, change: &Change) -> Result<http::StatusCode, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let host = self.address.host().unwrap_or("127.0.0.1").trim_matches(['[', ']']);
        let port = self.address.port_u16().unwrap_or(80);
        let stream = TcpStream::connect((host, port)).await.map_err(|error| text(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
        tokio::spawn(connection);
        let body = serde_json::to_vec(change).map_err(|error| text(&error))?;
        let path = self.address.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(header::HOST, format!("{host}:{port}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(bytes::Bytes::from(body)))
            .map_err(|error| text(&error))?;
        Ok(sender.send_request(request).await.map_err(|error| text(&error))?.status())
    }
}
