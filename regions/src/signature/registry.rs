//! As much of an OCI registry as reading a few small things takes.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::error::SignatureError;
use crate::release::hex_sha256;

/// Bound of one call.
const CALL: Duration = Duration::from_secs(20);

/// A manifest or a paper is not larger.
const LARGEST: usize = 32 * 1024 * 1024;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// One repository of a registry.
pub(super) struct Registry {
    http: Client,
    host: String,
    repository: String,
    /// What it wants to be shown, once it has said so.
    shown: Option<HeaderValue>,
}

/// What stands under a tag.
#[derive(Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) layers: Vec<Layer>,
}

/// A thing that a manifest names.
#[derive(Deserialize)]
pub(super) struct Layer {
    #[serde(rename = "mediaType")]
    pub(super) media_type: String,
    digest: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Registry {
    /// A repository: `HOST/PATH`. Nothing is called yet.
    pub(super) fn new(address: &str) -> Result<Self, SignatureError> {
        let (host, repository) = address.split_once('/').unwrap_or((address, ""));
        let unfit =
            |why: String| SignatureError::Registry { what: "anything".into(), host: host.to_owned(), why };
        // Whoever was first is as good: there is one provider in this program.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = Client::builder().https_only(true).timeout(CALL).build();
        let http = http.map_err(|error| unfit(format!("TLS cannot be set up: {error}")))?;
        Ok(Self { http, host: host.to_owned(), repository: repository.to_owned(), shown: None })
    }

    /// What stands under a tag, if anything does.
    pub(super) async fn manifest(&mut self, tag: &str) -> Result<Option<Manifest>, SignatureError> {
        let path = format!("manifests/{tag}");
        let response = self.get(&path).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body = self.body(&path, response).await?;
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|_| self.failed(&path, "it is no OCI manifest".into()))
    }

    /// What a layer holds: what its digest says, or nothing.
    pub(super) async fn blob(&mut self, layer: &Layer) -> Result<Vec<u8>, SignatureError> {
        let path = format!("blobs/{}", layer.digest);
        let response = self.get(&path).await?;
        let body = self.body(&path, response).await?;
        if layer.digest == format!("sha256:{}", hex_sha256(&body)) {
            Ok(body)
        } else {
            Err(self.failed(&path, "what came has another digest".into()))
        }
    }

    async fn get(&mut self, path: &str) -> Result<Response, SignatureError> {
        let response = self.ask(path).await?;
        if response.status() != StatusCode::UNAUTHORIZED || self.shown.is_some() {
            return Ok(response);
        }
        let wanted = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let wanted = wanted.unwrap_or_default().to_owned();
        self.shown = Some(self.log_in(path, &wanted).await?);
        self.ask(path).await
    }

    async fn ask(&self, path: &str) -> Result<Response, SignatureError> {
        let url = format!("https://{}/v2/{}/{path}", self.host, self.repository);
        let mut request = self.http.get(url).header(ACCEPT, MANIFEST);
        if let Some(shown) = &self.shown {
            request = request.header(AUTHORIZATION, shown.clone());
        }
        request.send().await.map_err(|error| self.failed(path, plain(&error)))
    }

