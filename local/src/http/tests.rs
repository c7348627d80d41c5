use std::convert::Infallible;
use std::net::SocketAddr;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::pki::Ca;
use crate::ports::Port;

/// Answers with what it was asked, and, where the path is `/events`, with two events.
async fn echo(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let text = match request.uri().path() {
        "/events" => ": alive\n\nid: 1\ndata: one\n\nid: 2\ndata: two\n\n".to_owned(),
        path => format!(r#"{{"path":"{path}","canary":"canary-5d1f"}}"#),
    };
    Ok(Response::new(Full::new(text.into())))
}

async fn serve_tcp() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let io = TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service_fn(echo)));
        }
    });
    address
}

#[tokio::test]
async fn json_is_read_over_tcp_and_a_wrong_form_quotes_nothing() {
    let client = Client::new(Target::Tcp(serve_tcp().await));
    let answer = client.get("/a?b=c").await.unwrap().expect(StatusCode::OK).unwrap();
    assert_eq!(answer.value().unwrap()["path"], "/a");
    let error = answer.json::<Vec<String>>().unwrap_err();
    assert!(!format!("{error} {error:?} {answer:?}").contains("canary"), "{error:?}");
    assert!(error.to_string().starts_with("GET /a: status 200 OK, and not the JSON"), "{error}");
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let client = Client::new(Target::Tcp(serve_tcp().await));
    let mut connection = client.connect().await.unwrap();
    for path in ["/1", "/2"] {
        let request = client.request(Method::GET, path, None, Bytes::new()).unwrap();
        assert_eq!(connection.send(request).await.unwrap().value().unwrap()["path"], path);
    }
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn events_come_one_by_one() {
    let client = Client::new(Target::Tcp(serve_tcp().await));
    let mut events = client.events("/events", None).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().data, "one");
    assert_eq!(events.next().await.unwrap().unwrap().id, "2");
    assert_eq!(events.next().await.unwrap(), None);
}

#[tokio::test]
async fn unix_sockets_are_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let io = TokioIo::new(stream);
        hyper::server::conn::http1::Builder::new().serve_connection(io, service_fn(echo)).await
    });
    let answer = Client::new(Target::unix(&path)).get("/x").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_silent_peer_is_named_without_the_query() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::new(Target::Tcp(address)).timeout(Duration::from_millis(50));
    let error = client.get("/x?token=canary").await.unwrap_err();
    assert_eq!(error.to_string(), format!("GET /x: no answer from http://{address} within 0.05 s"));
}

#[tokio::test]
async fn a_peer_that_is_away_is_named() {
    let port = Port::reserve().unwrap();
    let address = port.address();
    let error = Client::new(Target::Tcp(address)).get("/x").await.unwrap_err();
    assert_eq!(error.to_string(), format!("GET /x: connect to http://{address}"));
}

#[test]
fn a_ca_without_a_certificate_is_refused() {
    assert!(client_tls("").unwrap_err().to_string().contains("no certificate"));
    client_tls(&Ca::new("test").unwrap().pem()).unwrap();
}
