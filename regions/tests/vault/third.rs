//! Two regions that serve, and a third that is to come.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use http::Method;
use local_region::documents::{self, KeyState, Rotation, SigningKey};
use local_region::pki::Ca;
use local_region::vault::{Admin, Builder, VaultServer};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::run::{self, Ran};
use crate::terminal::{Terminal, shares};
use crate::world::{World, read};

/// Every document that the first two regions have.
pub(crate) const DOCUMENTS: [&str; 7] = [
    "service/config",
    "service/tls",
    "service/clients",
    "service/signing-keys",
    "client/probe",
    "client/other",
    "client-pending/probe",
];

/// Two regions with documents, and a third with a Vault that nobody has initialised.
pub(crate) struct Third {
    pub(crate) world: World,
    pub(crate) ap: VaultServer,
    /// What must be found nowhere but in a Vault.
    pub(crate) canaries: Vec<String>,
    tokens: [String; 2],
}

impl Third {
    pub(crate) async fn start() -> Self {
        Self::with(VaultServer::named("ap")).await
    }

    pub(crate) async fn with(ap: Builder) -> Self {
        let world = World::start().await;
        let ap = ap.empty().start(&Ca::new("ap").unwrap()).await.unwrap();
        let text = format!(
            "# yaml-language-server: $schema=../../../regions/schema/region.schema.json\nlocation: local-ap1\n\
             wave: second\nrange: 10.80.0.0/14\nvault: {{ address: {}, in_cluster: false }}\n",
            ap.url()
        );
        fs::write(world.catalogue().join("production/ap.yaml"), text).unwrap();
        let pem = |vault: &VaultServer| fs::read_to_string(vault.ca_file()).unwrap();
        fs::write(bundle(&world), [pem(&world.eu), pem(&world.us), pem(&ap)].concat()).unwrap();
        let mut tokens = Vec::new();
        let (documents, canaries) = documents();
        for (name, vault) in [("eu", &world.eu), ("us", &world.us)] {
            world.apply(name, &[]).await.expect(0);
            for (path, document) in &documents {
                vault.admin().put("kv", path, document, Some(0)).await.unwrap();
            }
            let token = json!({"policies": ["rotator"], "no_default_policy": true, "ttl": "1h"});
            let token = vault.admin().create_token(token).await.unwrap();
            tokens.push(world.token_file(&format!("{name}.rotator"), token.expose_secret()));
        }
        let tokens = tokens.try_into().unwrap();
        Self { world, ap, canaries, tokens }
    }

    /// `regions bootstrap` on the third region, not yet begun.
    pub(crate) fn command(&self, further: &[&str]) -> tokio::process::Command {
        let ca = bundle(&self.world);
        let [eu, us] =
            [("eu", &self.tokens[0]), ("us", &self.tokens[1])].map(|(name, file)| format!("{name}={file}"));
        let mut arguments = vec!["bootstrap", "production/ap", "--vault-ca", ca.to_str().unwrap()];
        arguments.extend(["--vault-token", &eu, "--vault-token", &us]);
        arguments.extend(further);
        run::bare(&self.world.catalogue(), self.world.folder.path(), &arguments)
    }

    /// It, to its end, with nobody before it.
    pub(crate) async fn unattended(&self, further: &[&str]) -> Ran {
        let started = Instant::now();
        let ran = run::end(self.command(further).spawn().unwrap(), started).await;
        self.shows_no_secret(&format!("{}{}", ran.out, ran.err));
        ran
    }

    /// It, to its end, on a terminal. Gives the shares, with which the Vault is opened again.
    pub(crate) async fn attended(&self, further: &[&str]) -> (Vec<SecretString>, String) {
        let mut terminal = Terminal::start(self.command(further));
        terminal.shows("Press Enter when all are stored", 1).await;
        terminal.types("");
        let (code, screen) = terminal.end().await;
        assert_eq!(code, Some(0), "{screen}");
        self.shows_no_secret(&screen);
        (shares(&screen).into_iter().map(SecretString::from).collect(), screen)
    }

