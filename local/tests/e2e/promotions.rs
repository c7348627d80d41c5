//! Releases that are good and releases that are not, promoted to real regions under load; regions that leave traffic and
//! come back.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use local_region::load::{Figures, Load, Target};
use local_region::platform::entry::Entry;
use local_region::programs::program;
use local_region::tools;
use local_region::wait::wait_until;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::watch;

use crate::load::{comes_due, nobody_notices, nothing_is_lost, under_load};
use crate::world::{DEPLOYMENT, ENVIRONMENT, SETTLES, World, ready};

/// How often the entry asks each region. Cloud DNS takes 30 s at least; what is tested does not hang on it.
const EVERY: Duration = Duration::from_secs(1);

/// No answer comes later, however busy the machine is.
const LATE: Duration = Duration::from_secs(15);

/// What a run of `regions` left.
struct Ran {
    code: Option<i32>,
    said: String,
    /// Its progress, each line with the moment at which it was told.
    told: Vec<(Instant, String)>,
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
        self.says_any(&[text])
    }

    #[track_caller]
    fn says_any(&self, texts: &[&str]) -> &Self {
        assert!(texts.iter().any(|text| self.said.contains(text)), "{texts:?} is not in\n{}", self.said);
        self
    }

    /// When a line was told that holds this text, for the first time.
    #[track_caller]
    fn when(&self, text: &str) -> Instant {
        let found = self.told.iter().find(|(_, line)| line.contains(text));
        found.unwrap_or_else(|| panic!("{text:?} was not told in\n{}", self.said)).0
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
    let mut running =
        command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (running.stdout.take().unwrap(), running.stderr.take().unwrap());
    let (results, told, ended) = tokio::join!(lines(stdout), lines(stderr), running.wait());
    let all = results.iter().chain(&told).map(|(_, line)| format!("{line}\n"));
    Ran { code: ended.unwrap().code(), said: all.collect(), told, took: began.elapsed() }
}

/// Every line, with the moment at which it came.
async fn lines(from: impl AsyncRead + Unpin) -> Vec<(Instant, String)> {
    let (mut lines, mut seen) = (BufReader::new(from).lines(), Vec::new());
    while let Some(line) = lines.next_line().await.unwrap() {
        seen.push((Instant::now(), line));
    }
    seen
}

