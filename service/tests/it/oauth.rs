//! The public interface as a client sees it, without an agent.

use bytes::Bytes;
use http::{HeaderName, Method, header};
use local_region::http::{Answer, StatusCode};
use serde_json::{Value, json};

use crate::pod::{Pod, authorized, verify};

const ID: &str = service::development::CLIENT;
const SECRET: &str = service::development::SECRET;

fn assert_oauth_error(answer: &Answer, status: StatusCode, error: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.value().unwrap()["error"], error);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("www-authenticate").starts_with("Basic"), status == StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_is_issued_for_either_way_to_authenticate_and_verifies() {
    let pod = Pod::development().start().await;
    let by_body = pod.token(ID, SECRET).await;
    let by_header =
        authorized(&pod.public, ID, SECRET).form("/oauth2/token", "grant_type=client_credentials").await;
    for answer in [by_body, by_header.unwrap()] {
        let answer = answer.expect(StatusCode::OK).unwrap();
        assert_eq!(answer.header("cache-control"), "no-store");
        let issued = answer.value().unwrap();
        assert_eq!((&issued["token_type"], &issued["expires_in"]), (&json!("Bearer"), &json!(600)));
        assert_eq!(issued["scope"], "read write");
        let (_, claims) = verify(issued["access_token"].as_str().unwrap(), &pod.jwks().await);
        assert_eq!(claims["iss"], format!("http://{}", pod.port.address()));
        assert_eq!(claims["sub"], ID);
        assert_eq!(claims["scope"], "read write");
    }
}

