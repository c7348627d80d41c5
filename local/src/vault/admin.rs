//! What tests and the demo ask of Vault's API.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderName, Method};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::Error;
use crate::http::{Client, StatusCode};

/// Vault's API with one token.
#[derive(Clone)]
pub struct Admin {
    client: Client,
    token: SecretString,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Admin({})", self.client.target())
    }
}

/// The credentials of an AppRole.
#[derive(Debug, Clone)]
pub struct AppRole {
    /// The role id, no secret.
    pub role_id: String,
    /// A secret id.
    pub secret_id: SecretString,
}

/// One version of a KV v2 secret, values included.
#[derive(Clone)]
pub struct Kv {
    /// The version's number.
    pub version: u64,
    /// When Vault wrote it.
    pub created_time: Timestamp,
    /// The document.
    pub data: Value,
}

impl Admin {
    /// The Vault that a client reaches, with a token; an empty one calls without.
    pub fn of(client: Client, token: &SecretString) -> Self {
        Admin { client, token: token.clone() }
    }

    /// The same server with another token.
    #[must_use]
    pub fn with_token(&self, token: &SecretString) -> Self {
        Admin { client: self.client.clone(), token: token.clone() }
    }

    /// The token with which it calls.
    pub fn token(&self) -> &SecretString {
        &self.token
    }

