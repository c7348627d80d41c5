//! Each region's Vault: a pod of its cluster, installed, initialised and filled by `regions bootstrap`, as a real
//! one is. In the place of Cloud KMS a helper Vault's transit engine unseals it, and in the place of people with
//! shares the files of this environment's folder hold what opens it.

mod documents;
mod pod;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use http::Method;
use local_region::environment::Vault;
use local_region::pki::{Ca, write_private};
use local_region::platform::{Network, Region};
use local_region::programs::program;
use local_region::terminal::{Terminal, shares};
use local_region::tools;
use local_region::vault::{Admin, VaultServer};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::process::Command;

use super::Order;

/// How long one step of a bootstrap may take; most of it is the start of a pod.
const STEP: Duration = Duration::from_secs(180);

/// The port of the helper, on this machine's end of the environment's link.
const HELPER: u16 = 8200;

/// Shares that open a Vault: the default of `regions bootstrap`.
const NEEDED: usize = 3;

/// The Vaults of an environment.
#[derive(Debug)]
pub(super) struct Vaults {
    made: BTreeMap<String, Vault>,
    /// The authority of the certificate that clients are shown.
    pub(super) public_authority: PathBuf,
    /// The authorities of all Vaults.
    pub(super) authorities: PathBuf,
    // It unseals the others as long as it runs.
    _helper: VaultServer,
}

impl Vaults {
    /// What was made for a region.
    pub(super) fn made(&self, region: &str) -> Option<&Vault> {
        self.made.get(region)
    }
}

/// What all regions' Vaults are made with.
struct Work<'a> {
    order: &'a Order,
    kubeconfig: &'a Path,
    chart: PathBuf,
    authorities: PathBuf,
}

/// Makes the Vaults of all regions: the first with its first documents, each other with a copy of them.
pub(super) async fn make(
    own: &Path,
    order: &Order,
    regions: &[Region],
    network: &Network,
    kubeconfig: &Path,
) -> Result<Vaults> {
    let begun = Instant::now();
    let folder = own.join("seal");
    let address = SocketAddr::from((network.machine(), HELPER));
    let ca = Ca::new("local-region seal")?;
    let helper = VaultServer::named("seal").folder(folder).address(address).start(&ca).await;
    let helper = helper.context("start the Vault that unseals the others")?;
    let pods = regions.iter().map(async |region| pod::prepare(region, &helper).await);
    let authorities: Vec<Ca> = try_join_all(pods).await?;
    let bundle: String = authorities.iter().map(Ca::pem).collect();
    let work = Work {
        order,
        kubeconfig,
        chart: package(own).await?,
        authorities: write_private(&own.join("vault-ca.pem"), bundle.as_bytes())?,
    };
    let mut made: BTreeMap<String, Vault> = BTreeMap::new();
    let public = Ca::new("local-region public")?;
    for (region, authority) in regions.iter().zip(&authorities) {
        let name = &region.plan().name;
        let shown = work.bootstrap(region, &made).await.with_context(|| format!("bootstrap {name}"))?;
        let vault = pod::reach(region, authority).await?;
        let one = work.open(region, authority, &vault, &shown).await;
        let (root, one) = one.with_context(|| format!("open the Vault of {name}"))?;
        if made.is_empty() {
            let written = documents::write(&vault.with_token(&root), order, &public).await;
            written.with_context(|| format!("write the first documents of {name}"))?;
        }
        made.insert(name.clone(), one);
        eprintln!("{name}: Vault bootstrapped after {:.1} s", begun.elapsed().as_secs_f64());
    }
    let public_authority = public.write(own.join("public-ca.pem"))?;
    Ok(Vaults { made, public_authority, authorities: work.authorities, _helper: helper })
}

