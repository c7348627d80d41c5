//! A whole answer in memory.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Error;

/// An answer with its whole body. Its `Debug` shows the body's length only, since the body may hold secrets.
#[derive(Clone)]
pub struct Answer {
    /// Method and path of the request.
    pub call: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// The body is no JSON of this form.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let place = (error.line(), error.column());
            self.unlike(format!("the JSON that was wanted (line {}, column {})", place.0, place.1))
        })
    }

    /// The body as any JSON, for a look at single fields.
    ///
    /// # Errors
    /// The body is no JSON.
    pub fn value(&self) -> Result<Value, Error> {
        self.json()
    }

    /// The answer itself when its status is the one that is wanted.
    ///
    /// # Errors
    /// It is another one.
    pub fn expect(self, wanted: StatusCode) -> Result<Self, Error> {
        if self.status == wanted { Ok(self) } else { Err(self.unlike(wanted.to_string())) }
    }

    fn unlike(&self, wanted: String) -> Error {
        Error::Answer { call: self.call.clone(), status: self.status, wanted }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {} bytes", self.call, self.status, self.body.len())
    }
}
