"""Runs the images. Started by k8s/tests/image-run, in namespaces of its own."""

import http.client
import json
import os
import secrets
import socket
import ssl
import tempfile
from pathlib import Path

import layouts
import manifests
import programs
import rendering
from authority import Authority
from containers import Containerd
from names import Names
from report import check, finish, skip
from vault import Vault, documents
from waiting import until

UID = 65532
SECRET = f"canary-{secrets.token_hex(8)}"


def get(port, path):
    """(status, body) of a plain HTTP answer on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


class Region:
    """Vault, DNS, and one pod's two containers, told what the chart tells them."""

    def __init__(self, folder):
        self.folder = folder
        folder.chmod(0o755)
        catalogue, environment, region = rendering.CATALOGUES[1], "qa", "qa"
        objects = rendering.template(rendering.value_arguments(catalogue, environment, region))
        self.values = rendering.values_of(catalogue, environment, region)
        self.agent_variables = programs.variables(objects, manifests.agent(objects))
        self.service_variables = programs.variables(objects, manifests.service(objects))
        self.arguments = manifests.agent(objects)["args"]
        self.host = manifests.vault_address(self.values).removeprefix("https://").removesuffix(":8200")
        self.authority = Authority(folder)
        self.vault = Vault(folder, self.authority, self.host)
        self.names = Names(self.host)
        role, secret = self.vault.seed(documents(self.authority, self.values["domain"], SECRET))
        # The chart's pod logs in by its service account; without a cluster, AppRole stands in for that alone.
        for name in [n for n in self.agent_variables if n.startswith("AGENT__AUTH__")]:
            del self.agent_variables[name]
        self.agent_variables["AGENT__AUTH__APPROLE__ROLE_ID"] = role
        self.agent_variables["AGENT__AUTH__APPROLE__SECRET_ID_FILE"] = "/var/run/secrets/meridian/vault/secret-id"
        self.folders(secret)
        self.containerd = Containerd(folder)
        self.containers = {}

    def folders(self, secret):
        """What the pod's volumes hold."""
        for name in ("socket", "vault-token", "vault-ca", "secrets-floor", "traffic", "agent-configuration"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, UID, UID)
        (self.folder / "vault-ca/ca.crt").write_bytes(self.authority.certificate.read_bytes())
        (self.folder / "agent-configuration/secrets-agent.toml").write_text("# Everything is in the environment.\n")
        token = self.folder / "vault-token/secret-id"
        token.write_text(secret)
        os.chown(token, UID, UID)
        token.chmod(0o400)
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1\n")

    def mounts(self, *wanted):
        return [(self.folder / name, target, mode) for name, target, mode in wanted]

    def start_agent(self):
        mounts = self.mounts(
            ("socket", "/run/meridian", "rw"),
            ("agent-configuration", "/etc/meridian/agent", "ro"),
            ("vault-token", "/var/run/secrets/meridian/vault", "ro"),
            ("vault-ca", "/etc/meridian/vault-ca", "ro"),
            ("secrets-floor", "/etc/meridian/secrets-floor", "ro"),
            ("resolv.conf", "/etc/resolv.conf", "ro"),
        )
        self.start("secrets-agent", self.agent_variables, mounts, self.arguments)

    def start_service(self):
        mounts = self.mounts(("socket", "/run/meridian", "ro"), ("traffic", "/etc/meridian/traffic", "ro"))
        self.start("service", self.service_variables, mounts, [])

    def start(self, name, variables, mounts, arguments):
        reference = self.containerd.load(name)
        self.containers[name] = self.containerd.start(name, reference, variables, mounts, arguments)


