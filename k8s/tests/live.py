"""Service and agent as processes, told what the chart tells them, on a real Vault: what alerts and probes lean on is
there, and the examples' scripts work."""

import http.client
import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import alerts
import examples
import manifests
import programs
import rendering
from authority import Authority
from report import check, skip
from server import CACHE, free_ports
from vault import Vault, documents
from waiting import until

ZONE = programs.FIELDS["metadata.labels['topology.kubernetes.io/zone']"]
SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def get(port, path):
    """(status, text) of a plain HTTP answer on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


class Pod:
    """A Vault, an agent and a service, with the variables of the chart; only places differ."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        catalogue, environment, region = rendering.CATALOGUES[1], "qa", "qa"
        objects = rendering.template(rendering.value_arguments(catalogue, environment, region))
        self.values = rendering.values_of(catalogue, environment, region)
        self.agent = programs.variables(objects, manifests.agent(objects))
        self.service = programs.variables(objects, manifests.service(objects))
        self.authority = Authority(folder)
        self.vault_port, self.agent_port, self.admin_port, self.public_port, self.other_port = free_ports(5)
        self.vault = Vault(folder, self.authority, "localhost", self.vault_port)
        self.documents = documents(self.authority, self.values["domain"], f"canary-{secrets.token_hex(8)}")
        role, secret = self.vault.seed(self.documents)
        (folder / "secret-id").write_text(secret)
        (folder / "agent.toml").write_text("# Everything is in the environment.\n")
        for name in ("floor", "traffic", "example"):
            (folder / name).mkdir()
        # The chart's pod logs in by its service account; without a cluster, AppRole stands in for that alone.
        self.login = {
            "AGENT__VAULT__ADDRESS": self.vault.address, "AGENT__VAULT__CA_FILE": str(self.authority.certificate),
            "AGENT__AUTH__APPROLE__ROLE_ID": role, "AGENT__AUTH__APPROLE__SECRET_ID_FILE": str(folder / "secret-id"),
        }
        socket = str(folder / "agent.sock")
        self.agent = self.elsewhere(self.agent, self.agent_port) | {
            "AGENT__SOCKET__PATH": socket, "AGENT__FLOOR__DIR": str(folder / "floor")}
        self.service |= {
            "SERVICE__AGENT__SOCKET": socket, "SERVICE__TRAFFIC__DIR": str(folder / "traffic"),
            "SERVICE__PUBLIC__LISTEN": f"127.0.0.1:{self.public_port}",
            "SERVICE__ADMIN__LISTEN": f"127.0.0.1:{self.admin_port}",
        }

    def elsewhere(self, variables, port):
        kept = {name: value for name, value in variables.items() if not name.startswith("AGENT__AUTH__")}
        return kept | self.login | {"AGENT__ADMIN__LISTEN": f"127.0.0.1:{port}"}

    def start(self, name, arguments, variables):
        with open(self.folder / f"{name}-{len(self.processes)}.log", "wb") as log:
            command = [programs.newest(name), *arguments]
            self.processes.append(subprocess.Popen(command, env=variables, stdout=log, stderr=log))

    def begin(self):
        self.start("secrets-agent", ["--config", self.folder / "agent.toml"], self.agent)
        self.start("service", [], self.service)
        until("the service is ready", lambda: get(self.admin_port, "/readyz")[0] == 200, 60)

    def stop(self):
        for process in [*reversed(self.processes), self.vault.process]:
            process.kill()
            process.wait(20)


def probes_are_answered(pod):
    for port, paths in ((pod.admin_port, ("/livez", "/readyz")), (pod.agent_port, ("/livez", "/readyz"))):
        for path in paths:
            status, text = get(port, path)
            assert status == 200, f"{port}{path}: {status} {text}"


def says_where_it_is(pod):
    context = ssl.create_default_context(cafile=pod.authority.certificate)
    context.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", pod.public_port, timeout=5, context=context)
    connection.request("GET", "/v1/region", headers={"Host": pod.values["domain"]})
    said = json.loads(connection.getresponse().read())
    assert (said["environment"], said["region"], said["zone"]) == ("qa", "qa", ZONE), said
    assert said["pod"] == programs.FIELDS["metadata.name"] and said["release"].startswith("meridian-"), said


