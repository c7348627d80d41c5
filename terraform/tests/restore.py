"""The runbooks of a lost Vault and of a rotated key, done for real: three servers with Raft that unseal themselves with a
key elsewhere. A Vault's transit engine stands for Cloud KMS. The blocks of the runbooks that say `tested` are run as they
stand."""

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from authority import Authority
from server import free_ports
from waiting import until
from workspace import TERRAFORM

RUNBOOKS = TERRAFORM / "runbooks"
VAULT = os.environ.get("VAULT")
ENVIRONMENT = "restore"
# Documents of a region, before what is lost and as they are when it is.
DOCUMENTS = {
    "service/config": {"oauth": {"audience": "https://api.example"}},
    "service/tls": {"certificate_pem": "a certificate", "private_key_pem": "a key"},
    "service/clients": {"clients": {"probe": {"secrets": [{"sha256": "0" * 64}], "scopes": ["read"]}}},
    "service/signing-keys": {"keys": {"one": {"state": "active", "private_pem": "canary-pem", "public_jwk": {}, "since": "2026-01-01T00:00:00Z"}}},
    "client/probe": {"secret": "canary-probe"},
}
LATER = {
    "service/config": {"oauth": {"audience": "https://later.example"}},
    "client/late": {"secret": "canary-late"},
}


def checks(check, skip, regions):
    title = "runbook: a lost Vault is restored from a Raft snapshot, and agrees with the other region"
    if not VAULT or not regions:
        skip(title, "vault or regions is not built; make test-terraform builds them")
        return
    with tempfile.TemporaryDirectory(prefix="meridian-restore.") as folder:
        world = World(Path(folder), regions)
        try:
            check("runbook: two regions' Vaults are made, and one is lost", lost, world)
            check(title, restored, world)
            check("runbook: a key is rotated, and its old version taken away", rotated, world)
            check("runbook: a snapshot under another key is not opened, as the runbook says", foreign, world)
            check("runbook: no secret is in what the servers and the commands wrote", silent, world)
        finally:
            world.stop()


