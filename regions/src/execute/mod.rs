//! Carries out a plan in one region. It decides nothing: a step that cannot be taken ends the run, and the
//! next run plans anew from what is there.

pub mod site;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::cluster::error::ClusterError;
use crate::cluster::{Applied, NewRecord};
use crate::output::Line;
use crate::plan::conflict::Conflict;
use crate::plan::object::{OWNER, OWNER_LABEL, Object, ObjectRef};
use crate::plan::readiness::{self, Judge, Patience, Pods, Problem, Verdict};
use crate::plan::record::{Record, State};
use crate::plan::{Plan, Step, Stored};
use site::Site;

/// Pause between two looks at a workload that is coming up.
pub const LOOK: Duration = Duration::from_millis(500);

/// How long a region may not answer.
pub const AWAY: Duration = Duration::from_secs(30);

/// Why a region's plan was not carried out to its end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The region refused a call or did not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Somebody else took fields between the plan and its execution.
    #[error("others own fields that the release would change: {}", list(.0))]
    Conflicts(Vec<Conflict>),
    /// Pods that will never be ready.
    #[error("it will not become ready: {}", list(.0))]
    NotReady(Vec<Problem>),
    /// Pods that were not ready in time.
    #[error("{object} is not ready after {} s: {why}", .after.as_secs())]
    TimedOut {
        /// What was waited for.
        object: Box<ObjectRef>,
        /// The last that was seen.
        why: String,
        /// The bound.
        after: Duration,
    },
    /// Another run writes the same record.
    #[error(
        "another run of regions has taken this region over ({0}); see what it does with `regions status`, then run again"
    )]
    Overtaken(#[source] ClusterError),
    /// An object that is to go was stamped by a later run.
    #[error(
        "{0} was taken over by another run of regions; see what it does with `regions status`, then run again"
    )]
    Newer(ObjectRef),
    /// What is new is not good, there or in another region.
    #[error("the release failed, there or in another region, while it came up")]
    Halted,
    /// A signal asked for an end.
    #[error("stopped by a signal; run the same command again to go on")]
    Stopped,
}

impl Failure {
    /// Whether another run has taken the region over.
    pub fn is_overtaken(&self) -> bool {
        matches!(self, Self::Overtaken(_) | Self::Newer(_))
    }
}

/// What may end a run before its plan's end, between two writes.
#[derive(Debug, Clone)]
pub struct Orders {
    /// A signal asks for an end.
    pub stop: watch::Receiver<bool>,
    /// The release turns out not to be good.
    pub halt: watch::Receiver<bool>,
}

impl Orders {
    fn check(&self) -> Result<(), Failure> {
        match (*self.stop.borrow(), *self.halt.borrow()) {
            (true, _) => Err(Failure::Stopped),
            (false, true) => Err(Failure::Halted),
            (false, false) => Ok(()),
        }
    }

    /// Waits for one of them.
    async fn given(&mut self) -> Failure {
        let never = std::future::pending::<()>;
        tokio::select! {
            ended = self.stop.wait_for(|stop| *stop) => if ended.is_err() { never().await },
            ended = self.halt.wait_for(|halt| *halt) => if ended.is_err() { never().await },
        }
        self.check().err().unwrap_or(Failure::Stopped)
    }
}

/// Bounds of the wait for readiness.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For all workloads of a region together.
    pub ready: Duration,
    /// For states that may pass by themselves.
    pub patience: Patience,
}

/// What a record keeps beside itself.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The files that Helm was given, by name.
    pub values: BTreeMap<String, String>,
    /// What Helm rendered.
    pub manifest: String,
}

/// What came of a plan.
#[derive(Debug)]
pub struct Outcome {
    /// Whether anything was written, even if it failed then.
    pub wrote: bool,
    /// How long it waited for what was applied to become ready.
    pub awaited: Duration,
    /// The pods that are ready, or why it ended early.
    pub result: Result<Pods, Failure>,
}

