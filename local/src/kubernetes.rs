//! A real Kubernetes API server with its etcd and, unless told otherwise, its controllers; no nodes.
//!
//! Deployments get their ReplicaSets and pods from the real controllers. With no kubelet there, pods stay
//! pending, and a test says itself how they fare by writing their status. [`crate::platform`] adds nodes.

mod access;
mod audit;
mod kubeconfig;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::Ipv4Net;
use secrecy::SecretString;
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Client, StatusCode, Target};
use crate::pki::{self, Ca, write_private};
use crate::ports::Port;
use crate::process::{self, Process, Program};
use crate::tools::{self, KubernetesPart};
use crate::wait::{NotInTime, wait_until};

pub use access::Access;
pub use audit::Write;
pub use kubeconfig::Kubeconfig;

/// How long the parts may take to come up. Five to ten seconds are usual.
const START: Duration = Duration::from_secs(90);

/// Controllers that make the pods of Deployments and StatefulSets and clean up after deletions.
const WITHOUT_NODES: &str = "deployment-controller,replicaset-controller,statefulset-controller,\
    garbage-collector-controller,namespace-controller,serviceaccount-controller,endpointslice-controller,\
    horizontal-pod-autoscaler-controller";

/// What the API server writes to its audit log: every write, without its content.
const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
              {"level": "None"}]}"#;

