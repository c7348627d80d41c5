//! Vault as a pod of a real region, reached through its API server.

use std::fs;

use http::Method;
use local_region::http::{Client, Target};
use local_region::kubernetes::Kubeconfig;
use local_region::platform::{self, Network, Plan, Region, Setup, images};
use local_region::programs::program;
use local_region::wait::wait_until;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::time::Duration;

use crate::install::{CHART, package};
use crate::terminal::Terminal;
use crate::third::{Third, bundle};

const ENVIRONMENT: &str = "test-vault";
const SOON: Duration = Duration::from_secs(60);

fn plan() -> Plan {
    let net = |text: &str| text.parse().unwrap();
    Plan {
        environment: ENVIRONMENT.into(),
        name: "ap".into(),
        location: "local-ap1".into(),
        context: "meridian-production-ap".into(),
        range: net("10.120.0.0/14"),
        nodes: net("10.120.0.0/20"),
        services: net("10.120.16.0/20"),
        pods: net("10.121.0.0/16"),
        pools: Vec::new(),
        count: 1,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and a minute: make test-platform"]
async fn a_vault_in_a_pod_is_made_through_a_port_forward_and_pods_log_in_to_it() {
    platform::check().unwrap();
    platform::clean(ENVIRONMENT).await.unwrap();
    let third = Third::start().await;
    let folder = third.world.folder.path();
    Network::make(&[plan()]).unwrap();
    let archives = [images::pause().unwrap(), images::vault().unwrap()];
    let (parts, own) = (platform::parts().unwrap(), program("local-region").unwrap());
    let setup = Setup { parts: &parts, images: &archives, program: &own, registry: None };
    let region = Region::up(plan(), &folder.join("ap"), &setup).await.unwrap();
    let api = region.api();
    let create = async |path: &str, object: Value| api.call(Method::POST, path, Some(object)).await.unwrap();

    let ca = local_region::pki::Ca::new("ap").unwrap();
    let issued = ca.issue(&["vault.vault.svc", "*.vault-internal", "localhost", "127.0.0.1"]).unwrap();
    create("/api/v1/namespaces", json!({"metadata": {"name": "vault"}})).await;
    let files = json!({
        "ca.crt": ca.pem(), "tls.crt": issued.certificate_pem, "tls.key": issued.key_pem.expose_secret(),
    });
    create(
        "/api/v1/namespaces/vault/secrets",
        json!({"metadata": {"name": "vault-tls"}, "stringData": files}),
    )
    .await;
    fs::write(bundle(&third.world), fs::read_to_string(bundle(&third.world)).unwrap() + &ca.pem()).unwrap();
    third.world.edit("ap.yaml", |text| {
        let start = text.find("vault: {").unwrap();
        text[..start].to_owned() + "vault: { address: 'https://vault.vault.svc:8200', port_forward: true }\n"
    });
    // The issuer of the jobs' tokens is this machine's loopback, which no pod reaches.
    third.world.edit("_environment.yaml", |text| text[..text.find("pipeline:").unwrap()].to_owned());
    let kubeconfig = folder.join("kubeconfig");
    Kubeconfig::new().context("meridian-production-ap", api).write(&kubeconfig).unwrap();
    // One server, without Cloud KMS and without a volume.
    let config = "disable_mlock = true\nlistener \"tcp\" {\n  address = \"[::]:8200\"\n  cluster_address = \"[::]:8201\"\n  \
        tls_cert_file = \"/vault/userconfig/tls/tls.crt\"\n  tls_key_file = \"/vault/userconfig/tls/tls.key\"\n}\n\
        storage \"raft\" {\n  path = \"/vault/data\"\n}\nservice_registration \"kubernetes\" {}\n";
    let values = json!({"server": {
        "image": {"repository": "localhost/vault", "tag": "1.21.0", "pullPolicy": "Never"},
        "dataStorage": {"enabled": false},
        "ha": {"replicas": 1, "raft": {"config": config}},
    }});
    let values_file = folder.join("values.json");
    fs::write(&values_file, values.to_string()).unwrap();
    let chart = package(CHART.as_ref(), "0.32.0+local", folder).await;
    let helm = local_region::tools::helm().unwrap();
    let arguments: Vec<String> = [
        ("--kubeconfig", &kubeconfig),
        ("--vault-chart", &chart),
        ("--vault-values", &values_file),
        ("--helm", &helm),
    ]
    .map(|(name, file)| [name.to_owned(), file.display().to_string()])
    .concat();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

    let mut terminal = Terminal::start(third.command(&arguments));
    terminal.shows("Press Enter", 1).await;
    terminal.types("");
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(0), "{screen}");
    third.shows_no_secret(&screen);

    // Seen from outside, by the address that a Service of type LoadBalancer gets.
    let ports = json!([{"name": "https", "port": 8200}]);
    let selector = json!({"app.kubernetes.io/name": "vault"});
    let service = json!({
        "metadata": {"name": "outside"},
        "spec": {"type": "LoadBalancer", "ports": ports, "selector": selector},
    });
    create("/api/v1/namespaces/vault/services", service).await;
    let address = wait_until("an address", SOON, async || {
        let found = api.call(Method::GET, "/api/v1/namespaces/vault/services/outside", None).await.ok()?;
        found.pointer("/status/loadBalancer/ingress/0/ip")?.as_str()?.parse::<std::net::IpAddr>().ok()
    });
    let address = std::net::SocketAddr::new(address.await.unwrap(), 8200);
    let vault = Client::new(Target::localhost(address, &ca.pem()).unwrap());
    let health =
        async || vault.get("/v1/sys/health").await.and_then(|answer| answer.expect(200.try_into().unwrap()));
    wait_until("Vault at the address", SOON, health).await.unwrap();

    // A pod's own token logs in, and another ServiceAccount's does not.
    create("/api/v1/namespaces", json!({"metadata": {"name": "meridian"}})).await;
    let mut statuses = Vec::new();
    for account in ["service", "stranger"] {
        let path = "/api/v1/namespaces/meridian/serviceaccounts";
        create(path, json!({"metadata": {"name": account}})).await;
        let request = json!({"spec": {"audiences": ["vault"], "expirationSeconds": 600}});
        let token = create(&format!("{path}/{account}/token"), request).await;
        let body = json!({"role": "service", "jwt": token["status"]["token"]}).to_string();
        let login =
            vault.request(Method::POST, "/v1/auth/kubernetes/login", Some("application/json"), body.into());
        statuses.push(vault.send(login.unwrap()).await.unwrap().status.as_u16());
    }
    assert_eq!(statuses, [200, 403]);
    drop(region);
    assert!(!platform::clean(ENVIRONMENT).await.unwrap().is_empty());
    assert_eq!(platform::clean(ENVIRONMENT).await.unwrap(), Vec::<String>::new());
}
