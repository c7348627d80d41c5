//! Clients that are slow, large, or many.

use std::time::Duration;

use local_region::wait::wait_until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::pod::{Pod, SOON};

async fn connected(pod: &Pod) -> TcpStream {
    TcpStream::connect(pod.port.address()).await.unwrap()
}

/// Everything that comes until the service closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    timeout(SOON, stream.read_to_end(&mut text)).await.expect("the service closes the connection").unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_client_that_dribbles_its_header_is_cut_off_and_others_are_not_kept_waiting() {
    let pod = Pod::development().configured("[http]\nheader_timeout = \"300ms\"").start().await;
    let mut slow = connected(&pod).await;
    slow.write_all(b"GET /v1/region HTTP/1.1\r\nhost: ").await.unwrap();
    let answered = pod.public.get("/v1/region").await.unwrap();
    assert_eq!(answered.status, 200);
    let text = until_closed(&mut slow).await;
    assert!(!text.contains("200"), "{text}");
}

#[tokio::test]
async fn a_kept_connection_outlives_the_time_for_a_header_and_ends_after_its_own() {
    let times = "[http]\nheader_timeout = \"200ms\"\nidle_timeout = \"1500ms\"";
    let pod = Pod::development().configured(times).start().await;
    let mut kept = pod.public.connect().await.unwrap();
    let region = || pod.public.request(http::Method::GET, "/v1/region", None, bytes::Bytes::new()).unwrap();
    assert_eq!(kept.send(region()).await.unwrap().status, 200);
    // Whoever connects after that and says nothing is cut off first.
    assert_eq!(until_closed(&mut connected(&pod).await).await, "");
    assert!(!kept.is_closed());
    assert_eq!(kept.send(region()).await.unwrap().status, 200);
    wait_until("the kept connection to be closed", SOON, async || kept.is_closed()).await.unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_refused_with_408() {
    let pod = Pod::development().configured("[http]\nbody_timeout = \"300ms\"").start().await;
    let mut slow = connected(&pod).await;
    let head = "POST /oauth2/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 40\r\n\r\ngrant";
    slow.write_all(head.as_bytes()).await.unwrap();
    let text = until_closed(&mut slow).await;
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(text.contains("connection: close"), "{text}");
}

#[tokio::test]
async fn a_large_body_is_refused_with_413_whether_its_length_is_told_or_not() {
    let pod = Pod::development().configured("[http]\nbody_limit = 100").start().await;
    let form = format!("grant_type=client_credentials&scope={}", "a".repeat(100));
    let told = pod.public.form("/oauth2/token", &form).await.unwrap();
    assert_eq!(told.status, 413);
    let mut chunked = connected(&pod).await;
    let head = "POST /oauth2/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n";
    chunked.write_all(head.as_bytes()).await.unwrap();
    chunked.write_all(format!("c8\r\n{}\r\n", "a".repeat(200)).as_bytes()).await.unwrap();
    let text = until_closed(&mut chunked).await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
}

#[tokio::test]
async fn a_large_header_is_refused() {
    let pod = Pod::development().start().await;
    let mut large = connected(&pod).await;
    let head =
        format!("GET /v1/region HTTP/1.1\r\nhost: localhost\r\nx-large: {}\r\n\r\n", "a".repeat(64 << 10));
    // The service may close before all of it is sent.
    let _ = large.write_all(head.as_bytes()).await;
    let mut text = Vec::new();
    let _ = timeout(SOON, large.read_to_end(&mut text)).await.expect("the service closes the connection");
    let text = String::from_utf8_lossy(&text);
    assert!(!text.contains("200 OK"), "{text}");
    assert_eq!(pod.public.get("/v1/region").await.unwrap().status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_counted() {
    let pod = Pod::development().configured("[http]\nmax_connections = 2").start().await;
    let (one, two) = (pod.public.connect().await.unwrap(), pod.public.connect().await.unwrap());
    wait_until("two open connections", SOON, async || pod.metric("service_connections").await == Some(2.0))
        .await
        .unwrap();
    let mut third = connected(&pod).await;
    assert_eq!(until_closed(&mut third).await, "");
    assert_eq!(pod.metric("service_connections_over_limit_total").await, Some(1.0));
    drop((one, two));
    wait_until("no open connection", SOON, async || pod.metric("service_connections").await == Some(0.0))
        .await
        .unwrap();
    assert_eq!(pod.public.get("/v1/region").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_connection_is_kept_between_requests() {
    let pod = Pod::development().start().await;
    let mut connection = pod.public.connect().await.unwrap();
    for _ in 0..3 {
        let request = pod.public.request(http::Method::GET, "/v1/region", None, bytes::Bytes::new()).unwrap();
        let answer = timeout(Duration::from_secs(5), connection.send(request)).await.unwrap().unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, ""));
    }
    assert_eq!(pod.metric("service_connections_accepted_total").await, Some(1.0));
}
