//! Releases that are good and releases that are not, promoted to real regions under load; regions that leave traffic and
//! come back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use local_region::load::{Figures, Load, Target};
use local_region::platform::entry::Entry;
use local_region::programs::program;
use local_region::tools;
use local_region::wait::wait_until;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::watch;

use crate::load::nobody_notices;
use crate::world::{DEPLOYMENT, ENVIRONMENT, World};

/// How often the entry asks each region. Cloud DNS takes 30 s at least; what is tested does not hang on it.
const EVERY: Duration = Duration::from_secs(1);

/// No answer comes later, however busy the machine is.
const LATE: Duration = Duration::from_secs(15);

/// What a run of `regions` left.
struct Ran {
    code: Option<i32>,
    said: String,
    took: Duration,
}

impl Ran {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.said);
        self
    }

    #[track_caller]
    fn says(&self, text: &str) -> &Self {
        assert!(self.said.contains(text), "{text:?} is not in\n{}", self.said);
        self
    }
}

/// A run of `regions` with what it needs to know of the environment.
async fn regions(world: &World, arguments: &[&str]) -> Ran {
    let environment = &world.environment;
    let (verb, further) = arguments.split_first().unwrap();
    let mut command = Command::new(program("regions").unwrap());
    command.arg("--catalogue").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/catalogue")).arg(verb);
    command.args(further).arg("--kubeconfig").arg(&environment.kubeconfig);
    if *verb != "history" && *verb != "diff" {
        command.arg("--public-ca").arg(environment.public_authority.as_ref().unwrap());
    }
    if ["promote", "rollback"].contains(verb) {
        command.arg("--vault-ca").arg(environment.vault_authorities.as_ref().unwrap());
        for region in &environment.regions {
            let token = &region.vault.as_ref().unwrap().tokens["promoter"];
            command.arg("--vault-token").arg(format!("{}={}", region.name, token.display()));
        }
    }
    let began = Instant::now();
    let output = command.kill_on_drop(true).output().await.unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ran { code: output.status.code(), said, took: began.elapsed() }
}

async fn promote(world: &World, release: &Path) -> Ran {
    let release = release.to_str().unwrap();
    let helm = tools::helm().unwrap();
    let helm = helm.to_str().unwrap();
    let fixed =
        ["promote", "--env", ENVIRONMENT, "--release", release, "--helm", helm, "--yes", "--unproven", "e2e"];
    regions(world, &fixed).await
}

/// The release of this checkout, changed, and packaged under a version of its own.
async fn changed(folder: &Path, version: &str, change: impl FnOnce(&Path)) -> PathBuf {
    let images = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/images"));
    let packages = std::fs::read_dir(images).unwrap().map(|entry| entry.unwrap().path());
    let packages = packages.filter(|path| path.extension().is_some_and(|ending| ending == "tgz"));
    let made = |path: &PathBuf| path.metadata().unwrap().modified().unwrap();
    let package = packages.max_by_key(made).expect("make image made a package");
    let source = folder.join(version);
    std::fs::create_dir_all(&source).unwrap();
    run(Command::new("tar").arg("-xzf").arg(package).arg("-C").arg(&source)).await;
    let chart = std::fs::read_dir(&source).unwrap().next().unwrap().unwrap().path();
    change(&chart);
    let helm = tools::helm().unwrap();
    run(Command::new(helm).args(["package", "--version", version, "--destination"]).arg(folder).arg(&chart))
        .await;
    let name = chart.file_name().unwrap().to_str().unwrap();
    folder.join(format!("{name}-{version}.tgz"))
}

async fn run(command: &mut Command) {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} does not say {from}", file.display());
    std::fs::write(file, text.replace(from, to)).unwrap();
}

