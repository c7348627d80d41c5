//! Who gets what from Vault, by the tokens of Kubernetes.

use http::Method;
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make e2e"]
async fn only_the_services_own_account_gets_its_documents_and_nothing_else() {
    let world = World::open().await;
    let eu = world.eu();
    let accounts = "/api/v1/namespaces/meridian/serviceaccounts";
    eu.create(accounts, json!({"metadata": {"name": "stranger"}})).await;
    let vault = world.environment.vault(&eu.region, "promoter").await.unwrap();
    let anonymous = vault.with_token(&String::new().into());
    let login = async |account: &str, audience: &str| {
        let request = json!({"spec": {"audiences": [audience], "expirationSeconds": 600}});
        let token = eu.create(&format!("{accounts}/{account}/token"), request).await;
        let body = json!({"role": "service", "jwt": token["status"]["token"]});
        anonymous.call(Method::POST, "auth/kubernetes/login", Some(body)).await
    };
    let refused = |found: Result<Value, local_region::vault::Error>| match found {
        Err(local_region::vault::Error::Refused { status, .. }) => status.as_u16(),
        other => panic!("{other:?}"),
    };
    let strangers = refused(login("stranger", "vault").await);
    eu.delete(&format!("{accounts}/stranger")).await;
    assert_eq!(strangers, 403, "another account");
    assert_eq!(refused(login("service", "another").await), 403, "another audience");

    let own = login("service", "vault").await.unwrap();
    let own = vault.with_token(&own["auth"]["client_token"].as_str().unwrap().into());
    own.read("kv", "service/config", None).await.unwrap();
    for path in
        ["kv/data/client/probe", "kv/data/client-pending/probe", "kv/data/regions/vault", "sys/mounts"]
    {
        assert_eq!(refused(own.call(Method::GET, path, None).await), 403, "{path}");
    }
    let write = own.call(Method::POST, "kv/data/service/config", Some(json!({"data": {}}))).await;
    assert_eq!(refused(write), 403, "a write");
}
