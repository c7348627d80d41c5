//! What stands in front of all regions of an environment: it asks each for `/trafficz`, as the health checks of Cloud DNS
//! do, and sends new connections to those that say that they take traffic. Bytes are passed on as they are.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::environment::{self, Environment};
use crate::http::{Client, StatusCode, Target, client_tls};

/// Answers of one kind in a row after which a region is taken in or left out, as Cloud DNS has it by default.
const IN_A_ROW: u32 = 2;

/// A region behind the entry.
#[derive(Debug)]
struct Behind {
    region: String,
    address: SocketAddr,
    takes: bool,
    /// Answers in a row that say the other thing.
    otherwise: u32,
    sent: u64,
}

/// The entry, for as long as it is held.
#[derive(Debug)]
pub struct Entry {
    address: SocketAddr,
    behind: Arc<Mutex<Vec<Behind>>>,
    domain: String,
    authority: String,
    _tasks: JoinSet<()>,
}

impl Entry {
    /// Opens it, on a port of loopback; each region is asked once in `every`.
    ///
    /// # Errors
    /// A region has no address, or no port can be had.
    pub async fn open(environment: &Environment, every: Duration) -> Result<Self, environment::Error> {
        let mut behind = Vec::new();
        let mut clients = Vec::new();
        for region in &environment.regions {
            let client = environment.entry(region).await?;
            let Target::Tls { address, .. } = client.target() else { continue };
            let (region, address) = (region.name.clone(), *address);
            behind.push(Behind { region, address, takes: true, otherwise: 0, sent: 0 });
            clients.push(client.timeout(every));
        }
        let file = environment.public_authority.clone().unwrap_or_default();
        let told = |source: io::Error| environment::Error::File { path: file.clone(), source };
        let authority = std::fs::read_to_string(&file).map_err(told)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(told)?;
        let address = listener.local_addr().map_err(told)?;
        let behind = Arc::new(Mutex::new(behind));
        let mut tasks = JoinSet::new();
        for (place, client) in clients.into_iter().enumerate() {
            tasks.spawn(ask(Arc::clone(&behind), place, client, every));
        }
        tasks.spawn(take(listener, Arc::clone(&behind)));
        Ok(Self { address, behind, domain: environment.domain.clone(), authority, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of it, by the environment's own name.
    ///
    /// # Errors
    /// The authority of its certificate cannot be used.
    pub fn client(&self) -> io::Result<Client> {
        let config = client_tls(&self.authority)?;
        Ok(Client::new(Target::Tls { address: self.address, name: self.domain.clone(), config }))
    }

    /// Connections that each region was sent.
    pub fn sent(&self) -> BTreeMap<String, u64> {
        lock(&self.behind).iter().map(|one| (one.region.clone(), one.sent)).collect()
    }

    /// The regions that are sent connections now.
    pub fn takes(&self) -> Vec<String> {
        lock(&self.behind).iter().filter(|one| one.takes).map(|one| one.region.clone()).collect()
    }
}

/// Asks one region for as long as it is polled.
async fn ask(behind: Arc<Mutex<Vec<Behind>>>, place: usize, client: Client, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let takes = client.get("/trafficz").await.is_ok_and(|answer| answer.status == StatusCode::OK);
        let mut behind = lock(&behind);
        let Some(own) = behind.get_mut(place) else { return };
        own.otherwise = if own.takes == takes { 0 } else { own.otherwise + 1 };
        if own.otherwise >= IN_A_ROW {
            (own.takes, own.otherwise) = (takes, 0);
        }
    }
}

/// Takes connections, and passes each on to a region in turn.
async fn take(listener: TcpListener, behind: Arc<Mutex<Vec<Behind>>>) {
    let mut connections = JoinSet::new();
    for number in 0_usize.. {
        while connections.try_join_next().is_some() {}
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let address = {
            let mut behind = lock(&behind);
            // Where none takes traffic, all do: an entry that sends nobody anywhere helps nobody.
            let none = !behind.iter().any(|one| one.takes);
            let mut open: Vec<&mut Behind> = behind.iter_mut().filter(|one| one.takes || none).collect();
            let count = open.len().max(1);
            let Some(chosen) = open.get_mut(number % count) else { continue };
            chosen.sent += 1;
            chosen.address
        };
        connections.spawn(async move {
            let Ok(mut peer) = TcpStream::connect(address).await else { return };
            let _ = (client.set_nodelay(true), peer.set_nodelay(true));
            let _ = tokio::io::copy_bidirectional(&mut client, &mut peer).await;
        });
    }
}

fn lock(behind: &Mutex<Vec<Behind>>) -> std::sync::MutexGuard<'_, Vec<Behind>> {
    behind.lock().unwrap_or_else(PoisonError::into_inner)
}
