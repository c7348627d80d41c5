//! An application that says that it uses a key, and does not.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use local_region::pod::Pod;
use local_region::ports::Port;
use secrets_agent_client::{AgentClient, Subscription};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::run;
use crate::world::World;

/// Acknowledges whatever its agent delivers, at once, and shows the same JWKS for ever.
struct Liar {
    listed: Value,
    _tasks: JoinSet<()>,
    _port: Port,
}

impl Liar {
    /// Beside the agent of a pod, whose own service is gone.
    async fn beside(pod: &Pod) -> Self {
        let jwks = pod.public.get("/.well-known/jwks.json").await.unwrap().body;
        pod.kill_service().await;
        let port = Port::reserve().unwrap();
        let listener = TcpListener::bind(port.address()).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::new(jwks)));
        tasks.spawn(acknowledge(AgentClient::new(pod.socket_path())));
        let mut listed = pod.listed();
        let own = format!("http://{}", port.address());
        (listed["public"], listed["admin"]) = (json!(own), json!(own));
        Self { listed, _tasks: tasks, _port: port }
    }
}

async fn acknowledge(agent: AgentClient) {
    let mut subscription = Subscription::start(agent);
    while let Some(change) = subscription.next().await {
        // It may be replaced by a newer one meanwhile, which comes then.
        let _ = subscription.adopted(&change.name, change.version()).await;
    }
}

async fn serve(listener: TcpListener, jwks: Arc<Bytes>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let jwks = Arc::clone(&jwks);
        connections.spawn(async move {
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                let jwks = Arc::clone(&jwks);
                async move {
                    let body = match request.uri().path() {
                        "/.well-known/jwks.json" => jwks.as_ref().clone(),
                        _ => Bytes::new(),
                    };
                    Ok::<_, Infallible>(Response::new(Full::new(body)))
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_caught_by_its_own_jwks_before_any_pod_signs_with_the_new_key() {
    let world = World::start(2).await;
    let liar = Liar::beside(&world.eu.pods[1]).await;
    world.eu.watcher.watch_also(&world.eu.pods[..1], std::slice::from_ref(&liar.listed)).unwrap();
    let started = Instant::now();
    let child = world.rotating("signing-keys", &["--adopt-within=3s"]).await.spawn().unwrap();
    let ran = run::end(child, started).await.expect(4);
    ran.says("eu-2: its own JWKS does not show the key").says("though it said that it uses it");
    // Its agent says that every instance uses the version, and so it was never the agent that told.
    let view = world.eu.watcher.view().await.unwrap();
    let pod = view["pods"].as_array().unwrap().iter().find(|pod| pod["name"] == "eu-2").unwrap().clone();
    let secrets = pod["agent"]["secrets"].as_array().unwrap();
    let own = secrets.iter().find(|own| own["name"] == "signing-keys").unwrap();
    assert_eq!(own["adopted"][0]["version"], own["version"]);
    // Nobody signs with it.
    for region in world.regions() {
        let document = region.read("signing-keys").await;
        assert!(document["keys"].as_object().unwrap().values().all(|key| key["state"] != "retiring"));
    }
    // Told the truth, it goes on.
    world.eu.watcher.watch(&world.eu.pods[..1]).unwrap();
    world.rotate("signing-keys", &[]).await.expect(0).says("done");
}
