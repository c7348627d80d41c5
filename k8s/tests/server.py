"""A real API server for tests: etcd and kube-apiserver from the cache, without controllers and nodes."""

import copy
import http.client
import json
import os
import secrets
import socket
import ssl
import subprocess
from pathlib import Path

from authority import Authority, openssl
from rendering import NAMESPACE, only
from waiting import until

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meridian"
# How each kind is served: names that only whole clusters have stand in WHOLE.
PLURALS = {
    "ConfigMap": "configmaps", "Service": "services", "ServiceAccount": "serviceaccounts", "Pod": "pods",
    "Deployment": "deployments", "Job": "jobs", "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "NetworkPolicy": "networkpolicies", "PodDisruptionBudget": "poddisruptionbudgets", "Role": "roles",
    "RoleBinding": "rolebindings", "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings", "PodMonitoring": "podmonitorings",
    "Rules": "rules", "PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules",
}
WHOLE = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


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
        self.token, self.promoter, self.processes = secrets.token_hex(16), secrets.token_hex(16), []

    def begin(self):
        """Starts both, and makes the namespace as a region has it."""
        folder = self.folder
        authority = Authority(folder)
        certificate, key = authority.issue("localhost")
        accounts = folder / "accounts.key"
        accounts.write_bytes(openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"))
        tokens = folder / "tokens.csv"
        # The administrator, and a user to whom nothing is granted.
        tokens.write_text(f'{self.token},admin,admin,"system:masters"\n{self.promoter},promoter,promoter,""\n')
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
        self.namespace(NAMESPACE, labels)

    def namespace(self, name, labels):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        status, answer, _ = self.call("POST", "/api/v1/namespaces", body)
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

    def call(self, method, path, body=None, kind="application/json", token=None):
        """(status, answer, warnings), as the administrator or whoever has the token."""
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=self.context)
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": kind}
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
        version, kind = one["apiVersion"], one["kind"]
        place = "" if kind in WHOLE else f"/namespaces/{one['metadata'].get('namespace', NAMESPACE)}"
        whose = f"/{one['metadata']['name']}" if name else ""
        return f"/{'apis' if '/' in version else 'api'}/{version}{place}/{PLURALS[kind]}{whose}"

    def apply(self, one, manager="regions"):
        """Server-side apply as `regions promote` does it: every field known, every conflict an error."""
        path = f"{self.path(one)}?fieldManager={manager}&fieldValidation=Strict"
        status, answer, warnings = self.call("PATCH", path, one, APPLY)
        title = f"{one['kind']} {one['metadata']['name']}"
        assert status in (200, 201), f"{title}: {status} {answer.get('message')}"
        assert not warnings, f"{title}: {warnings}"
        return answer


def pod_of(objects):
    template = only(objects, "Deployment", "service")["spec"]["template"]
    metadata = template["metadata"] | {"name": "service-0"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}