/// Carries out a plan.
pub async fn execute<S: Site>(
    cluster: &S,
    plan: &Plan,
    contents: &Contents,
    limits: Limits,
    orders: Orders,
    line: &Line,
) -> Outcome {
    let mut run = Run {
        cluster,
        contents,
        limits,
        orders,
        line,
        record: None,
        pods: BTreeMap::new(),
        wrote: false,
        awaited: Duration::ZERO,
        deadline: None,
    };
    let result = run.steps(&plan.steps).await;
    let result = match result {
        Ok(()) => Ok(run.pods.values().fold(Pods::default(), |sum, pods| Pods {
            ready: sum.ready + pods.ready,
            desired: sum.desired + pods.desired,
        })),
        Err(failure) => {
            run.close(&failure).await;
            Err(failure)
        }
    };
    Outcome { wrote: run.wrote, awaited: run.awaited, result }
}

struct Run<'a, S> {
    cluster: &'a S,
    contents: &'a Contents,
    limits: Limits,
    orders: Orders,
    line: &'a Line,
    record: Option<Stored>,
    pods: BTreeMap<ObjectRef, Pods>,
    wrote: bool,
    awaited: Duration,
    deadline: Option<Instant>,
}

impl<S: Site> Run<'_, S> {
    async fn steps(&mut self, steps: &[Step]) -> Result<(), Failure> {
        for step in steps {
            self.orders.check()?;
            self.wrote |= !matches!(step, Step::Await { .. });
            match step {
                Step::CreateNamespace => {
                    let site = self.cluster;
                    self.patiently(async || site.create_namespace().await).await?;
                }
                Step::CloseRecord(stored) => {
                    let why = "left unfinished, and replaced by another release";
                    let record = ended(&stored.record, State::Failed, Some(why.to_owned()));
                    self.update(&record, &stored.resource_version).await?;
                }
                Step::BeginRecord { record, over } => self.begin(record, over.as_deref()).await?,
                Step::Apply(object) => self.apply(object).await?,
                Step::Await { object, at_least } => {
                    let since = Instant::now();
                    let ready = self.ready(object, *at_least).await;
                    self.awaited += since.elapsed();
                    ready?;
                }
                Step::Prune { object, uid, resource_version } => {
                    self.prune(object, uid, resource_version).await?;
                }
                Step::MarkUndoing { stored, why } => {
                    self.line.say("back to the former release");
                    let record = ended(&stored.record, State::Undoing, Some(why.clone()));
                    self.record = Some(self.update(&record, &stored.resource_version).await?);
                }
                Step::FinishRecord(state) => self.finish(*state, None).await?,
                Step::DropRecord(stored) => {
                    let site = self.cluster;
                    self.patiently(async || site.delete_record(stored).await).await?;
                }
            }
        }
        Ok(())
    }

    async fn begin(&mut self, record: &Record, over: Option<&str>) -> Result<(), Failure> {
        self.line.say(&format!("release record {}, attempt {}", record.number, record.attempt));
        let new = NewRecord {
            record: record.clone(),
            values: self.contents.values.clone(),
            manifest: self.contents.manifest.clone(),
        };
        let site = self.cluster;
        let write = async || match over {
            Some(over) => site.replace_record(&new, over).await,
            None => site.create_record(&new).await,
        };
        self.record = Some(self.patiently(write).await?);
        Ok(())
    }

    async fn apply(&mut self, object: &Object) -> Result<(), Failure> {
        self.line.say(&format!("apply {}", object.id));
        let site = self.cluster;
        match self.patiently(async || site.apply(object).await).await? {
            Applied::Done(_) => Ok(()),
            // Only another run stamps a fence, and its number is not this run's.
            Applied::Conflicts(conflicts) if conflicts.iter().any(Conflict::is_of_the_fence) => {
                Err(Failure::Newer(object.id.clone()))
            }
            Applied::Conflicts(conflicts) => Err(Failure::Conflicts(conflicts)),
        }
    }

    /// The version is read again: controllers write status all the time. The uid is the one that was planned,
    /// so an object that somebody made anew under the same name stays.
    async fn prune(&mut self, object: &ObjectRef, uid: &str, version: &str) -> Result<(), Failure> {
        self.line.say(&format!("prune {object}"));
        let site = self.cluster;
        let Some(live) = self.patiently(async || site.get(object).await).await? else { return Ok(()) };
        if self.cluster.is_newer(&live) {
            return Err(Failure::Newer(object.clone()));
        }
        let metadata = &live["metadata"];
        let same = metadata["uid"] == uid && metadata["labels"][OWNER_LABEL] == OWNER;
        let now = metadata["resourceVersion"].as_str().filter(|_| same).unwrap_or(version);
        self.patiently(async || site.delete(object, uid, now).await).await
    }

    async fn finish(&mut self, state: State, why: Option<String>) -> Result<(), Failure> {
        let Some(stored) = self.record.take() else { return Ok(()) };
        let record = ended(&stored.record, state, why);
        self.update(&record, &stored.resource_version).await.map(drop)
    }

    async fn update(&mut self, record: &Record, over: &str) -> Result<Stored, Failure> {
        let site = self.cluster;
        self.patiently(async || site.update_record(record, over).await).await
    }

    /// Makes a call again while its region is away for a moment: each of them may be made twice.
    async fn patiently<T>(&mut self, call: impl AsyncFn() -> Result<T, ClusterError>) -> Result<T, Failure> {
        let mut away_since: Option<Instant> = None;
        loop {
            let error = match call().await {
                Err(error) if error.cause.is_transient() => error,
                answer => return answer.map_err(overtaken),
            };
            if away_since.get_or_insert_with(Instant::now).elapsed() >= AWAY {
                return Err(error.into());
            }
            self.line.say(&error.cause.to_string());
            tokio::select! {
                () = sleep(LOOK) => {}
                order = self.orders.given() => return Err(order),
            }
        }
    }

    /// Says in the record why it failed. A run that was stopped leaves it open, since running again goes on; and
    /// where there is a former release, that takes its place again, and the record is written then.
    async fn close(&mut self, failure: &Failure) {
        let open = self.record.as_ref().map(|stored| &stored.record);
        let goes_back = open.is_some_and(|record| record.former.is_some() || record.state != State::Applying);
        if goes_back || failure.is_overtaken() || matches!(failure, Failure::Stopped) {
            return;
        }
        if let Err(error) = self.finish(State::Failed, Some(failure.to_string())).await {
            self.line.say(&format!("the release record still says `applying`: {error}"));
        }
    }

    async fn ready(&mut self, object: &ObjectRef, at_least: i32) -> Result<(), Failure> {
        let start = Instant::now();
        let deadline = *self.deadline.get_or_insert(start + self.limits.ready);
        let mut judge = Judge::new(self.limits.patience, at_least);
        let mut away_since: Option<Instant> = None;
        loop {
            let why = match self.look(object, &mut judge, start.elapsed()).await {
                Ok(Verdict::Ready(pods)) => {
                    self.pods.insert(object.clone(), pods);
                    return Ok(());
                }
                Ok(Verdict::Failed(problems)) => return Err(Failure::NotReady(problems)),
                Ok(Verdict::Waiting(_, why)) => {
                    away_since = None;
                    why
                }
                // An API server that restarts in the middle of a rollout is no failure of the rollout.
                Err(error) if error.cause.is_transient() => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= AWAY {
                        return Err(error.into());
                    }
                    error.cause.to_string()
                }
                Err(error) => return Err(error.into()),
            };
            self.line.say(&format!("{object}: {why}"));
            if Instant::now() >= deadline {
                return Err(Failure::TimedOut {
                    object: Box::new(object.clone()),
                    why,
                    after: self.limits.ready,
                });
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                order = self.orders.given() => return Err(order),
            }
        }
    }

    async fn look(
        &self,
        object: &ObjectRef,
        judge: &mut Judge,
        now: Duration,
    ) -> Result<Verdict, ClusterError> {
        if object.kind == "Service" {
            let service = self.cluster.service(object).await?;
            let none = Pods::default();
            return Ok(if readiness::lacks_address(&service) {
                Verdict::Waiting(none, "its load balancer has no address yet".into())
            } else {
                Verdict::Ready(none)
            });
        }
        Ok(judge.judge(&self.cluster.view(object).await?, now))
    }
}

/// A record's next state. Why it failed is kept when it is undone.
pub fn ended(record: &Record, state: State, failure: Option<String>) -> Record {
    let failure = failure.or_else(|| record.failure.clone().filter(|_| state == State::Undone));
    let finished = (!state.is_open()).then(Timestamp::now);
    Record { state, finished, failure, ..record.clone() }
}

/// What somebody else wrote meanwhile, or took over.
fn overtaken(error: ClusterError) -> Failure {
    match error.cause.status() {
        Some(status) if status.code == 409 || error.cause.is_fenced() => Failure::Overtaken(error),
        _ => Failure::Cluster(error),
    }
}

fn list(items: &[impl std::fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
