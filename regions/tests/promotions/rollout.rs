//! The pods of a Deployment: one more than wanted while they change, none less; and what they answer.

use std::collections::BTreeMap;
use std::time::Duration;

use regions::plan::gate::sample::Counts;
use regions::plan::readiness::View;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::release::Fault;

/// Pods that are wanted.
pub(crate) const WANTED: usize = 2;

/// Answers a second, over all pods of a region.
const RATE: f64 = 60.0;

#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) digest: String,
    fault: Option<Fault>,
    ready_at: Option<Instant>,
    answers: f64,
}

impl Pod {
    fn is_ready(&self, now: Instant) -> bool {
        self.ready_at.is_some_and(|at| at <= now)
    }

    pub(crate) fn counts(&self) -> Counts {
        let answers = self.answers as u64;
        let share =
            |fault, share: f64| if self.fault == Some(fault) { (self.answers * share) as u64 } else { 0 };
        Counts {
            answers,
            server_errors: share(Fault::Errors, 0.3) + share(Fault::Seldom, 0.1),
            known: answers,
            client_errors: share(Fault::Refuses, 0.6),
            timed: answers,
            slow: share(Fault::Slow, 0.3),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Rollout {
    pub(crate) pods: Vec<Pod>,
    target: String,
    fault: Option<Fault>,
    generation: i64,
    made: u64,
    then: Option<Instant>,
    /// Own transactions since they were asked for, with those that failed or were slow, by run.
    own: BTreeMap<u64, [f64; 3]>,
}

impl Rollout {
    /// The Deployment asks for another release.
    pub(crate) fn aim(&mut self, digest: &str, fault: Option<Fault>, random: &mut fastrand::Rng) {
        self.advance(random);
        if self.target != digest {
            (self.target, self.fault) = (digest.to_owned(), fault);
        }
        self.generation += 1;
        self.advance(random);
    }

    /// What was good for a while is not any more.
    pub(crate) fn turns(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.pods.iter_mut().for_each(|pod| pod.fault = Some(fault));
    }

    /// Brings pods to this moment.
    pub(crate) fn advance(&mut self, random: &mut fastrand::Rng) {
        let now = Instant::now();
        let mut at = self.then.unwrap_or(now);
        loop {
            while self.step(at, random) {}
            let next = self.pods.iter().filter_map(|pod| pod.ready_at).filter(|ready| *ready > at).min();
            let until = next.map_or(now, |next| next.min(now));
            self.serve(at, until - at);
            at = until;
            if next.is_none_or(|next| next > now) {
                break;
            }
        }
        self.then = Some(now);
    }

    /// One thing that the controller does at this moment, if there is any.
    fn step(&mut self, at: Instant, random: &mut fastrand::Rng) -> bool {
        if self.target.is_empty() {
            return false;
        }
        let new = self.pods.iter().filter(|pod| pod.digest == self.target).count();
        if new < WANTED && self.pods.len() <= WANTED {
            self.made += 1;
            let takes = Duration::from_millis(random.u64(300..3_000));
            let never = matches!(self.fault, Some(Fault::NeverReady | Fault::Crashes));
            self.pods.push(Pod {
                uid: format!("pod-{}", self.made),
                digest: self.target.clone(),
                fault: self.fault,
                ready_at: (!never).then(|| at + takes),
                answers: 0.0,
            });
            return true;
        }
        // Pods that are not ready go first, then old ones that are not needed any more.
        let ready = self.pods.iter().filter(|pod| pod.is_ready(at)).count();
        let goes = self
            .pods
            .iter()
            .position(|pod| pod.digest != self.target && (!pod.is_ready(at) || ready > WANTED));
        goes.map(|place| self.pods.remove(place)).is_some()
    }

    fn serve(&mut self, at: Instant, span: Duration) {
        let ready: Vec<usize> = (0..self.pods.len()).filter(|place| self.pods[*place].is_ready(at)).collect();
        let each = RATE * span.as_secs_f64() / ready.len().max(1) as f64;
        for place in &ready {
            self.pods[*place].answers += each;
        }
        let bad = |faults: &[Fault]| {
            let bad = ready
                .iter()
                .filter(|place| self.pods[**place].fault.is_some_and(|fault| faults.contains(&fault)));
            bad.count() as f64 / ready.len().max(1) as f64
        };
        let failed = bad(&[Fault::Errors, Fault::Refuses]) * 0.3 + bad(&[Fault::Seldom]) * 0.1;
        let slow = bad(&[Fault::Slow]) * 0.3;
        for own in self.own.values_mut() {
            let made = 12.0 * span.as_secs_f64();
            let failed = if ready.is_empty() { 1.0 } else { failed };
            own[0] += made;
            own[1] += made * failed;
            own[2] += made * slow;
        }
    }

    /// What came of a run's own transactions since it asked last.
    pub(crate) fn own(&mut self, run: u64) -> [u64; 3] {
        let own = self.own.entry(run).or_default();
        let whole = own.map(|count| count as u64);
        for (count, whole) in own.iter_mut().zip(whole) {
            *count -= whole as f64;
        }
        whole
    }

    /// Pods that are ready, and find what their release reads.
    pub(crate) fn serving(&self, now: Instant, reads: impl Fn(&str) -> bool) -> usize {
        self.pods.iter().filter(|pod| pod.is_ready(now) && reads(&pod.digest)).count()
    }

    /// Whether every pod is of this release and ready.
    pub(crate) fn is_all(&self, digest: &str) -> bool {
        let now = Instant::now();
        self.pods.len() == WANTED && self.pods.iter().all(|pod| pod.digest == digest && pod.is_ready(now))
    }

    /// As the API server shows it.
    pub(crate) fn view(&self) -> View {
        let now = Instant::now();
        let new = self.pods.iter().filter(|pod| pod.digest == self.target);
        let crashing = new.clone().any(|pod| pod.fault == Some(Fault::Crashes));
        let owner =
            |uid: &str| json!({"apiVersion": "v1", "kind": "A", "name": "a", "uid": uid, "controller": true});
        let template =
            json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "app"}]}});
        let available = self.pods.iter().filter(|pod| pod.is_ready(now)).count();
        let crash = json!({"containerStatuses": [{
            "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        }]});
        let pods = if crashing {
            vec![from(json!({"metadata": {"name": "p", "ownerReferences": [owner("new")]}, "status": crash}))]
        } else {
            Vec::new()
        };
        View {
            deployment: from(json!({
                "metadata": {"name": "service", "uid": "d", "generation": self.generation},
                "spec": {"replicas": WANTED, "selector": {}, "template": template},
                "status": {
                    "observedGeneration": self.generation, "replicas": self.pods.len(),
                    "updatedReplicas": new.count(), "availableReplicas": available,
                },
            })),
            replica_sets: vec![from(json!({
                "metadata": {"uid": "new", "ownerReferences": [owner("d")]},
                "spec": {"selector": {}, "template": template},
            }))],
            pods,
        }
    }
}

fn from<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