class Server:
    """One Vault server. Its configuration names the key that unseals it, its peers, and where it listens."""

    def __init__(self, world, name, seal, peers=()):
        self.world, self.name, self.seal, self.peers = world, name, seal, peers
        self.port, self.cluster = free_ports(2)
        self.address, self.data = f"https://localhost:{self.port}", world.folder / name
        self.log, self.process = world.folder / f"{name}.log", None

    def start(self):
        # After a check that failed halfway it may still run, and would be forgotten.
        self.kill()
        self.data.mkdir(exist_ok=True)
        certificate, key = self.world.certificate
        raft = {"path": str(self.data), "node_id": self.name, "performance_multiplier": 3}
        if self.peers:
            raft["retry_join"] = [{"leader_api_addr": peer.address, "leader_ca_cert_file": str(self.world.authority.certificate)}
                                  for peer in self.peers]
        configuration = self.world.folder / f"{self.name}.json"
        configuration.touch(0o600)
        configuration.write_text(json.dumps({
            "storage": {"raft": raft}, "disable_mlock": True, "api_addr": self.address,
            "cluster_addr": f"https://127.0.0.1:{self.cluster}",
            "listener": {"tcp": {
                "address": f"127.0.0.1:{self.port}", "cluster_address": f"127.0.0.1:{self.cluster}",
                "tls_cert_file": str(certificate), "tls_key_file": str(key)}},
        } | ({"seal": self.seal} if self.seal else {})))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [VAULT, "server", f"-config={configuration}"], stdout=log, stderr=log, cwd=self.world.folder,
                env={"HOME": str(self.world.folder), "PATH": os.environ["PATH"]})
        until(f"{self.name} answers", self.answers, 60)
        return self

    def answers(self):
        assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}"
        return self.call("GET", "sys/seal-status")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)

    def call(self, method, path, body=None, token=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", data, {"X-Vault-Token": token} if token else {}, method=method)
        context = ssl.create_default_context(cafile=self.world.authority.certificate)
        with urllib.request.urlopen(request, timeout=30, context=context) as response:
            text = response.read()
        return json.loads(text) if text else {}

    def sealed(self):
        return self.call("GET", "sys/seal-status")["sealed"]

    def document(self, path, token):
        """(version, data) of a document, or (0, None)."""
        try:
            found = self.call("GET", f"kv/data/{path}", token=token)["data"]
        except urllib.error.HTTPError as error:
            assert error.code == 404, f"{path}: {error.code}"
            return 0, None
        return found["metadata"]["version"], found["data"]

    def put(self, path, data, token):
        self.call("POST", f"kv/data/{path}", {"data": data}, token)


class World:
    """Two regions, `eu` of three servers and `us` of one, and what unseals them."""

    def __init__(self, folder, regions):
        self.folder, self.regions, self.servers, self.wrote = folder, regions, [], []
        self.authority = Authority(folder)
        self.certificate = self.authority.issue("localhost")
        self.home, self.other_home = folder / "home", folder / "home" / "other"
        self.home.mkdir()
        self.variables = {}

    def stop(self):
        for server in self.servers:
            server.kill()

    def server(self, name, seal, peers=()):
        self.servers.append(Server(self, name, seal, peers))
        return self.servers[-1]

    def key(self, name):
        """A key that unseals, as a server's configuration names it."""
        self.kms.call("POST", f"transit/keys/{name}", {}, self.kms_token)
        return {"transit": {
            "address": self.kms.address, "token": self.kms_token, "key_name": name, "mount_path": "transit/",
            "tls_ca_cert": str(self.authority.certificate)}}

    def run(self, runbook, label):
        """A tested block of a runbook, in a shell of its own."""
        text = (RUNBOOKS / runbook).read_text()
        blocks = re.findall(rf"^```sh tested {label}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        assert len(blocks) == 1, f"{runbook} has {len(blocks)} blocks `tested {label}`"
        return self.shell(blocks[0], f"{runbook}, tested {label}")

    def shell(self, script, what):
        environment = {"PATH": f"{Path(VAULT).parent}:{os.environ['PATH']}", "HOME": str(self.home),
                       "VAULT_CACERT": str(self.authority.certificate)} | {name: str(value) for name, value in self.variables.items()}
        ran = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False)
        self.wrote.append(ran.stdout + ran.stderr)
        assert ran.returncode == 0, f"{what} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def file(self, name, content):
        path = self.folder / name
        path.touch(0o600)
        path.write_text(content)
        return path

    def command(self, *arguments):
        """`regions` with the catalogue of these two."""
        command = [self.regions, "--catalogue", self.folder / "regions" / "catalogue", "--output", "json", *arguments]
        ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
        self.wrote.append(ran.stdout + ran.stderr)
        return ran

    def catalogue(self, addresses):
        folder = self.folder / "regions"
        shutil.copytree(TERRAFORM.parent / "regions" / "schema", folder / "schema")
        place = folder / "catalogue" / ENVIRONMENT
        place.mkdir(parents=True)
        production = (TERRAFORM.parent / "regions" / "catalogue" / "production" / "_environment.yaml").read_text()
        own = re.sub(r"^pipeline:\n(  .*\n)+", "approle: [service, rotator]\n", production, flags=re.MULTILINE)
        own = re.sub(r"^waves: .*$", "waves: [all]", own, flags=re.MULTILINE)
        (place / "_environment.yaml").write_text(own)
        for number, (region, address) in enumerate(addresses.items()):
            (place / f"{region}.yaml").write_text(
                "# yaml-language-server: $schema=../../schema/region.schema.json\n"
                f"location: europe-west{number + 1}\nwave: all\nrange: 10.{4 * number}.0.0/14\n"
                f"vault: {{ address: {address}, in_cluster: false }}\n")


def opened(server):
    """Initialises a server that unseals itself; gives its root token once it is active."""
    shares = "recovery" if server.seal else "secret"
    made = server.call("PUT", "sys/init", {f"{shares}_shares": 1, f"{shares}_threshold": 1})
    if not server.seal:
        server.call("PUT", "sys/unseal", {"key": made["keys_base64"][0]})
    until(f"{server.name} is active", lambda: server.call("GET", "sys/health"), 60)
    return made["root_token"]


def lost(world):
    world.kms = world.server("kms", None).start()
    world.kms_token = opened(world.kms)
    world.kms.call("POST", "sys/mounts/transit", {"type": "transit"}, world.kms_token)
    key = world.key("eu")
    world.eu = [world.server(f"eu-{number}", key) for number in range(3)]
    for server in world.eu:
        server.peers = [peer for peer in world.eu if peer is not server]
    world.us = world.server("us", world.key("us"))
    for server in (*world.eu, world.us):
        server.start()
    first = world.eu[0]
    world.eu_token, world.us_token = opened(first), opened(world.us)
    whole(world)
    world.catalogue({"eu": first.address, "us": world.us.address})
    world.roles = {}
    for region, server, token in (("eu", first, world.eu_token), ("us", world.us, world.us_token)):
        applied = world.command("vault", "apply", f"{ENVIRONMENT}/{region}", "--vault-ca", world.authority.certificate,
                                "--vault-token-file", world.file(f"{region}.token", token))
        assert applied.returncode == 0, applied.stdout + applied.stderr
        for path, data in DOCUMENTS.items():
            server.put(path, data, token)
        role = server.call("GET", "auth/approle/role/rotator/role-id", token=token)["data"]["role_id"]
        secret = server.call("POST", "auth/approle/role/rotator/secret-id", {}, token)["data"]["secret_id"]
        world.roles[region] = (role, world.file(f"{region}.secret-id", secret))
    world.variables = {
        "VAULT_ADDR": first.address, "OTHER_ADDR": world.us.address, "OTHER_HOME": world.other_home,
        "SNAPSHOT": world.folder / "vault.snap",
        "ROLE_ID": world.roles["eu"][0], "SECRET_ID_FILE": world.roles["eu"][1],
        "OTHER_ROLE_ID": world.roles["us"][0], "OTHER_SECRET_ID_FILE": world.roles["us"][1],
    }
    world.file("home/.vault-token", world.eu_token)
    world.run("lost-vault.md", "snapshot")
    (world.home / ".vault-token").unlink()
    # A rotation later, and its region seen by agents at version 4.
    for _ in range(3):
        for server, token in ((first, world.eu_token), (world.us, world.us_token)):
            server.put("service/config", LATER["service/config"], token)
    for server, token in ((first, world.eu_token), (world.us, world.us_token)):
        server.put("client/late", LATER["client/late"], token)
    world.variables["FLOOR"] = first.document("service/config", world.eu_token)[0]
    assert world.variables["FLOOR"] == 4
    for server in world.eu:
        server.kill()
        shutil.rmtree(server.data)


def whole(world):
    """Every server of the region is unsealed, and knows the same three."""
    def so():
        leaders = {server.call("GET", "sys/leader")["leader_address"] for server in world.eu}
        return len(leaders) == 1 and "" not in leaders and not any(server.sealed() for server in world.eu)
    until("all three servers are unsealed, with one leader", so, 240)


def settled(world):
    """Each server counts in an election, which Autopilot lets one that joined do after a while, and has all that was
    written: one that lags has the keys as they were encrypted before."""
    def so():
        servers = leader(world.eu).call("GET", "sys/storage/raft/autopilot/state", token=world.eu_token)["data"]["servers"].values()
        return sorted(one["status"] for one in servers) == ["leader", "voter", "voter"] and len({one["last_index"] for one in servers}) == 1
    until("all three servers vote, and have caught up", so, 120)


def leader(servers):
    """The one of these that is active, or None."""
    for server in servers:
        try:
            server.call("GET", "sys/health")
            return server
        except urllib.error.HTTPError as error:
            # A standby answers 429, and 474 while it hears nothing of the active one.
            assert error.code in (429, 474, 503), error
    return None


def restarted(world):
    """As the pods are deleted: each server ends, and comes back with its disk."""
    for server in world.eu:
        server.kill()
    for server in world.eu:
        server.start()


def restored(world):
    for server in world.eu:
        server.start()
    world.run("lost-vault.md", "initialise")
    whole(world)
    thrown_away = (world.home / ".vault-token").read_text().strip()
    world.run("lost-vault.md", "restore")
    assert not (world.home / ".vault-token").exists()
    assert re.search(r"^Sealed +false$", world.run("lost-vault.md", "opened"), re.MULTILINE)
    whole(world)
    restarted(world)
    whole(world)
    first = world.eu[0]
    # What was restored is the lost Vault's, tokens and all, as old as the snapshot.
    assert first.document("service/config", world.eu_token) == (1, DOCUMENTS["service/config"])
    try:
        first.call("GET", "auth/token/lookup-self", token=thrown_away)
    except urllib.error.HTTPError as error:
        assert error.code == 403, error
    else:
        raise AssertionError("the token of the empty Vault outlived the restore")
    before = world.command("bootstrap", f"{ENVIRONMENT}/eu", *compare(world))
    told = "service/config: not the same in us and eu"
    assert before.returncode == 4 and told in before.stdout, f"{before.returncode}: {before.stdout}{before.stderr}"

    world.run("lost-vault.md", "login")
    said = world.run("lost-vault.md", "forward")
    assert "service/config: version 1 is now 4" in said and "client/late: version 0 is now 4" in said, said
    world.run("lost-vault.md", "logout")
    assert not (world.home / ".vault-token").exists() and not (world.other_home / ".vault-token").exists()

    for path in DOCUMENTS | LATER:
        (version, own), (_, other) = first.document(path, world.eu_token), world.us.document(path, world.us_token)
        assert own == other and own is not None and version >= world.variables["FLOOR"], f"{path}: version {version}"
    applied = world.command("vault", "apply", f"{ENVIRONMENT}/eu", "--vault-ca", world.authority.certificate,
                            "--vault-token-file", world.folder / "eu.token", "--dry-run")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    compared = world.command("bootstrap", f"{ENVIRONMENT}/eu", *compare(world))
    assert compared.returncode == 0, compared.stdout + compared.stderr
    # Three that agree: the one that led is killed, and the others go on.
    settled(world)
    led = leader(world.eu)
    led.kill()
    others = [server for server in world.eu if server is not led]
    until("another server is active", lambda: leader(others), 60)
    assert others[0].document("service/config", world.eu_token)[0] == 4
    led.start()
    whole(world)


def compare(world):
    return ["--vault-ca", world.authority.certificate, "--vault-token", f"eu={world.folder / 'eu.token'}",
            "--vault-token", f"us={world.folder / 'us.token'}"]


def rotated(world):
    """The old version of the key is gone, and servers start."""
    world.kms.call("POST", "transit/keys/eu/rotate", {}, world.kms_token)
    world.file("home/.vault-token", world.eu_token)
    before = leader(world.eu)
    world.run("rotate-keys.md", "step-down")
    # A server that has become the active one has encrypted the keys anew before it says so.
    others = [server for server in world.eu if server is not before]
    until("another server is active", lambda: leader(others), 60)
    whole(world)
    world.run("rotate-keys.md", "caught-up")
    (world.home / ".vault-token").unlink()
    # As a disabled version of Cloud KMS: nothing is decrypted with it.
    world.kms.call("POST", "transit/keys/eu/config", {"min_decryption_version": 2}, world.kms_token)
    restarted(world)
    whole(world)
    assert world.eu[0].document("service/config", world.eu_token)[0] == 4


def foreign(world):
    """The same snapshot, restored into a Vault with another key, stays shut."""
    server = world.server("foreign", world.key("foreign")).start()
    world.variables["VAULT_ADDR"] = server.address
    world.run("lost-vault.md", "initialise")
    world.run("lost-vault.md", "restore")
    until("it is sealed", server.sealed, 60)
    said = re.search(r"`(.*?)` is a snapshot that was taken under another key", (RUNBOOKS / "lost-vault.md").read_text())[1]
    assert said in server.log.read_text(), server.log.read_text()[-3000:]
    server.kill()
    server.start()
    assert server.sealed()


def silent(world):
    """Nothing that was said holds a secret, but for what is meant to be kept: the servers' own disks."""
    said = "".join(world.wrote) + "".join(server.log.read_text() for server in world.servers)
    secrets = ["canary-pem", "canary-probe", "canary-late", world.eu_token, world.us_token, world.kms_token]
    secrets += [file.read_text() for _, file in world.roles.values()]
    assert said and not [number for number, secret in enumerate(secrets) if secret in said]
