//! Addresses that say nothing, as a region is that a network has swallowed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Result;

/// A connection over loopback takes microseconds; what takes so long is not coming.
const DROPPED: Duration = Duration::from_millis(300);

/// More connections than the shortest queue holds.
const MOST: usize = 64;

/// A hole, as long as it is kept.
pub(super) struct Hole {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Hole {
    /// Takes connections and answers nothing.
    pub(super) async fn silent() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                taken.extend(listener.accept().await);
            }
        });
        Ok(Hole { address, task })
    }

    /// Drops whatever is sent to it: its queue is full, and then Linux answers no SYN.
    pub(super) async fn dropping() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(0)?;
        let address = listener.local_addr()?;
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(DROPPED, TcpStream::connect(address)).await {
            queued.push(stream?);
            if queued.len() > MOST {
                return Err(format!("{address} does not drop connections, though nobody takes them").into());
            }
        }
        let task = tokio::spawn(async move {
            let _kept = (listener, queued);
            std::future::pending::<()>().await;
        });
        Ok(Hole { address, task })
    }
}

impl Drop for Hole {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn one_takes_connections_and_the_other_does_not_and_neither_says_anything() {
        let silent = Hole::silent().await.unwrap();
        let mut stream = TcpStream::connect(silent.address).await.unwrap();
        assert!(timeout(DROPPED, stream.read_u8()).await.is_err());
        let dropping = Hole::dropping().await.unwrap();
        assert!(timeout(DROPPED, TcpStream::connect(dropping.address)).await.is_err());
    }
}
