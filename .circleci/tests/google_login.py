"""The exchange of the job's token, against a server that answers as Google's interfaces do."""

import base64
import contextlib
import hashlib
import importlib.machinery
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import config
import yaml
from report import check

PROGRAM = config.ROOT / ".circleci" / "bin" / "google"
CANARY = "canary-of-the-job"
PROVIDER = "projects/12/locations/global/workloadIdentityPools/circleci/providers/circleci"
ACCOUNT = "promoter@meridian-qa.iam.gserviceaccount.com"


def load():
    """The program as a module."""
    loader = importlib.machinery.SourceFileLoader("google_program", str(PROGRAM))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Google:
    """Answers, remembers what it was asked, and refuses what it is told to refuse."""

    def __init__(self):
        self.asked, self.refuse, self.without_dns, self.signer = [], {}, False, None
        google = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                google.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
                status, content = google.reply(self.path)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def reply(self, path):
        for part, (status, content) in self.refuse.items():
            if part in path:
                return status, content
        if path == "/sts":
            return 200, {"access_token": "federated", "expires_in": 3600}
        if path.endswith(":generateAccessToken"):
            return 200, {"accessToken": "acting", "expireTime": "2030-01-01T00:00:00Z"}
        if path.endswith(":asymmetricSign"):
            return 200, {"name": self.signer or path.removeprefix("/kms/").split(":")[0], "signature": "c2lnbmVk"}
        if path.endswith("/occurrences"):
            return 200, {"name": "projects/p/occurrences/1"}
        name = path.rsplit("/", 1)[1]
        endpoint = {} if self.without_dns else {"endpoint": f"{name}.gke.goog"}
        return 200, {"name": name, "controlPlaneEndpointsConfig": {"dnsEndpointConfig": endpoint}}


def run_program(google, *arguments, without=(), **more):
    """(exit code, standard output, standard error) of the program, with its addresses set to the server's."""
    module = load()
    module.STS, module.IAM, module.GKE = f"{google.address}/sts", f"{google.address}/iam", f"{google.address}/gke"
    module.KMS, module.ANALYSIS = f"{google.address}/kms", f"{google.address}/analysis"
    settings = {"GOOGLE_PROVIDER": PROVIDER, "GOOGLE_SERVICE_ACCOUNT": ACCOUNT, "CIRCLE_OIDC_TOKEN_V2": CANARY,
                "PATH": "/nonexistent"} | more
    before = dict(os.environ)
    out, err = io.StringIO(), io.StringIO()
    try:
        os.environ.clear()
        os.environ.update({key: str(value) for key, value in settings.items() if key not in without})
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = module.main(list(arguments))
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert CANARY not in out.getvalue() + err.getvalue(), "the job's token was printed"
    return code, out.getvalue(), err.getvalue()


def exchanges_the_token():
    google = Google()
    code, out, err = run_program(google, "credential")
    assert code == 0, err
    assert json.loads(out) == {
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": "acting", "expirationTimestamp": "2030-01-01T00:00:00Z"},
    }
    (_, _, none, exchange), (_, path, bearer, acting) = google.asked
    assert none is None and exchange == {
        "audience": f"//iam.googleapis.com/{PROVIDER}",
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
        "subjectToken": CANARY,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
    }, exchange
    assert path == f"/iam/{ACCOUNT}:generateAccessToken" and bearer == "Bearer federated"
    assert acting == {"scope": [exchange["scope"]], "lifetime": "3600s"}


def a_newer_token_is_taken_where_there_is_one():
    google = Google()
    with tempfile.TemporaryDirectory() as folder:
        runner = Path(folder) / "circleci"
        runner.write_text('#!/bin/sh\n[ "$*" = "run oidc get" ] && echo newer\n')
        runner.chmod(0o755)
        code, _, err = run_program(google, "credential", PATH=f"{folder}:/usr/bin:/bin")
        assert code == 0 and google.asked[0][3]["subjectToken"] == "newer", err
        runner.write_text("#!/bin/sh\nexit 1\n")
        code, _, err = run_program(google, "credential", PATH=f"{folder}:/usr/bin:/bin")
        assert code == 0 and google.asked[2][3]["subjectToken"] == CANARY, err


KEY = "projects/meridian-delivery/locations/europe-west4/keyRings/delivery/cryptoKeys/pipeline/cryptoKeyVersions/1"
IMAGE = "europe-west4-docker.pkg.dev/meridian-delivery/meridian/service@sha256:" + "a" * 64