def agent_gets_every_secret(region):
    region.start_agent()
    agent = region.containers["secrets-agent"]
    until("the agent's startup probe passes", lambda: agent.alive() and get(9091, "/readyz")[0] == 200, 20)

    def delivered():
        agent.alive()
        status = json.loads(get(9091, "/v1/status")[1])
        missing = [s["name"] for s in status["secrets"] if not s["delivered"]]
        assert not missing, status
        return status

    status = until("every secret is delivered", delivered, 20)
    assert sorted(s["name"] for s in status["secrets"]) == sorted(region.values["secrets"])
    assert all(s["version"] == 1 for s in status["secrets"]), status
    assert status["pod"] == programs.FIELDS["metadata.name"], status


def vault_was_found_by_its_name(region):
    asked = {name for name, _ in region.names.asked}
    assert region.names.wire in asked, f"the resolver asked for {asked}"


def service_issues_tokens(region):
    region.start_service()
    service = region.containers["service"]
    until("the service is ready", lambda: service.alive() and get(9090, "/readyz")[0] == 200, 20)
    context = ssl.create_default_context(cafile=region.authority.certificate)
    domain = region.values["domain"]
    with socket.create_connection(("127.0.0.1", 8443), 5) as plain:
        with context.wrap_socket(plain, server_hostname=domain) as stream:
            connection = http.client.HTTPConnection(domain)
            connection.sock = stream
            form = f"grant_type=client_credentials&client_id=probe&client_secret={SECRET}"
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", "/oauth2/token", form, headers)
            response = connection.getresponse()
            body = json.loads(response.read())
    assert response.status == 200 and body["access_token"].count(".") == 2, (response.status, body)
    status = json.loads(get(9091, "/v1/status")[1])
    assert all(len(s["adopted"]) == 1 for s in status["secrets"]), status


def runs_as_nobody(region, name):
    status = Path(f"/proc/{region.containers[name].pid()}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == [str(UID)] * 4, fields["Uid"]
    assert int(fields["CapEff"], 16) == 0 and int(fields["CapBnd"], 16) == 0, fields["CapEff"]


def says_no_value(region, name):
    container = region.containers[name]
    places = [container.log.read_bytes()]
    places += [Path(f"/proc/{container.pid()}/{part}").read_bytes() for part in ("environ", "cmdline")]
    assert places[0], f"{name} wrote no log"
    token = (region.folder / "vault-token/secret-id").read_bytes()
    for place in places:
        assert SECRET.encode() not in place and b"PRIVATE KEY" not in place and token not in place


def ends_in_order(region, name, seconds):
    assert region.containers[name].end(seconds) == 0, region.containers[name].log.read_text()[-2000:]


def main():
    built = [name for name in ("service", "secrets-agent", "regions") if (layouts.FOLDER / name).is_dir()]
    for name in ("service", "secrets-agent", "regions"):
        if name not in built:
            skip(f"image {name}", "it is not built; run make image")
            continue
        check(f"image {name} holds one static binary, for uid {UID}", layouts.holds_one_static_binary, name)
        check(f"image {name} is labelled", layouts.is_labelled, name)
        check(f"image {name} names no path of the machine that built it", layouts.hides_paths, name)
        if name != "regions":
            check(f"image {name} has at most 10 MB", layouts.is_small, name, 10_000_000)
    with tempfile.TemporaryDirectory(prefix="meridian-images.") as folder:
        region = Region(Path(folder))
        check("agent in containerd gets every secret from a real Vault", agent_gets_every_secret, region)
        check("it found Vault by DNS, from an empty file system", vault_was_found_by_its_name, region)
        check("service beside it becomes ready and issues a token", service_issues_tokens, region)
        for name in ("secrets-agent", "service"):
            check(f"{name} runs as uid {UID} without any capability", runs_as_nobody, region, name)
            check(f"{name} shows no secret in its log, environment and command line", says_no_value, region, name)
        check("service ends in order within 13 s of SIGTERM", ends_in_order, region, "service", 13)
        check("agent ends in order within 2 s of SIGTERM", ends_in_order, region, "secrets-agent", 2)
        region.containerd.process.terminate()
        region.containerd.process.wait(20)
        region.vault.process.kill()
    finish("images")


main()