#[tokio::test]
async fn refusals_have_the_codes_of_the_rfc_and_are_counted() {
    let pod = Pod::development().start().await;
    let basic = authorized(&pod.public, ID, SECRET);
    let grant = "grant_type=client_credentials";
    let both = format!("{grant}&client_id={ID}&client_secret={SECRET}");
    for (client, form, error) in [
        (&basic, "".to_owned(), "invalid_request"),
        (&basic, "grant_type=password".to_owned(), "unsupported_grant_type"),
        (&basic, format!("{grant}&{grant}"), "invalid_request"),
        (&basic, format!("{grant}&scope=read+admin"), "invalid_scope"),
        (&basic, format!("{grant}&scope=read++write"), "invalid_scope"),
        (&basic, format!("{grant}&resource=https://other.example"), "invalid_target"),
        (&basic, both, "invalid_request"),
    ] {
        let answer = client.form("/oauth2/token", &form).await.unwrap();
        assert_oauth_error(&answer, StatusCode::BAD_REQUEST, error);
    }
    for client in [
        &pod.public,
        &authorized(&pod.public, ID, "wrong"),
        &authorized(&pod.public, "nobody", SECRET),
        &pod.public.clone().header(header::AUTHORIZATION, "Bearer abc"),
    ] {
        let answer = client.form("/oauth2/token", grant).await.unwrap();
        assert_oauth_error(&answer, StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let in_url = basic.form("/oauth2/token?client_secret=x", grant).await.unwrap();
    assert_oauth_error(&in_url, StatusCode::BAD_REQUEST, "invalid_request");
    let as_json = basic
        .json(Method::POST, "/oauth2/token", &json!({"grant_type": "client_credentials"}))
        .await
        .unwrap();
    assert_oauth_error(&as_json, StatusCode::BAD_REQUEST, "invalid_request");

    assert_eq!(pod.metric(r#"service_token_refusals_total{error="invalid_client"}"#).await, Some(4.0));
    assert_eq!(pod.metric(r#"service_requests_total{route="/oauth2/token",code="401"}"#).await, Some(4.0));
    assert_eq!(pod.metric(r#"service_requests_total{route="/oauth2/token",code="400"}"#).await, Some(9.0));
}

#[tokio::test]
async fn fewer_scopes_are_granted_when_fewer_are_asked_for() {
    let pod = Pod::development().start().await;
    let form = "grant_type=client_credentials&scope=read";
    let answer = authorized(&pod.public, ID, SECRET).form("/oauth2/token", form).await.unwrap();
    let issued = answer.expect(StatusCode::OK).unwrap().value().unwrap();
    assert_eq!(issued["scope"], "read");
    let (_, claims) = verify(issued["access_token"].as_str().unwrap(), &pod.jwks().await);
    assert_eq!(claims["scope"], "read");
}

#[tokio::test]
async fn the_key_set_can_be_kept_and_asked_for_again() {
    let pod = Pod::development().configured("[oauth]\njwks_max_age = \"7s\"").start().await;
    let first = pod.public.get("/.well-known/jwks.json").await.unwrap().expect(StatusCode::OK).unwrap();
    assert_eq!(first.header("cache-control"), "public, max-age=7");
    let etag = first.header("etag").to_owned();
    assert!(!first.text().contains("\"d\""), "{}", first.text());
    for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let again = pod
            .public
            .clone()
            .header(header::IF_NONE_MATCH, known)
            .get("/.well-known/jwks.json")
            .await
            .unwrap();
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        assert_eq!((again.header("etag"), again.body.len()), (etag.as_str(), 0));
        assert_eq!(again.header("cache-control"), "public, max-age=7");
    }
    let other =
        pod.public.clone().header(header::IF_NONE_MATCH, "\"other\"").get("/.well-known/jwks.json").await;
    assert_eq!(other.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn the_metadata_names_the_endpoints_and_what_they_take() {
    let pod = Pod::development().start().await;
    let told = pod.public.get("/.well-known/oauth-authorization-server").await.unwrap().value().unwrap();
    let issuer = format!("http://{}", pod.port.address());
    assert_eq!(told["issuer"], issuer);
    assert_eq!(told["token_endpoint"], format!("{issuer}/oauth2/token"));
    assert_eq!(told["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
    assert_eq!(told["response_types_supported"], json!([]));
    assert_eq!(told["grant_types_supported"], json!(["client_credentials"]));
    assert_eq!(
        told["token_endpoint_auth_methods_supported"],
        json!(["client_secret_basic", "client_secret_post"])
    );
}

#[tokio::test]
async fn the_region_says_who_served_the_request() {
    let pod = Pod::development().start().await;
    let told = pod.public.get("/v1/region").await.unwrap().expect(StatusCode::OK).unwrap().value().unwrap();
    let expected = json!({
        "environment": "test", "region": "eu", "zone": "eu-a", "pod": "pod-1", "release": "sha256:00", "generation": 1,
    });
    assert_eq!(told, expected);
    let head = pod.public.request(Method::HEAD, "/v1/region", None, Bytes::new()).unwrap();
    assert_eq!(pod.public.send(head).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems() {
    let pod = Pod::development().start().await;
    let unknown = pod.public.get("/v1/nothing").await.unwrap();
    assert_eq!(
        (unknown.status, unknown.header("content-type")),
        (StatusCode::NOT_FOUND, "application/problem+json")
    );
    assert_eq!(unknown.value().unwrap()["status"], 404);
    for (method, path, allowed) in [
        (Method::DELETE, "/v1/region", "GET,HEAD"),
        (Method::GET, "/oauth2/token", "POST"),
        (Method::POST, "/openapi.json", "GET,HEAD"),
    ] {
        let wrong =
            pod.public.send(pod.public.request(method, path, None, Bytes::new()).unwrap()).await.unwrap();
        assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(
            (wrong.header("content-type"), wrong.header("allow")),
            ("application/problem+json", allowed)
        );
    }
    assert_eq!(pod.metric(r#"service_requests_total{route="other",code="404"}"#).await, Some(1.0));
}

#[tokio::test]
async fn a_sane_request_id_is_echoed_and_logged() {
    let pod = Pod::development().start().await;
    let id = HeaderName::from_static("x-request-id");
    for path in ["/v1/region", "/trafficz"] {
        let given = format!("it-{}", path.len());
        let answer = pod.public.clone().header(id.clone(), &given).get(path).await.unwrap();
        assert_eq!(answer.header("x-request-id"), given);
        assert!(pod.log().contains(&given), "{}", pod.log());
        let replaced = pod.public.clone().header(id.clone(), "not sane; {}").get(path).await.unwrap();
        let made = replaced.header("x-request-id");
        assert!(secrets_agent_client::Uuid::parse_str(made).is_ok(), "{made}");
    }
}

#[tokio::test]
async fn the_description_lists_every_path() {
    let pod = Pod::development().start().await;
    let told: Value =
        pod.public.get("/openapi.json").await.unwrap().expect(StatusCode::OK).unwrap().value().unwrap();
    let paths: Vec<&String> = told["paths"].as_object().unwrap().keys().collect();
    for path in [
        "/oauth2/token",
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/v1/region",
        "/trafficz",
    ] {
        assert!(paths.contains(&&path.to_owned()), "{path} is not in {paths:?}");
        let method = if path == "/oauth2/token" { "post" } else { "get" };
        let schema =
            &told["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        assert!(told["components"]["schemas"][name].is_object(), "{name}");
    }
}
