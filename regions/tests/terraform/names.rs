//! The inventories in `terraform/tests/golden`, which its own tests hold against its plans, beside what is computed here.

use std::path::{Path, PathBuf};

use regions::catalogue::region::Region;
use regions::catalogue::{Catalogue, Environment};
use regions::plan::vault::chart;
use serde_json::{Map, Value};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Each region of the catalogue, with what Terraform makes in its environment.
fn everywhere(look: impl Fn(&Environment, &Region, &Map<String, Value>)) {
    let catalogue = Catalogue::load(&root().join("regions/catalogue")).unwrap();
    let mut seen = 0;
    for environment in catalogue.environments() {
        let file = root().join(format!("terraform/tests/golden/{}.json", environment.name));
        let made: Map<String, Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for region in &environment.regions {
            look(environment, region, &made);
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen} regions");
}

fn made<'a>(all: &'a Map<String, Value>, module: &str, region: &Region, resource: &str) -> &'a Value {
    let address = format!("module.{module}[\"{}\"].{resource}", region.name);
    all.get(&address).unwrap_or_else(|| panic!("Terraform makes no {address}"))
}

#[test]
fn a_cluster_and_its_network_are_named_and_divided_alike() {
    everywhere(|environment, region, all| {
        let cluster = made(all, "region", region, "google_container_cluster.this");
        assert_eq!(cluster["name"], region.cluster());
        assert_eq!(cluster["project"], environment.settings.project.as_str());
        assert_eq!(cluster["location"], region.location.as_str());
        let nodes = made(all, "region", region, "google_service_account.nodes");
        assert_eq!(nodes["account_id"], region.nodes_account());
        let subnetwork =
            &all[&format!("module.network.google_compute_subnetwork.region[\"{}\"]", region.name)];
        assert_eq!(subnetwork["ip_cidr_range"], region.subnets.nodes.to_string());
        for part in subnetwork["secondary_ip_range"].as_array().unwrap() {
            let wanted = match part["range_name"].as_str().unwrap() {
                "pods" => region.subnets.pods,
                _ => region.subnets.services,
            };
            assert_eq!(part["ip_cidr_range"], wanted.to_string());
        }
    });
}

#[test]
fn vault_unseals_itself_with_the_key_and_as_the_account_that_terraform_makes() {
    everywhere(|environment, region, all| {
        let project = environment.settings.project.as_str();
        let values = chart::values(environment, region);
        let ring = made(all, "region", region, "google_kms_key_ring.this");
        let key = made(all, "vault", region, "google_kms_crypto_key.seal");
        let configuration = values["server"]["ha"]["raft"]["config"].as_str().unwrap();
        let (_, seal) = configuration.split_once("seal \"gcpckms\"").unwrap();
        let said = |key: &str| {
            let line = seal.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
            line.split('"').nth(1).unwrap().to_owned()
        };
        assert_eq!(said("project"), project);
        assert_eq!(said("region"), ring["location"]);
        assert_eq!(said("key_ring"), ring["name"]);
        assert_eq!(said("crypto_key"), key["name"]);

        let account = made(all, "vault", region, "google_service_account.vault");
        let address =
            format!("{}@{project}.iam.gserviceaccount.com", account["account_id"].as_str().unwrap());
        assert_eq!(
            values["server"]["serviceAccount"]["annotations"]["iam.gke.io/gcp-service-account"],
            address
        );
        // The chart names the ServiceAccount as everything else, by `fullnameOverride`.
        let (namespace, name) = chart::service(region);
        assert_eq!(values["fullnameOverride"], name);
        let binding = made(all, "vault", region, "google_service_account_iam_member.vault");
        assert_eq!(binding["member"], format!("serviceAccount:{project}.svc.id.goog[{namespace}/{name}]"));
        assert_eq!(binding["role"], "roles/iam.workloadIdentityUser");
    });
}

#[test]
fn vaults_nodes_are_off_spot_and_what_terraform_adds_to_its_values_overrides_none() {
    everywhere(|environment, region, all| {
        let pool = made(all, "vault", region, "google_container_node_pool.vault");
        assert_eq!(pool["node_config"][0]["spot"], false);
        assert!(!region.pools.value.keys().any(|name| pool["name"] == name.as_str()));
        // modules/vault/outputs.tf, `values`.
        let values = chart::values(environment, region);
        for key in ["image", "nodeSelector", "tolerations"] {
            assert_eq!(values["server"].get(key), None, "server.{key} would have two sources");
        }
        assert_eq!(values["ui"], serde_json::json!({"enabled": false}));
    });
}
