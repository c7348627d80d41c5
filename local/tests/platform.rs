//! A region with nodes: what runs in it is real.

use local_region::platform::{self, Network, Plan, Region, images};
use local_region::programs::program;

fn plan(environment: &str, name: &str, second: u8, count: u8) -> Plan {
    let net = |third: u8, last: u8, length| format!("10.{last}.{third}.0/{length}").parse().unwrap();
    Plan {
        environment: environment.into(),
        name: name.into(),
        location: format!("local-{name}1"),
        context: format!("meridian-{environment}-{name}"),
        range: net(0, second, 14),
        nodes: net(0, second, 20),
        services: net(16, second, 20),
        pods: net(0, second + 1, 16),
        count,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, and takes a minute: make test-platform"]
async fn a_region_runs_pods_and_is_gone_without_a_trace() {
    platform::check().unwrap();
    let environment = "test-a";
    platform::clean(environment).await.unwrap();
    let plan = plan(environment, "eu", 100, 1);
    let folder = tempfile::Builder::new().disable_cleanup(true).prefix("pf").tempdir().unwrap();
    let _network = Network::make(std::slice::from_ref(&plan)).unwrap();
    let archives = [images::pause().unwrap()];
    let parts = platform::parts().unwrap();
    let begun = std::time::Instant::now();
    let _region =
        Region::up(plan, folder.path(), &parts, &archives, &program("local-region").unwrap()).await.unwrap();
    println!("up in {:?}", begun.elapsed());
}
