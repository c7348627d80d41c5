use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::*;
use crate::http::{Client, StatusCode, Target};
use crate::pki::Ca;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(100);

/// Answers each line with itself.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn exchange(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    timeout(LONG, stream.read_exact(&mut answer)).await.expect("an answer or an error")?;
    Ok(answer)
}

async fn connected() -> (FaultProxy, TcpStream) {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut stream, b"hello").await.unwrap(), b"hello");
    (proxy, stream)
}

#[tokio::test]
async fn refusing_closes_the_port_and_resets_what_is_open_until_it_passes_again() {
    let (proxy, mut stream) = connected().await;
    proxy.set(Mode::Refuse).await;
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let broken = timeout(LONG, stream.read(&mut [0; 8])).await.unwrap().unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::ConnectionReset);
    proxy.set(Mode::Pass).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(exchange(&mut stream, b"back").await.unwrap(), b"back");
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test]
async fn cutting_passes_so_many_bytes_and_resets() {
    let (proxy, mut stream) = connected().await;
    proxy.set(Mode::Cut { after: 3 }).await;
    stream.write_all(b"hello").await.unwrap();
    let mut got = Vec::new();
    let error = timeout(LONG, stream.read_to_end(&mut got)).await.unwrap().unwrap_err();
    assert_eq!((got.as_slice(), error.kind()), (&b"hel"[..], ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn garbling_changes_bytes_and_keeps_their_number() {
    let (proxy, mut stream) = connected().await;
    proxy.set(Mode::Garble).await;
    let answer = exchange(&mut stream, &[7; 32]).await.unwrap();
    assert_ne!(answer, [7; 32]);
    proxy.set(Mode::Pass).await;
    assert_eq!(exchange(&mut stream, b"clean").await.unwrap(), b"clean");
}

#[tokio::test]
async fn delaying_holds_an_answer_back() {
    let (proxy, mut stream) = connected().await;
    proxy.set(Mode::Delay(SHORT)).await;
    let asked = Instant::now();
    assert_eq!(exchange(&mut stream, b"late").await.unwrap(), b"late");
    assert!(asked.elapsed() >= SHORT, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn hanging_takes_connections_and_answers_none_until_it_passes_again() {
    let (proxy, mut stream) = connected().await;
    proxy.set(Mode::Hang).await;
    let mut other = TcpStream::connect(proxy.address()).await.unwrap();
    other.write_all(b"b").await.unwrap();
    stream.write_all(b"a").await.unwrap();
    let mut byte = [0];
    assert!(timeout(SHORT, stream.read(&mut byte)).await.is_err(), "an answer came");
    assert!(timeout(SHORT, other.read(&mut byte)).await.is_err(), "an answer came");
    proxy.set(Mode::Pass).await;
    timeout(LONG, stream.read_exact(&mut byte)).await.unwrap().unwrap();
    assert_eq!(&byte, b"a");
}

#[tokio::test]
async fn a_dropped_proxy_ends_its_connections() {
    let (proxy, mut stream) = connected().await;
    drop(proxy);
    let end = timeout(LONG, stream.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn answers_are_replaced_so_many_times_and_requests_are_counted() {
    let ca = Ca::new("test").unwrap();
    let own = ca.issue(&["localhost"]).unwrap();
    let peer = AnswerProxy::start(&own, Target::Tcp(echo().await)).await.unwrap();
    peer.add(Rule::path("/", 200).body("from the peer"));
    let to_peer = Target::localhost(peer.address(), &ca.pem()).unwrap();
    let proxy = AnswerProxy::start(&own, to_peer).await.unwrap();
    proxy.add(Rule::path("/v1/kv", 429).header("retry-after", "1").body("slow down").times(1));
    let client = Client::new(Target::localhost(proxy.address(), &ca.pem()).unwrap());

    let replaced = client.get("/v1/kv/x?version=1").await.unwrap();
    assert_eq!((replaced.status, replaced.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    let passed = client.get("/v1/kv/x").await.unwrap();
    assert_eq!((passed.status, passed.text()), (StatusCode::OK, "from the peer".to_owned()));
    assert_eq!((proxy.count("/v1/kv"), peer.count("/v1/kv")), (2, 1));
    assert_eq!(proxy.seen()[0].status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_foreign_or_ended_certificate_is_not_trusted() {
    let (ca, other) = (Ca::new("ours").unwrap(), Ca::new("theirs").unwrap());
    for (certificate, trusted, expected) in [
        (ca.issue(&["localhost"]).unwrap(), &other, "UnknownIssuer"),
        (ca.issue_expired(&["localhost"]).unwrap(), &ca, "Expired"),
        (ca.issue(&["elsewhere"]).unwrap(), &ca, "NotValidForName"),
    ] {
        let proxy = AnswerProxy::start(&certificate, Target::Tcp(echo().await)).await.unwrap();
        let client = Client::new(Target::localhost(proxy.address(), &trusted.pem()).unwrap());
        let error = format!("{:?}", client.get("/").await.unwrap_err());
        assert!(error.contains(expected), "wanted {expected} in {error}");
    }
}
