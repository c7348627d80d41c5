"""Who signs the jobs' tokens here, in CircleCI's place: tokens of the same shape, and Vaults that take them.

The claims are those of https://circleci.com/docs/openid-connect-tokens/. Vault takes the issuer's public key as it is
given: a pod reaches nothing of this machine's loopback, where an issuer could be asked for it. That roles of `regions
vault apply` take nothing else, from an issuer that is asked, regions/tests/vault/policies.rs shows.
"""

import base64
import json
import ssl
import subprocess
import time
import uuid
from pathlib import Path

from vault import Client

ISSUER = "https://oidc.circleci.com/org/"
CLAIM = "oidc.circleci.com/"
# The name in the certificate of every region's Vault.
NAME = "vault.vault.svc"
MAIN = "refs/heads/main"


def vaults(region, kubectl, kubeconfig):
    """A region's Vault, at the address of its pod: as its root, and as nobody."""
    asked = [kubectl, "--kubeconfig", kubeconfig, "--context", region["context"], "--namespace", "vault",
             "get", "pod", "vault-0", "--output", "jsonpath={.status.podIP}"]
    host = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    context = ssl.create_default_context(cafile=region["vault"]["authority"])
    root = Path(region["vault"]["tokens"]["root"]).read_text().strip()
    return [Client(context, NAME, host=host, token=token) for token in (root, None)]


class Issuer:
    """One organisation with one project, and a context for each environment."""

    def __init__(self, folder, environments):
        self.key = folder / "issuer.pem"
        subprocess.run(["openssl", "genrsa", "-out", self.key, "2048"], check=True, capture_output=True)
        self.public = subprocess.run(["openssl", "rsa", "-in", self.key, "-pubout"], check=True, capture_output=True, text=True).stdout
        self.organisation, self.project = str(uuid.uuid4()), str(uuid.uuid4())
        self.contexts = {name: str(uuid.uuid4()) for name in environments}

    def token(self, environment, **changed):
        """The token of a job of an environment on the branch main; `changed` is what another job has instead."""
        now = int(time.time())
        subject = f"org/{self.organisation}/project/{self.project}/user/{uuid.uuid4()}"
        claims = {
            "iss": ISSUER + self.organisation, "aud": [self.organisation], "sub": subject, "iat": now, "exp": now + 3600,
            CLAIM + "project-id": self.project, CLAIM + "context-ids": [self.contexts[environment]],
            CLAIM + "vcs-ref": MAIN, CLAIM + "vcs-origin": "github.com/example/meridian", CLAIM + "ssh-rerun": False,
        }
        claims |= {CLAIM + name.replace("_", "-"): value for name, value in changed.items()}
        parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
        signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
        made = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=signed, check=True, capture_output=True)
        return (signed + b"." + base64.urlsafe_b64encode(made.stdout).rstrip(b"=")).decode()

    def trusted_by(self, root, environment):
        """Lets the jobs of an environment log in to a Vault to promote."""
        if "jwt/" not in root.call("GET", "sys/auth"):
            root.call("POST", "sys/auth/jwt", {"type": "jwt"})
        root.call("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [self.public], "bound_issuer": ISSUER + self.organisation})
        root.call("POST", "auth/jwt/role/promoter", {
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": [self.organisation],
            "bound_claims": {
                CLAIM + "project-id": self.project, CLAIM + "context-ids": self.contexts[environment],
                CLAIM + "vcs-ref": MAIN, CLAIM + "ssh-rerun": False,
            },
            "token_policies": ["promoter"], "token_no_default_policy": True, "token_ttl": "5m", "token_max_ttl": "5m",
        })

    def strangers(self, environment):
        """Tokens that no Vault may take, by whose they are."""
        elsewhere = next(name for name in self.contexts if name != environment)
        return {
            "another branch": self.token(environment, vcs_ref="refs/heads/feature"),
            "another project": self.token(environment, project_id=str(uuid.uuid4())),
            "another environment's context": self.token(elsewhere),
            "a rerun with SSH": self.token(environment, ssh_rerun=True),
        }
