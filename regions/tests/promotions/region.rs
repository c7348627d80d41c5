//! A region as one run reaches it: calls that take time, fail, are lost, and are the last.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::core::Status;
use regions::cluster::error::{Cause, ClusterError, FENCE_POLICY};
use regions::cluster::leases::Lease;
use regions::cluster::{Applied, NewRecord};
use regions::execute::site::Site;
use regions::plan::gate::limits::Limits;
use regions::plan::gate::sample::{Own, Pod, Sample};
use regions::plan::object::{Object, ObjectRef, fence_of};
use regions::plan::readiness::View;
use regions::plan::record::{Record, Wanted};
use regions::plan::{Observed, Snapshot, Stored};
use regions::promote::region::Region;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::release::digest_of;
use crate::run::Run;
use crate::state::{Refused, State};
use crate::world::World;

/// A region, and a run.
pub(crate) struct Sim {
    world: Rc<World>,
    run: Rc<Run>,
    place: usize,
    name: String,
    fence: Cell<u64>,
    /// The transitions of its Lease as this run took it, whatever it writes with.
    hold: Cell<u64>,
}

impl Sim {
    pub(crate) fn new(world: Rc<World>, run: Rc<Run>, place: usize) -> Self {
        Self { world, run, place, name: format!("region-{place}"), fence: Cell::new(0), hold: Cell::new(0) }
    }

    /// One call: it takes time, and is made or is not.
    async fn call<T>(&self, make: impl FnOnce(&mut State) -> Result<T, Refused>) -> Result<T, ClusterError> {
        let number = self.run.calls.get() + 1;
        self.run.calls.set(number);
        let (takes, rolls) = {
            let mut random = self.world.random.borrow_mut();
            (Duration::from_millis(random.u64(1..30)), [random.f64(), random.f64()])
        };
        sleep(takes).await;
        let fate = &self.run.fate;
        if let Some((_, span)) = fate.stopped.filter(|(at, _)| *at == number) {
            self.world.meets("a run stands still");
            self.run.still.set(Some(Instant::now() + span));
        }
        if let Some(until) = self.run.still.get() {
            let overtaken = || self.world.regions[self.place].borrow().wrote > self.hold.get();
            while fate.wakes && Instant::now() < until && !overtaken() {
                sleep(Duration::from_millis(1)).await;
            }
            if !fate.wakes {
                tokio::time::sleep_until(until).await;
            }
        }
        if fate.signalled == Some(number) {
            self.world.meets("a signal");
            self.run.signal.send_replace(true);
        }
        let hangs = self.world.regions[self.place].borrow().hangs;
        if let Some(until) = hangs.filter(|until| Instant::now() < *until) {
            tokio::time::sleep_until(until).await;
        }
        if fate.killed == Some((number, false)) {
            self.world.meets("killed before a call arrived");
            self.die().await;
        }
        let away = self.world.regions[self.place].borrow().away.is_some_and(|until| Instant::now() < until);
        if away {
            self.world.meets("a call while the region is away");
            return Err(self.error(Cause::Unreachable("away".into())));
        }
        if fate.lost.contains(&number) || rolls[0] < fate.fails && rolls[1] < 0.5 {
            self.world.meets("a call that did not arrive");
            return Err(self.error(Cause::Unreachable("lost".into())));
        }
        let made = {
            let mut state = self.world.regions[self.place].borrow_mut();
            state.rollout.advance(&mut self.world.random.borrow_mut());
            make(&mut state)
        };
        if fate.killed == Some((number, true)) {
            self.world.meets("killed after a call arrived");
            self.die().await;
        }
        if rolls[0] < fate.fails {
            self.world.meets("an answer that was lost");
            return Err(self.error(Cause::Unreachable("the answer was lost".into())));
        }
        made.map_err(|refused| self.refused(refused))
    }

    async fn die(&self) {
        self.run.dies.notify_one();
        std::future::pending::<()>().await;
    }

    fn error(&self, cause: Cause) -> ClusterError {
        ClusterError {
            region: self.name.clone(),
            context: "c".into(),
            verb: "call",
            object: "o".into(),
            cause,
        }
    }