def signs_a_digest_with_the_key_that_is_named():
    google = Google()
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"what is signed")
        file.flush()
        code, out, err = run_program(google, "sign", file.name, SIGNING_KEY=KEY)
        assert code == 0 and out == "c2lnbmVk\n", (out, err)
        method, path, bearer, body = google.asked[-1]
        digest = base64.b64encode(hashlib.sha256(b"what is signed").digest()).decode()
        assert (method, path, bearer, body) == ("POST", f"/kms/{KEY}:asymmetricSign", "Bearer acting", {"digest": {"sha256": digest}})
        google.signer = KEY[:-1] + "2"
        code, out, err = run_program(google, "sign", file.name, SIGNING_KEY=KEY)
        assert code == 1 and not out and "answered" in err, (code, out, err)
        code, out, err = run_program(google, "sign", file.name)
        assert code == 1 and "SIGNING_KEY is not set" in err, err


def attests_an_image_as_binary_authorization_asks():
    google = Google()
    attestor = "projects/meridian-delivery/attestors/pipeline"
    code, _, err = run_program(google, "attest", IMAGE, SIGNING_KEY=KEY, ATTESTOR=attestor)
    assert code == 0, err
    method, path, bearer, body = google.asked[-1]
    assert (method, path, bearer) == ("POST", "/analysis/projects/meridian-delivery/occurrences", "Bearer acting")
    attestation = body.pop("attestation")
    assert body == {"resourceUri": f"https://{IMAGE}", "noteName": "projects/meridian-delivery/notes/pipeline", "kind": "ATTESTATION"}
    assert attestation["signatures"] == [{"publicKeyId": f"//cloudkms.googleapis.com/v1/{KEY}", "signature": "c2lnbmVk"}]
    payload = base64.b64decode(attestation["serializedPayload"])
    # What was signed is what is said, byte for byte.
    assert google.asked[-2][3] == {"digest": {"sha256": base64.b64encode(hashlib.sha256(payload).digest()).decode()}}
    assert json.loads(payload)["critical"]["image"] == {"docker-manifest-digest": IMAGE.split("@")[1]}
    for image in (IMAGE.split("@")[0], IMAGE.replace("@sha256:", ":"), "x"):
        code, _, err = run_program(google, "attest", image, SIGNING_KEY=KEY, ATTESTOR=attestor)
        assert code == 1 and "is not what it should be" in err, err


def settings_of(environment):
    return yaml.safe_load((config.CATALOGUE / environment / "_environment.yaml").read_text())


def regions_of(environment):
    return sorted(file for file in (config.CATALOGUE / environment).glob("*.yaml") if not file.name.startswith("_"))


def kubeconfig_has_every_region(environment):
    """Those of the environment before too, whose records say what has run healthily there."""
    google, environments = Google(), config.environments()
    before = dict(zip(environments[1:], environments)).get(environment)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new" / "kubeconfig"
        code, _, err = run_program(google, "kubeconfig", environment, KUBECONFIG=file)
        assert code == 0, err
        assert file.stat().st_mode & 0o777 == 0o600
        text = file.read_text()
        found = yaml.safe_load(text)
    assert "acting" not in text and CANARY not in text, "a credential is kept in the file"
    contexts = [(name, file) for name in (environment, before) if name for file in regions_of(name)]
    names = [f"meridian-{name}-{file.stem}" for name, file in contexts]
    assert [context["name"] for context in found["contexts"]] == names
    assert {c["cluster"]["server"] for c in found["clusters"]} == {f"https://{name}.gke.goog" for name in names}
    assert [c["context"]["cluster"] for c in found["contexts"]] == names
    plugin = found["users"][0]["user"]["exec"]
    assert plugin["command"] == str(PROGRAM) and plugin["args"] == ["credential"]
    assert os.access(PROGRAM, os.X_OK)
    wanted = []
    for name, file in contexts:
        project, location = settings_of(name)["project"], yaml.safe_load(file.read_text())["location"]
        wanted.append(f"/gke/projects/{project}/locations/{location}/clusters/meridian-{name}-{file.stem}")
    assert [path for _, path, _, _ in google.asked[2:]] == wanted
    assert all(bearer == "Bearer acting" for _, _, bearer, _ in google.asked[2:])


def registry_login_is_written():
    google = Google()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "registry.json"
        file.write_text("older")
        code, _, err = run_program(google, "registry", REGISTRY_AUTH_FILE=file, IMAGE_REPOSITORY="europe.example/p/meridian")
        assert code == 0, err
        assert file.stat().st_mode & 0o777 == 0o600 and len(list(Path(folder).iterdir())) == 1
        login = json.loads(file.read_text())["auths"]["europe.example"]["auth"]
    assert base64.b64decode(login) == b"oauth2accesstoken:acting"


