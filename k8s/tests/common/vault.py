"""A real Vault server over TLS under a name, with the secrets of one region in it."""

import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import urllib.request

from authority import openssl
from waiting import until


def documents(authority, domain, secret):
    """What a region's Vault holds under kv/service, made with openssl and not by the programs under test."""
    pem = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    point = openssl("pkey", "-pubout", "-outform", "DER", given=pem)[-64:]

    def encode(part):
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    jwk = {"crv": "P-256", "kty": "EC", "x": encode(point[:32]), "y": encode(point[32:])}
    kid = encode(hashlib.sha256(json.dumps(jwk, separators=(",", ":")).encode()).digest())
    certificate, key = authority.issue(domain)
    entry = {"state": "active", "private_pem": pem.decode(), "public_jwk": jwk, "since": "2026-01-01T00:00:00Z"}
    hashed = hashlib.sha256(secret.encode()).hexdigest()
    return {
        "config": {"oauth": {"audience": "https://api.example"}},
        "tls": {"certificate_pem": certificate.read_text(), "private_key_pem": key.read_text()},
        "clients": {"clients": {"probe": {"secrets": [{"sha256": hashed}], "scopes": ["read"]}}},
        "signing-keys": {"keys": {kid: entry}},
    }


class Client:
    """A Vault at an address, under the name in its certificate; as nobody where there is no token."""

    def __init__(self, context, name, port=8200, host="127.0.0.1", token=None):
        self.context, self.host, self.token = context, host, token
        self.address = f"https://{name}:{port}"

    def call(self, method, path, body=None):
        """One call of Vault's API."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Vault-Token": self.token} if self.token else {}
        # The name is told by TLS; the address is known here, so that only the container's resolver is tested.
        opener = urllib.request.build_opener(At(self.context, self.host))
        request = urllib.request.Request(f"{self.address}/v1/{path}", data, headers, method=method)
        with opener.open(request, timeout=5) as response:
            text = response.read()
        return json.loads(text) if text else {}


class Vault(Client):
    """Initialised, unsealed, and with a role that reads what an agent reads and nothing else."""

    def __init__(self, folder, authority, name, port=8200):
        certificate, key = authority.issue(name)
        super().__init__(ssl.create_default_context(cafile=authority.certificate), name, port)
        configuration = folder / "vault.json"
        configuration.write_text(json.dumps({
            "storage": {"inmem": {}},
            "disable_mlock": True,
            "api_addr": self.address,
            "listener": {"tcp": {
                "address": f"127.0.0.1:{port}", "tls_cert_file": str(certificate), "tls_key_file": str(key),
            }},
        }))
        with open(folder / "vault.log", "wb") as log:
            command = [os.environ["VAULT"], "server", f"-config={configuration}"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until("Vault answers", lambda: self.call("GET", "sys/seal-status"), 30)
        keys = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.token = keys["root_token"]
        self.call("PUT", "sys/unseal", {"key": keys["keys"][0]})
        until("Vault is active", lambda: self.call("GET", "sys/health"), 30)

    def seed(self, secrets):
        """Writes the documents, and gives (role id, secret id)."""
        self.call("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        policy = "".join(
            f'path "kv/{part}/service/*" {{ capabilities = ["read"] }}\n' for part in ("data", "metadata")
        )
        self.call("PUT", "sys/policies/acl/agent", {"policy": policy})
        self.call("POST", "sys/auth/approle", {"type": "approle"})
        self.call("POST", "auth/approle/role/service", {"token_policies": "agent", "token_ttl": "1h"})
        until("the key-value engine is ready", lambda: self.call("GET", "kv/config"), 30)
        for name, document in secrets.items():
            self.call("POST", f"kv/data/service/{name}", {"data": document, "options": {"cas": 0}})
        role = self.call("GET", "auth/approle/role/service/role-id")["data"]["role_id"]
        return role, self.call("POST", "auth/approle/role/service/secret-id")["data"]["secret_id"]


class At(urllib.request.HTTPSHandler):
    """HTTPS to a host under a name that this machine does not know."""

    def __init__(self, context, host):
        super().__init__(context=context)
        self.host = host

    def https_open(self, request):
        return self.do_open(self.connection, request, context=self._context)

    def connection(self, name, **options):
        host = self.host

        class Connection(http.client.HTTPSConnection):
            def connect(self):
                plain = socket.create_connection((host, self.port), self.timeout)
                self.sock = self._context.wrap_socket(plain, server_hostname=self.host)

        return Connection(name, **options)
