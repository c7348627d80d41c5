//! The service under test, as one process with its own folder and ports.

use std::fs;
use std::path::Path;
use std::time::Duration;

use http::header;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use local_region::http::{Answer, Client, StatusCode, Target};
use local_region::pki::Ca;
use local_region::ports::Port;
use local_region::process::{Process, Program};
use local_region::wait::wait_until;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A running service. It is killed when this is dropped.
pub(crate) struct Pod {
    pub(crate) process: Process,
    pub(crate) public: Client,
    pub(crate) admin: Client,
    pub(crate) folder: TempDir,
    pub(crate) port: Port,
    _admin_port: Port,
}

pub(crate) struct Builder {
    socket: Option<String>,
    ca: Option<String>,
    more: String,
}

impl Pod {
    /// One without an agent: plain HTTP, a key of its own.
    pub(crate) fn development() -> Builder {
        Builder { socket: None, ca: None, more: String::new() }
    }

    /// One that takes its documents from this socket, and whose certificate this authority vouches for.
    pub(crate) fn with_agent(socket: &Path, ca: &Ca) -> Builder {
        Builder { socket: Some(socket.to_str().unwrap().to_owned()), ca: Some(ca.pem()), more: String::new() }
    }

    pub(crate) async fn readiness(&self) -> (StatusCode, Value) {
        let answer = self.admin.get("/readyz").await.unwrap();
        (answer.status, answer.value().unwrap())
    }

    pub(crate) async fn ready(&self) {
        wait_until("the service to be ready", SOON, async || {
            self.process.check_running().map_err(|error| error.to_string())?;
            let answer = self.admin.get("/readyz").await.map_err(|error| error.to_string())?;
            if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.text()) }
        })
        .await
        .unwrap();
    }

    /// Waits until `/readyz` lists a concern that contains this text, and gives the whole list.
    pub(crate) async fn degraded(&self, by: &str) -> String {
        wait_until(format!("{by:?} among the concerns"), SOON, async || {
            let (status, told) = self.readiness().await;
            assert_eq!(status, StatusCode::OK, "{told}");
            let concerns = told["degraded"].to_string();
            if concerns.contains(&by.escape_default().to_string()) || concerns.contains(by) {
                Ok(concerns)
            } else {
                Err(concerns)
            }
        })
        .await
        .unwrap()
    }

    pub(crate) async fn healed(&self) {
        wait_until("no concern", SOON, async || {
            let (_, told) = self.readiness().await;
            if told["degraded"] == serde_json::json!([]) { Ok(()) } else { Err(told.to_string()) }
        })
        .await
        .unwrap();
    }

    pub(crate) async fn token(&self, id: &str, secret: &str) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", id)
            .append_pair("client_secret", secret)
            .finish();
        self.public.form("/oauth2/token", &form).await.unwrap()
    }

    /// A token, checked with the key set that the service shows, and its key's id.
    pub(crate) async fn verified_token(&self, id: &str, secret: &str) -> (String, Value) {
        let answer = self.token(id, secret).await.expect(StatusCode::OK).unwrap();
        let token = answer.value().unwrap()["access_token"].as_str().unwrap().to_owned();
        verify(&token, &self.jwks().await)
    }

    pub(crate) async fn jwks(&self) -> JwkSet {
        self.public
            .get("/.well-known/jwks.json")
            .await
            .unwrap()
            .expect(StatusCode::OK)
            .unwrap()
            .json()
            .unwrap()
    }

    /// The value of the metric with this name and these labels, as `/metrics` writes them.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let text = self.admin.get("/metrics").await.unwrap().text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.process.log().unwrap()).unwrap()
    }
}

/// Verifies a token with another library, and gives its key's id and its claims.
pub(crate) fn verify(token: &str, jwks: &JwkSet) -> (String, Value) {
    let kid = decode_header(token).unwrap().kid.unwrap();
    let key = jwks.find(&kid).unwrap_or_else(|| panic!("the key {kid} is not in the JWKS"));
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_aud = false;
    validation.leeway = 0;
    let claims = decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims;
    (kid, claims)
}

impl Builder {
    /// Adds lines to the configuration file.
    pub(crate) fn configured(mut self, toml: &str) -> Self {
        self.more.push_str(toml);
        self.more.push('\n');
        self
    }

    /// Starts it and waits until its admin interface answers.
    pub(crate) async fn start(self) -> Pod {
        let folder = tempfile::Builder::new().prefix("service-it-").tempdir().unwrap();
        let (port, admin_port) = (Port::reserve().unwrap(), Port::reserve().unwrap());
        let mut toml = format!(
            "[public]\nlisten = \"{}\"\n[admin]\nlisten = \"{}\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\n",
            port.address(),
            admin_port.address()
        );
        toml.push_str("[identity]\nenvironment = \"test\"\nregion = \"eu\"\nzone = \"eu-a\"\npod = \"pod-1\"\nrelease = \"sha256:00\"\n");
        if let Some(socket) = &self.socket {
            toml.push_str(&format!("[agent]\nsocket = {socket:?}\n"));
        }
        toml.push_str(&self.more);
        let config = folder.path().join("service.toml");
        fs::write(&config, toml).unwrap();
        let process = Program::new("service", env!("CARGO_BIN_EXE_service"))
            .argument("--config")
            .argument(&config)
            .log(folder.path().join("service.log"))
            .start()
            .unwrap();
        let public = match &self.ca {
            Some(ca) => Target::localhost(port.address(), ca).unwrap(),
            None => Target::Tcp(port.address()),
        };
        let public = Client::new(public).timeout(SOON);
        let admin = Client::new(Target::Tcp(admin_port.address()));
        let pod = Pod { process, public, admin, folder, port, _admin_port: admin_port };
        wait_until("the admin interface", SOON, async || {
            pod.process.check_running().map_err(|error| error.to_string())?;
            pod.admin.get("/livez").await.map(drop).map_err(|error| error.to_string())
        })
        .await
        .unwrap();
        pod
    }
}

/// The value of an Authorization header of the scheme Basic.
pub(crate) fn basic(id: &str, secret: &str) -> String {
    use base64::Engine;
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// A client that authenticates with HTTP Basic.
pub(crate) fn authorized(client: &Client, id: &str, secret: &str) -> Client {
    client.clone().header(header::AUTHORIZATION, basic(id, secret))
}
