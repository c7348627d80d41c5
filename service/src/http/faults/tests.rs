use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::configuration::Configuration;
use crate::development;
use crate::logging::LevelHandle;
use crate::server::Listeners;

const REGION: &str = "GET /v1/region HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
/// Of the client of the development mode.
const TOKEN: &str = "POST /oauth2/token HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
                     authorization: Basic ZGV2ZWxvcG1lbnQ6ZGV2ZWxvcG1lbnQtb25seQ==\r\n\
                     content-type: application/x-www-form-urlencoded\r\ncontent-length: 29\r\n\r\n\
                     grant_type=client_credentials";

fn configuration(faults: &str) -> Result<Configuration, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.toml");
    std::fs::write(&file, format!("[faults]\n{faults}\n")).unwrap();
    Configuration::read(Some(&file)).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// A service in the development mode that plays these faults.
struct Faulty {
    state: Arc<State>,
    address: SocketAddr,
}

impl Faulty {
    async fn start(faults: &str) -> Self {
        let state = Arc::new(State::new(configuration(faults).unwrap(), LevelHandle::none()));
        state.adopt(development::parts(&state.configuration).unwrap());
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = Listeners::open(anywhere, anywhere).await.unwrap();
        let (address, _) = listeners.addresses().unwrap();
        let (_, serving) = listeners.serve(&state).unwrap();
        tokio::spawn(serving);
        Self { state, address }
    }

    /// The answer's status.
    async fn ask(&self, request: &str) -> u16 {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[track_caller]
    fn counts(&self, series: &str) {
        let metrics = self.state.metrics.encode().unwrap();
        assert!(metrics.lines().any(|line| line == series), "{series:?} is not in\n{metrics}");
    }
}

#[test]
fn a_share_meets_the_same_requests_each_time() {
    let met = |share| (1..=60).filter(|number| Share(share).meets(*number)).collect::<Vec<u64>>();
    assert_eq!(met(50_000), [20, 40, 60]);
    assert_eq!(met(0), [0; 0]);
    assert_eq!(met(WHOLE).len(), 60);
    assert_eq!(met(333_333).len(), 19);
}

#[test]
fn faults_are_configured_as_everything_is() {
    let Faults { errors, delay, refuse } =
        configuration("errors = \"0.05\"\ndelay = \"400ms\"\nrefuse = \"true\"").unwrap().faults;
    assert_eq!((errors, delay.0, refuse), (Share(50_000), Duration::from_millis(400), Flag(true)));
    for (text, expected) in [
        ("errors = \"1.5\"", "faults.errors: expected a share in quotes, from 0 to 1 such as 0.05"),
        ("errors = \"NaN\"", "faults.errors: expected a share"),
        ("delay = \"long\"", "faults.delay: expected a length of time"),
        ("refuse = \"sometimes\"", "faults.refuse: expected true or false"),
        ("crash = \"true\"", "unknown key `crash`; allowed: errors, delay, refuse"),
    ] {
        let said = configuration(text).unwrap_err();
        assert!(said.contains(expected), "wanted {expected:?} in {said:?}");
    }
}

#[tokio::test]
async fn a_share_of_requests_fails_and_is_counted_as_failed() {
    let faulty = Faulty::start("errors = \"0.5\"").await;
    let mut statuses = Vec::new();
    for request in [REGION, REGION, TOKEN, TOKEN] {
        statuses.push(faulty.ask(request).await);
    }
    assert_eq!(statuses, [200, 500, 200, 500]);
    faulty.counts("service_requests_total{route=\"/v1/region\",code=\"500\"} 1");
    faulty.counts("service_requests_total{route=\"/oauth2/token\",code=\"500\"} 1");
    faulty.counts("service_token_refusals_total{error=\"server_error\"} 1");
}

#[tokio::test]
async fn answers_come_late_and_are_counted_as_late() {
    let faulty = Faulty::start("delay = \"300ms\"").await;
    let begun = Instant::now();
    assert_eq!(faulty.ask(REGION).await, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    faulty.counts("service_request_duration_seconds_bucket{le=\"0.25\",route=\"/v1/region\"} 0");
}

#[tokio::test]
async fn good_clients_are_refused_and_counted_as_refused() {
    let faulty = Faulty::start("refuse = \"true\"").await;
    assert_eq!((faulty.ask(TOKEN).await, faulty.ask(REGION).await), (401, 200));
    faulty.counts("service_requests_total{route=\"/oauth2/token\",code=\"401\"} 1");
    faulty.counts("service_token_refusals_total{error=\"invalid_client\"} 1");
}

#[tokio::test]
async fn without_faults_nothing_is_played() {
    let faulty = Faulty::start("").await;
    for request in [REGION, TOKEN].repeat(30) {
        assert_eq!(faulty.ask(request).await, 200);
    }
}
