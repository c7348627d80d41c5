//! Kept-alive connections to one pod.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::{Answer, Client, Connection};
use ::http::Request;
use bytes::Bytes;

use super::tally::lock;

/// Open connections, used in turn so that none is idle for long.
#[derive(Debug)]
pub(super) struct Connections {
    client: Client,
    idle: Mutex<VecDeque<Connection>>,
}

impl Connections {
    pub(super) fn new(client: Client) -> Self {
        Connections { client, idle: Mutex::default() }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request over an idle connection, or over a new one. A connection is kept unless it broke or
    /// this call was given up. Where `again` is set, a request that found a kept connection closed is sent once more.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        again: Option<&AtomicU64>,
    ) -> Result<Answer, crate::http::Error> {
        if let Some(mut connection) = self.take() {
            match (connection.send(request.clone()).await, again) {
                (Ok(answer), _) => return Ok(self.keep(connection, answer)),
                (Err(error), None) => return Err(error),
                (Err(_), Some(count)) => drop(count.fetch_add(1, Ordering::Relaxed)),
            }
        }
        let mut connection = self.client.connect().await?;
        let answer = connection.send(request).await?;
        Ok(self.keep(connection, answer))
    }

    fn keep(&self, connection: Connection, answer: Answer) -> Answer {
        lock(&self.idle).push_back(connection);
        answer
    }

    /// Forgets the idle connections.
    pub(super) fn clear(&self) {
        lock(&self.idle).clear();
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        while let Some(connection) = idle.pop_front() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }
}
