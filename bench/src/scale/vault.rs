//! A simulated Vault: of the KV v2 engine and the logins as much as a rotation asks for, in Vault's own words.
//! <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What a login gives. The simulated Vault knows no other token.
pub(super) const TOKEN: &str = "hvs.simulated";

/// The mount.
const MOUNT: &str = "kv";

/// As Vault's default.
const MOST_VERSIONS: usize = 10;

/// What is answered.
pub(super) type Answer = (StatusCode, Value);

/// A Vault's secrets by path below the mount.
#[derive(Default)]
pub(super) struct Vault {
    secrets: BTreeMap<String, Secret>,
}

#[derive(Default)]
pub(super) struct Secret {
    pub(super) current: u64,
    pub(super) versions: BTreeMap<u64, Kept>,
    custom: Map<String, Value>,
}

pub(super) struct Kept {
    pub(super) created: Timestamp,
    /// Nothing once it is destroyed.
    pub(super) data: Option<Value>,
}

impl Vault {
    /// Writes a version, if the one before it is still the current one. Gives its number.
    pub(super) fn put(&mut self, path: &str, data: Value, over: Option<u64>) -> Option<u64> {
        let secret = self.secrets.entry(path.to_owned()).or_default();
        if over.is_some_and(|over| over != secret.current) {
            return None;
        }
        secret.current += 1;
        secret.versions.insert(secret.current, Kept { created: Timestamp::now(), data: Some(data) });
        while secret.versions.len() > MOST_VERSIONS {
            secret.versions.pop_first();
        }
        Some(secret.current)
    }

    /// A secret.
    pub(super) fn secret(&self, path: &str) -> Option<&Secret> {
        self.secrets.get(path)
    }

    /// Answers a call. `target` is the path behind `/v1/` with what stands behind the question mark.
    pub(super) fn answer(
        &mut self,
        method: &Method,
        target: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path {
            "sys/health" => return (StatusCode::OK, health()),
            "auth/jwt/login" => return (StatusCode::OK, login()),
            _ if token != Some(TOKEN) => return refuse(StatusCode::FORBIDDEN, "permission denied"),
            "auth/token/renew-self" => return (StatusCode::OK, login()),
            "auth/token/revoke-self" => return (StatusCode::NO_CONTENT, Value::Null),
            _ => {}
        }
        let below = path.strip_prefix(MOUNT).and_then(|path| path.strip_prefix('/')?.split_once('/'));
        let Some((kind, path)) = below else { return unknown() };
        match (method.as_str(), kind) {
            ("GET", "metadata") => self.metadata(path),
            ("PATCH", "metadata") => self.note(path, body),
            ("LIST", "metadata") => self.list(path),
            ("GET", "data") => self.document(path, query),
            ("POST", "data") => self.write(path, body),
            ("PUT", "destroy") => self.destroy(path, body),
            _ => unknown(),
        }
    }

    fn metadata(&self, path: &str) -> Answer {
        let Some(secret) = self.secrets.get(path) else { return unknown() };
        let version = |(number, kept): (&u64, &Kept)| {
            let state =
                json!({"created_time": kept.created, "deletion_time": "", "destroyed": kept.data.is_none()});
            (number.to_string(), state)
        };
        let versions: Map<String, Value> = secret.versions.iter().map(version).collect();
        let time = |kept: Option<&Kept>| kept.map(|kept| kept.created);
        let data = json!({
            "cas_required": false,
            "created_time": time(secret.versions.values().next()),
            "current_version": secret.current,
            "custom_metadata": secret.custom,
            "delete_version_after": "0s",
            "max_versions": 0,
            "oldest_version": secret.versions.keys().next(),
            "updated_time": time(secret.versions.values().next_back()),
            "versions": versions,
        });
        (StatusCode::OK, whole(&data))
    }

    fn note(&mut self, path: &str, body: &Value) -> Answer {
        let secret = self.secrets.entry(path.to_owned()).or_default();
        for (key, value) in body["custom_metadata"].as_object().into_iter().flatten() {
            match value {
                Value::Null => secret.custom.remove(key),
                value => secret.custom.insert(key.clone(), value.clone()),
            };
        }
        (StatusCode::NO_CONTENT, Value::Null)
    }

    fn list(&self, folder: &str) -> Answer {
        let folder = format!("{}/", folder.trim_end_matches('/'));
        let keys: Vec<&str> = self.secrets.keys().filter_map(|path| path.strip_prefix(&folder)).collect();
        if keys.is_empty() { unknown() } else { (StatusCode::OK, whole(&json!({"keys": keys}))) }
    }

