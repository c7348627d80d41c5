//! Kept-alive connections to one pod.

use std::collections::VecDeque;
use std::sync::Mutex;

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
    /// this call was given up.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Answer, crate::http::Error> {
        let mut connection = match self.take() {
            Some(connection) => connection,
            None => self.client.connect().await?,
        };
        let answer = connection.send(request).await?;
        lock(&self.idle).push_back(connection);
        Ok(answer)
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
