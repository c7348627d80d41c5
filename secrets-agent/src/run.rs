//! The agent put together.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};
use uuid::Uuid;

use crate::admin::{self, AdminState};
use crate::config::Config;
use crate::fetch::{Keeper, Nudges};
use crate::files::FileSink;
use crate::floor::Floors;
use crate::jitter::Jitter;
use crate::memory;
use crate::metrics::Metrics;
use crate::serve::{bind_tcp, bind_unix, serve};
use crate::socket::{self, SocketState};
use crate::store::Store;
use crate::vault::{Failure, KvReader, Login, Tokens, Transport};

/// Room around a document in Vault's answer.
const ENVELOPE: usize = 64 << 10;

/// Runs until `end` comes, then ends in order: no new connections, watch streams closed, values wiped, the
/// token revoked.
///
/// # Errors
/// A socket cannot be had. Nothing about Vault is an error here.
pub async fn run(config: Config, end: impl Future<Output = ()>) -> io::Result<()> {
    let start = Timestamp::now();
    let unix = bind_unix(&config.socket.path).await?;
    let tcp = bind_tcp(config.admin.listen).await?;
    info!(socket = %config.socket.path.display(), admin = %config.admin.listen, pod = config.pod.name, "listening");

    let jitter = Jitter::new(&config.pod.uid);
    let metrics = Arc::new(Metrics::default());
    let store = Arc::new(Store::new(&config.kv.secrets));
    let transport = Arc::new(Transport::new(&config.vault, config.kv.max_size.0 + ENVELOPE));
    let reader = Arc::new(KvReader::new(Arc::clone(&transport), &config.kv));
    let longest_retry = config.vault.longest_retry.0;
    let login = Login::new(config.auth);
    let tokens = Arc::new(Tokens::new(transport, login, longest_retry, jitter.clone(), Arc::clone(&metrics)));
    let floors = Arc::new(Floors::new(config.floor.dir));

    let (ending, ended) = watch::channel(false);
    let mut work = JoinSet::new();
    let mut nudges = BTreeMap::new();
    for name in &config.kv.secrets {
        let nudge = Arc::new(Nudges::default());
        nudges.insert(name.clone(), Arc::clone(&nudge));
        let keeper = Keeper {
            name: name.clone(),
            nudges: nudge,
            reader: Arc::clone(&reader),
            tokens: Arc::clone(&tokens),
            store: Arc::clone(&store),
            floors: Arc::clone(&floors),
            metrics: Arc::clone(&metrics),
            jitter: jitter.clone(),
            kv: config.kv.clone(),
            longest_retry,
            told_of_metadata: AtomicBool::new(false),
        };
        work.spawn(keeper.run());
    }
    let (renewing, noted) = (Arc::clone(&tokens), Arc::clone(&store));
    work.spawn(async move {
        let told = |outcome: Result<(), &Failure>| match outcome {
            Ok(()) => noted.vault_answered(),
            Err(failure) => noted.vault_failed(failure.state(), &failure.to_string()),
        };
        renewing.keep(told).await;
    });
    let mut files_trouble = None;
    if let Some(files) = config.files {
        let sink = FileSink::new(files, Arc::clone(&store), Arc::clone(&metrics), jitter);
        files_trouble = Some(sink.trouble());
        work.spawn(sink.run());
    }
    work.spawn(warn_of_unlocked_memory(store.changes()));

    let allow_uids = if config.socket.allow_uids.is_empty() {
        BTreeSet::from([rustix::process::geteuid().as_raw()])
    } else {
        config.socket.allow_uids
    };
    let socket_routes = socket::routes(SocketState {
        store: Arc::clone(&store),
        reader,
        metrics: Arc::clone(&metrics),
        allow_uids,
        epoch: Uuid::new_v4(),
        ending: ended.clone(),
    });
    let admin_routes = admin::routes(AdminState {
        pod: config.pod,
        start,
        store: Arc::clone(&store),
        metrics,
        nudges,
        files_trouble,
        ending: ended.clone(),
    });
    let mut servers = JoinSet::new();
    servers.spawn(serve(unix, socket_routes, ended.clone()));
    servers.spawn(serve(tcp, admin_routes, ended));

    end.await;
    info!("ending");
    ending.send_replace(true);
    servers.join_all().await;
    work.shutdown().await;
    store.wipe();
    tokens.revoke().await;
    let _ = std::fs::remove_file(&config.socket.path);
    info!("ended");
    Ok(())
}

/// Says once that the memory-lock limit was met; the metric goes on counting.
async fn warn_of_unlocked_memory(mut changes: watch::Receiver<u64>) {
    loop {
        if memory::not_locked() > 0 {
            warn!("the memory-lock limit is too small, so values may be swapped out; raise RLIMIT_MEMLOCK");
            return;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