    fn document(&self, path: &str, query: &str) -> Answer {
        let Some(secret) = self.secrets.get(path) else { return unknown() };
        let number = query.strip_prefix("version=").and_then(|number| number.parse().ok());
        let number = number.filter(|number| *number > 0).unwrap_or(secret.current);
        let Some(kept) = secret.versions.get(&number) else { return unknown() };
        let found = whole(&json!({"data": kept.data, "metadata": of(number, kept)}));
        (if kept.data.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND }, found)
    }

    fn write(&mut self, path: &str, body: &Value) -> Answer {
        let Some(number) = self.put(path, body["data"].clone(), body["options"]["cas"].as_u64()) else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "check-and-set parameter did not match the current version",
            );
        };
        let kept = self.secrets.get(path).and_then(|secret| secret.versions.get(&number));
        (StatusCode::OK, whole(&kept.map_or(Value::Null, |kept| of(number, kept))))
    }

    fn destroy(&mut self, path: &str, body: &Value) -> Answer {
        let Some(secret) = self.secrets.get_mut(path) else { return unknown() };
        for number in body["versions"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
            if let Some(kept) = secret.versions.get_mut(&number) {
                kept.data = None;
            }
        }
        (StatusCode::NO_CONTENT, Value::Null)
    }
}

/// What Vault says of a version beside its document.
fn of(number: u64, kept: &Kept) -> Value {
    json!({
        "created_time": kept.created,
        "custom_metadata": null,
        "deletion_time": "",
        "destroyed": kept.data.is_none(),
        "version": number,
    })
}

/// A whole answer with this `data`.
fn whole(data: &Value) -> Value {
    json!({
        "request_id": "2f4c1f0e-7d5e-4a8b-9c64-0d2c1c1f6f11",
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": data,
        "wrap_info": null,
        "warnings": null,
        "auth": null,
        "mount_type": "kv",
    })
}

fn login() -> Value {
    let mut answer = whole(&Value::Null);
    answer["auth"] = json!({
        "client_token": TOKEN,
        "accessor": "simulated",
        "policies": ["rotator"],
        "token_policies": ["rotator"],
        "metadata": {"role": "rotator"},
        "lease_duration": 3600,
        "renewable": true,
        "entity_id": "",
        "token_type": "service",
        "orphan": true,
        "mfa_requirement": null,
        "num_uses": 0,
    });
    answer
}

fn health() -> Value {
    json!({
        "initialized": true,
        "sealed": false,
        "standby": false,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": Timestamp::now().as_second(),
        "version": "1.21.0",
        "cluster_name": "simulated",
        "cluster_id": "6d1d2f0e-1f7e-4a52-8d57-2c1f5d0c0f42",
    })
}

fn unknown() -> Answer {
    (StatusCode::NOT_FOUND, json!({"errors": []}))
}

fn refuse(status: StatusCode, why: &str) -> Answer {
    (status, json!({"errors": [why]}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(vault: &mut Vault, method: &str, target: &str, body: &Value) -> Answer {
        vault.answer(&method.parse().unwrap(), target, Some(TOKEN), body)
    }

    #[test]
    fn a_write_needs_the_version_that_was_seen_and_a_destroyed_one_is_gone() {
        let mut vault = Vault::default();
        let first = json!({"options": {"cas": 0}, "data": {"value": "1"}});
        let (status, written) = ask(&mut vault, "POST", "kv/data/service/a", &first);
        assert_eq!((status, &written["data"]["version"]), (StatusCode::OK, &json!(1)));
        let (status, refused) = ask(&mut vault, "POST", "kv/data/service/a", &first);
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(refused["errors"][0].as_str().unwrap().contains("check-and-set"));
        let second = json!({"options": {"cas": 1}, "data": {"value": "2"}});
        assert_eq!(ask(&mut vault, "POST", "kv/data/service/a", &second).0, StatusCode::OK);
        ask(&mut vault, "PUT", "kv/destroy/service/a", &json!({"versions": [1]}));
        let read = |vault: &mut Vault, target| ask(vault, "GET", target, &Value::Null);
        assert_eq!(read(&mut vault, "kv/data/service/a?version=1").0, StatusCode::NOT_FOUND);
        let (_, current) = read(&mut vault, "kv/data/service/a");
        assert_eq!(current["data"]["data"], json!({"value": "2"}));
        let (_, metadata) = read(&mut vault, "kv/metadata/service/a");
        assert_eq!(metadata["data"]["versions"]["1"]["destroyed"], true);
        assert_eq!(metadata["data"]["current_version"], 2);
    }

    #[test]
    fn what_stands_beside_a_secret_is_merged_and_null_takes_it_away() {
        let mut vault = Vault::default();
        let note = |entries: Value| json!({"custom_metadata": entries});
        ask(&mut vault, "PATCH", "kv/metadata/service/a", &note(json!({"a": "1", "b": "2"})));
        ask(&mut vault, "PATCH", "kv/metadata/service/a", &note(json!({"a": null, "c": "3"})));
        let (_, metadata) = ask(&mut vault, "GET", "kv/metadata/service/a", &Value::Null);
        assert_eq!(metadata["data"]["custom_metadata"], json!({"b": "2", "c": "3"}));
    }

    #[test]
    fn nothing_but_the_clock_is_told_without_a_token() {
        let mut vault = Vault::default();
        vault.put("service/a", json!({"value": "1"}), None);
        let mut without = |target| vault.answer(&Method::GET, target, None, &Value::Null).0;
        assert_eq!(without("sys/health?standbyok=true"), StatusCode::OK);
        assert_eq!(without("kv/data/service/a"), StatusCode::FORBIDDEN);
    }
}
