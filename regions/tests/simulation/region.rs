//! A region, as an operator's command reaches it: over a network that loses requests and answers, and delivers some of
//! them late.

use std::cell::Cell;
use std::time::Duration;

use jiff::Timestamp;
use regions::plan::rotation::Traffic;
use regions::plan::rotation::mark::{Mark, Phase};
use regions::plan::view::View;
use regions::rotate::region::{Asking, Lock, Region, Trouble};
use regions::vault::kv::{Document, Metadata};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::vault::Vault;
use crate::watcher;
use crate::world::{Inner, PATH, World};

/// Bound of a call.
const CALL: Duration = Duration::from_secs(10);

/// How long a lock is held without being kept.
const LEASE: Duration = Duration::from_secs(20);

/// A region, as one run sees it.
pub(crate) struct Simulated {
    pub(crate) world: World,
    pub(crate) place: usize,
    pub(crate) name: String,
    pub(crate) wave: usize,
    /// The lock's version that this run wrote last, if it knows that.
    pub(crate) lock: Cell<Option<u64>>,
}

/// A call of a Vault, which may arrive after its caller is gone.
type Call<T> = Box<dyn FnOnce(&mut Inner, usize) -> Result<T, Trouble>>;

impl Simulated {
    async fn call<T: 'static>(&self, what: &'static str, call: Call<T>) -> Result<T, Trouble> {
        let (answered, answer) = oneshot::channel();
        let (world, place) = (self.world.clone(), self.place);
        let (way, back) = (self.world.between(1, 20), self.world.between(1, 20));
        let lost = self.world.fault("a request is lost", 60);
        let late = self.world.fault("a request arrives late", 60).then(|| self.world.between(1_000, 120_000));
        let unanswered = self.world.fault("an answer is lost", 60);
        let life = self.world.get().regions[place].vault.life;
        // What was sent arrives whether anybody still waits for the answer or not.
        tokio::task::spawn_local(async move {
            sleep(way + late.unwrap_or_default()).await;
            let result = {
                let mut inner = world.get();
                let state = &inner.regions[place];
                if lost || state.vault.life != life {
                    None
                } else if !state.vault.up || !state.reachable {
                    Some(Err(Trouble::Away(format!("{what}: the connection is refused"))))
                } else {
                    if late.is_some() {
                        inner.tell(|| format!("{what} arrives late"));
                    }
                    Some(call(&mut inner, place))
                }
            };
            sleep(back).await;
            match result {
                Some(result) if !unanswered => drop(answered.send(result)),
                _ => std::future::pending().await,
            }
        });
        match timeout(CALL, answer).await {
            Ok(Ok(result)) => result,
            _ => Err(Trouble::Away(format!("{what}: no answer within 10 s"))),
        }
    }

    async fn read<T: 'static>(
        &self,
        what: &'static str,
        read: impl FnOnce(&Vault) -> T + 'static,
    ) -> Result<T, Trouble> {
        self.call(what, Box::new(move |inner, place| Ok(read(&inner.regions[place].vault)))).await
    }
}

impl Region for Simulated {
    fn name(&self) -> &str {
        &self.name
    }

    fn wave(&self) -> usize {
        self.wave
    }

    async fn view(&self, _: &Asking) -> Result<View, Trouble> {
        let away = |why: String| Trouble::Away(why);
        if !self.world.get().regions[self.place].reachable {
            sleep(self.world.between(1, 20)).await;
            return Err(away("unreachable".into()));
        }
        if self.world.fault("a watcher's answer is lost", 60) {
            sleep(Duration::from_secs(5)).await;
            return Err(away("no answer within 5 s".into()));
        }
        let view = timeout(Duration::from_secs(5), watcher::view(&self.world, self.place)).await;
        view.map_err(|_| away("no answer within 5 s".into()))?.map_err(away)
    }

    async fn traffic(&self) -> Traffic {
        match self.world.get().regions[self.place].drained {
            true => Traffic::Out("it is drained".into()),
            false => Traffic::In("it is not drained".into()),
        }
    }