def samples(pod):
    """Labels of every sample that both programs show, by metric."""
    found = {}
    for port in (pod.admin_port, pod.agent_port):
        for name, labels, _ in SAMPLE.findall(get(port, "/metrics")[1]):
            found.setdefault(name, []).append(dict(LABEL.findall(labels)))
    return found


def every_metric_of_an_alert_is_there(pod):
    """With its labels, and with each value that an alert asks for. Collectors add the pod and its namespace."""
    added = {"namespace", "pod"}
    have, asked = samples(pod), alerts.read(alerts.rendered())["metrics"]
    assert len(asked) > len(alerts.ALERTS)
    for metric in asked:
        shown = have.get(metric["name"])
        assert shown, f"no program shows {metric['name']}; they show {sorted(have)}"
        for label in set(metric["labels"]) - added:
            assert all(label in one for one in shown), f"{metric['name']} has no label {label}: {shown[0]}"
        for label, value in metric["matchers"].items():
            values = {one.get(label) for one in shown}
            assert label in added or any(re.fullmatch(value, found) for found in values), f"{metric['name']} has no {label}={value}: {values}"
    bounds = {one["le"] for one in have["service_request_duration_seconds_bucket"]} - {"+Inf"}
    assert max(map(float, bounds)) == alerts.WIDEST, bounds


def a_metric_that_is_not_there_is_noticed(pod):
    real, alerts.rendered = alerts.rendered, lambda: [{"name": "a", "interval": "30s", "rules": [
        {"alert": "A", "expr": expression}]}]
    try:
        for expression in ("service_redy == 1", 'max by (documents) (service_document_version) > 1',
                           'secrets_agent_vault_state{state="fine"} == 1'):
            try:
                every_metric_of_an_alert_is_there(pod)
            except AssertionError:
                continue
            raise AssertionError(f"{expression} passed")
    finally:
        alerts.rendered = real


def examples_see_their_files(pod):
    file, folder = examples.FOLDER / "files.yaml", pod.folder / "example"
    toml = pod.folder / "example.toml"
    # A folder of a disk is refused; only the kernel's own memory will do, as in the pod.
    memory = Path(tempfile.mkdtemp(prefix="meridian-example.", dir="/dev/shm"))
    try:
        toml.write_text(examples.toml(file).replace(examples.VOLUME, str(memory)))
        variables = pod.elsewhere(examples.environment(file), pod.other_port)
        pod.start("secrets-agent", ["--config", toml], variables | {"AGENT__SOCKET__PATH": str(folder / "agent.sock")})

        def change():
            document = pod.documents["config"] | {"oauth": {"audience": "https://another.example"}}
            pod.vault.call("POST", "kv/data/service/config", {"data": document})
            body = json.dumps({"name": "config", "version": 2})
            connection = http.client.HTTPConnection("127.0.0.1", pod.other_port, timeout=5)
            connection.request("POST", "/v1/nudge", body)
            assert connection.getresponse().status == 202

        examples.sees_swaps(memory, change)
        examples.a_job_ends(memory)
    finally:
        shutil.rmtree(memory)


def run():
    """Needs Vault in the cache or on PATH, and both programs built."""
    title = "service and agent on a real Vault"
    vault = shutil.which("vault") or next(iter(sorted(CACHE.glob("vault-*/vault"))), None)
    if vault is None or not all(map(programs.newest, ("service", "secrets-agent"))):
        return skip(title, "Vault, service or secrets-agent is not built; target/debug/local-region tools, cargo build")
    os.environ["VAULT"] = str(vault)
    with tempfile.TemporaryDirectory(prefix="meridian-live.") as folder:
        pod = Pod(Path(folder))
        try:
            check(f"{title}: they come up with what the chart tells them", pod.begin)
            check("the paths of the probes answer", probes_are_answered, pod)
            check("/v1/region says who and where it is, its zone too", says_where_it_is, pod)
            check("every metric of an alert is there, with its labels", every_metric_of_an_alert_is_there, pod)
            check("a metric that is not there is noticed", a_metric_that_is_not_there_is_noticed, pod)
            check("the examples' scripts see their files, and a swap", examples_see_their_files, pod)
        finally:
            pod.stop()