/// What the Deployment of each region asks for.
async fn specs(world: &World) -> Vec<Value> {
    let mut specs = Vec::new();
    for place in world.places() {
        specs.push(place.get(DEPLOYMENT).await["spec"]["template"].clone());
    }
    specs
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_good_release_and_the_way_back_lose_no_request() {
    let world = World::open().await;
    let folder = tempfile::tempdir().unwrap();
    let first = changed(folder.path(), "9.0.0", |_| {}).await;
    let second = changed(folder.path(), "9.0.1", |_| {}).await;
    promote(&world, &first).await.expect(0);
    nobody_notices(&world, "promotion and rollback", async {
        let ran = promote(&world, &second).await.expect(0);
        println!("promoted to {} regions in {:.1} s", world.places().len(), ran.took.as_secs_f64());
        let ran =
            regions(&world, &["rollback", "--env", ENVIRONMENT, "--to", "9.0.0", "--yes"]).await.expect(0);
        println!("rolled back in {:.1} s", ran.took.as_secs_f64());
    })
    .await;
    regions(&world, &["diff", "--env", ENVIRONMENT]).await.expect(0).says("no drift");
    regions(&world, &["history", "--env", ENVIRONMENT]).await.expect(0).says("9.0.1");
}

/// A bad release is caught in wave one and undone; nobody notices, and wave two is not touched.
async fn is_undone(what: &str, why: &str, change: impl FnOnce(&Path)) {
    let world = World::open().await;
    let folder = tempfile::tempdir().unwrap();
    let good = changed(folder.path(), "9.1.0", |_| {}).await;
    promote(&world, &good).await.expect(0);
    let before = specs(&world).await;
    let bad = changed(folder.path(), "9.1.1", change).await;
    nobody_notices(&world, what, async {
        let ran = promote(&world, &bad).await.expect(3);
        ran.says(why).says("untouched");
        println!("{what}: undone after {:.1} s in all", ran.took.as_secs_f64());
    })
    .await;
    assert_eq!(before, specs(&world).await);
    for place in world.places() {
        place.settled(2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn an_image_that_does_not_exist_is_undone() {
    is_undone("an image that does not exist", "service: ", |chart| {
        let text = std::fs::read_to_string(chart.join("images.yaml")).unwrap();
        let (name, digest) = text
            .lines()
            .find_map(|line| line.strip_prefix("service: ").and_then(|image| image.split_once('@')))
            .unwrap();
        let none = format!("{name}@sha256:{}", "0".repeat(64));
        std::fs::write(chart.join("images.yaml"), text.replace(&format!("{name}@{digest}"), &none)).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn values_that_the_service_refuses_are_undone_as_a_crash_loop() {
    is_undone("bad values", "CrashLoopBackOff", |chart| {
        let file = chart.join("templates/_service.tpl");
        // A field of its own: what another test changed by hand would be told as a conflict.
        let (known, unknown) =
            ("  - name: SERVICE__TRAFFIC__DIR", "  - name: SERVICE__NONSENSE\n    value: nonsense");
        replace(&file, known, &format!("{unknown}\n{known}"));
    })
    .await;
}

/// Shortens what a Deployment bears before it says that it does not come up.
fn impatient(chart: &Path) {
    let file = chart.join("templates/deployment.yaml");
    replace(&file, "progressDeadlineSeconds: 600", "progressDeadlineSeconds: 30");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_release_that_never_becomes_ready_is_undone() {
    is_undone("never ready", "ProgressDeadlineExceeded", |chart| {
        replace(&chart.join("templates/_service.tpl"), "path: /readyz", "path: /nowhere");
        impatient(chart);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn an_agent_that_cannot_log_in_is_undone() {
    is_undone("an agent that cannot log in", "", |chart| {
        let file = chart.join("templates/_agent.tpl");
        replace(&file, "ROLE\n    value: service", "ROLE\n    value: nobody");
        impatient(chart);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_key_that_no_vault_has_is_told_and_nothing_is_written() {
    let world = World::open().await;
    let folder = tempfile::tempdir().unwrap();
    let before = specs(&world).await;
    let needs = changed(folder.path(), "9.2.0", |chart| {
        let file = chart.join("templates/deployment.yaml");
        replace(&file, "\"private_key_pem\"]", "\"private_key_pem\", \"another\"]");
    });
    let ran = promote(&world, &needs.await).await.expect(1);
    ran.says(
        "service/tls has no key another; write it with: vault kv patch -mount=kv service/tls another=@FILE",
    );
    assert_eq!(before, specs(&world).await);
}

/// Clients of all regions through the entry, which goes by `/trafficz`, while a region goes out and comes back; how often
/// says `DRAINS`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_region_leaves_traffic_and_comes_back_and_no_request_is_lost() {
    let world = World::open().await;
    let times: u32 = std::env::var("DRAINS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let environment = &world.environment;
    let entry = Entry::open(environment, EVERY).await.unwrap();
    let client = || entry.client().unwrap();
    let mut targets = vec![
        Target::anywhere("entry kept", client()).patience(LATE).again(),
        Target::anywhere("entry fresh", client()).patience(LATE).fresh(),
    ];
    // Tokens are verified by the regions' own names.
    for region in &environment.regions {
        let own = environment.entry(region).await.unwrap();
        targets.push(Target::before(&region.name, &region.name, own).patience(LATE).fresh());
    }
    let load = Load::new(targets, &environment.issuer(), environment.secret().await.unwrap());
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(Arc::clone(&load).run(100, stopped));
    let address = entry.address().to_string();
    regions(&world, &["probe", "--env", ENVIRONMENT, "--entry", &address]).await.expect(0).says("serving");
    let region = environment.regions[0].name.clone();
    let named = format!("{ENVIRONMENT}/{region}");
    let (mut out, mut back) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..times {
        // Clients by the region's own name remain: it is drained, and lists them.
        let ran = regions(&world, &["drain", &named, "--yes", "--timeout", "5s"]).await;
        assert!(matches!(ran.code, Some(0 | 4)), "{}", ran.said);
        out += ran.took;
        let left = async || !entry.takes().contains(&region);
        wait_until("the entry to leave it out", Duration::from_secs(60), left).await.unwrap();
        let ran = regions(&world, &["restore", &named, "--yes"]).await.expect(0);
        back += ran.took;
        let taken = async || entry.takes().contains(&region);
        wait_until("the entry to take it in", Duration::from_secs(60), taken).await.unwrap();
    }
    stop.send_replace(true);
    running.await.unwrap();
    let (figures, refusals) = (Figures::of(&load), load.verdicts.refusals());
    println!(
        "{times} drains and restores: {} requests, {} lost; a drain {:.1} s, a restore {:.1} s; connections by region {:?}",
        figures.requests,
        figures.failed,
        out.as_secs_f64() / f64::from(times),
        back.as_secs_f64() / f64::from(times),
        entry.sent()
    );
    assert_eq!((figures.failed, figures.failures), (0, Vec::new()));
    assert_eq!(refusals, Vec::<String>::new());
}
