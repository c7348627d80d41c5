//! `regions rotate`: a secret changes in every region, and what was there before goes only when every pod has shown
//! that it uses the new one.
//!
//! [`crate::plan::rotation`] decides what can be done, [`carry`] does it, and nothing is kept anywhere but in the Vaults. So
//! a run that ends anywhere, by whatever hand, is given again and goes on.

mod args;
pub mod carry;
mod fences;
mod generate;
mod live;
mod lock;
mod observe;
pub mod region;
mod report;
mod stage;
mod take;
pub(crate) mod watcher;

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::bootstrap::forbid_core_dumps;
use crate::catalogue::Environment;
use crate::catalogue::region as catalogue;
use crate::plan::rotation::facts::Salt;
use crate::vault::client::{Authorities, Vault};
use crate::vault::logins::Logins;
use crate::vault::reach::Place;
use crate::who;
use carry::{Asked, Ended, Patience, Rotator};
use live::Live;
use lock::Lock;
use region::Asking;
use stage::Stage;
use watcher::Watcher;

pub use args::Args;
pub use report::Report;
pub use take::Maker;

/// As whom a rotation logs in.
const ROLE: &str = "rotator";

/// What a caller is told whom a Vault denies something.
const DENIED: &str = "the token has ended, or has not the policy rotator (regions vault apply)";

/// Between two renewals of the tokens: their least life is an hour.
const RENEWAL: Duration = Duration::from_secs(600);

/// Regions that are reached at the same time.
const AT_ONCE: usize = 32;

/// Runs the verb.
pub async fn run(args: &Args, environment: &Environment, stop: watch::Receiver<bool>) -> Report {
    let mut report = Report::new(&environment.name, &args.secret);
    match prepare(args, environment).await {
        Ok(prepared) => rotate(args, prepared, stop, &mut report).await,
        Err(why) => report.errors.push(why),
    }
    report
}

/// What a rotation begins with.
struct Prepared {
    request: crate::plan::rotation::Request,
    salt: Salt,
    maker: Maker,
    regions: Vec<Live>,
    /// Regions whose token this run got, and gives back.
    logged_in: Vec<String>,
}

async fn prepare(args: &Args, environment: &Environment) -> Result<Prepared, String> {
    // A dump of this process would hold what it writes.
    forbid_core_dumps().map_err(|error| format!("turn core dumps off: {error}"))?;
    let fresh = fresh(&args.secret)?;
    // Whatever is wrong with the command line is told before anybody is asked for a document.
    args.request(environment, None, fresh.clone())?;
    let authorities = Authorities::read(&args.vault_ca).map_err(|error| error.to_string())?;
    let logins = Logins::read(&args.vault_token, args.vault_jwt_file.as_deref(), ROLE);
    let logins = logins.map_err(|error| error.to_string())?;
    let input = args.from_stdin.then(generate::document).transpose()?;
    let salt = Salt::new(*generate::random::<32>()?);
    let request = args.request(environment, input.as_ref().map(|input| salt.fingerprint(input)), fresh)?;
    let generator = request.generator;
    let maker = Maker::new(move |need| generate::make(need, generator, input.as_ref()));
    let (regions, logged_in) = reach(args, environment, &authorities, &logins).await?;
    Ok(Prepared { request, salt, maker, regions, logged_in })
}

/// An id for a rotation that is begun: it says what changes, and when.
fn fresh(secret: &str) -> Result<String, String> {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let drawn = u16::from_be_bytes(*generate::random::<2>()?);
    let secret: String = secret.chars().take(40).collect();
    Ok(format!("{secret}-{time}-{drawn:04x}"))
}

