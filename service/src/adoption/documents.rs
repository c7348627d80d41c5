//! Which version of each document is in use, and what becomes of another one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrets_agent_client::{ConfigurationError, Delivered, ExposeSecret, Version};

use crate::configuration::{Configuration, Dynamic};
use crate::documents::{Clients, DocumentError, SigningKeys, Tls};
use crate::snapshot::Parts;

/// A document that the service takes from the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Document {
    /// Who may ask for tokens.
    Clients,
    /// The configuration that may change.
    Config,
    /// The keys that sign and verify.
    SigningKeys,
    /// The public listener's certificate.
    Tls,
}

impl Document {
    /// Each of them; the first snapshot waits for all.
    pub const ALL: [Document; 4] =
        [Document::Clients, Document::Config, Document::SigningKeys, Document::Tls];

    /// The document of this name.
    pub fn named(name: &str) -> Option<Self> {
        Document::ALL.into_iter().find(|document| document.name() == name)
    }

    /// The name under which the agent delivers it.
    pub fn name(self) -> &'static str {
        match self {
            Document::Clients => "clients",
            Document::Config => "config",
            Document::SigningKeys => "signing-keys",
            Document::Tls => "tls",
        }
    }
}

/// What became of a delivered version.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is what is held already.
    Known,
    /// It is good and is held from now on. What is held is not in use before [`Documents::parts`] are.
    Taken,
    /// It is not taken; the last good version stays. The message names the version and every problem.
    Rejected(String),
}

/// The last good version of each document.
#[derive(Debug, Default)]
pub struct Documents {
    versions: BTreeMap<Document, Version>,
    config: Option<Dynamic>,
    clients: Option<Clients>,
    keys: Option<SigningKeys>,
    tls: Option<Tls>,
}

impl Documents {
    /// Checks a delivered version as of the moment `now`, and holds it if it is good.
    ///
    /// A version older than the held one is rejected: a Vault that was restored from a backup must not
    /// bring back what was taken out of use.
    pub fn take(
        &mut self,
        document: Document,
        delivered: &Delivered,
        configuration: &Configuration,
        now: Timestamp,
    ) -> Outcome {
        let version = delivered.version();
        match self.versions.get(&document) {
            Some(held) if *held == version => return Outcome::Known,
            Some(held) if *held > version => {
                return Outcome::Rejected(format!(
                    "{version} is older than {held}, which is in use; write the document again, or restart to go back"
                ));
            }
            _ => {}
        }
        match self.read(document, delivered, configuration, now) {
            Ok(()) => {
                self.versions.insert(document, version);
                Outcome::Taken
            }
            Err(problems) => Outcome::Rejected(format!("version {}: {problems}", version.version)),
        }
    }

    /// The held version of each document.
    pub fn versions(&self) -> impl Iterator<Item = (Document, Version)> {
        self.versions.iter().map(|(document, version)| (*document, *version))
    }

    /// The documents of which no good version has come yet.
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = Document::ALL.into_iter().filter(|document| !self.versions.contains_key(document));
        missing.map(Document::name).collect()
    }

    /// All documents together, once none is missing.
    pub fn parts(&self) -> Option<Parts> {
        Some(Parts {
            dynamic: self.config.clone()?,
            clients: self.clients.clone()?,
            keys: self.keys.clone()?,
            tls: Some(self.tls.clone()?),
        })
    }

    fn read(
        &mut self,
        document: Document,
        delivered: &Delivered,
        configuration: &Configuration,
        now: Timestamp,
    ) -> Result<(), String> {
        let json = delivered.data.expose_secret();
        let problems = |error: DocumentError| error.to_string();
        match document {
            Document::Clients => self.clients = Some(Clients::read(json).map_err(problems)?),
            Document::Config => {
                let dynamic = configuration.dynamic_with(delivered);
                self.config = Some(dynamic.map_err(|errors| told(&errors))?);
            }
            Document::SigningKeys => self.keys = Some(SigningKeys::read(json).map_err(problems)?),
            Document::Tls => self.tls = Some(Tls::read(json, now).map_err(problems)?),
        }
        Ok(())
    }
}

fn told(errors: &[ConfigurationError]) -> String {
    let problems = errors.iter().map(ToString::to_string).collect();
    DocumentError { problems }.to_string()
}