    fn refused(&self, refused: Refused) -> ClusterError {
        let status =
            |message: &str, reason: &str, code| Status::failure(message, reason).with_code(code).boxed();
        let status = match refused {
            Refused::Conflict => status("somebody else wrote it", "Conflict", 409),
            Refused::Absent => status("it is not there", "NotFound", 404),
            Refused::Fenced(given, stands) => {
                self.world.meets("a write that the fence refused");
                let why = format!(
                    "ValidatingAdmissionPolicy '{FENCE_POLICY}' denied request: fence {given} is lower than {stands}"
                );
                status(&why, "Forbidden", 403)
            }
        };
        self.error(Cause::Api(status))
    }

    fn taken(&self, state: &mut State, what: &str) {
        self.world.taken(self.place, state, self.hold.get(), what);
    }

    fn wrote(&self, state: &mut State, record: &Record, what: &str) {
        self.taken(state, what);
        self.world.goes_on(record, self.place);
        if record.state == regions::plan::record::State::Applied
            || record.passed.is_some() && record.state.is_open()
        {
            self.world.stays(&record.release.digest, self.place);
        }
    }
}

impl Site for Sim {
    async fn create_namespace(&self) -> Result<(), ClusterError> {
        self.call(|state| {
            state.namespace.get_or_insert(0);
            Ok(())
        })
        .await
    }

    async fn create_record(&self, new: &NewRecord) -> Result<Stored, ClusterError> {
        let contents = Some((new.values.clone(), new.manifest.clone()));
        self.call(|state| {
            let stored = state.write(&new.record, None, contents, self.fence.get())?;
            self.wrote(state, &new.record, "made a record");
            Ok(stored)
        })
        .await
    }

    async fn replace_record(&self, new: &NewRecord, over: &str) -> Result<Stored, ClusterError> {
        let contents = Some((new.values.clone(), new.manifest.clone()));
        self.call(|state| {
            let stored = state.write(&new.record, Some(over), contents, self.fence.get())?;
            self.wrote(state, &new.record, "replaced a record");
            Ok(stored)
        })
        .await
    }

    async fn update_record(&self, record: &Record, over: &str) -> Result<Stored, ClusterError> {
        self.call(|state| {
            let stored = state.write(record, Some(over), None, self.fence.get())?;
            self.wrote(state, record, "wrote a record");
            Ok(stored)
        })
        .await
    }

    async fn delete_record(&self, stored: &Stored) -> Result<(), ClusterError> {
        self.call(|state| {
            if state.drop_record(stored)? {
                self.taken(state, "dropped a record");
            }
            Ok(())
        })
        .await
    }

    async fn apply(&self, object: &Object) -> Result<Applied, ClusterError> {
        let fence = self.fence.get();
        self.call(|state| {
            let changed = state.apply(object, fence)?;
            if object.id.kind == "Deployment" {
                let digest = digest_of(&object.value);
                if changed {
                    self.world.enters(&digest, self.place);
                }
                let fault = self.world.fault(&digest, self.place);
                state.rollout.aim(&digest, fault, &mut self.world.random.borrow_mut());
            }
            self.taken(state, "applied an object");
            let value = state.object(&object.id).map(|live| live.value.clone()).unwrap_or_default();
            Ok(Applied::Done(Box::new(value)))
        })
        .await
    }

    async fn get(&self, id: &ObjectRef) -> Result<Option<Value>, ClusterError> {
        self.call(|state| Ok(state.object(id).map(|live| live.value.clone()))).await
    }

    async fn delete(&self, id: &ObjectRef, uid: &str, version: &str) -> Result<(), ClusterError> {
        self.call(|state| {
            if state.delete(id, uid, version)? {
                self.taken(state, "deleted an object");
            }
            Ok(())
        })
        .await
    }

    async fn service(&self, _: &ObjectRef) -> Result<Service, ClusterError> {
        self.call(|_| Ok(Service::default())).await
    }