    /// Any call; `path` comes after `/v1/`. An empty answer is `null`.
    ///
    /// # Errors
    /// No answer came, or Vault refused.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Error> {
        self.call_with(method, path, body, &[]).await
    }

    /// Any call with headers, such as `X-Vault-Wrap-TTL`.
    ///
    /// # Errors
    /// No answer came, or Vault refused.
    pub async fn call_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&'static str, &str)],
    ) -> Result<Value, Error> {
        let mut client = self.client.clone();
        if !self.token.expose_secret().is_empty() {
            client = client.header(HeaderName::from_static("x-vault-token"), self.token.expose_secret());
        }
        for (name, value) in headers {
            client = client.header(HeaderName::from_static(name), *value);
        }
        let path = format!("/v1/{path}");
        let answer = match body {
            Some(body) => {
                // Vault takes patches in this form alone.
                let patch = method == Method::PATCH;
                let kind = if patch { "application/merge-patch+json" } else { "application/json" };
                client.send(client.request(method, &path, Some(kind), body.to_string().into())?).await?
            }
            None => client.send(client.request(method, &path, None, bytes::Bytes::new())?).await?,
        };
        if answer.status.is_success() {
            return if answer.body.is_empty() { Ok(Value::Null) } else { Ok(answer.value()?) };
        }
        let told = answer.value().unwrap_or_default();
        let errors = told["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let errors = errors.map(|error| error.trim().to_owned()).collect();
        Err(Error::Refused { call: answer.call, status: answer.status, errors })
    }

    /// A root token made from shares, as `vault operator generate-root` makes one. A Vault that unseals itself takes
    /// its recovery shares.
    ///
    /// # Errors
    /// Vault refused, or the shares do not suffice.
    pub async fn generate_root(&self, shares: &[SecretString]) -> Result<SecretString, Error> {
        let (attempt, update) = ("sys/generate-root/attempt", "sys/generate-root/update");
        let lacks = |field| Error::Lacks { call: format!("PUT /v1/{update}"), field };
        self.call(Method::DELETE, attempt, None).await?;
        let begun = self.call(Method::PUT, attempt, Some(json!({}))).await?;
        for share in shares {
            let body = json!({"key": share.expose_secret(), "nonce": begun["nonce"]});
            let answer = self.call(Method::PUT, update, Some(body)).await?;
            if answer["complete"] == true {
                let encoded = answer["encoded_token"].as_str().unwrap_or_default().trim_end_matches('=');
                let bytes = STANDARD_NO_PAD.decode(encoded).map_err(|_| lacks("encoded_token"))?;
                let pad = begun["otp"].as_str().unwrap_or_default().bytes();
                let token: Vec<u8> = bytes.into_iter().zip(pad).map(|(byte, pad)| byte ^ pad).collect();
                return String::from_utf8(token).map(Into::into).map_err(|_| lacks("encoded_token"));
            }
        }
        Err(lacks("encoded_token"))
    }

    /// Mounts a KV v2 engine, and waits until it takes writes.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn mount_kv(&self, mount: &str) -> Result<(), Error> {
        let engine = json!({"type": "kv", "options": {"version": "2"}});
        self.call(Method::POST, &format!("sys/mounts/{mount}"), Some(engine)).await?;
        // A new KV v2 mount upgrades its storage first and refuses meanwhile.
        let what = format!("the mount {mount} to take writes");
        let ready = crate::wait::wait_until(what, super::START, async || {
            match self.call(Method::GET, &format!("{mount}/config"), None).await {
                Err(Error::Refused { status: StatusCode::BAD_REQUEST, errors, .. }) => Err(errors.join("; ")),
                other => Ok(other),
            }
        });
        ready.await?.map(drop)
    }

    /// Writes a policy.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn write_policy(&self, name: &str, policy: &str) -> Result<(), Error> {
        let body = json!({"policy": policy});
        self.call(Method::PUT, &format!("sys/policies/acl/{name}"), Some(body)).await.map(drop)
    }

    /// Enables an auth method under a path.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn enable_auth(&self, kind: &str, path: &str) -> Result<(), Error> {
        self.call(Method::POST, &format!("sys/auth/{path}"), Some(json!({"type": kind}))).await.map(drop)
    }

    /// Creates an AppRole at `auth/approle` with parameters as Vault's API takes them, such as
    /// `token_policies` and `token_ttl`, and gives a secret id for it.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn create_approle(&self, role: &str, parameters: Value) -> Result<AppRole, Error> {
        self.call(Method::POST, &format!("auth/approle/role/{role}"), Some(parameters)).await?;
        let path = format!("auth/approle/role/{role}/role-id");
        let answer = self.call(Method::GET, &path, None).await?;
        let role_id = text(&path, &answer["data"]["role_id"], "role_id")?.to_owned();
        Ok(AppRole { role_id, secret_id: self.secret_id(role).await? })
    }

    /// Another secret id of an AppRole.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn secret_id(&self, role: &str) -> Result<SecretString, Error> {
        let path = format!("auth/approle/role/{role}/secret-id");
        let answer = self.call(Method::POST, &path, Some(json!({}))).await?;
        Ok(text(&path, &answer["data"]["secret_id"], "secret_id")?.into())
    }

    /// A wrapping token for another secret id of an AppRole, good for so many seconds.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn wrapped_secret_id(&self, role: &str, seconds: u32) -> Result<SecretString, Error> {
        let path = format!("auth/approle/role/{role}/secret-id");
        let headers = [("x-vault-wrap-ttl", &*seconds.to_string())];
        let answer = self.call_with(Method::POST, &path, Some(json!({})), &headers).await?;
        Ok(text(&path, &answer["wrap_info"]["token"], "wrap_info.token")?.into())
    }

    /// Logs in at `auth/approle`.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn login_approle(&self, role: &AppRole) -> Result<Admin, Error> {
        let body = json!({"role_id": role.role_id, "secret_id": role.secret_id.expose_secret()});
        let path = "auth/approle/login";
        let anonymous = self.with_token(&SecretString::default());
        let answer = anonymous.call(Method::POST, path, Some(body)).await?;
        Ok(self.with_token(&text(path, &answer["auth"]["client_token"], "auth.client_token")?.into()))
    }

    /// A token with these policies; parameters as Vault's `auth/token/create` takes them.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn create_token(&self, parameters: Value) -> Result<SecretString, Error> {
        let path = "auth/token/create";
        let answer = self.call(Method::POST, path, Some(parameters)).await?;
        Ok(text(path, &answer["auth"]["client_token"], "auth.client_token")?.into())
    }

    /// Revokes a token and all that came from it.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn revoke(&self, token: &SecretString) -> Result<(), Error> {
        let body = json!({"token": token.expose_secret()});
        self.call(Method::POST, "auth/token/revoke", Some(body)).await.map(drop)
    }

    /// Revokes this token itself.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn revoke_self(&self) -> Result<(), Error> {
        self.call(Method::POST, "auth/token/revoke-self", None).await.map(drop)
    }

    /// Revokes every token that came from logins under a path, such as `auth/approle/login`.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn revoke_prefix(&self, prefix: &str) -> Result<(), Error> {
        let path = format!("sys/leases/revoke-prefix/{prefix}");
        self.call(Method::PUT, &path, Some(json!({"sync": true}))).await.map(drop)
    }

    /// Enables JWT logins at `auth/jwt`, checked with these public keys in PEM.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn enable_jwt(&self, public_keys: &[String]) -> Result<(), Error> {
        self.enable_auth("jwt", "jwt").await?;
        let config = json!({"jwt_validation_pubkeys": public_keys});
        self.call(Method::POST, "auth/jwt/config", Some(config)).await.map(drop)
    }

    /// Creates a role of `auth/jwt` with parameters as Vault's API takes them, such as `user_claim`,
    /// `bound_audiences` and `token_policies`.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn create_jwt_role(&self, role: &str, parameters: Value) -> Result<(), Error> {
        self.call(Method::POST, &format!("auth/jwt/role/{role}"), Some(parameters)).await.map(drop)
    }

    /// Sets a rate-limit quota: so many requests a second for a path; 429 with Retry-After beyond.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn limit_rate(&self, name: &str, path: &str, rate: f64) -> Result<(), Error> {
        let body = json!({"path": path, "rate": rate});
        self.call(Method::POST, &format!("sys/quotas/rate-limit/{name}"), Some(body)).await.map(drop)
    }

    /// Takes a rate-limit quota away.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn unlimit_rate(&self, name: &str) -> Result<(), Error> {
        self.call(Method::DELETE, &format!("sys/quotas/rate-limit/{name}"), None).await.map(drop)
    }

    /// Writes a KV v2 secret with check-and-set: `cas` is the current version, 0 for none, and `None`
    /// writes in any case. Gives the version written, without its data.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn put(&self, mount: &str, path: &str, data: &Value, cas: Option<u64>) -> Result<Kv, Error> {
        let options = cas.map_or(json!({}), |version| json!({"cas": version}));
        let path = format!("{mount}/data/{path}");
        let answer = self.call(Method::POST, &path, Some(json!({"options": options, "data": data}))).await?;
        version(&path, &answer["data"], Value::Null)
    }

    /// Reads a KV v2 secret: the current version, or this one.
    ///
    /// # Errors
    /// Vault refused, as it does with 404 for a version that was deleted.
    pub async fn read(&self, mount: &str, path: &str, number: Option<u64>) -> Result<Kv, Error> {
        let query = number.map_or(String::new(), |number| format!("?version={number}"));
        let path = format!("{mount}/data/{path}{query}");
        let mut answer = self.call(Method::GET, &path, None).await?;
        let data = answer["data"]["data"].take();
        version(&path, &answer["data"]["metadata"], data)
    }

    /// The metadata of a KV v2 secret, all versions.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn metadata(&self, mount: &str, path: &str) -> Result<Value, Error> {
        let mut answer = self.call(Method::GET, &format!("{mount}/metadata/{path}"), None).await?;
        Ok(answer["data"].take())
    }

    /// Deletes versions, so that they can be undeleted.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn delete(&self, mount: &str, path: &str, versions: &[u64]) -> Result<(), Error> {
        let body = json!({"versions": versions});
        self.call(Method::POST, &format!("{mount}/delete/{path}"), Some(body)).await.map(drop)
    }

    /// Undoes a deletion.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn undelete(&self, mount: &str, path: &str, versions: &[u64]) -> Result<(), Error> {
        let body = json!({"versions": versions});
        self.call(Method::POST, &format!("{mount}/undelete/{path}"), Some(body)).await.map(drop)
    }

    /// Destroys versions for good.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn destroy(&self, mount: &str, path: &str, versions: &[u64]) -> Result<(), Error> {
        let body = json!({"versions": versions});
        self.call(Method::PUT, &format!("{mount}/destroy/{path}"), Some(body)).await.map(drop)
    }

    /// Removes a secret with all its versions, so that the next write is version 1 again.
    ///
    /// # Errors
    /// Vault refused.
    pub async fn remove(&self, mount: &str, path: &str) -> Result<(), Error> {
        self.call(Method::DELETE, &format!("{mount}/metadata/{path}"), None).await.map(drop)
    }
}

fn text<'a>(path: &str, value: &'a Value, field: &'static str) -> Result<&'a str, Error> {
    value.as_str().ok_or_else(|| Error::Lacks { call: format!("/v1/{path}"), field })
}

fn version(path: &str, metadata: &Value, data: Value) -> Result<Kv, Error> {
    let lacks = |field| Error::Lacks { call: format!("/v1/{path}"), field };
    let created_time = metadata["created_time"].as_str().and_then(|time| time.parse().ok());
    Ok(Kv {
        version: metadata["version"].as_u64().ok_or_else(|| lacks("version"))?,
        created_time: created_time.ok_or_else(|| lacks("created_time"))?,
        data,
    })
}