impl Work<'_> {
    /// Runs `regions bootstrap` with somebody before it, and gives the shares that it showed.
    async fn bootstrap(
        &self,
        region: &Region,
        others: &BTreeMap<String, Vault>,
    ) -> Result<Vec<SecretString>> {
        let plan = region.plan();
        let mut command = Command::new(program("regions")?);
        command.arg("--catalogue").arg(&self.order.catalogue).arg("bootstrap");
        command.arg(format!("{}/{}", plan.environment, plan.name));
        let files = [
            ("--vault-ca", self.authorities.clone()),
            ("--vault-chart", self.chart.clone()),
            ("--vault-values", region.folder().join("vault-values.json")),
            ("--kubeconfig", self.kubeconfig.to_owned()),
            ("--helm", tools::helm()?),
        ];
        for (option, file) in files {
            command.arg(option).arg(file);
        }
        if others.is_empty() && self.order.plans.len() > 1 {
            command.arg("--first");
        }
        for (name, other) in others {
            command.arg("--vault-token").arg(format!("{name}={}", other.tokens["rotator"].display()));
        }
        let later = self
            .order
            .plans
            .iter()
            .filter(|other| other.name != plan.name && !others.contains_key(&other.name));
        if !others.is_empty() {
            command.args(later.flat_map(|other| ["--without", &other.name]));
        }
        let mut terminal = Terminal::start(command)?;
        let asked = terminal.shows("Press Enter when all are stored", 1, STEP).await;
        if asked.is_ok() {
            terminal.types("")?;
        }
        let (status, screen) = terminal.end(if asked.is_ok() { STEP } else { Duration::ZERO }).await?;
        let shown = shares(&screen);
        if !status.success() || shown.len() < NEEDED {
            let said = shown.iter().fold(screen, |screen, share| screen.replace(share, "(a share)"));
            bail!("regions bootstrap ended with {status}:\n{said}");
        }
        Ok(shown.into_iter().map(SecretString::from).collect())
    }

    /// Makes tokens for who works with this environment, and keeps them in files for its owner alone.
    async fn open(
        &self,
        region: &Region,
        authority: &Ca,
        vault: &Admin,
        shown: &[SecretString],
    ) -> Result<(SecretString, Vault)> {
        let folder = region.folder();
        let text: String = shown.iter().map(|share| format!("{}\n", share.expose_secret())).collect();
        let shares = write_private(&folder.join("vault.shares"), text.as_bytes())?;
        let root = vault.generate_root(shown).await?;
        let admin = vault.with_token(&root);
        let mut tokens = BTreeMap::new();
        for role in ["promoter", "rotator"] {
            let parameters =
                json!({"policies": [role], "no_default_policy": true, "period": "24h", "no_parent": true});
            tokens.insert(role, admin.create_token(parameters).await?);
        }
        tokens.insert("root", root.clone());
        let tokens = tokens.into_iter().map(|(role, token)| {
            let file = folder.join(format!("vault.{role}.token"));
            Ok((role.to_owned(), write_private(&file, token.expose_secret().as_bytes())?))
        });
        let tokens = tokens.collect::<Result<_>>()?;
        let authority = authority.write(folder.join("vault-ca.pem"))?;
        Ok((root, Vault { authority, tokens, shares }))
    }
}

/// Packages the chart that stands in for HashiCorp's, under the version that `regions` knows.
async fn package(own: &Path) -> Result<PathBuf> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/vault");
    let mut command = Command::new(tools::helm()?);
    command.args(["package", "--version", "0.32.0+local", "--destination"]).args([own, Path::new(chart)]);
    let ran = command.env_clear().env("HOME", own).output().await.context("run helm package")?;
    if !ran.status.success() {
        bail!("helm package: {}", String::from_utf8_lossy(&ran.stderr).trim());
    }
    let found = fs::read_dir(own)?.flatten().map(|entry| entry.path());
    let found = found.filter(|path| path.extension().is_some_and(|extension| extension == "tgz")).max();
    found.context("helm package left no chart")
}

/// What a cluster is asked to hold.
async fn create(region: &Region, path: &str, object: serde_json::Value) -> Result<()> {
    let call = region.api().call(Method::POST, path, Some(object)).await;
    call.map(drop).with_context(|| format!("prepare {}", region.plan().name))
}