    /// Does what a registry asks for that wants to know who is there: its own login, or a token for it.
    async fn log_in(&self, path: &str, wanted: &str) -> Result<HeaderValue, SignatureError> {
        let login = login(&self.host);
        let basic = login.as_ref().map(|login| hidden(&format!("Basic {}", login.as_str())));
        let header = |value: Option<Option<HeaderValue>>| {
            let none = "it wants a login, and none is known for it; log in with `helm registry login`";
            value.flatten().ok_or_else(|| self.failed(path, none.into()))
        };
        let (scheme, parameters) = wanted.split_once(' ').unwrap_or((wanted, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return header(basic);
        }
        let said = challenge(parameters);
        let realm = said.get("realm").and_then(|realm| Url::parse(realm).ok());
        let mut realm = realm.ok_or_else(|| self.failed(path, "it does not say where to log in".into()))?;
        for name in ["service", "scope"] {
            if let Some(value) = said.get(name) {
                realm.query_pairs_mut().append_pair(name, value);
            }
        }
        let mut request = self.http.get(realm);
        if let Some(Some(basic)) = basic {
            request = request.header(AUTHORIZATION, basic);
        }
        let response = request.send().await.map_err(|error| self.failed("a token", plain(&error)))?;
        let body = Zeroizing::new(self.body("a token", response).await?);
        let token = serde_json::from_slice::<Token>(&body).ok().and_then(Token::text);
        header(token.map(|token| hidden(&format!("Bearer {}", token.as_str()))))
    }

    async fn body(&self, what: &str, mut response: Response) -> Result<Vec<u8>, SignatureError> {
        match response.status() {
            StatusCode::OK => {}
            status => return Err(self.failed(what, format!("it answers {status}"))),
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.failed(what, plain(&error)))? {
            if body.len() + part.len() > LARGEST {
                return Err(self.failed(what, format!("it is larger than {LARGEST} bytes")));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    fn failed(&self, what: &str, why: String) -> SignatureError {
        SignatureError::Registry { what: what.to_owned(), host: self.host.clone(), why }
    }
}

/// A token as registries give it, under either name.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Token {
    fn text(self) -> Option<Zeroizing<String>> {
        let access = self.access_token.map(Zeroizing::new);
        self.token.map(Zeroizing::new).or(access)
    }
}

/// A header that nothing prints.
fn hidden(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What went wrong on the way, without the address, which may have a token in its query.
fn plain(error: &reqwest::Error) -> String {
    let what = match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => {
            "no connection; is it up, and does this machine trust its certificate?"
        }
        _ => "the answer broke off",
    };
    what.to_owned()
}

/// `name="value"` pairs of a challenge.
fn challenge(parameters: &str) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let mut rest = parameters;
    while let Some((name, after)) = rest.split_once("=\"") {
        let Some((value, after)) = after.split_once('"') else { break };
        said.insert(name.trim_matches([',', ' ']).to_ascii_lowercase(), value.to_owned());
        rest = after;
    }
    said
}

/// The login that Helm, or else docker, keeps for a host: base64 of `user:password`.
fn login(host: &str) -> Option<Zeroizing<String>> {
    let path = |name| env::var_os(name).map(PathBuf::from);
    let home = |place: &str| path("HOME").map(|home| home.join(place));
    let helm = path("HELM_REGISTRY_CONFIG").or_else(|| home(".config/helm/registry/config.json"));
    let docker = path("DOCKER_CONFIG").or_else(|| home(".docker")).map(|folder| folder.join("config.json"));
    [helm, docker].into_iter().flatten().find_map(|file| login_in(&file, host))
}

fn login_in(file: &Path, host: &str) -> Option<Zeroizing<String>> {
    #[derive(Deserialize)]
    struct Logins {
        #[serde(default)]
        auths: BTreeMap<String, Login>,
    }
    #[derive(Deserialize)]
    struct Login {
        #[serde(default)]
        auth: String,
    }
    let text = Zeroizing::new(fs::read(file).ok()?);
    let logins: Logins = serde_json::from_slice(&text).ok()?;
    let auth = logins.auths.into_iter().find(|(name, _)| name == host)?.1.auth;
    BASE64_STANDARD.decode(&auth).is_ok_and(|login| !login.is_empty()).then(|| Zeroizing::new(auth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_as_registries_write_it() {
        let said =
            challenge(r#"realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push""#);
        assert_eq!(said["realm"], "https://auth.example/token");
        assert_eq!(said["service"], "r");
        assert_eq!(said["scope"], "repository:a/b:pull,push");
        assert!(challenge("realm=\"open").is_empty());
    }

    #[test]
    fn a_login_is_found_by_its_host_and_by_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let auth = BASE64_STANDARD.encode("user:canary");
        fs::write(&file, format!(r#"{{"auths": {{"r.example:5000": {{"auth": "{auth}"}}, "s": {{}}}}}}"#))
            .unwrap();
        assert_eq!(login_in(&file, "r.example:5000").map(|login| login.to_string()), Some(auth));
        for host in ["r.example", "s", "example:5000"] {
            assert!(login_in(&file, host).is_none(), "{host}");
        }
        assert!(!format!("{:?}", hidden("Basic canary")).contains("canary"));
    }
}