    /// No value of a document, and no token.
    #[track_caller]
    pub(crate) fn shows_no_secret(&self, text: &str) {
        for canary in &self.canaries {
            assert!(!text.contains(canary.as_str()), "{canary} is in {text}");
        }
        assert!(!text.contains("hvs."), "a token is in {text}");
    }

    /// A file with a root token of the third Vault.
    pub(crate) async fn root(&self, shares: &[SecretString]) -> (Admin, String) {
        let root = self.ap.generate_root(shares).await.unwrap();
        let file = self.world.token_file("ap.root", root.expose_secret());
        (self.ap.with_token(&root), format!("ap={file}"))
    }

    /// The third region has what the first has, and is named in all.
    pub(crate) async fn is_seeded(&self, ap: &Admin) {
        for path in DOCUMENTS {
            let data = format!("kv/data/{path}");
            let copied = read(ap, &data).await;
            assert_eq!(copied["data"], read(&self.world.eu.admin(), &data).await["data"], "{path}");
            assert!(copied["data"].is_object(), "{path}");
        }
        let eu = self.world.eu.admin();
        for admin in [&eu, &self.world.us.admin(), ap] {
            for secret in ["config", "tls", "clients", "signing-keys"] {
                let metadata = read(admin, &format!("kv/metadata/service/{secret}")).await;
                assert_eq!(metadata["custom_metadata"]["regions"], "ap,eu,us", "{secret}");
            }
        }
        let note = read(ap, "kv/data/regions/bootstrap").await;
        assert_eq!(
            note["data"],
            json!({"from": "eu", "writes": {}}),
            "nothing is a bootstrap's own any more"
        );
        assert_eq!(
            read(ap, "kv/data/regions/vault").await["data"]["made"].as_array().map(Vec::is_empty),
            Some(false)
        );
    }

    /// Whether anybody has initialised the third Vault. In the middle of that it answers with an error.
    pub(crate) async fn initialised(&self) -> bool {
        let status =
            self.ap.with_token(&SecretString::default()).call(Method::GET, "sys/seal-status", None).await;
        status.is_ok_and(|status| status["initialized"] == true)
    }
}

/// A file with the certificates of all three authorities.
pub(crate) fn bundle(world: &World) -> PathBuf {
    world.folder.path().join("authorities.pem")
}

/// Documents by path, and the secrets in them. One signing key is only published.
fn documents() -> (Vec<(&'static str, Value)>, Vec<String>) {
    let rotation = Rotation::new("signing-keys-2026-11", "publish");
    let first = Rotation::new("first", "write");
    let keys = [KeyState::Active, KeyState::Published].map(|state| SigningKey::make(state).unwrap());
    let ca = Ca::new("public").unwrap();
    let certificate = ca.issue(&["tokens.meridian.test"]).unwrap();
    let secrets = [(); 3].map(|()| documents::client_secret().unwrap());
    let signing = documents::signing_keys(&rotation, &[&keys[0], &keys[1]]);
    let mut canaries: Vec<String> = secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect();
    let pems = signing["keys"].as_object().unwrap().values().map(|key| key["private_pem"].as_str().unwrap());
    let pems = pems.chain([certificate.key_pem.expose_secret()]);
    // A line of its middle, as no two keys share.
    canaries.extend(pems.map(|pem| pem.lines().nth(2).unwrap().to_owned()));
    let secret = |number: usize| json!({"secret": secrets[number].expose_secret()});
    let documents = vec![
        ("service/config", documents::config(&first, 3)),
        ("service/tls", documents::tls(&first, &ca, &certificate)),
        ("service/clients", documents::clients(&first, &[(&secrets[0], None)])),
        ("service/signing-keys", signing),
        ("client/probe", secret(0)),
        ("client/other", secret(1)),
        ("client-pending/probe", secret(2)),
    ];
    (documents, canaries)
}
