"""The chart's objects on a real API server: what schemas cannot say, admission included."""

import copy
import http.client
import json
import os
import secrets
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

import rendering
from authority import Authority, openssl
from programs import newest
from rendering import NAMESPACE, only
from report import check, skip
from waiting import until

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meridian"
KINDS = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Service": ("api/v1", "services"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Pod": ("api/v1", "pods"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
}


def programs():
    """(etcd, kube-apiserver) from the cache, the newest versions there, or None."""
    found = [sorted(CACHE.glob(f"{part}-*/{name}")) for part, name in (("etcd", "etcd"), ("kubernetes", "kube-apiserver"))]
    return [files[-1] for files in found] if all(found) else None


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class ApiServer:
    """etcd and kube-apiserver, without controllers and nodes; ends with `stop`."""

    def __init__(self, folder, etcd, apiserver):
        self.folder, self.etcd, self.apiserver = folder, etcd, apiserver
        self.token, self.processes = secrets.token_hex(16), []

    def begin(self):
        """Starts both, and makes the namespace as a region has it."""
        folder = self.folder
        authority = Authority(folder)
        certificate, key = authority.issue("localhost")
        accounts = folder / "accounts.key"
        accounts.write_bytes(openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"))
        tokens = folder / "tokens.csv"
        tokens.write_text(f'{self.token},admin,admin,"system:masters"\n')
        client, peer, self.port = free_ports(3)
        store, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self.start([
            self.etcd, f"--data-dir={folder}/etcd", f"--listen-client-urls={store}", f"--advertise-client-urls={store}",
            f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}", "--unsafe-no-fsync", "--log-level=error",
        ])
        self.start([
            self.apiserver, f"--etcd-servers={store}", f"--secure-port={self.port}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", f"--cert-dir={folder}/certificates",
            f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={accounts}",
            f"--service-account-signing-key-file={accounts}",
        ])
        self.context = ssl.create_default_context(cafile=authority.certificate)
        until("the API server is ready", lambda: self.alive() and self.call("GET", "/readyz")[0] == 200, 90)
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
        status, answer, _ = self.call("POST", "/api/v1/namespaces", namespace)
        assert status == 201, answer

    def start(self, command):
        with open(self.folder / f"{Path(command[0]).name}.log", "wb") as log:
            self.processes.append(subprocess.Popen(list(map(str, command)), stdout=log, stderr=log))

    def alive(self):
        for process in self.processes:
            if process.poll() is not None:
                log = self.folder / f"{Path(process.args[0]).name}.log"
                raise AssertionError(f"{log.stem} ended: {log.read_text()[-2000:]}")
        return True

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)

    def call(self, method, path, body=None, kind="application/json"):
        """(status, answer, warnings)"""
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=self.context)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = text.decode()
        return response.status, answer, response.headers.get_all("Warning") or []

    def kubeconfig(self):
        """What another program needs to speak to it."""
        cluster = {"server": f"https://localhost:{self.port}", "certificate-authority": str(self.folder / "ca.crt")}
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }

    def path(self, one, name=True):
        group, plural = KINDS[one["kind"]]
        return f"/{group}/namespaces/{NAMESPACE}/{plural}" + (f"/{one['metadata']['name']}" if name else "")

    def apply(self, one, manager="regions"):
        """Server-side apply as `regions promote` does it: every field known, every conflict an error."""
        path = f"{self.path(one)}?fieldManager={manager}&fieldValidation=Strict"
        status, answer, warnings = self.call("PATCH", path, one, "application/apply-patch+yaml")
        title = f"{one['kind']} {one['metadata']['name']}"
        assert status in (200, 201), f"{title}: {status} {answer.get('message')}"
        assert not warnings, f"{title}: {warnings}"
        return answer


def every_object_is_taken(server, objects):
    versions = {}
    for one in objects:
        versions[one["kind"], one["metadata"]["name"]] = server.apply(one)["metadata"]["resourceVersion"]
    for one in objects:
        again = server.apply(one)["metadata"]["resourceVersion"]
        assert again == versions[one["kind"], one["metadata"]["name"]], f"{one['kind']}: applying again changed it"


