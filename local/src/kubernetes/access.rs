//! Calls of an API server with one user's rights.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::Error;
use crate::http::{Answer, Client, Connection, Target, client_tls};

/// An API server, and a user's token for it. Cloning it is cheap.
#[derive(Clone)]
pub struct Access {
    client: Client,
    token: SecretString,
    /// What the last look came by: tests look again and again, and a handshake costs more than a look.
    open: Arc<Mutex<Option<Connection>>>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Access({})", self.client.target())
    }
}

impl Access {
    pub(super) fn new(client: Client, token: &SecretString) -> Self {
        Access { client, token: token.clone(), open: Arc::default() }
    }

    /// The user and the server of a context, in a kubeconfig that this crate has written.
    ///
    /// # Errors
    /// The file cannot be read, or has no such context.
    pub fn from_kubeconfig(file: &Path, context: &str) -> Result<Self, Error> {
        let read = || {
            let missing = |what: &str| io::Error::other(format!("{} has no {what}", file.display()));
            let config: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
            let of = |list: &str| {
                let found =
                    config[list].as_array().into_iter().flatten().find(|entry| entry["name"] == context);
                found.ok_or_else(|| missing(&format!("{list} {context}")))
            };
            let (cluster, user) = (&of("clusters")?["cluster"], &of("users")?["user"]);
            let text = |value: &Value, what| value.as_str().map(str::to_owned).ok_or_else(|| missing(what));
            let server = text(&cluster["server"], "server")?;
            let address = server.trim_start_matches("https://").parse().map_err(io::Error::other)?;
            let authority = STANDARD.decode(text(&cluster["certificate-authority-data"], "authority")?);
            let authority =
                String::from_utf8(authority.map_err(io::Error::other)?).map_err(io::Error::other)?;
            let config = client_tls(&authority)?;
            let client = Client::new(Target::Tls { address, name: "localhost".into(), config });
            Ok((client, text(&user["token"], "token")?))
        };
        let (client, token) = read().map_err(|source| Error::Prepare { name: context.to_owned(), source })?;
        Ok(Access { client, token: token.into(), open: Arc::default() })
    }

    /// Calls the API, and gives the answer's JSON. A patch is a merge patch (RFC 7386).
    ///
    /// # Errors
    /// No answer came, or a refusal.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Error> {
        let call = format!("{method} {path}");
        answered(call, &self.send(method, path, body).await?)
    }

    /// Changes an object by a strategic merge patch, which knows containers by their names.
    ///
    /// # Errors
    /// No answer came, or a refusal.
    pub async fn merge(&self, path: &str, patch: &Value) -> Result<Value, Error> {
        const KIND: &str = "application/strategic-merge-patch+json";
        let answer = self.exchange(Method::PATCH, path, KIND, patch.to_string()).await?;
        answered(format!("PATCH {path}"), &answer)
    }

    /// Calls the API, and gives the answer as it is, of any status.
    ///
    /// # Errors
    /// No answer came.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, Error> {
        let kind = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        self.exchange(method, path, kind, body.map(|body| body.to_string()).unwrap_or_default()).await
    }

    async fn exchange(&self, method: Method, path: &str, kind: &str, body: String) -> Result<Answer, Error> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose_secret()))
            .header(header::CONTENT_TYPE, kind)
            .body(body.into())
            .map_err(|error| Error::Prepare { name: path.to_owned(), source: io::Error::other(error) })?;
        if request.method() != Method::GET {
            return Ok(self.client.send(request).await?);
        }
        // Not held meanwhile: whoever looks at the same time opens another one.
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (answer, connection) = self.client.look(open, request).await?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Ok(answer)
    }
}

/// The JSON of an answer that is no refusal.
fn answered(call: String, answer: &Answer) -> Result<Value, Error> {
    let value: Value = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| json!({"message": String::from_utf8_lossy(&answer.body)}));
    if answer.status.is_success() {
        return Ok(value);
    }
    let message = value["message"].as_str().unwrap_or_default().to_owned();
    Err(Error::Refused { call, status: answer.status, message })
}