    async fn view(&self, _: &ObjectRef) -> Result<View, ClusterError> {
        self.call(|state| Ok(state.rollout.view())).await
    }

    fn is_newer(&self, live: &Value) -> bool {
        fence_of(live) > self.fence.get()
    }
}

impl Region for Sim {
    fn name(&self) -> &str {
        &self.name
    }

    async fn lease(&self) -> Result<Lease, ClusterError> {
        self.call(|state| Ok(state.lease.clone())).await
    }

    async fn write_lease(&self, over: &Lease, holder: &str, seconds: u32) -> Result<Lease, ClusterError> {
        self.call(|state| {
            let (former, leased) = (state.lease.holder.clone(), state.leased);
            let lease = state.write_lease(over, holder, seconds)?;
            if !holder.is_empty() {
                self.world.leases(self.place, [&former, holder], leased);
                self.hold.set(lease.transitions);
            }
            Ok(lease)
        })
        .await
    }

    async fn namespace_fence(&self) -> Result<Option<u64>, ClusterError> {
        self.call(|state| Ok(state.namespace)).await
    }

    fn set_fence(&self, fence: u64) {
        self.fence.set(fence);
    }

    async fn stamp(&self, objects: &[ObjectRef]) -> Result<(), ClusterError> {
        let fence = self.fence.get();
        let mut place = 0;
        while self.call(|state| state.stamp(place, objects, fence)).await? {
            place += 1;
        }
        Ok(())
    }

    async fn records(&self) -> Result<Vec<Stored>, ClusterError> {
        self.call(|state| Ok(state.records())).await
    }

    async fn kept(&self, number: u64) -> Result<(BTreeMap<String, String>, String), ClusterError> {
        self.call(|state| {
            let kept = state.records.get(&number).ok_or(Refused::Absent)?;
            Ok((kept.values.clone(), kept.manifest.clone()))
        })
        .await
    }

    async fn observe(&self, objects: Vec<Object>, wanted: Wanted) -> Result<Snapshot, Vec<ClusterError>> {
        self.call(|state| {
            let observed = |mut object: Object| {
                object.id.namespace = Some("meridian".into());
                object.value["metadata"]["namespace"] = "meridian".into();
                let live = state.object(&object.id).map(|live| live.value.clone());
                if let Some(live) = &live {
                    object.value["metadata"]["uid"] = live["metadata"]["uid"].clone();
                }
                let stands = live.as_ref().map_or(state.namespace.unwrap_or(0), fence_of);
                object.fence(stands);
                let applied = Some(object.value.clone());
                Observed { object, live, applied }
            };
            let objects: Vec<Observed> = objects.into_iter().map(observed).collect();
            let mut left_over: Vec<(ObjectRef, Value)> = Vec::new();
            for id in state.records().iter().flat_map(|stored| &stored.record.objects) {
                let wanted = objects.iter().any(|observed| observed.object.id.same_object(id));
                let known = left_over.iter().any(|(other, _)| other.same_object(id));
                if let Some(live) = state.object(id).filter(|_| !wanted && !known) {
                    left_over.push((live.id.clone(), live.value.clone()));
                }
            }
            Ok(Snapshot {
                region: self.name.clone(),
                namespace_exists: state.namespace.is_some(),
                wanted,
                objects,
                records: state.records(),
                left_over,
                conflicts: Vec::new(),
            })
        })
        .await
        .map_err(|error| vec![error])
    }

    async fn sample(&self, _: &Limits) -> Result<Sample, String> {
        let run = self.run.id;
        let sample = self
            .call(|state| {
                self.world.capacity(self.place, state);
                let pods = state.rollout.pods.iter().map(|pod| Pod {
                    uid: pod.uid.clone(),
                    release: Some(pod.digest.clone()),
                    counts: pod.counts(),
                });
                let pods = pods.collect();
                let [made, failed, slow] = state.rollout.own(run);
                Ok(Sample { pods, own: Own { made, failed, slow } })
            })
            .await;
        sample.map_err(|error| error.to_string())
    }
}