def refusal_is_told(part, reply, said, *arguments, **more):
    google = Google()
    google.refuse = {part: reply}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kubeconfig"
        file.write_text("the last good one")
        code, out, err = run_program(google, *arguments, KUBECONFIG=file, **more)
        assert code == 1 and said in err and not out, (code, out, err)
        assert file.read_text() == "the last good one" and len(list(Path(folder).iterdir())) == 1


def a_cluster_without_dns_endpoint_is_told():
    google = Google()
    google.without_dns = True
    with tempfile.TemporaryDirectory() as folder:
        code, _, err = run_program(google, "kubeconfig", "qa", KUBECONFIG=Path(folder) / "kubeconfig")
    assert code == 1 and "clusters/meridian-qa-europe-west4 has no DNS endpoint" in err, err


def what_is_missing_is_named(name):
    code, out, err = run_program(Google(), "kubeconfig", "qa", without=[name], **({} if name == "KUBECONFIG" else {"KUBECONFIG": "/nonexistent"}))
    assert code == 1 and f"{name} is not set" in err and not out, (code, err)


def nobody_answers():
    google = Google()
    google.server.shutdown()
    google.server.server_close()
    code, _, err = run_program(google, "credential")
    assert code == 1 and "exchange the job's token" in err and "refused" in err, err


def an_environment_before_that_may_not_be_read_is_left_out():
    """Whoever rotates has no business there; `regions promote` says what it lacks."""
    google = Google()
    google.refuse["/clusters/meridian-qa-"] = (403, {"error": {"message": "Permission denied"}})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kubeconfig"
        code, _, err = run_program(google, "kubeconfig", "staging", KUBECONFIG=file)
        names = [context["name"] for context in json.loads(file.read_text())["contexts"]]
    assert code == 0 and "without qa, which comes before" in err and "403 Permission denied" in err, err
    assert names == [f"meridian-staging-{one.stem}" for one in regions_of("staging")]


def usage():
    done = subprocess.run([sys.executable, PROGRAM, "kubeconfig"], capture_output=True, text=True)
    assert done.returncode == 2 and "google kubeconfig ENVIRONMENT" in done.stderr


def run():
    """Every verb, and every way in which Google or the context lets a job down."""
    check("google: the job's token is exchanged for one of Google's", exchanges_the_token)
    check("google: in a long job a newer token is taken", a_newer_token_is_taken_where_there_is_one)
    for environment in config.environments():
        check(f"google: kubeconfig of {environment} has every region, and no credential", kubeconfig_has_every_region, environment)
    check("google: an environment before that may not be read is left out", an_environment_before_that_may_not_be_read_is_left_out)
    check("google: the registry's login is written", registry_login_is_written)
    check("google: a digest is signed with the key that is named", signs_a_digest_with_the_key_that_is_named)
    check("google: an image is attested as Binary Authorization asks", attests_an_image_as_binary_authorization_asks)
    sts = (400, {"error": "invalid_grant", "error_description": "The audience does not match"})
    denied = (403, {"error": {"code": 403, "message": "Permission denied on the service account"}})
    gone = (404, {"error": {"message": "Not found: cluster"}})
    garbage = (200, [])
    check("google: a refused exchange is told", refusal_is_told, "/sts", sts, "400 The audience does not match", "credential")
    check("google: a refused account is told", refusal_is_told, ":generate", denied,
          f"act as {ACCOUNT}: 403 Permission denied", "kubeconfig", "qa")
    check("google: a missing cluster is told, the old file kept", refusal_is_told, "/clusters/", gone,
          "clusters/meridian-qa-europe-west4: 404 Not found: cluster", "kubeconfig", "qa")
    check("google: an answer of another form is told", refusal_is_told, "/sts", garbage, "not what was expected", "credential")
    check("google: an unknown environment is told", refusal_is_told, "none", (500, {}),
          "dev is no environment of the catalogue; it has production, qa, staging", "kubeconfig", "dev")
    check("google: a cluster that is not reached by DNS is told", a_cluster_without_dns_endpoint_is_told)
    for name in ("GOOGLE_PROVIDER", "GOOGLE_SERVICE_ACCOUNT", "CIRCLE_OIDC_TOKEN_V2", "KUBECONFIG"):
        check(f"google: without {name} it is named", what_is_missing_is_named, name)
    check("google: nobody answers", nobody_answers)
    check("google: usage", usage)
