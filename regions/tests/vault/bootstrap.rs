//! `regions bootstrap`: a third region while two serve, and where it must not go on.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use local_region::pki::Ca;
use local_region::vault::VaultServer;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::terminal::{Terminal, shares};
use crate::third::{DOCUMENTS, Third};
use crate::world::contents;

#[tokio::test(flavor = "multi_thread")]
async fn a_third_region_while_two_serve_and_a_key_is_only_published() {
    let third = Third::start().await;
    let serving = Serving::start(&third);
    let (keys, screen) = third.attended(&[]).await;
    serving.undisturbed().await;
    assert_eq!(keys.len(), 5, "{screen}");
    for text in
        ["The unseal keys of this Vault; 3 of 5 are needed", "initialised", "copied from eu: ", "done"]
    {
        assert!(screen.contains(text), "{text:?} is not in {screen}");
    }
    let (ap, root) = third.root(&keys[..3]).await;
    third.is_seeded(&ap).await;
    let states = ap.read("kv", "service/signing-keys", None).await.unwrap().data["keys"].clone();
    let states: Vec<&Value> = states.as_object().unwrap().values().map(|key| &key["state"]).collect();
    assert!(states.contains(&&json!("published")) && states.contains(&&json!("active")), "{states:?}");
    // The root token of the run is gone: what is left is this test's own.
    let accessors = ap.call(Method::GET, "auth/token/accessors?list=true", None).await.unwrap();
    assert_eq!(accessors["data"]["keys"].as_array().unwrap().len(), 1);

    let before = contents(&ap).await;
    let again = third.unattended(&["--vault-token", &root, "--output", "json"]).await.expect(0).json();
    assert_eq!((&again["outcome"], &again["copied"]), (&json!("no_change"), &json!([])));
    assert_eq!(again["kept"].as_array().unwrap().len(), DOCUMENTS.len());
    assert_eq!(contents(&ap).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let third = Third::start().await;
    let before = contents(&third.world.eu.admin()).await;
    let ran = third.unattended(&["--dry-run"]).await.expect(0);
    ran.says("would find it uninitialised (seal shamir, storage inmem)")
        .says("would copy from eu: service/clients, service/config, service/signing-keys, service/tls, client/other")
        .says("nothing was changed");
    assert!(!third.initialised().await);
    assert_eq!(contents(&third.world.eu.admin()).await, before);
    let metadata = third.world.eu.admin().metadata("kv", "service/config").await.unwrap();
    assert_eq!(metadata["custom_metadata"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_that_nobody_would_see_are_not_made() {
    let third = Third::start().await;
    third.unattended(&[]).await.expect(2).says("shown on a terminal only").says("--pgp-key");
    third.unattended(&["--output", "json"]).await.expect(2);
    let wrong = third.world.folder.path().join("wrong.asc");
    fs::write(&wrong, "no key").unwrap();
    third
        .unattended(&["--pgp-key", wrong.to_str().unwrap()])
        .await
        .expect(2)
        .says("wrong.asc: it holds no OpenPGP");
    third
        .unattended(&["--key-shares", "3", "--key-threshold", "4"])
        .await
        .expect(2)
        .says("--key-threshold 4");
    third.unattended(&["--vault-token", "ab=x"]).await.expect(2).says("ab");
    assert!(!third.initialised().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_that_do_not_agree_are_told_before_anything_is_made() {
    let third = Third::start().await;
    let us = third.world.us.admin();
    let mut keys = us.read("kv", "service/signing-keys", None).await.unwrap().data;
    let published = keys["keys"].as_object().unwrap().iter().find(|(_, key)| key["state"] == "published");
    let published = published.unwrap().0.clone();
    keys["keys"][&published]["state"] = "active".into();
    us.put("kv", "service/signing-keys", &keys, None).await.unwrap();
    third
        .unattended(&["--dry-run"])
        .await
        .expect(1)
        .says(&format!("service/signing-keys: {published} is published in eu, active in us"))
        .says("nothing was changed");
    third.unattended(&[]).await.expect(1).says("the regions do not agree");
    assert!(!third.initialised().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_no_region_can_give_is_told_before_anything_is_made() {
    let third = Third::start().await;
    third.world.eu.admin().delete("kv", "service/tls", &[1]).await.unwrap();
    let planned = third.unattended(&["--dry-run", "--output", "json"]).await.expect(0).json();
    assert_eq!(planned["from"], "us", "a region that has everything");
    third.world.us.admin().destroy("kv", "service/config", &[1]).await.unwrap();
    third
        .unattended(&["--dry-run"])
        .await
        .expect(1)
        .says("eu cannot give service/tls; us cannot give service/config");
    assert!(!third.initialised().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_is_away_is_left_out_by_name_only() {
    let third = Third::start().await;
    third.world.us.kill().await;
    third.unattended(&["--dry-run"]).await.expect(1).says("us: ").says("Connection refused");
    third.unattended(&["--dry-run", "--without", "us"]).await.expect(0).says("would copy from eu");
    third.unattended(&["--dry-run", "--without", "us", "--from", "us"]).await.expect(2).says("--from us");
    third
        .unattended(&["--dry-run", "--without", "us", "--without", "eu"])
        .await
        .expect(1)
        .says("no other region is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_wrote_is_not_overwritten() {
    let third = Third::start().await;
    let (keys, _) = third.attended(&[]).await;
    let (ap, root) = third.root(&keys[..3]).await;
    let theirs = json!({"oauth": {"issuer": "https://theirs.example"}});
    ap.put("kv", "service/config", &theirs, None).await.unwrap();
    third
        .unattended(&["--vault-token", &root])
        .await
        .expect(1)
        .says("what others wrote is not overwritten")
        .says(
            "service/config: in eu of the rotation first (write), in ap of none, so it was written by hand",
        );
    assert_eq!(ap.read("kv", "service/config", None).await.unwrap().data, theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_unseals_itself_gives_recovery_keys_and_opens_with_them_again() {
    let helper = VaultServer::start(&Ca::new("kms").unwrap()).await.unwrap();
    let third = Third::with(VaultServer::named("ap").sealed_by(&helper).await.unwrap()).await;
    let (keys, screen) = third.attended(&["--key-shares", "3", "--key-threshold", "2"]).await;
    assert!(screen.contains("The recovery keys of this Vault; 2 of 3 are needed"), "{screen}");
    let (ap, _) = third.root(&keys[1..]).await;
    third.is_seeded(&ap).await;

    // Again, with the shares in place of a token; none of them is shown.
    let typed = shares(&screen);
    let mut terminal = Terminal::start(third.command(&[]));
    terminal.shows("recovery key 1 of 2 (not shown): ", 1).await;
    terminal.types(&typed[0]);
    terminal.shows("recovery key 2 of 2 (not shown): ", 1).await;
    terminal.types(&typed[0]);
    terminal.shows("that one was given already", 1).await;
    terminal.types(&typed[2]);
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("no change") && shares(&screen).is_empty(), "{screen}");
    assert!(typed.iter().all(|share| !screen.contains(share.as_str())), "{screen}");

    let mut terminal = Terminal::start(third.command(&[]));
    for number in 1..=2 {
        terminal.shows(&format!("recovery key {number} of 2"), 1).await;
        terminal.types(&format!("{}{}", &typed[0][4..], "A".repeat(3 + number)));
    }
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("if a share was mistyped, run it again"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_encrypted_to_the_keys_of_their_owners() {
    let helper = VaultServer::start(&Ca::new("kms").unwrap()).await.unwrap();
    let third = Third::with(VaultServer::named("ap").sealed_by(&helper).await.unwrap()).await;
    let owners = [Owner::new("ada"), Owner::new("bob")];
    let files = owners.each_ref().map(|owner| owner.public.to_str().unwrap());
    let ran =
        third.unattended(&["--pgp-key", files[0], "--pgp-key", files[1], "--output", "json"]).await.expect(0);
    let report = ran.json();
    assert_eq!((&report["outcome"], &report["initialised"]), (&json!("done"), &json!(true)));
    let mut keys = Vec::new();
    for (owner, share) in owners.iter().zip(report["encrypted_shares"].as_array().unwrap()) {
        keys.push(owner.decrypt(share.as_str().unwrap()));
    }
    let (ap, _) = third.root(&keys).await;
    third.is_seeded(&ap).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_several_regions_asks_nobody_and_gets_no_document() {
    let third = Third::start().await;
    third
        .unattended(&["--first", "--without", "eu"])
        .await
        .expect(2)
        .says("cannot be used with '--without <REGION>'");
    third.world.eu.pause().await.unwrap();
    third.world.us.pause().await.unwrap();
    let (shares, screen) = third.attended(&["--first"]).await;
    third.world.eu.resume().unwrap();
    third.world.us.resume().unwrap();
    assert!(screen.contains("vault kv put"), "{screen}");
    let (ap, root) = third.root(&shares[..3]).await;
    let found = ap.metadata("kv", "service/config").await;
    assert!(found.is_err(), "{found:?}");
    // Said once too often it would hide what the others hold; said no more, everything is copied.
    third.unattended(&["--vault-token", &root]).await.expect(0);
    third.is_seeded(&ap).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_region_of_an_environment_is_told_what_to_write() {
    let third = Third::start().await;
    for region in ["eu.yaml", "us.yaml"] {
        fs::remove_file(third.world.catalogue().join("production").join(region)).unwrap();
    }
    third.world.edit("_environment.yaml", |text| text.replace("[first, second]", "[second]"));
    let mut command = third.command(&[]);
    // The tokens are of regions that are no longer there.
    let arguments: Vec<_> = command.as_std().get_args().map(std::ffi::OsStr::to_owned).collect();
    let kept: Vec<_> = arguments.iter().take(arguments.len() - 4).collect();
    command = tokio::process::Command::new(env!("CARGO_BIN_EXE_regions"));
    command.env_clear().args(kept).kill_on_drop(true);
    let mut terminal = Terminal::start(command);
    terminal.shows("Press Enter", 1).await;
    terminal.types("");
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("this is the first region of production: write its documents"), "{screen}");
    let keys: Vec<SecretString> = shares(&screen).into_iter().map(SecretString::from).collect();
    let root = third.ap.generate_root(&keys[2..]).await.unwrap();
    assert!(third.ap.with_token(&root).call(Method::GET, "kv/config", None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_process_or_on_disk() {
    let third = Third::start().await;
    let mut terminal = Terminal::start(third.command(&[]));
    terminal.shows("Press Enter", 1).await;
    let of = |file: &str| fs::read(format!("/proc/{}/{file}", terminal.pid())).unwrap();
    let (environment, arguments) = (of("environ"), of("cmdline"));
    let limits = String::from_utf8(of("limits")).unwrap();
    let core: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max core")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
    terminal.types("");
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(0), "{screen}");
    third.shows_no_secret(&screen);
    let keys = shares(&screen);
    let mut looked = 0;
    for entry in walk(third.world.folder.path()) {
        let text = String::from_utf8_lossy(&fs::read(&entry).unwrap()).into_owned();
        for secret in third.canaries.iter().chain(&keys) {
            assert!(!text.contains(secret.as_str()), "{}", entry.display());
        }
        looked += 1;
    }
    assert!(looked > 5, "the folder in which the command puts its files");
    let process = String::from_utf8_lossy(&[environment, arguments].concat()).into_owned();
    third.shows_no_secret(&process);
    assert!(keys.iter().all(|key| !process.contains(key.as_str())));
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Reads every managed document of both regions again and again, as their agents do.
struct Serving {
    stop: Arc<AtomicBool>,
    reading: tokio::task::JoinHandle<Vec<u64>>,
}

impl Serving {
    fn start(third: &Third) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (admins, ended) = ([third.world.eu.admin(), third.world.us.admin()], Arc::clone(&stop));
        let reading = tokio::spawn(async move {
            let mut versions = Vec::new();
            // As often as a hundred pods do that poll every second; more than that a quota refuses.
            let mut paced = tokio::time::interval(Duration::from_millis(10));
            while !ended.load(Ordering::SeqCst) {
                for admin in &admins {
                    for path in DOCUMENTS {
                        paced.tick().await;
                        versions.push(admin.read("kv", path, None).await.unwrap().version);
                    }
                }
            }
            versions
        });
        Self { stop, reading }
    }

    /// Every read answered, and always the first version.
    async fn undisturbed(self) {
        self.stop.store(true, Ordering::SeqCst);
        let versions = self.reading.await.unwrap();
        assert!(versions.len() > 20, "{}", versions.len());
        assert!(versions.iter().all(|version| *version == 1));
    }
}

/// Somebody with an OpenPGP key.
struct Owner {
    home: tempfile::TempDir,
    public: std::path::PathBuf,
}

impl Owner {
    fn new(name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let owner = Self { public: home.path().join(format!("{name}.asc")), home };
        owner.gpg(
            &["--quick-generate-key", &format!("{name}@meridian.test"), "rsa2048", "encr", "never"],
            b"",
        );
        let public = owner.gpg(&["--armor", "--export"], b"");
        fs::write(&owner.public, public).unwrap();
        owner
    }

    /// A share as its owner reads it.
    fn decrypt(&self, share: &str) -> SecretString {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let encrypted = STANDARD.decode(share).unwrap();
        // Vault encrypts the share in hexadecimal digits, which it takes back as well.
        String::from_utf8(self.gpg(&["--decrypt"], &encrypted)).unwrap().into()
    }

    fn gpg(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut gpg = Command::new("gpg");
        gpg.env_clear().env("GNUPGHOME", self.home.path()).env("PATH", "/usr/bin:/bin");
        gpg.args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]).args(arguments);
        let mut child =
            gpg.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // gpg leaves an agent behind that ends only when its folder goes, and then after a while.
        let mut end = std::process::Command::new("gpgconf");
        let _ = end.env("GNUPGHOME", self.home.path()).args(["--kill", "gpg-agent"]).status();
    }
}
