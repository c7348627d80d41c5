//! Reading the configuration and checking it whole.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use secrets_agent_client::{ConfigurationError, Place};

use super::{Auth, Config, ENVIRONMENT, FileFormat, Files, effective};

/// Every reason for which a configuration is refused, one a line.
#[derive(Debug)]
pub struct Refused(pub Vec<ConfigurationError>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Refused {}

/// A configuration that was checked, and where each of its values came from.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    figment: Figment,
}

impl Loaded {
    /// Every value in effect with the place that it came from, a line each.
    pub fn describe(&self) -> String {
        effective::describe(&self.config, &self.figment)
    }
}

impl Config {
    /// Reads the file, then the environment over it, and checks the whole.
    ///
    /// # Errors
    /// What is wrong, where, and what is allowed there. A missing file is an error.
    pub fn load(file: &Path) -> Result<Loaded, Refused> {
        if !file.is_file() {
            let place = Place { source: file.display().to_string(), key: String::new() };
            let message = "no such file; name one with --config".to_owned();
            return Err(Refused(vec![ConfigurationError { place, message }]));
        }
        let environment = Env::prefixed(ENVIRONMENT).split("__");
        let mut figment = Figment::from(Toml::file_exact(file)).merge(environment.clone());
        // figment reads the variable 0123 as a number; a pod may be called so.
        for (key, text) in environment.iter().filter(|(key, _)| *key == "pod.name" || *key == "pod.uid") {
            figment = figment.merge((key.as_str(), text));
        }
        let config: Config = figment.extract().map_err(|error| {
            Refused(ConfigurationError::all(error).into_iter().map(name_variable).collect())
        })?;
        let problems = config.check();
        if problems.is_empty() {
            return Ok(Loaded { config, figment });
        }
        Err(Refused(problems.into_iter().map(|(key, message)| explain(&figment, key, message)).collect()))
    }

    /// What no single value shows.
    fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key, message: &str| problems.push((key, message.to_owned()));
        if !self.vault.address.starts_with("https://") || self.vault.address.parse::<http::Uri>().is_err() {
            wrong(
                "vault.address",
                "expected an address such as https://vault.example:8200; plain HTTP would show every secret",
            );
        }
        for (key, time) in [
            ("vault.timeout", self.vault.timeout),
            ("vault.longest_retry", self.vault.longest_retry),
            ("kv.poll", self.kv.poll),
        ] {
            if time.0 < Duration::from_millis(100) {
                wrong(key, "expected at least 100ms");
            }
        }
        if self.kv.secrets.is_empty() {
            wrong("kv.secrets", "expected at least one name");
        }
        if self.kv.secrets.iter().any(|name| !is_name(name)) {
            wrong("kv.secrets", "expected names of lower-case letters, digits and dashes");
        }
        if self.kv.secrets.iter().collect::<BTreeSet<_>>().len() != self.kv.secrets.len() {
            wrong("kv.secrets", "a name stands twice");
        }
        if let Auth::AppRole(approle) = &self.auth {
            if approle.role_id.is_some() == approle.role_id_file.is_some() {
                wrong("auth.approle", "expected exactly one of role_id and role_id_file");
            }
            match (&approle.secret_id_file, &approle.wrapped_secret_id_file) {
                (Some(_), Some(_)) | (None, None) => {
                    wrong(
                        "auth.approle",
                        "expected exactly one of secret_id_file and wrapped_secret_id_file",
                    );
                }
                (None, Some(_)) if approle.role.is_none() => {
                    wrong(
                        "auth.approle.role",
                        "is needed with wrapped_secret_id_file, to check where the secret id was made",
                    );
                }
                _ => {}
            }
        }
        if let Some(files) = &self.files {
            files.check(&self.kv.secrets, &mut wrong);
        }
        problems
    }
}

impl Files {
    fn check(&self, secrets: &[String], wrong: &mut impl FnMut(&'static str, &str)) {
        let mut names = BTreeSet::new();
        for file in &self.file {
            if file.name.is_empty() || file.name.starts_with('.') || file.name.contains(['/', '\0']) {
                wrong("files.file.name", "expected a plain file name that does not begin with a dot");
            }
            if !names.insert(&file.name) {
                wrong("files.file.name", "a name stands twice");
            }
            if !secrets.contains(&file.secret) {
                wrong("files.file.secret", "is not one of kv.secrets");
            }
            if (file.format == FileFormat::Raw) != file.key.is_some() {
                wrong("files.file.key", "is needed with format = \"raw\", and with no other");
            }
        }
        if self.notify.as_deref().is_some_and(|address| !is_loopback(address)) {
            wrong("files.notify", "expected an address such as http://127.0.0.1:8080/reload, on loopback");
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_loopback(address: &str) -> bool {
    let Ok(uri) = address.parse::<http::Uri>() else { return false };
    uri.scheme_str() == Some("http") && matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

/// Puts the source beside a problem: the file or the variable that the value came from.
fn explain(figment: &Figment, key: &str, message: String) -> ConfigurationError {
    let source = effective::source(figment, key).unwrap_or_default();
    ConfigurationError { place: Place { source, key: key.to_owned() }, message }
}

/// figment calls all variables by their common prefix; people look for the one.
fn name_variable(mut error: ConfigurationError) -> ConfigurationError {
    let place = &mut error.place;
    if place.source.contains(ENVIRONMENT) && !place.key.is_empty() {
        place.source = effective::variable(&place.key);
    }
    error
}
