//! The API server's own account of who wrote what.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

/// A write as the API server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Who.
    pub user: String,
    /// `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// The plural of the kind, with the subresource where there is one: `pods/status`.
    pub resource: String,
    /// The object; empty where the server was to choose the name.
    pub name: String,
    /// Whether it was only to be tried.
    pub dry_run: bool,
    /// The status that was answered.
    pub code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: Status,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: u16,
}

pub(super) fn read(log: &Path) -> io::Result<Vec<Write>> {
    let text = match fs::read_to_string(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    // The last line may be half written.
    let events = text.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
    let ended = events.filter(|event| event.stage == "ResponseComplete");
    Ok(ended
        .map(|event| Write {
            user: event.user.username,
            verb: event.verb,
            resource: match event.object_ref.subresource.as_str() {
                "" => event.object_ref.resource,
                sub => format!("{}/{sub}", event.object_ref.resource),
            },
            name: event.object_ref.name,
            dry_run: event.uri.contains("dryRun=All"),
            code: event.response_status.code,
        })
        .collect())
}
