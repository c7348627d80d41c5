//! The environment that the demo plays in: its regions come from the catalogue, and the `regions` command makes
//! their Vaults.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use local_region::pki::write_private;
use local_region::pod::Site;
use local_region::programs::program;
use local_region::vault::VaultServer;
use local_region::watcher::Watcher;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::process::Command;

use super::timeline::Timeline;

/// The environment whose regions the demo starts.
pub(crate) const ENVIRONMENT: &str = "production";

/// The catalogue as it is for one run: with the addresses at which its Vaults and watchers happen to listen.
#[derive(Debug)]
pub(crate) struct Catalogue {
    folder: PathBuf,
    program: PathBuf,
    log: PathBuf,
    /// The names of the environment's regions, in the order of its waves.
    pub(crate) regions: Vec<String>,
}

/// A Vault and a token for it.
type Way<'a> = (&'a VaultServer, &'a SecretString);

impl Catalogue {
    /// Copies a catalogue into the folder of the run.
    pub(crate) async fn copy(from: &Path, site: &Site<'_>) -> Result<Self> {
        let (folder, log) = (site.folder.join("catalogue"), site.logs.join("regions.log"));
        copy(from, &folder).with_context(|| format!("copy the catalogue {}", from.display()))?;
        let mut catalogue = Self { folder, program: program("regions")?, log, regions: Vec::new() };
        let schemas = format!("--dir={}", site.folder.join("schema").display());
        catalogue.run(&["schema".into(), schemas]).await?;
        let found = catalogue.run(&["validate".into()]).await?;
        let environments = found["environments"].as_array().into_iter().flatten();
        let environment = environments.into_iter().find(|environment| environment["name"] == ENVIRONMENT);
        let environment = environment.with_context(|| format!("{} has no {ENVIRONMENT}", from.display()))?;
        let waves: Vec<&Value> = environment["settings"]["waves"].as_array().into_iter().flatten().collect();
        let mut regions: Vec<&Value> = environment["regions"].as_array().into_iter().flatten().collect();
        regions.sort_by_key(|region| waves.iter().position(|wave| *wave == &region["wave"]));
        catalogue.regions =
            regions.iter().filter_map(|region| region["name"].as_str()).map(str::to_owned).collect();
        if catalogue.regions.len() < 2 {
            bail!("{}: {ENVIRONMENT} needs two regions or more", from.display());
        }
        Ok(catalogue)
    }

    /// Adds a region, by one file.
    pub(crate) fn add(&self, name: &str, location: &str, range: &str) -> Result<()> {
        let last = self.regions.last().map_or("", String::as_str);
        let of = |name: &str| self.folder.join(ENVIRONMENT).join(format!("{name}.yaml"));
        let text = fs::read_to_string(of(last)).with_context(|| format!("read {}", of(last).display()))?;
        let own = ["location:", "range:", "kubernetes:", "vault:", "watcher:"];
        let kept = |line: &&str| !own.iter().any(|key| line.starts_with(key));
        let kept: String = text.lines().filter(kept).map(|line| format!("{line}\n")).collect();
        let text = format!("{kept}location: {location}\nrange: {range}\n");
        fs::write(of(name), text).with_context(|| format!("write {}", of(name).display()))
    }