    async fn clock(&self) -> Result<Timestamp, Trouble> {
        let clock: Call<Timestamp> =
            Box::new(|inner, place| Ok(Timestamp::from_second(inner.clock(place).as_second()).unwrap()));
        self.call("read the clock", clock).await
    }

    async fn metadata(&self, path: &str) -> Result<Option<Metadata>, Trouble> {
        let path = path.to_owned();
        self.read("read metadata", move |vault| vault.metadata(&path)).await
    }

    async fn document(&self, path: &str, version: u64) -> Result<Option<Document>, Trouble> {
        let path = path.to_owned();
        self.read("read a document", move |vault| vault.document(&path, version)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, Trouble> {
        let folder = folder.to_owned();
        self.read("list", move |vault| vault.list(&folder)).await
    }

    async fn put(&self, path: &str, document: &Value, over: u64) -> Result<(), Trouble> {
        let (path, document) = (path.to_owned(), document.clone());
        let put: Call<()> = Box::new(move |inner, place| {
            let now = inner.clock(place);
            let former = inner.regions[place].vault.current(&path);
            if !inner.regions[place].vault.put(&path, &document, Some(over), now) {
                return Err(Trouble::Overtaken(path));
            }
            let name = inner.regions[place].name.clone();
            let mark = Mark::of(&document);
            inner.tell(|| format!("{name}: {path} is {mark:?}, over {over}"));
            if path == PATH {
                let publishes = mark.filter(|mark| mark.phase() == Some(Phase::Publish)).map(|mark| mark.id);
                inner.ledger.written(former.as_ref().map(Document::expose), &document, publishes);
            }
            Ok(())
        });
        self.call("write a document", put).await
    }

    async fn note(&self, path: &str, entries: &Map<String, Value>) -> Result<(), Trouble> {
        let (path, entries) = (path.to_owned(), entries.clone());
        let note: Call<()> = Box::new(move |inner, place| {
            let name = inner.regions[place].name.clone();
            inner.tell(|| format!("{name}: {} is noted", Value::Object(entries.clone())));
            inner.regions[place].vault.note(&path, &entries);
            Ok(())
        });
        self.call("note", note).await
    }

    async fn destroy(&self, path: &str, versions: &[u64]) -> Result<(), Trouble> {
        let (path, versions) = (path.to_owned(), versions.to_vec());
        let destroy: Call<()> = Box::new(move |inner, place| {
            let inner = &mut *inner;
            if path == PATH {
                inner.ledger.destroyed(&inner.regions[place], &versions);
            }
            let name = inner.regions[place].name.clone();
            inner.tell(|| format!("{name}: {path} {versions:?} are destroyed"));
            inner.regions[place].vault.destroy(&path, &versions);
            Ok(())
        });
        self.call("destroy", destroy).await
    }

    async fn lock(&self, asking: &Asking) -> Result<Lock, Trouble> {
        let run = asking.run.clone();
        let lock: Call<(u64, u64)> = Box::new(move |inner, place| {
            let now = Instant::now();
            let lock = &mut inner.regions[place].lock;
            match &lock.held {
                Some((holder, until)) if *holder != run && now < *until => {
                    Err(Trouble::Locked { by: holder.clone() })
                }
                _ => {
                    let over = lock.version;
                    lock.held = Some((run, now + LEASE));
                    lock.version += 1;
                    Ok((over, lock.version))
                }
            }
        });
        let left = self.lock.take();
        let (over, version) = self.call("lock", lock).await?;
        self.lock.set(Some(version));
        Ok(if left == Some(over) { Lock::Kept } else { Lock::Anew })
    }

    async fn unlock(&self) {
        let Some(left) = self.lock.take() else { return };
        let unlock: Call<u64> = Box::new(move |inner, place| {
            let lock = &mut inner.regions[place].lock;
            if lock.version != left {
                return Err(Trouble::Overtaken("the lock".into()));
            }
            lock.held = None;
            lock.version += 1;
            Ok(lock.version)
        });
        self.lock.set(self.call("unlock", unlock).await.ok());
    }
}
