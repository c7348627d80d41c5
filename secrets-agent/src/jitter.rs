//! Chance that differs from pod to pod.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// A source of draws, seeded by the pod's uid, so that replicas that start or fail together spread.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(Arc<Mutex<fastrand::Rng>>);

impl Jitter {
    /// The source of one pod.
    pub(crate) fn new(pod_uid: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        pod_uid.hash(&mut hasher);
        Jitter(Arc::new(Mutex::new(fastrand::Rng::with_seed(hasher.finish()))))
    }

    /// The next draw, from 0 to 1.
    pub(crate) fn draw(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_pods_spread_their_first_draw() {
        let mut tenths = [0; 10];
        for pod in 0..1000 {
            let draw = Jitter::new(&format!("pod-{pod}")).draw();
            tenths[(draw * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (60..=150).contains(count)), "{tenths:?}");
    }
}