    /// Says in the catalogue where a region's Vault listens, and whose certificate it shows.
    pub(crate) fn place(&self, vault: &VaultServer) -> Result<()> {
        let authorities = self.authorities();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&authorities)?;
        file.write_all(&fs::read(vault.ca_file())?)
            .with_context(|| format!("write {}", authorities.display()))?;
        self.say(vault.name(), &format!("vault: {{ address: '{}', in_cluster: false }}", vault.url()))
    }

    /// Says in the catalogue where a region's watcher listens.
    pub(crate) fn watched_by(&self, region: &str, watcher: &Watcher) -> Result<()> {
        self.say(region, &format!("watcher: {{ address: '{}' }}", watcher.url()))
    }

    fn say(&self, region: &str, line: &str) -> Result<()> {
        let file = self.folder.join(ENVIRONMENT).join(format!("{region}.yaml"));
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        fs::write(&file, format!("{text}{line}\n")).with_context(|| format!("write {}", file.display()))
    }

    /// The certificates of the authorities that vouch for the Vaults.
    pub(crate) fn authorities(&self) -> PathBuf {
        self.folder.with_file_name("authorities.pem")
    }

    /// Where the output of `regions` goes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The command and its catalogue, as a person types them.
    pub(crate) fn words(&self) -> String {
        format!("{} --catalogue {}", self.program.display(), self.folder.display())
    }

    /// A command line of `regions` on this catalogue; its verb comes next.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--catalogue").arg(&self.folder);
        // Ctrl-C in a terminal is for the demo, which ends it.
        command.process_group(0).kill_on_drop(true);
        command
    }

    /// Makes the Vault of the first region what the catalogue wants.
    pub(crate) async fn apply(&self, timeline: &Timeline, (vault, root): Way<'_>) -> Result<()> {
        let token = self.token(vault.name(), root)?;
        let begun = Instant::now();
        let applied = self
            .run(&[
                "vault".into(),
                "apply".into(),
                format!("{ENVIRONMENT}/{}", vault.name()),
                format!("--vault-ca={}", self.authorities().display()),
                format!("--vault-token-file={}", token.display()),
            ])
            .await?;
        timeline.say(
            "regions",
            &format!(
                "vault apply {}: {} mounts, policies, roles, devices and quotas made, in {:.1} s",
                vault.name(),
                applied["taken"],
                begun.elapsed().as_secs_f64()
            ),
        );
        Ok(fs::remove_file(token)?)
    }

    /// Makes the Vault of one more region, with the documents of those that are there.
    pub(crate) async fn bootstrap(
        &self,
        timeline: &Timeline,
        (vault, root): Way<'_>,
        others: &[Way<'_>],
    ) -> Result<()> {
        let mut arguments = vec!["bootstrap".into(), format!("{ENVIRONMENT}/{}", vault.name())];
        let mut tokens = Vec::new();
        for (vault, token) in [(vault, root)].iter().chain(others) {
            let token = self.token(vault.name(), token)?;
            arguments.push(format!("--vault-token={}={}", vault.name(), token.display()));
            tokens.push(token);
        }
        let away = self.regions.iter().filter(|region| {
            *region != vault.name() && others.iter().all(|(other, _)| other.name() != *region)
        });
        arguments.extend(away.map(|region| format!("--without={region}")));
        arguments.push(format!("--vault-ca={}", self.authorities().display()));
        let begun = Instant::now();
        let made = self.run(&arguments).await?;
        timeline.say(
            "regions",
            &format!(
                "bootstrap {}: {} made, {} documents copied from {}, in {:.1} s",
                vault.name(),
                made["objects"],
                made["copied"].as_array().map_or(0, Vec::len),
                made["from"].as_str().unwrap_or_default(),
                begun.elapsed().as_secs_f64()
            ),
        );
        for token in tokens {
            fs::remove_file(token)?;
        }
        Ok(())
    }

    /// A file with a token, for its owner alone.
    pub(crate) fn token(&self, region: &str, token: &SecretString) -> Result<PathBuf> {
        let file = self.folder.with_file_name(format!("{region}.token"));
        Ok(write_private(&file, token.expose_secret().as_bytes())?)
    }

    /// Runs the command and gives what it reports.
    async fn run(&self, arguments: &[String]) -> Result<Value> {
        let what = || {
            format!("regions {}", arguments.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(" "))
        };
        let mut log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = self.command();
        command.args(["--output", "json"]).args(arguments);
        let ran = command.stdin(Stdio::null()).output().await.with_context(what)?;
        writeln!(log, "{}", what())?;
        for text in [&ran.stderr, &ran.stdout] {
            log.write_all(text)?;
        }
        let report: Value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr);
            let why = report["error"].as_str().unwrap_or(said.trim());
            bail!("{} ended with {} ({}): {why}", what(), ran.status, self.log.display());
        }
        Ok(report)
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::write(&to, moved(&fs::read_to_string(&from)?))?;
        }
    }
    Ok(())
}

/// A file's text with its schema beside the copied catalogue.
fn moved(text: &str) -> String {
    const SCHEMA: &str = "# yaml-language-server: $schema=";
    let line = |line: &str| match line.strip_prefix(SCHEMA).and_then(|path| path.rsplit('/').next()) {
        Some(name) => format!("{SCHEMA}../../schema/{name}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
