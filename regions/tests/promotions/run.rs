//! One run of the command: killed, stopped, or left to its end.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use regions::execute::Limits;
use regions::output::Progress;
use regions::plan::gate::limits::Limits as Gates;
use regions::plan::readiness::Patience;
use regions::promote::carry::{Aim, Job, Outcome, carry};
use regions::promote::lock::Holder;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::region::Sim;
use crate::release::Made;
use crate::world::World;

/// The life of a Lease.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// What befalls a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate {
    /// It is killed at this call, before or after that has arrived.
    pub(crate) killed: Option<(u32, bool)>,
    /// It stands still at this call, for so long.
    pub(crate) stopped: Option<(u32, Duration)>,
    /// It goes on as soon as another run has written in the region, where that is earlier.
    pub(crate) wakes: bool,
    /// It is asked to end at this call.
    pub(crate) signalled: Option<u32>,
    /// These of its calls do not arrive.
    pub(crate) lost: Range<u32>,
    /// The share of its calls that fail, and of those that arrive all the same.
    pub(crate) fails: f64,
}

/// A run's own side.
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) fate: Fate,
    pub(crate) calls: Cell<u32>,
    pub(crate) still: Cell<Option<Instant>>,
    pub(crate) dies: Notify,
    pub(crate) signal: watch::Sender<bool>,
}

/// Runs the command. Nothing where it was killed.
pub(crate) async fn run(world: &Rc<World>, id: u64, release: Option<&Made>, fate: Fate) -> Option<Outcome> {
    let aim = if release.is_some() { Aim::Release } else { Aim::Settle };
    run_for(world, id, release, aim, fate).await
}

/// Goes back to a release, by hand, in every region.
pub(crate) async fn back(world: &Rc<World>, id: u64, release: &Made, fate: Fate) -> Option<Outcome> {
    run_for(world, id, Some(release), Aim::Back { all: true }, fate).await
}

async fn run_for(
    world: &Rc<World>,
    id: u64,
    release: Option<&Made>,
    aim: Aim,
    fate: Fate,
) -> Option<Outcome> {
    let bakes = !matches!(aim, Aim::Back { .. });
    let own = Rc::new(Run {
        id,
        fate,
        calls: Cell::new(0),
        still: Cell::new(None),
        dies: Notify::new(),
        signal: watch::Sender::new(false),
    });
    if let Some(release) = release {
        world.knows(release);
    }
    let regions: Vec<Sim> =
        (0..world.regions.len()).map(|place| Sim::new(Rc::clone(world), Rc::clone(&own), place)).collect();
    let waves = world.waves.iter().enumerate().map(|(number, wave)| (number.to_string(), wave.clone()));
    let job = Job {
        regions: &regions,
        waves: waves.collect(),
        work: vec![release.map(Made::work); regions.len()],
        aim,
        promotion: format!("run-{id}"),
        limits: Limits {
            ready: Duration::from_secs(60),
            patience: Patience { unschedulable: Duration::from_secs(60), doubtful: Duration::from_secs(15) },
        },
        gates: Gates {
            time: if bakes { Duration::from_secs(3) } else { Duration::ZERO },
            samples: if bakes { 60 } else { 0 },
            error_ratio: 0.01,
            client_error_shift: 0.05,
            latency: Duration::from_millis(250),
        },
        parallel: 4,
        holder: Holder { name: format!("operator@machine-{id}"), life: LEASE },
        may_begin: &|| Ok(()),
    };
    let progress = Progress::silent();
    tokio::select! {
        biased;
        () = own.dies.notified() => None,
        outcome = carry(&job, own.signal.subscribe(), &progress) => Some(outcome),
    }
}
