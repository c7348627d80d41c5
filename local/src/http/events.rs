//! Server-Sent Events, read one by one.

use futures_util::StreamExt;
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::Incoming;

use super::Error;

/// One event. Fields that it does not have are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Its type.
    pub event: String,
    /// Its data, lines joined by line feeds.
    pub data: String,
}

/// An open stream of events.
#[derive(Debug)]
pub struct Events {
    call: String,
    target: String,
    body: BodyDataStream<Incoming>,
    buffer: Vec<u8>,
}

impl Events {
    pub(super) fn new(call: String, target: String, body: Incoming) -> Self {
        Events { call, target, body: body.into_data_stream(), buffer: Vec::new() }
    }

    /// The next event, comments left out, or `None` when the peer ended the stream. Without a timeout of
    /// its own. Cancel-safe.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8_lossy(&block)) {
                    return Ok(Some(event));
                }
            }
            match self.body.next().await {
                None => return Ok(None),
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(source)) => {
                    let (call, target) = (self.call.clone(), self.target.clone());
                    return Err(Error::Exchange { call, target, source: source.into() });
                }
            }
        }
    }
}

fn parse(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut data: Vec<&str> = Vec::new();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut event.id),
            "event" => value.clone_into(&mut event.event),
            "data" => data.push(value),
            _ => {}
        }
    }
    event.data = data.join("\n");
    (!data.is_empty()).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_comments_are_none() {
        let event = parse("id: 7\nevent: secret\ndata: a\ndata:b\n\n").unwrap();
        assert_eq!(event, Event { id: "7".to_owned(), event: "secret".to_owned(), data: "a\nb".to_owned() });
        assert_eq!(parse(": alive\n\n"), None);
    }
}
