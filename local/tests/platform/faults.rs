//! Faults do what they say, to the region that they name, and end.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use http::Method;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use local_region::kubernetes::KubernetesApi;
use local_region::platform::faults::{self, Side, Which};
use local_region::platform::{self, Network, Plan, Region, Setup, images};
use local_region::programs::program;
use local_region::wait::wait_until;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::nodes::plan;
use crate::traces::traces;

const ENVIRONMENT: &str = "test-faults";

/// Until something happens that should; and for what should not happen at all.
const SOON: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(2);

/// Whether a connection can be had from this machine.
async fn reached(address: SocketAddr) -> bool {
    timeout(NEVER, TcpStream::connect(address)).await.is_ok_and(|connected| connected.is_ok())
}

/// Whether a connection can be had from a node.
fn reached_from(node: &str, address: Ipv4Addr) -> bool {
    let net = format!("--net=/run/netns/{node}");
    let open = format!("exec 3<>/dev/tcp/{address}/6443");
    let mut command = Command::new("nsenter");
    command.args([&net, "--", "timeout", "2", "bash", "-c", &open]);
    command.output().unwrap().status.success()
}

async fn answers(api: &KubernetesApi) -> bool {
    let call = api.call(Method::GET, "/api/v1/namespaces/default", None);
    timeout(NEVER, call).await.is_ok_and(|answer| answer.is_ok())
}

/// How far a region's clock is before this machine's, in seconds: before any moment while it was asked.
async fn ahead(api: &KubernetesApi) -> i64 {
    let asked = Timestamp::now().as_second();
    let answer = api.access().send(Method::GET, "/livez", None).await.unwrap();
    let answered = Timestamp::now().as_second();
    let date = rfc2822::parse(answer.header("date")).unwrap().timestamp().as_second();
    date - date.clamp(asked, answered)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: make test-platform"]
async fn faults_meet_the_region_that_they_name_and_end() {
    platform::check().unwrap();
    platform::clean(ENVIRONMENT).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let plans: Vec<Plan> = [("eu", 104), ("us", 112)]
        .map(|(name, second)| Plan { name: name.into(), count: 1, ..plan(ENVIRONMENT, second) })
        .into();
    Network::make(&plans).unwrap();
    let (parts, own) = (platform::parts().unwrap(), program("local-region").unwrap());
    let archives = [images::pause().unwrap()];
    let setup = Setup { parts: &parts, images: &archives, program: &own, registry: None };
    let up = plans
        .iter()
        .map(async |plan| Region::up(plan.clone(), &folder.path().join(&plan.name), &setup).await);
    let regions = futures_util::future::try_join_all(up).await.unwrap();
    let ([eu, us], [one, other]) = (&regions[..], &plans[..]) else { unreachable!() };
    let address = |region: &Region| region.api().address();
    let whole = async || {
        assert!(answers(eu.api()).await && answers(us.api()).await);
        assert!(reached_from(&one.namespace(1), other.address(1)));
        let clocks = (ahead(eu.api()).await, ahead(us.api()).await);
        assert!(clocks.0.abs() <= 1 && clocks.1.abs() <= 1, "{clocks:?}");
    };
    whole().await;

    let server = Which { program: Some("kube-apiserver".into()), node: None };
    assert_eq!(faults::freeze(one, &server).unwrap(), 1);
    assert!(
        !answers(eu.api()).await && reached(address(eu)).await,
        "it hangs, and the kernel takes connections"
    );
    assert!(answers(us.api()).await);
    assert_eq!(faults::thaw(one, &server).unwrap(), 1);
    wait_until("eu to answer again", SOON, async || answers(eu.api()).await).await.unwrap();
    let all = faults::freeze(other, &Which::default()).unwrap();
    assert!(all > 6 && !answers(us.api()).await, "{all} processes");
    faults::thaw(other, &Which::default()).unwrap();
    wait_until("us to answer again", SOON, async || answers(us.api()).await).await.unwrap();

    faults::cut(one, &Side::Region(other)).unwrap();
    assert!(
        !reached_from(&one.namespace(1), other.address(1))
            && !reached_from(&other.namespace(1), one.address(1))
    );
    assert!(reached(address(eu)).await && reached(address(us)).await, "this machine reaches both");
    faults::mend(one).unwrap();
    whole().await;
    faults::cut(one, &Side::Api).unwrap();
    assert!(
        !reached(address(eu)).await && reached_from(&one.namespace(1), one.address(1)),
        "only from outside"
    );
    faults::mend(one).unwrap();
    faults::cut(other, &Side::Everything).unwrap();
    assert!(!reached(address(us)).await && reached(address(eu)).await);
    faults::mend(other).unwrap();
    whole().await;

    let by = Duration::from_millis(150);
    faults::delay(one, by).await.unwrap();
    let slow = wait_until("connections to be slow", SOON, async || {
        let begun = Instant::now();
        let connected = reached(address(eu)).await;
        if connected && begun.elapsed() >= 2 * by {
            Ok(())
        } else {
            Err(format!("{connected} {:?}", begun.elapsed()))
        }
    });
    slow.await.unwrap();
    faults::delay(one, Duration::ZERO).await.unwrap();
    whole().await;

    faults::skew(one, -3600).await.unwrap();
    let (wrong, right) = (ahead(eu.api()).await, ahead(us.api()).await);
    assert!((-3602..=-3599).contains(&wrong) && right.abs() <= 1, "{wrong} and {right}");
    faults::skew(one, 0).await.unwrap();
    whole().await;

    drop(regions);
    platform::clean(ENVIRONMENT).await.unwrap();
    assert_eq!(traces(ENVIRONMENT), Vec::<String>::new());
}
