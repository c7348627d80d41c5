//! A closed-loop client: a fixed number of requests over a fixed number of kept-alive TLS connections.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What one round of requests came to, as the client saw it.
#[derive(Debug)]
pub(crate) struct Round {
    /// Requests answered with 200.
    pub(crate) answered: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

/// Sends `requests` GETs of `path` over `connections` connections and waits for each answer.
///
/// # Errors
/// The first connection or answer that fails, or a status other than 200: a round with failures measures
/// nothing.
pub(crate) async fn round(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    path: &str,
    connections: u64,
    requests: u64,
) -> Result<Round, Box<dyn Error + Send + Sync>> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(connect(address, Arc::clone(tls)).await?);
    }
    let started = Instant::now();
    let share = requests.div_ceil(connections);
    let mut tasks = tokio::task::JoinSet::new();
    for mut client in clients {
        let request = Request::get(path).header(header::HOST, "localhost").body(Empty::<Bytes>::new())?;
        tasks.spawn(async move {
            for _ in 0..share {
                client.ready().await?;
                let response = client.send_request(request.clone()).await?;
                if response.status() != 200 {
                    return Err(format!("{} answered {}", request.uri(), response.status()).into());
                }
                response.into_body().collect().await?;
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(Round { answered: share * connections, took: started.elapsed() })
}

async fn connect(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
) -> Result<http1::SendRequest<Empty<Bytes>>, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(tls).connect(ServerName::try_from("localhost")?, stream).await?;
    let (client, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(client)
}
