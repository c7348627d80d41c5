//! The proxy of bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Mode, Order};
use crate::ports::Port;

/// Each so many-th byte is inverted by [`Mode::Garble`].
const GARBLED: usize = 16;

pub(super) async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // The port is bound again after a time of refusal, when old connections still linger in the kernel.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
}

/// Takes connections and orders until the handle is dropped; its connections end with it.
pub(super) async fn run(
    first: TcpListener,
    port: Arc<Port>,
    upstream: SocketAddr,
    mut orders: mpsc::UnboundedReceiver<Order>,
    count: watch::Sender<u64>,
) {
    let mut listener = Some(first);
    let (modes, mode) = watch::channel(Mode::Pass);
    let mut connections = JoinSet::new();
    loop {
        let taken = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => {
                let Some((order, done)) = order else { return };
                match order {
                    Mode::Refuse => listener = None,
                    _ if listener.is_none() => listener = listen(port.address()).await.ok(),
                    _ => {}
                }
                modes.send_replace(order);
                let _ = done.send(());
            }
            taken = taken => {
                if let Ok((client, _)) = taken {
                    count.send_modify(|count| *count += 1);
                    connections.spawn(carry(client, upstream, mode.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, mode: watch::Receiver<Mode>) {
    let peer = TcpStream::connect(upstream).await;
    let (mut client, Ok(mut peer)) = (client, peer) else { return };
    let _ = (client.set_nodelay(true), peer.set_nodelay(true));
    let ended = {
        // Borrowed halves: owned ones shut the connection down in order before a reset could be made.
        let (from_client, to_client) = client.split();
        let (from_peer, to_peer) = peer.split();
        tokio::select! {
            ended = down(from_peer, to_client, mode.clone()) => ended,
            ended = up(from_client, to_peer, mode.clone()) => ended,
            ended = refused(mode) => ended,
        }
    };
    if ended == End::Reset {
        // With no time to linger a close becomes a reset (RST). Refused only for a socket that is gone.
        let _ = rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// Returns when the mode is, or becomes, [`Mode::Refuse`].
async fn refused(mut mode: watch::Receiver<Mode>) -> End {
    // The sender outlives every connection.
    let _ = mode.wait_for(|mode| *mode == Mode::Refuse).await;
    End::Reset
}

/// What the client sends; nothing while the mode is [`Mode::Hang`]. A client that has sent everything may
/// still be answered.
async fn up(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut mode: watch::Receiver<Mode>) -> End {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let _ = mode.wait_for(|mode| *mode != Mode::Hang).await;
        if to.write_all(&buffer[..length]).await.is_err() {
            return End::Reset;
        }
    }
    let _ = to.shutdown().await;
    std::future::pending().await
}

/// What the peer sends, and what is done to it.
async fn down(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut mode: watch::Receiver<Mode>) -> End {
    let mut buffer = vec![0; 16 << 10];
    let mut passed: u64 = 0;
    loop {
        let length = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(length @ 1..) => length,
                Ok(0) => return End::Closed,
                Err(_) => return End::Reset,
            },
            _ = mode.changed() => {
                passed = 0;
                if matches!(*mode.borrow(), Mode::Cut { after: 0 }) {
                    return End::Reset;
                }
                continue;
            }
        };
        let order = mode.wait_for(|mode| *mode != Mode::Hang).await.map_or(Mode::Pass, |mode| *mode);
        let chunk = &mut buffer[..length];
        match order {
            Mode::Delay(by) => tokio::time::sleep(by).await,
            Mode::Garble => chunk.iter_mut().step_by(GARBLED).for_each(|byte| *byte = !*byte),
            Mode::Cut { after } => {
                let left = usize::try_from(after.saturating_sub(passed)).unwrap_or(usize::MAX);
                if left < chunk.len() {
                    let _ = to.write_all(&chunk[..left]).await;
                    return End::Reset;
                }
            }
            Mode::Pass | Mode::Refuse | Mode::Hang => {}
        }
        passed += length as u64;
        if to.write_all(chunk).await.is_err() {
            return End::Closed;
        }
    }
}
