//! The end in order, and the end at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use local_region::http::StatusCode;
use local_region::wait::wait_until;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::load::{Ask, Load};
use crate::pod::{Pod, SOON};

async fn pod(accept_for: &str, drain_for: &str) -> Pod {
    let times = format!("[shutdown]\naccept_for = \"{accept_for}\"\ndrain_for = \"{drain_for}\"");
    let pod = Pod::development().configured(&times).start().await;
    pod.ready().await;
    pod
}

async fn is_unready(pod: &Pod) {
    wait_until("not ready", SOON, async || {
        let (status, told) = pod.readiness().await;
        if status == StatusCode::SERVICE_UNAVAILABLE { Ok(()) } else { Err(told.to_string()) }
    })
    .await
    .unwrap();
}

async fn exit_code(pod: &Pod) -> Option<i32> {
    timeout(SOON, pod.process.ended()).await.expect("the process ends").code()
}

#[tokio::test]
async fn sigterm_ends_readiness_at_once_then_serves_then_closes_then_ends() {
    let pod = pod("1500ms", "1s").await;
    let mut kept = pod.public.connect().await.unwrap();
    let region = || pod.public.request(Method::GET, "/v1/region", None, Bytes::new()).unwrap();
    assert_eq!(kept.send(region()).await.unwrap().status, StatusCode::OK);

    let signalled = Instant::now();
    pod.process.signal(Signal::TERM).unwrap();
    is_unready(&pod).await;
    assert!(signalled.elapsed() < Duration::from_millis(1000), "{:?}", signalled.elapsed());
    assert_eq!(pod.readiness().await.1["reason"], "shutting down");
    assert_eq!(pod.admin.get("/livez").await.unwrap().status, StatusCode::OK);
    let fresh = pod.public.get("/v1/region").await.unwrap();
    assert_eq!((fresh.status, fresh.header("connection")), (StatusCode::OK, ""));

    wait_until("the answers to close their connections", SOON, async || {
        let answer = pod.public.get("/v1/region").await.map_err(|error| error.to_string())?;
        if answer.header("connection") == "close" { Ok(()) } else { Err("kept".to_owned()) }
    })
    .await
    .unwrap();
    assert!(signalled.elapsed() >= Duration::from_millis(1500), "{:?}", signalled.elapsed());
    let last = kept.send(region()).await.unwrap();
    assert_eq!((last.status, last.header("connection")), (StatusCode::OK, "close"));
    assert_eq!(exit_code(&pod).await, Some(0));
}

#[tokio::test]
async fn no_request_fails_while_a_process_ends_in_order() {
    let pod = pod("700ms", "1s").await;
    let load = Load::start(&pod.public, &[Ask::get("/v1/region", true), Ask::get("/v1/region", true)]);
    load.goes_on().await;
    pod.process.signal(Signal::TERM).unwrap();
    wait_until("the answers to close their connections", SOON, async || {
        pod.public.get("/v1/region").await.is_ok_and(|answer| answer.header("connection") == "close")
    })
    .await
    .unwrap();
    load.end_without_failure().await;
    assert_eq!(exit_code(&pod).await, Some(0));
}

#[tokio::test]
async fn clients_that_hang_do_not_keep_the_process() {
    let pod = pod("0s", "500ms").await;
    let mut half_a_request = TcpStream::connect(pod.port.address()).await.unwrap();
    half_a_request.write_all(b"POST /oauth2/token HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    let silent = TcpStream::connect(pod.port.address()).await.unwrap();
    wait_until("both connections", SOON, async || pod.metric("service_connections").await == Some(2.0))
        .await
        .unwrap();
    pod.process.signal(Signal::TERM).unwrap();
    assert_eq!(exit_code(&pod).await, Some(0));
    assert!(pod.log().contains(r#""message":"ended","cut":1"#), "{}", pod.log());
    drop((half_a_request, silent));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let pod = pod("10m", "10m").await;
    pod.process.signal(Signal::TERM).unwrap();
    is_unready(&pod).await;
    pod.process.signal(Signal::TERM).unwrap();
    assert_eq!(exit_code(&pod).await, Some(143));
}

#[tokio::test]
async fn sigint_does_not_wait_for_load_balancers() {
    let pod = pod("10m", "1s").await;
    pod.process.signal(Signal::INT).unwrap();
    assert_eq!(exit_code(&pod).await, Some(0));
}