async fn promote(world: &World, release: &Path) -> Ran {
    let release = release.to_str().unwrap();
    let helm = tools::helm().unwrap();
    let helm = helm.to_str().unwrap();
    let fixed =
        ["promote", "--env", ENVIRONMENT, "--release", release, "--helm", helm, "--yes", "--unproven", "e2e"];
    // What gates see of good releases may be kept, for the tests that judge them by it.
    let kept = std::env::var("RECORD_LOOKS").ok();
    let kept = kept.iter().flat_map(|file| ["--record-looks", file]);
    regions(world, &fixed.into_iter().chain(kept).collect::<Vec<_>>()).await
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

/// A bad release, and the regions that run a good one.
struct Bad {
    world: World,
    release: PathBuf,
    before: Vec<Value>,
    /// Whether one of its pods was seen that will not start.
    stopped: Cell<bool>,
    _folder: TempDir,
}

impl Bad {
    /// A good release is promoted, and this bad one made of it.
    async fn made_by(change: impl FnOnce(&Path)) -> Self {
        let world = World::open().await;
        let folder = tempfile::tempdir().unwrap();
        let good = changed(folder.path(), "9.1.0", |_| {}).await;
        promote(&world, &good).await.expect(0);
        let before = specs(&world).await;
        let release = changed(folder.path(), "9.1.1", change).await;
        Self { world, release, before, stopped: Cell::new(false), _folder: folder }
    }

    /// It is caught in wave one for one of these reasons and undone, and wave two is not touched.
    async fn is_undone(&self, what: &str, reasons: &[&str]) -> Ran {
        let ran = promote(&self.world, &self.release).await.expect(3);
        ran.says_any(reasons).says("untouched");
        println!("{what}: undone after {:.1} s in all", ran.took.as_secs_f64());
        ran
    }

    /// Tells how long it takes from the moment at which the cluster shows a pod that will not start, in the region of
    /// wave one, until its Deployment asks for the former release again, and until no bad pod is left.
    async fn stops(&self, what: &str) {
        let first = self.world.eu();
        let some = async || !stopped(&first.pods().await).is_empty();
        wait_until("a pod that will not start", SETTLES, some).await.unwrap();
        let (began, bad) = (Instant::now(), first.get(DEPLOYMENT).await["spec"]["template"].clone());
        self.stopped.set(true);
        let back = async || first.get(DEPLOYMENT).await["spec"]["template"] != bad;
        wait_until("the former release to be asked for", SETTLES, back).await.unwrap();
        let back = began.elapsed();
        let none = async || stopped(&first.pods().await).is_empty();
        wait_until("the bad pods to be gone", SETTLES, none).await.unwrap();
        println!(
            "{what}: from the first pod that would not start: the former release asked for after {:.1} s, no bad pod \
             left after {:.1} s",
            back.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
    }

    /// Every region runs what it ran, and nothing else.
    async fn is_gone(&self) {
        assert_eq!(self.before, specs(&self.world).await);
        for place in self.world.places() {
            place.settled(2).await;
        }
    }
}

/// The pods with a container that will not start, by the reason that the cluster gives.
fn stopped(pods: &[Value]) -> Vec<&Value> {
    let stops = |status: &Value| {
        let reason = status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
        ["ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff"].contains(&reason)
    };
    let statuses = |pod: &Value| {
        let of = |kind: &str| pod["status"][kind].as_array().cloned().unwrap_or_default();
        [of("initContainerStatuses"), of("containerStatuses")].concat()
    };
    pods.iter().filter(|pod| statuses(pod).iter().any(stops)).collect()
}

/// A bad release is caught in wave one and undone; nobody notices, and wave two is not touched.
async fn is_undone(what: &str, why: &str, change: impl FnOnce(&Path)) {
    is_undone_for(what, &[why], change).await;
}

async fn is_undone_for(what: &str, reasons: &[&str], change: impl FnOnce(&Path)) {
    let bad = Bad::made_by(change).await;
    let undone = async {
        let mut stops = pin!(bad.stops(what));
        let mut run = pin!(bad.is_undone(what, reasons));
        let ran = tokio::select! {
            ran = &mut run => ran,
            () = &mut stops => return run.await,
        };
        // Some bad releases have pods that start.
        if bad.stopped.get() {
            stops.await;
        }
        ran
    };
    nobody_notices(&bad.world, what, undone).await;
    bad.is_gone().await;
}

/// A release that takes traffic and fails some of it on purpose is caught in wave one and undone. Its clients see what
/// it answers, in the region of wave one and until its pods are gone: nowhere else, never later, and nothing else.
async fn is_undone_at_the_cost_of(answers: &str, what: &str, reasons: &[&str], fault: (&str, &str)) {
    let bad = Bad::made_by(|chart| plays(chart, fault)).await;
    let first = bad.world.eu();
    let region = &first.region.name;
    let image = faulty();
    let meets_clients = async || {
        let is_bad = |pod: &Value| {
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            ready(pod) && containers.map(|one| &one["image"]).any(|used| *used == image.as_str())
        };
        first.pods().await.iter().any(is_bad)
    };
    let ((cost, unverified), load) = under_load(&bad.world, what, async |load| {
        let met = async {
            wait_until("a bad pod to be ready", SETTLES, meets_clients).await.unwrap();
            Instant::now()
        };
        let (ran, met) = tokio::join!(bad.is_undone(what, reasons), met);
        bad.is_gone().await;
        let (gone, after) = (Instant::now(), |then: Instant| then.duration_since(met).as_secs_f64());
        println!(
            "{what}: from the first bad pod that was ready: decided after {:.1} s, the former release everywhere after \
             {:.1} s, the last bad pod gone after {:.1} s; the wave began {:.1} s before",
            after(ran.when("back to the former release")),
            after(ran.when("the former release runs again")),
            after(gone),
            met.duration_since(ran.when("wave first")).as_secs_f64()
        );
        let seen = (failed(&load, |target| target == region), load.verdicts.unverifiable_so_far());
        comes_due(&load, load.due() + AFTERWARDS).await;
        seen
    })
    .await;
    println!(
        "{what}: {cost} requests met such an answer in {region}, {unverified} verifications its JWKS; none of the \
         {AFTERWARDS} and more since it was gone"
    );
    assert_eq!(failed(&load, |target| target != region), 0, "{:?}", Figures::of(&load).failures);
    assert_eq!(failed(&load, |target| target == region), cost, "requests failed after it was gone");
    assert_eq!(load.verdicts.unverifiable_so_far(), unverified, "tokens failed after it was gone");
    let others = Figures::of(&load).failures.into_iter().filter(|failure| !failure.contains(answers));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new());
    let of_region = format!("with the jwks of {region} ");
    let by_jwks = |refusal: &String| {
        let refusal = refusal.to_lowercase();
        refusal.contains(&of_region) && refusal.contains(answers)
    };
    let refusals = load.verdicts.refusals();
    assert!(refusals.iter().all(by_jwks), "{refusals:?}");
}

/// Requests that must all be answered once a bad release is gone.
const AFTERWARDS: u64 = 2_000;

/// How many requests failed in regions of these names.
fn failed(load: &Load, of: impl Fn(&String) -> bool) -> u64 {
    load.targets.iter().filter(|target| of(&target.region)).map(|target| target.tally.failed()).sum()
}

/// The image of a service that plays faults on purpose.
fn faulty() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/images-faulty/reference");
    let read = std::fs::read_to_string(file);
    let reference = read.unwrap_or_else(|error| {
        panic!("read {file}: {error}; `local/images/faulty {ENVIRONMENT}` makes it, and so does `make e2e`")
    });
    reference.trim().to_owned()
}

