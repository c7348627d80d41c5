//! What a region's nodes reach on this machine: ports of its end of their link, passed on to loopback.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// After a connection could not be taken, which happens where no descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

/// A port that is passed on until this is dropped, with the connections that are open then.
#[derive(Debug)]
pub struct Forward(JoinHandle<()>);

impl Forward {
    /// Listens at `from` and passes each connection on to `to`.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(from: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(from).await?;
        Ok(Self(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    taken = listener.accept() => match taken {
                        Ok((client, _)) => drop(connections.spawn(carry(client, to))),
                        Err(_) => sleep(PAUSE).await,
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        })))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One connection, to its end. A peer that is away ends it at once, which the client sees.
async fn carry(mut client: TcpStream, to: SocketAddr) {
    if let Ok(mut peer) = TcpStream::connect(to).await {
        let _ = (client.set_nodelay(true), peer.set_nodelay(true));
        let _ = copy_bidirectional(&mut client, &mut peer).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::ports::Port;

    #[tokio::test]
    async fn bytes_go_both_ways_and_a_peer_that_is_away_ends_the_connection() {
        let (from, to) = (Port::reserve().unwrap(), Port::reserve().unwrap());
        let _forward = Forward::start(from.address(), to.address()).await.unwrap();
        let mut refused = TcpStream::connect(from.address()).await.unwrap();
        assert_eq!(refused.read(&mut [0; 8]).await.unwrap_or(0), 0);
        let peer = TcpListener::bind(to.address()).await.unwrap();
        let mut client = TcpStream::connect(from.address()).await.unwrap();
        client.write_all(b"there").await.unwrap();
        let (mut server, _) = peer.accept().await.unwrap();
        let mut bytes = [0; 5];
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"there");
        server.write_all(b"again").await.unwrap();
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"again");
    }
}
