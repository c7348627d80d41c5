//! `regions vault apply`: from nothing, again, after changes by hand, and where it must not go on.

use http::Method;
use local_region::pki::Ca;
use local_region::proxy::{AnswerProxy, Rule};
use serde_json::{Value, json};

use crate::world::{World, contents, read};

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_in_both_regions_and_then_there_is_no_change() {
    let world = World::start().await;
    for (region, vault) in [("eu", &world.eu), ("us", &world.us)] {
        let before = contents(&vault.admin()).await;
        let planned = world.apply(region, &["--dry-run", "--output", "json"]).await.expect(0).json();
        assert_eq!(planned["outcome"], "planned");
        assert_eq!(contents(&vault.admin()).await, before, "a dry run writes nothing");
        let steps = planned["steps"].as_array().unwrap().len();
        // Settings are always there.
        let done = format!("{} created, 1 changed, 0 adopted, 0 removed", steps - 1);
        world.apply(region, &[]).await.expect(0).says(&done);
        world.apply(region, &[]).await.expect(0).says("no change");
        let again = world.apply(region, &["--output", "json", "--prune", "--adopt"]).await.expect(0).json();
        assert_eq!((&again["outcome"], &again["steps"]), (&json!("no_change"), &json!([])));
    }
    let audit = read(&world.eu.admin(), "sys/audit").await;
    assert_eq!(audit["file/"]["options"]["file_path"], "stdout");
    let role = read(&world.eu.admin(), "auth/jwt/role/promoter").await;
    assert_eq!(role["bound_claims"]["oidc.circleci.com/vcs-ref"], "refs/heads/main");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_that_vault_answers_of_a_role_is_decided() {
    let world = World::start().await;
    world.apply("eu", &[]).await.expect(0);
    let admin = world.eu.admin();
    // What cannot be changed after it was made, and stays at its default.
    let left = ["local_secret_ids"];
    for path in ["auth/approle/role/service", "auth/jwt/role/promoter", "sys/quotas/rate-limit/meridian-kv"] {
        let found = read(&admin, path).await;
        let decided = decided(&world, path).await;
        for field in found.as_object().unwrap().keys().filter(|field| !left.contains(&field.as_str())) {
            assert!(decided.contains(field), "{path}: {field} could be changed without being noticed");
        }
    }
}

/// Fields of an object that an apply looks at: it sees all of them differ from an object that has none.
async fn decided(world: &World, path: &str) -> Vec<String> {
    let catalogue = regions::catalogue::Catalogue::load(&world.catalogue()).unwrap();
    let environment = catalogue.environment("production").unwrap();
    let region = environment.region("eu").unwrap();
    let wanted = regions::plan::vault::desired::desired(&environment.settings, &region.vault.value);
    wanted.into_iter().find(|object| object.path == path).unwrap().fields.keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_by_hand_is_found_told_and_mended() {
    let world = World::start().await;
    world.apply("eu", &[]).await.expect(0);
    let admin = world.eu.admin();
    let good = contents(&admin).await;
    let post = async |path: &str, body: Value| admin.call(Method::POST, path, Some(body)).await.unwrap();
    admin.write_policy("service", "path \"*\" { capabilities = [\"read\"] }\n").await.unwrap();
    post("auth/approle/role/rotator", json!({"token_policies": ["rotator", "root-like"], "token_ttl": 7200}))
        .await;
    post(
        "auth/jwt/role/promoter",
        json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["anyone"], "bound_claims": {},
        }),
    )
    .await;
    post("sys/quotas/rate-limit/meridian-kv", json!({"path": "kv/", "rate": 1})).await;
    post("sys/quotas/config", json!({"enable_rate_limit_response_headers": false})).await;
    post("kv/config", json!({"max_versions": 2})).await;
    admin.call(Method::DELETE, "sys/audit/file", None).await.unwrap();
    admin.call(Method::DELETE, "auth/approle/role/watcher", None).await.unwrap();

    let ran = world.apply("eu", &["--dry-run"]).await.expect(0);
    ran.says("~ sys/policies/acl/service")
        .says("-path \"*\"")
        .says("+path \"kv/data/service/*\"")
        .says("~ auth/approle/role/rotator")
        .says("token_ttl: 7200 → 3600")
        .says("~ auth/jwt/role/promoter")
        .says("bound_audiences: [\"anyone\"]")
        .says("rate: 1 → 100")
        .says("max_versions: 2 → 10")
        .says("+ sys/audit/file")
        .says("+ auth/approle/role/watcher")
        .says("2 to create, 6 to change, 0 to adopt, 0 to remove");
    world.apply("eu", &[]).await.expect(0).says("2 created, 6 changed");
    assert_eq!(contents(&admin).await, good);
    world.apply("eu", &[]).await.expect(0).says("no change");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_made_is_left_alone_and_what_is_no_longer_wanted_goes_only_with_prune() {
    let world = World::start().await;
    world.apply("eu", &[]).await.expect(0);
    let admin = world.eu.admin();
    admin.write_policy("people", "path \"kv/*\" { capabilities = [\"list\"] }\n").await.unwrap();
    admin.enable_auth("userpass", "userpass").await.unwrap();
    admin.create_approle("people", json!({"token_policies": ["people"]})).await.unwrap();
    world.apply("eu", &["--prune"]).await.expect(0).says("no change");

    world.edit("_environment.yaml", |text| {
        text.replace("approle: [service, watcher, promoter, rotator]\n", "")
    });
    let before = contents(&admin).await;
    let ran = world.apply("eu", &[]).await.expect(0);
    ran.says("? auth/approle/role/rotator: no longer wanted; remove it with --prune");
    ran.says("? sys/auth/approle: no longer wanted; it has roles that others made: people").says("no change");
    assert_eq!(contents(&admin).await, before);

    // The roles go; the method stays for the sake of the one that somebody else made.
    world.apply("eu", &["--prune"]).await.expect(0).says("- auth/approle/role/rotator").says("6 removed");
    let roles = admin.call(Method::GET, "auth/approle/role?list=true", None).await.unwrap();
    assert_eq!(roles["data"]["keys"], json!(["people"]));
    admin.call(Method::DELETE, "auth/approle/role/people", None).await.unwrap();
    world.apply("eu", &["--prune"]).await.expect(0).says("- sys/auth/approle").says("1 removed");
    let after = contents(&admin).await;
    assert!(after["sys/auth"].get("approle/").is_none() && after["sys/auth"].get("userpass/").is_some());
    assert!(after.contains_key("sys/policies/acl/people"));
    world.apply("eu", &["--prune"]).await.expect(0).says("no change");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_made_at_a_wanted_path_stands_in_the_way_until_it_is_adopted() {
    let world = World::start().await;
    let admin = world.eu.admin();
    admin.mount_kv("kv").await.unwrap();
    admin.put("kv", "service/config", &json!({"a": 1}), None).await.unwrap();
    admin.enable_auth("approle", "approle").await.unwrap();
    admin
        .write_policy("service", "path \"kv/data/service/*\" { capabilities = [\"read\"] }\n")
        .await
        .unwrap();
    let before = contents(&admin).await;
    let ran = world.apply("eu", &[]).await.expect(1);
    for path in ["sys/mounts/kv", "sys/auth/approle", "sys/policies/acl/service"] {
        ran.says(&format!("! {path}: it is there, and regions did not make it"));
    }
    assert_eq!(contents(&admin).await, before);
    world.apply("eu", &["--adopt"]).await.expect(0).says("3 adopted").says("> sys/mounts/kv");
    assert_eq!(admin.read("kv", "service/config", None).await.unwrap().data, json!({"a": 1}));
    world.apply("eu", &[]).await.expect(0).says("no change");

    let other = world.us.admin();
    other
        .call(Method::POST, "sys/mounts/kv", Some(json!({"type": "kv", "options": {"version": "1"}})))
        .await
        .unwrap();
    other.enable_auth("userpass", "jwt").await.unwrap();
    let ran = world.apply("us", &["--adopt"]).await.expect(1);
    ran.says("! sys/mounts/kv: it is KV v1").says("! sys/auth/jwt: it is of the type userpass, not jwt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_does_not_answer_or_says_no_is_told_and_nothing_is_written() {
    let world = World::start().await;
    let ca = world.eu.ca_file();
    let wrong = world.token_file("wrong", "hvs.wrong");
    let ran = world.apply_as("eu", &wrong, ca, &[]).await.expect(1);
    ran.says("Vault answered 403").says("or has not the policy operator").says("nothing was changed");
    let empty = world.token_file("empty", "\n");
    world.apply_as("eu", &empty, ca, &[]).await.expect(2).says("it should hold a token and nothing else");
    world.apply_as("eu", "/nowhere/token", ca, &[]).await.expect(2).says("/nowhere/token: No such file");
    let stranger = world.folder.path().join("stranger.pem");
    Ca::new("stranger").unwrap().write(&stranger).unwrap();
    let root = world.token_file("root", secrecy::ExposeSecret::expose_secret(world.eu.root_token()));
    world.apply_as("eu", &root, &stranger, &[]).await.expect(1).says("certificate");
    world.eu.seal().await.unwrap();
    world.apply_as("eu", &root, ca, &[]).await.expect(1).says("Vault answered 503").says("unseal it");
    world.eu.kill().await;
    world.apply_as("eu", &root, ca, &[]).await.expect(1).says("refused");
    let ran = world.apply_as("mars", &root, ca, &[]).await.expect(2);
    ran.says("there is no region mars in production");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_away_ends_it_in_the_middle_and_it_goes_on_later() {
    let world = World::start().await;
    let url = world.issuer.url();
    world.edit("_environment.yaml", |text| text.replace(&url, "http://127.0.0.1:9"));
    let ran = world.apply("eu", &[]).await.expect(4);
    ran.says("incomplete after").says("run it again").says("auth/jwt/config").says("oidc discovery");
    world.edit("_environment.yaml", |text| text.replace("http://127.0.0.1:9", &url));
    world.apply("eu", &[]).await.expect(0).says("created");
    world.apply("us", &[]).await.expect(0);
    assert_eq!(contents(&world.eu.admin()).await, contents(&world.us.admin()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_pods_log_in_by_their_service_account() {
    let world = World::start().await;
    // Vault takes this configuration only where it runs as a pod: it looks for its own ServiceAccount's files.
    let ca = Ca::new("proxy").unwrap();
    let target = local_region::http::Target::localhost(
        world.eu.address(),
        &std::fs::read_to_string(world.eu.ca_file()).unwrap(),
    );
    let proxy =
        AnswerProxy::start(&ca.issue(&["localhost", "127.0.0.1"]).unwrap(), target.unwrap()).await.unwrap();
    proxy
        .add(Rule::when(|method, path| *method == Method::POST && path == "/v1/auth/kubernetes/config", 204));
    let (vault, via) = (world.eu.url(), format!("https://localhost:{}", proxy.address().port()));
    world.edit("eu.yaml", |text| text.replace(&vault, &via).replace(", in_cluster: false", ""));
    let authority = world.folder.path().join("proxy.pem");
    ca.write(&authority).unwrap();
    let root = world.token_file("root", secrecy::ExposeSecret::expose_secret(world.eu.root_token()));
    world.apply_as("eu", &root, &authority, &[]).await.expect(0).says("+ auth/kubernetes/role/service");
    let role = read(&world.eu.admin(), "auth/kubernetes/role/service").await;
    assert_eq!(role["bound_service_account_names"], json!(["service"]));
    assert_eq!(role["bound_service_account_namespaces"], json!(["meridian"]));
    assert_eq!((&role["audience"], &role["token_policies"]), (&json!("vault"), &json!(["service"])));
    let fields = regions::plan::vault::desired::desired(
        &regions::catalogue::Catalogue::load(&world.catalogue())
            .unwrap()
            .environment("production")
            .unwrap()
            .settings,
        &regions::catalogue::Catalogue::load(&world.catalogue())
            .unwrap()
            .environment("production")
            .unwrap()
            .region("eu")
            .unwrap()
            .vault
            .value,
    );
    let decided =
        fields.into_iter().find(|object| object.path == "auth/kubernetes/role/service").unwrap().fields;
    for field in role.as_object().unwrap().keys() {
        assert!(decided.contains_key(field), "{field}");
    }
}