/// Makes a release play a fault: a key of `[faults]`, and its value.
fn plays(chart: &Path, (key, value): (&str, &str)) {
    let text = std::fs::read_to_string(chart.join("images.yaml")).unwrap();
    let image = text.lines().find(|line| line.starts_with("service: ")).unwrap();
    let text = text.replace(image, &format!("service: {}", faulty()));
    std::fs::write(chart.join("images.yaml"), text).unwrap();
    let format = "SERVICE__LOG__FORMAT\n    value: json";
    let more = format!("{format}\n  - name: SERVICE__FAULTS__{key}\n    value: \"{value}\"");
    replace(&chart.join("templates/_service.tpl"), format, &more);
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
async fn a_release_with_five_percent_errors_is_undone() {
    let reasons = ["answers had a status of 500 or above", "own transactions failed"];
    is_undone_at_the_cost_of("500 internal server error", "5 % errors", &reasons, ("ERRORS", "0.05")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_release_that_is_slow_is_undone() {
    let reasons = ["answers were slower than latency_p99", "own transactions were slower than latency_p99"];
    is_undone_for("ready but slow", &reasons, |chart| plays(chart, ("DELAY", "400ms"))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn a_release_that_refuses_good_clients_is_undone() {
    let reasons = ["answers had a status from 400 to 499", "own transactions failed"];
    is_undone_at_the_cost_of("401 unauthorized", "401 for good clients", &reasons, ("REFUSE", "true")).await;
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
    let figures = Figures::of(&load);
    println!(
        "{times} drains and restores: {} requests, {} lost; a drain {:.1} s, a restore {:.1} s; connections by region {:?}",
        figures.requests,
        figures.failed,
        out.as_secs_f64() / f64::from(times),
        back.as_secs_f64() / f64::from(times),
        entry.sent()
    );
    nothing_is_lost(&world, &load).await;
}
