//! Carries out a plan in one region. It decides nothing: a step that cannot be taken ends the run, and the
//! next run plans anew from what is there.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::cluster::NAMESPACE;
use crate::cluster::error::ClusterError;
use crate::cluster::{Applied, Cluster, NewRecord};
use crate::output::Line;
use crate::plan::conflict::Conflict;
use crate::plan::object::{OWNER, OWNER_LABEL, Object, ObjectRef};
use crate::plan::readiness::{self, Judge, Patience, Pods, Problem, Verdict};
use crate::plan::record::{Record, State};
use crate::plan::{Plan, Step, Stored};

/// Pause between two looks at a workload that is coming up.
const LOOK: Duration = Duration::from_millis(500);

/// How long a region may not answer while a workload comes up.
const AWAY: Duration = Duration::from_secs(30);

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
        object: ObjectRef,
        /// The last that was seen.
        why: String,
        /// The bound.
        after: Duration,
    },
    /// Another run writes the same record.
    #[error("another promotion is writing this region's release record ({0}); let it end, then run again")]
    Overtaken(#[source] ClusterError),
    /// A signal asked for an end.
    #[error("stopped by a signal; run the same command again to go on")]
    Stopped,
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
    /// The pods that are ready, or why it ended early.
    pub result: Result<Pods, Failure>,
}

/// Carries out a plan.
pub async fn execute(
    cluster: &Cluster,
    plan: &Plan,
    contents: &Contents,
    limits: Limits,
    stop: watch::Receiver<bool>,
    line: &Line,
) -> Outcome {
    let mut run = Run {
        cluster,
        contents,
        limits,
        stop,
        line,
        record: None,
        pods: BTreeMap::new(),
        wrote: false,
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
    Outcome { wrote: run.wrote, result }
}

struct Run<'a> {
    cluster: &'a Cluster,
    contents: &'a Contents,
    limits: Limits,
    stop: watch::Receiver<bool>,
    line: &'a Line,
    record: Option<Stored>,
    pods: BTreeMap<ObjectRef, Pods>,
    wrote: bool,
    deadline: Option<Instant>,
}

impl Run<'_> {
    async fn steps(&mut self, steps: &[Step]) -> Result<(), Failure> {
        for step in steps {
            if *self.stop.borrow() {
                return Err(Failure::Stopped);
            }
            self.wrote |= !matches!(step, Step::Await { .. });
            match step {
                Step::CreateNamespace => self.cluster.create_namespace(NAMESPACE).await?,
                Step::CloseRecord(stored) => {
                    let why = "left unfinished, and replaced by another release";
                    let record = ended(&stored.record, State::Failed, Some(why.to_owned()));
                    self.cluster.update_record(&record, &stored.resource_version).await.map_err(overtaken)?;
                }
                Step::BeginRecord { record, over } => self.begin(record, over.as_deref()).await?,
                Step::Apply(object) => self.apply(object).await?,
                Step::Await { object, at_least } => self.ready(object, *at_least).await?,
                Step::Prune { object, uid, resource_version } => {
                    self.prune(object, uid, resource_version).await?;
                }
                Step::FinishRecord => self.finish(State::Applied, None).await?,
                Step::DropRecord(stored) => self.cluster.delete_record(stored).await?,
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
        let written = match over {
            Some(over) => self.cluster.replace_record(&new, over).await,
            None => self.cluster.create_record(&new).await,
        };
        self.record = Some(written.map_err(overtaken)?);
        Ok(())
    }

    async fn apply(&mut self, object: &Object) -> Result<(), Failure> {
        self.line.say(&format!("apply {}", object.id));
        match self.cluster.apply(object, None, false).await? {
            Applied::Done(_) => Ok(()),
            Applied::Conflicts(conflicts) => Err(Failure::Conflicts(conflicts)),
        }
    }

    /// The version is read again: controllers write status all the time. The uid is the one that was planned,
    /// so an object that somebody made anew under the same name stays.
    async fn prune(&mut self, object: &ObjectRef, uid: &str, version: &str) -> Result<(), Failure> {
        self.line.say(&format!("prune {object}"));
        let Some(live) = self.cluster.get(object).await? else { return Ok(()) };
        let metadata = &live["metadata"];
        let same = metadata["uid"] == uid && metadata["labels"][OWNER_LABEL] == OWNER;
        let now = metadata["resourceVersion"].as_str().filter(|_| same).unwrap_or(version);
        Ok(self.cluster.delete(object, uid, now).await?)
    }

    async fn finish(&mut self, state: State, why: Option<String>) -> Result<(), Failure> {
        let Some(stored) = self.record.take() else { return Ok(()) };
        let record = ended(&stored.record, state, why);
        self.cluster.update_record(&record, &stored.resource_version).await.map_err(overtaken)?;
        Ok(())
    }

    /// Says in the record why it failed. A run that was stopped leaves it open, since running again goes on.
    async fn close(&mut self, failure: &Failure) {
        if matches!(failure, Failure::Stopped | Failure::Overtaken(_)) {
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
                return Err(Failure::TimedOut { object: object.clone(), why, after: self.limits.ready });
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                _ = self.stop.wait_for(|stop| *stop) => return Err(Failure::Stopped),
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

fn ended(record: &Record, state: State, failure: Option<String>) -> Record {
    Record { state, finished: Some(Timestamp::now()), failure, ..record.clone() }
}

/// A record that somebody else wrote meanwhile.
fn overtaken(error: ClusterError) -> Failure {
    match error.cause.status() {
        Some(status) if status.code == 409 => Failure::Overtaken(error),
        _ => Failure::Cluster(error),
    }
}

fn list(items: &[impl std::fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