/// Every region of the catalogue, in the order of waves. One that cannot be reached is told when it is looked at.
async fn reach(
    args: &Args,
    environment: &Environment,
    authorities: &Authorities,
    logins: &Logins,
) -> Result<(Vec<Live>, Vec<String>), String> {
    let http = watcher::http(Some(authorities))?;
    let waves = environment.waves().into_iter().enumerate();
    let regions: Vec<(usize, &catalogue::Region)> =
        waves.flat_map(|(place, wave)| wave.regions.into_iter().map(move |region| (place, region))).collect();
    let reached = regions.into_iter().map(async |(wave, region)| {
        let place = Place::of(region);
        let out = args.without.contains(&region.name);
        let cluster = match &region.watcher {
            Some(_) => Err(String::new()),
            None => args.clusters.cluster(place).await.map_err(|error| error.to_string()),
        };
        let watcher = match &region.watcher {
            Some(address) => Ok(Watcher::Address { http: http.clone(), address: address.value.to_string() }),
            None => cluster.clone().map(Watcher::Cluster),
        };
        let lock = match &region.watcher {
            Some(_) => Ok(Lock::new(lock::Place::Vault)),
            None => cluster.map(|cluster| Lock::new(lock::Place::Cluster(cluster))),
        };
        let (vault, logged_in) = match out {
            true => (Err("it is left out".to_owned()), false),
            false => open(args, place, authorities, logins).await,
        };
        let entry = format!("{}.{}", region.name, environment.settings.domain);
        (Live { name: region.name.clone(), wave, entry, vault, watcher, lock }, logged_in)
    });
    let reached: Vec<(Live, bool)> = stream::iter(reached).buffered(AT_ONCE).collect().await;
    let logged_in = reached.iter().filter(|(_, logged_in)| *logged_in).map(|(live, _)| live.name.clone());
    let logged_in = logged_in.collect();
    Ok((reached.into_iter().map(|(live, _)| live).collect(), logged_in))
}

async fn open(
    args: &Args,
    place: Place<'_>,
    authorities: &Authorities,
    logins: &Logins,
) -> (Result<Vault, String>, bool) {
    let mut vault = match args.clusters.vault(place, authorities, DENIED).await {
        Ok(vault) => vault,
        Err(error) => return (Err(error.to_string()), false),
    };
    match logins.let_in(place.region, &mut vault).await {
        Ok(logged_in) => (Ok(vault), logged_in),
        Err(error) => (Err(error.to_string()), false),
    }
}

async fn rotate(args: &Args, prepared: Prepared, stop: watch::Receiver<bool>, report: &mut Report) {
    let Prepared { request, salt, maker, regions, logged_in } = prepared;
    let who = who::own();
    let run = generate::random::<8>().map(|bytes| u64::from_be_bytes(*bytes)).unwrap_or_default();
    let asking = Asking { who, run: format!("{run:016x}"), secret: request.secret.clone() };
    let stage = Stage::new(regions.iter().map(|region| region.name.as_str()), args.yes);
    let patience = Patience { adoption: args.adopt_within, ..Patience::default() };
    let mut rotator = Rotator::new(Asked { request, asking, patience }, &regions, maker, salt, &stage, stop);
    let ended = tokio::select! {
        ended = async { if args.dry_run { Ended::Planned(rotator.planned().await) } else { rotator.run().await } } => ended,
        // It never ends.
        () = renew(&regions, &stage) => Ended::Signalled,
    };
    let wrote = rotator.wrote();
    if let Some(plan) = stage.last.take() {
        report.plan(&plan);
    }
    report.end(ended, wrote);
    if report.rotation.is_none() {
        report.rotation = stage.rotation.borrow().as_ref().map(|rotation| rotation.id.clone());
    }
    report.phases = stage.phases();
    let own = regions.iter().filter(|region| logged_in.contains(&region.name));
    stream::iter(own.filter_map(|region| region.vault.as_ref().ok()))
        .for_each_concurrent(AT_ONCE, Vault::log_out)
        .await;
}

/// Keeps the tokens alive through waits that are longer than they live.
async fn renew(regions: &[Live], stage: &Stage) {
    loop {
        sleep(RENEWAL).await;
        for region in regions {
            let Ok(vault) = &region.vault else { continue };
            if let Err(error) = vault.renew().await {
                stage.say(&region.name, &format!("its token cannot be renewed: {error}"));
            }
        }
    }
}