def pod_of(objects):
    template = only(objects, "Deployment")["spec"]["template"]
    metadata = template["metadata"] | {"name": "service-0"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def pods_are_admitted_as_restricted(server, objects):
    one = pod_of(objects)
    path = server.path(one, name=False) + "?dryRun=All&fieldValidation=Strict"
    status, answer, warnings = server.call("POST", path, one)
    assert status == 201, answer.get("message")
    assert not warnings, warnings
    for change in (
        lambda pod: pod["spec"].pop("securityContext") and pod["spec"]["containers"][0].pop("securityContext"),
        lambda pod: pod["spec"].update(hostNetwork=True),
        lambda pod: pod["spec"]["initContainers"][0]["securityContext"].pop("capabilities"),
        lambda pod: pod["spec"]["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    ):
        broken = pod_of(objects)
        change(broken)
        status, answer, _ = server.call("POST", path, broken)
        assert status == 403 and "restricted" in answer["message"], f"a pod that is not restricted was taken: {status}"


def the_autoscalers_replicas_stay(server, objects):
    deployment = only(objects, "Deployment")
    server.apply(deployment)
    path = server.path(deployment) + "/scale?fieldManager=autoscaler"
    status, answer, _ = server.call("PATCH", path, {"spec": {"replicas": 7}}, "application/merge-patch+json")
    assert status == 200, answer
    changed = copy.deepcopy(deployment)
    changed["spec"]["template"]["metadata"]["annotations"]["meridian.internal/release"] = "sha256:another"
    assert server.apply(changed)["spec"]["replicas"] == 7, "a release took pods away"


def a_drained_region_stays_drained(server, objects):
    traffic = only(objects, "ConfigMap", "traffic")
    server.apply(traffic)
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "traffic"}, "data": {"state": "drained"}}
    server.apply(bare, manager="regions-traffic")
    assert server.apply(traffic).get("data") == {"state": "drained"}, "a release put the region back into traffic"


def regions_promotes_it(server, regions):
    """The packaged chart, as `regions promote` would apply it to this API server."""
    images = server.folder / "images.yaml"
    images.write_text(json.dumps(rendering.IMAGES))
    package = [rendering.ROOT / "local/images/package", images, "1.2.3", "1700000000", server.folder]
    subprocess.run(package, check=True, capture_output=True)
    kubeconfig = server.kubeconfig()
    kubeconfig["contexts"][0]["name"] = "meridian-qa-qa"
    file = server.folder / "kubeconfig"
    file.write_text(json.dumps(kubeconfig))
    arguments = ["--catalogue", rendering.CATALOGUES[1], "--env", "qa", "--release", server.folder / "meridian-1.2.3.tgz",
                 "--helm", rendering.HELM, "--kubeconfig", file, "--dry-run"]
    done = subprocess.run([regions, "promote", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for image in (rendering.IMAGES["service"], rendering.IMAGES["secrets-agent"]):
        assert image in done.stdout, f"the plan does not name {image}"


def run(rendered):
    """Applies every region's objects to one API server, one after the other."""
    parts = programs()
    if parts is None:
        skip("a real API server takes the chart", "etcd and kube-apiserver are not built; target/debug/local-region tools")
        return
    with tempfile.TemporaryDirectory(prefix="meridian-apiserver.") as folder:
        server = ApiServer(Path(folder), *parts)
        try:
            server.begin()
            title = "regions promote plans the packaged chart"
            if regions := newest("regions"):
                check(title, regions_promotes_it, server, regions)
            else:
                skip(title, "regions is not built; cargo build --package regions")
            version = server.call("GET", "/version")[1]["gitVersion"]
            for label, (objects, _) in rendered.items():
                check(f"Kubernetes {version} takes {label}, and applying again changes nothing", every_object_is_taken, server, objects)
            objects, _ = rendered["regions/production/us-east4"]
            check("its pods are admitted where only restricted pods are", pods_are_admitted_as_restricted, server, objects)
            check("a release leaves the autoscaler's replicas", the_autoscalers_replicas_stay, server, objects)
            check("a release leaves a drained region drained", a_drained_region_stays_drained, server, objects)
        finally:
            server.stop()