/// Why the API server, or a call of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be had.
    #[error(transparent)]
    Tool(#[from] tools::Error),
    /// A certificate or a file with a secret could not be made.
    #[error(transparent)]
    Certificate(#[from] pki::Error),
    /// A process failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A folder or a port could not be had.
    #[error("prepare the Kubernetes API server {name}")]
    Prepare {
        /// The server's name.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No answer came.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The server did not get so far in time.
    #[error("{waited}; the log of {log_of} ends with:\n{tail}")]
    NotInTime {
        /// What was awaited.
        #[source]
        waited: NotInTime,
        /// The process to look at.
        log_of: String,
        /// The last lines of its log.
        tail: String,
    },
    /// The API server refused.
    #[error("{call}: the API server answered {status}: {message}")]
    Refused {
        /// Method and path.
        call: String,
        /// The status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
}

/// Where the parts run, when not on this machine's loopback: the whole control plane of a region with nodes.
#[derive(Debug, Clone)]
pub struct Inside {
    /// The network namespace, such as `/run/netns/NAME`.
    pub network: PathBuf,
    /// The address there at which the API server listens.
    pub address: Ipv4Addr,
    /// Addresses of Services; the first is the API server's own.
    pub services: Ipv4Net,
}

/// An API server that is about to be started.
#[derive(Debug)]
pub struct Builder {
    name: String,
    folder: Option<PathBuf>,
    controllers: bool,
    users: Vec<(String, String)>,
    inside: Option<Inside>,
}

impl Builder {
    /// Keeps everything in this folder, which is made and stays. Otherwise in one that is removed at the end.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Leaves the controllers out: nothing but the API.
    #[must_use]
    pub fn without_controllers(mut self) -> Self {
        self.controllers = false;
        self
    }

    /// Knows one more user, of this group; [`KubernetesApi::token`] gives the token.
    #[must_use]
    pub fn user(mut self, name: &str, group: &str) -> Self {
        self.users.push((name.to_owned(), group.to_owned()));
        self
    }

    /// Runs inside a network namespace, with all controllers and a scheduler, for nodes to join.
    #[must_use]
    pub fn inside(mut self, inside: Inside) -> Self {
        self.inside = Some(inside);
        self
    }

    /// Starts etcd, the API server and the controllers. 5 to 10 s.
    ///
    /// # Errors
    /// A program cannot be had, or a part does not come up; its log's last lines are in the error.
    pub async fn start(self) -> Result<KubernetesApi, Error> {
        let prepare = |source| Error::Prepare { name: self.name.clone(), source };
        let (folder, temporary) = match &self.folder {
            Some(folder) => (folder.clone(), None),
            None => {
                let made =
                    tempfile::Builder::new().prefix("meridian-kubernetes-").tempdir().map_err(prepare)?;
                (made.path().to_owned(), Some(made))
            }
        };
        fs::create_dir_all(&folder).map_err(prepare)?;
        let ca = Ca::new(&format!("{} Kubernetes", self.name))?;
        let ports = match &self.inside {
            Some(inside) => Ports::inside(inside),
            None => Ports::reserve().map_err(prepare)?,
        };
        let inside = self.inside.as_ref();
        let files = Files::write(&folder, &ca, &self.users, inside)?;
        let place = |program: Program| match inside {
            Some(inside) => program.within(&inside.network),
            None => program,
        };
        let store = place(etcd(&self.name, &folder, &ports)?).start()?;
        let server_program = place(api_server(&self.name, &folder, &ports, &files, inside)?);
        let server = server_program.start()?;
        let target = Target::localhost(ports.api, &ca.pem()).map_err(prepare)?;
        let mut api = KubernetesApi {
            name: self.name,
            store,
            server_program,
            server,
            controllers: Vec::new(),
            access: Access::new(Client::new(target), &files.users[ADMIN]),
            ca,
            tokens: files.users.clone(),
            folder,
            ports,
            _temporary: temporary,
        };
        api.ready().await?;
        if self.controllers {
            let kubeconfig = api.folder.join("controllers.kubeconfig");
            let user =
                Kubeconfig::new().context_via("controllers", &api, api.address(), files.token(CONTROLLERS));
            user.write(&kubeconfig)?;
            let program = controllers(&api.name, &api.folder, &files, &kubeconfig, inside)?;
            api.controllers.push(place(program).start()?);
        }
        if inside.is_some() {
            let kubeconfig = api.folder.join("scheduler.kubeconfig");
            let user =
                Kubeconfig::new().context_via("scheduler", &api, api.address(), files.token(SCHEDULER));
            user.write(&kubeconfig)?;
            api.controllers.push(place(scheduler(&api.name, &api.folder, &kubeconfig)?).start()?);
        }
        Ok(api)
    }
}

/// A running API server, killed with its parts when it is dropped.
#[derive(Debug)]
pub struct KubernetesApi {
    name: String,
    // Dropped in this order: who writes goes before what is written to.
    controllers: Vec<Process>,
    server: Process,
    store: Process,
    server_program: Program,
    access: Access,
    ca: Ca,
    tokens: BTreeMap<String, SecretString>,
    folder: PathBuf,
    ports: Ports,
    _temporary: Option<TempDir>,
}

impl KubernetesApi {
    /// An API server that errors and logs will call `name`.
    pub fn named(name: &str) -> Builder {
        Builder { name: name.to_owned(), folder: None, controllers: true, users: Vec::new(), inside: None }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens; its certificate is for `localhost` and 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        self.ports.api
    }

    /// The authority of its certificate.
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// That authority's certificate, as objects of Kubernetes hold it.
    pub fn ca_bundle(&self) -> String {
        STANDARD.encode(self.ca.pem())
    }

    /// Its folder, with the logs of its parts.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process of the API server itself.
    pub fn process(&self) -> &Process {
        &self.server
    }

    /// The token of a user that may do everything (`admin`, of the group `system:masters`).
    pub fn admin_token(&self) -> &SecretString {
        self.token(ADMIN)
    }

    /// The token of a user that nothing is granted to (`stranger`).
    pub fn stranger_token(&self) -> &SecretString {
        self.token(STRANGER)
    }

    /// The token of a user that [`Builder::user`] named.
    ///
    /// # Panics
    /// Nobody named that user.
    pub fn token(&self, user: &str) -> &SecretString {
        &self.tokens[user]
    }

    /// Calls the API as the administrator, and gives the answer's JSON.
    ///
    /// # Errors
    /// No answer came, or a refusal.
    pub async fn call(
        &self,
        method: ::http::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Error> {
        self.access.call(method, path, body).await
    }

    /// The API as the administrator sees it.
    pub fn access(&self) -> Access {
        self.access.clone()
    }

    /// Every write that the API server took part in so far, in order, from its audit log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn writes(&self) -> io::Result<Vec<Write>> {
        audit::read(&self.folder.join("audit.log"))
    }

    /// Freezes the API server (SIGSTOP): connections are taken by the kernel, and nothing answers.
    ///
    /// # Errors
    /// As [`Process::pause`].
    pub async fn pause(&self) -> Result<(), Error> {
        Ok(self.server.pause().await?)
    }

    /// Ends a [`KubernetesApi::pause`].
    ///
    /// # Errors
    /// The system refused.
    pub fn resume(&self) -> Result<(), Error> {
        Ok(self.server.resume()?)
    }

    /// Kills the API server (SIGKILL); its address refuses connections then.
    pub async fn kill(&self) {
        self.server.kill().await;
    }

    /// Starts the API server again at the same address with the same objects.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.server.kill().await;
        self.server = self.server_program.start()?;
        self.ready().await
    }

    async fn ready(&self) -> Result<(), Error> {
        let what = format!("the Kubernetes API server {} to be ready", self.name);
        let ready = wait_until(what, START, async || {
            self.call(::http::Method::GET, "/readyz", None).await?;
            // Its own roles and namespaces come a moment after it is ready.
            self.call(::http::Method::GET, "/api/v1/namespaces/default", None).await
        });
        let ended = tokio::select! {
            ready = ready => {
                return ready.map(drop).map_err(|waited| {
                    let (log_of, tail) = (self.server.name().to_owned(), self.server.log_tail(20));
                    Error::NotInTime { waited, log_of, tail }
                });
            }
            _ = self.server.ended() => self.server.check_running(),
            _ = self.store.ended() => self.store.check_running(),
        };
        Ok(ended?)
    }
}

#[derive(Debug)]
struct Ports {
    api: SocketAddr,
    store: SocketAddr,
    peer: SocketAddr,
    _reserved: Vec<Port>,
}

impl Ports {
    fn reserve() -> io::Result<Self> {
        let reserved = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let [api, store, peer] = reserved.each_ref().map(Port::address);
        Ok(Self { api, store, peer, _reserved: reserved.into() })
    }

    /// The usual ones: nobody else is in the namespace.
    fn inside(inside: &Inside) -> Self {
        let own = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let api = SocketAddr::from((inside.address, 6443));
        Self { api, store: own(2379), peer: own(2380), _reserved: Vec::new() }
    }
}

/// Users that every API server knows.
const ADMIN: &str = "admin";
const CONTROLLERS: &str = "controllers";
const STRANGER: &str = "stranger";
const SCHEDULER: &str = "system:kube-scheduler";

/// The files that the parts are given.
struct Files {
    certificate: pki::Files,
    /// By this the API server is known to kubelets.
    client: pki::Files,
    accounts: pki::Files,
    tokens: PathBuf,
    ca: PathBuf,
    audit_policy: PathBuf,
    users: BTreeMap<String, SecretString>,
}

impl Files {
    fn write(
        folder: &Path,
        ca: &Ca,
        further: &[(String, String)],
        inside: Option<&Inside>,
    ) -> Result<Self, Error> {
        let own = [
            (ADMIN, "system:masters"),
            (CONTROLLERS, "system:masters"),
            (STRANGER, "nobody"),
            (SCHEDULER, "nobody"),
        ];
        let further = further.iter().map(|(name, group)| (name.as_str(), group.as_str()));
        let (mut users, mut tokens) = (BTreeMap::new(), String::new());
        for (name, group) in own.into_iter().chain(further) {
            let token = uuid::Uuid::new_v4().to_string();
            tokens.push_str(&format!("{token},{name},{name},{group}\n"));
            users.insert(name.to_owned(), SecretString::from(token));
        }
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        if let Some(Inside { address, services, .. }) = inside {
            let first = services.hosts().next().unwrap_or(services.addr());
            names.extend([address.to_string(), first.to_string(), "kubernetes.default.svc".to_owned()]);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Ok(Files {
            certificate: ca.issue(&names)?.write(folder, "server")?,
            client: ca.issue_client("kube-apiserver", "system:masters")?.write(folder, "client")?,
            // It signs the tokens of service accounts; the certificate stands for its public key.
            accounts: ca.issue(&["service-accounts"])?.write(folder, "service-accounts")?,
            tokens: write_private(&folder.join("tokens.csv"), tokens.as_bytes())?,
            ca: ca.write(folder.join("ca.pem"))?,
            audit_policy: write_private(&folder.join("audit.json"), AUDIT_POLICY.as_bytes())?,
            users,
        })
    }

    fn token(&self, user: &str) -> &SecretString {
        &self.users[user]
    }
}

fn flag(name: &str, value: impl AsRef<Path>) -> String {
    format!("--{name}={}", value.as_ref().display())
}

fn etcd(name: &str, folder: &Path, ports: &Ports) -> Result<Program, Error> {
    let (client, peer) = (format!("http://{}", ports.store), format!("http://{}", ports.peer));
    Ok(Program::new(format!("etcd {name}"), tools::kubernetes(KubernetesPart::Etcd)?)
        .argument(flag("data-dir", folder.join("etcd")))
        .arguments([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
        .arguments([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
        .argument(format!("--initial-cluster=default={peer}"))
        .arguments(["--unsafe-no-fsync", "--log-level=warn"])
        .folder(folder)
        .log(folder.join("etcd.log")))
}

fn api_server(
    name: &str,
    folder: &Path,
    ports: &Ports,
    files: &Files,
    inside: Option<&Inside>,
) -> Result<Program, Error> {
    let program = tools::kubernetes(KubernetesPart::ApiServer)?;
    let program = Program::new(format!("kube-apiserver {name}"), program);
    let program = match inside {
        Some(inside) => program
            .arguments([
                "--bind-address=0.0.0.0",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
            ])
            .arguments(["--kubelet-preferred-address-types=InternalIP"])
            .argument(format!("--advertise-address={}", inside.address))
            .argument(format!("--service-cluster-ip-range={}", inside.services))
            .argument(flag("kubelet-client-certificate", &files.client.certificate))
            .argument(flag("kubelet-client-key", &files.client.key))
            .argument(flag("client-ca-file", &files.ca))
            // By these it passes callers on to the API of metrics.
            .argument(flag("proxy-client-cert-file", &files.client.certificate))
            .argument(flag("proxy-client-key-file", &files.client.key))
            .argument(flag("requestheader-client-ca-file", &files.ca))
            .arguments([
                "--requestheader-allowed-names=kube-apiserver",
                "--requestheader-username-headers=X-Remote-User",
            ]),
        // It lives for a minute: memory is cheaper than collecting it.
        None => program
            .variable("GOGC", "400")
            .arguments(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .arguments(["--endpoint-reconciler-type=none", "--authorization-mode=RBAC"])
            .argument("--service-cluster-ip-range=10.96.0.0/16"),
    };
    Ok(program
        .argument(format!("--etcd-servers=http://{}", ports.store))
        .argument(format!("--secure-port={}", ports.api.port()))
        .argument(flag("tls-cert-file", &files.certificate.certificate))
        .argument(flag("tls-private-key-file", &files.certificate.key))
        .argument(flag("cert-dir", folder.join("certificates")))
        .argument(flag("token-auth-file", &files.tokens))
        .arguments(["--anonymous-auth=false", "--profiling=false"])
        .argument("--service-account-issuer=https://kubernetes.default.svc")
        .argument(flag("service-account-key-file", &files.accounts.certificate))
        .argument(flag("service-account-signing-key-file", &files.accounts.key))
        .argument(flag("audit-policy-file", &files.audit_policy))
        .argument(flag("audit-log-path", folder.join("audit.log")))
        .argument("--audit-log-mode=blocking")
        .folder(folder)
        .log(folder.join("kube-apiserver.log")))
}

fn controllers(
    name: &str,
    folder: &Path,
    files: &Files,
    kubeconfig: &Path,
    inside: Option<&Inside>,
) -> Result<Program, Error> {
    let program = tools::kubernetes(KubernetesPart::ControllerManager)?;
    let which = if inside.is_some() { "*" } else { WITHOUT_NODES };
    Ok(Program::new(format!("kube-controller-manager {name}"), program)
        .argument(flag("kubeconfig", kubeconfig))
        .argument(format!("--controllers={which}"))
        .argument(flag("service-account-private-key-file", &files.accounts.key))
        .argument(flag("root-ca-file", &files.ca))
        .argument(flag("cert-dir", folder.join("certificates")))
        .arguments(["--leader-elect=false", "--secure-port=0", "--horizontal-pod-autoscaler-sync-period=1s"])
        .folder(folder)
        .log(folder.join("kube-controller-manager.log")))
}

fn scheduler(name: &str, folder: &Path, kubeconfig: &Path) -> Result<Program, Error> {
    let program = tools::kubernetes(KubernetesPart::Scheduler)?;
    Ok(Program::new(format!("kube-scheduler {name}"), program)
        .argument(flag("kubeconfig", kubeconfig))
        .arguments(["--leader-elect=false", "--secure-port=0"])
        .folder(folder)
        .log(folder.join("kube-scheduler.log")))
}

#[cfg(test)]
mod tests;
