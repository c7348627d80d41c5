//! Looks at the region again and again, and for whoever asks: an answer is always of a round that began after it was
//! asked for. Those who ask while a round goes on share the next one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use secrets_agent_client::Version;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{debug, warn};

use super::round::{Member, Workload, look};
use super::secrets::{News, Secrets};
use super::workload::Pods;
use crate::plan::view::{Pod, Round, View, Watcher};

/// Between two looks at Vault.
const POLL: Duration = Duration::from_secs(1);

/// Between two looks at the pods while nobody asks, and while something is not in use everywhere yet.
const QUIET: Duration = Duration::from_secs(5);
const BEHIND: Duration = Duration::from_secs(1);

/// Between the beginnings of two rounds, however many ask.
const SPACING: Duration = Duration::from_millis(100);

/// An agent that is behind is nudged again after so long.
const NUDGE_AGAIN: Duration = Duration::from_secs(1);

/// Bound of a round: an API server that hangs must not hold up whoever asks next for good.
const ROUND: Duration = Duration::from_secs(7);

/// Agents that are nudged at the same time.
const AT_ONCE: usize = 32;

/// What a round came to.
pub(super) type Seen = Result<Arc<View>, String>;

/// Who asks for a round.
#[derive(Debug, Clone)]
pub(super) struct Asks(mpsc::Sender<oneshot::Sender<Seen>>);

impl Asks {
    /// The region as it is seen in a round that begins now.
    pub(super) async fn fresh(&self) -> Seen {
        let (answer, answered) = oneshot::channel();
        let ended = || "the watcher is ending".to_owned();
        self.0.send(answer).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

/// What is known of the watcher itself.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) environment: String,
    pub(super) region: String,
    pub(super) name: String,
    pub(super) start: Timestamp,
    pub(super) leads: watch::Receiver<bool>,
}

/// Looks, nudges, and tells.
pub(super) struct Rounds {
    own: Own,
    secrets: Arc<Secrets>,
    pods: Pods,
    asks: mpsc::Receiver<oneshot::Sender<Seen>>,
    seen: watch::Sender<Option<Seen>>,
    news: mpsc::UnboundedSender<News>,
    members: Mutex<Vec<Member>>,
    nudged: Mutex<BTreeMap<(String, String), Instant>>,
    pub(super) nudges: prometheus_client::metrics::counter::Counter,
}

impl Rounds {
    /// `news` hears of each version that is new, `seen` of each round.
    pub(super) fn new(
        own: Own,
        secrets: Arc<Secrets>,
        pods: Pods,
        seen: watch::Sender<Option<Seen>>,
        news: mpsc::UnboundedSender<News>,
    ) -> (Self, Asks) {
        let (ask, asks) = mpsc::channel(256);
        let (members, nudged, nudges) = (Mutex::default(), Mutex::default(), Default::default());
        (Self { own, secrets, pods, asks, seen, news, members, nudged, nudges }, Asks(ask))
    }

    /// Goes on for as long as the watcher runs.
    pub(super) async fn run(mut self) {
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = Instant::now();
        let mut spaced = Instant::now();
        loop {
            let mut waiting = Vec::new();
            let due = tokio::select! {
                biased;
                ask = self.asks.recv() => match ask {
                    Some(ask) => { waiting.push(ask); true }
                    None => return,
                },
                () = sleep_until(next) => true,
                // One that does not lead looks when it is asked, and leaves the rest to the one that does.
                _ = poll.tick() => *self.own.leads.borrow() && self.poll().await,
            };
            if !due {
                continue;
            }
            sleep_until(spaced).await;
            while let Ok(ask) = self.asks.try_recv() {
                waiting.push(ask);
            }
            spaced = Instant::now() + SPACING;
            let seen = match timeout(ROUND, self.round()).await {
                Ok(seen) => seen,
                Err(_) => Err(format!("the round did not end within {} s", ROUND.as_secs())),
            };
            let behind = seen.as_ref().is_ok_and(|view| behind(view).next().is_some());
            next = Instant::now() + if behind { BEHIND } else { QUIET };
            for ask in waiting {
                let _ = ask.send(seen.clone());
            }
            if let Err(why) = &seen {
                warn!(why, "the region cannot be looked at");
            }
            self.seen.send_replace(Some(seen));
        }
    }

    /// Asks Vault, and nudges at once where something is new or was taken away. Whether something is.
    async fn poll(&self) -> bool {
        let news = self.secrets.poll().await;
        for new in &news {
            let members = self.members.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let all = members.into_iter().map(|member| (member, new.name.clone(), new.version));
            self.nudge(all).await;
        }
        let any = !news.is_empty();
        for new in news.into_iter().filter(|new| new.is_new) {
            let _ = self.news.send(new);
        }
        any
    }

    async fn round(&self) -> Seen {
        let began = Timestamp::now();
        self.poll().await;
        let members = self.pods.list().await?;
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members.clone();
        let pods = look(&self.pods).await?;
        let view = View {
            environment: self.own.environment.clone(),
            region: self.own.region.clone(),
            watcher: Watcher {
                name: self.own.name.clone(),
                start: self.own.start,
                leads: *self.own.leads.borrow(),
            },
            round: Round { began, ended: Timestamp::now() },
            vault: self.secrets.health(),
            secrets: self.secrets.known(),
            pods,
            operators: Vec::new(),
        };
        self.nudge_again(&view, &members).await;
        Ok(Arc::new(view))
    }

    /// Nudges agents that have an older version: a nudge may have been lost, and a pod may be new.
    async fn nudge_again(&self, view: &View, members: &[Member]) {
        let now = Instant::now();
        let late: Vec<(Member, String, Version)> = {
            let mut nudged = self.nudged.lock().unwrap_or_else(PoisonError::into_inner);
            nudged.retain(|_, at| now.duration_since(*at) < NUDGE_AGAIN);
            let late = behind(view).filter_map(|(pod, name, version)| {
                let key = (pod.name.clone(), name.clone());
                let member = members.iter().find(|member| member.name == pod.name)?;
                // A hint that is a moment old need not be given again.
                (!nudged.contains_key(&key)).then(|| {
                    nudged.insert(key, now);
                    (member.clone(), name, version)
                })
            });
            late.collect()
        };
        self.nudge(late.into_iter()).await;
    }

    async fn nudge(&self, all: impl Iterator<Item = (Member, String, Version)>) {
        let asker = &self.pods.asker;
        let nudged = all.filter_map(|(member, name, version)| {
            let agent = member.addresses?.agent;
            Some(async move { asker.nudge(&agent, &name, version.version).await })
        });
        let results: Vec<_> = stream::iter(nudged).buffer_unordered(AT_ONCE).collect().await;
        for result in results {
            match result {
                Ok(()) => drop(self.nudges.inc()),
                Err(why) => debug!(why, "an agent was not nudged"),
            }
        }
    }
}

/// Pods whose agent has not the current version of a secret.
pub(super) fn behind(view: &View) -> impl Iterator<Item = (&Pod, String, Version)> {
    view.secrets.iter().flat_map(move |(name, secret)| {
        let current = secret.current.filter(|_| secret.absence.is_none());
        view.pods.iter().filter_map(move |pod| {
            let current = current?;
            let status = pod.agent.as_ref()?;
            let own = status.secrets.iter().find(|own| own.name == *name)?;
            let held = own.version.zip(own.created_time);
            (held != Some((current.version, current.created_time))).then(|| (pod, name.clone(), current))
        })
    })
}
