"""make release and make promote, against a real registry: what is pushed is what is found, once for each commit."""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from io import BytesIO
from pathlib import Path

import config
import signing
from report import check, skip

PROGRAMS = ("service", "secrets-agent", "regions")
VERSION = re.compile(r'^version = "(.*)"', re.MULTILINE)


def until(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


class Registry:
    """Debian's docker-registry over TLS, on a port of its own."""

    def __init__(self, folder, program):
        self.certificate = folder / "registry.crt"
        made = subprocess.run([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", folder / "registry.key", "-out", self.certificate, "-days", "1", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
        ], capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        settings = folder / "registry.json"
        settings.write_text(json.dumps({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
            "http": {"addr": "127.0.0.1:0",
                     "tls": {"certificate": str(self.certificate), "key": str(folder / "registry.key")}},
        }))
        self.log = folder / "registry.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([program, "serve", settings], stdout=log, stderr=log)
        said = until("the registry listens", lambda: re.search(r"listening on \S*:(\d+)", self.log.read_text()))
        self.repository = f"localhost:{said.group(1)}/meridian"

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


class Checkout:
    """A repository with the recipes, the chart and made-up images, as `make image` leaves them."""

    def __init__(self, folder, registry):
        self.folder, self.registry = folder / "checkout", registry
        for part in ("local/images", "local/tools/helm", "k8s/chart", ".circleci/bin"):
            shutil.copytree(config.ROOT / part, self.folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        # What cargo needs to know of the crates, and no more.
        for file in config.git(config.ROOT, "ls-files", "*.toml", "*.lock", "*.rs", "*/Dockerfile").splitlines():
            if (config.ROOT / file).is_file():
                (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(config.ROOT / file, self.folder / file)
        (self.folder / ".gitignore").write_text("/target/\n__pycache__/\n")
        config.git(folder, "init", "--quiet", self.folder)
        config.git(self.folder, "add", ".")
        config.git(self.folder, "commit", "--quiet", "--message", "one")
        self.home = folder / "home"
        self.home.mkdir()

    def run(self, name, *arguments, **more):
        """(exit code, standard output, standard error) of a recipe."""
        environment = {
            "PATH": f"{Path(os.environ['HELM']).parent}:{os.environ['PATH']}", "HOME": str(self.home),
            "SSL_CERT_FILE": str(self.registry.certificate), "IMAGE_REPOSITORY": self.registry.repository,
            "CARGO_HOME": os.environ.get("CARGO_HOME", str(Path.home() / ".cargo")),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup")), "CARGO_NET_OFFLINE": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
        } | more
        command = [self.folder / "local/images" / name, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout.strip(), done.stderr

    def build(self):
        """Images of a few bytes, as OCI layouts, and the chart that pins them."""
        out = self.folder / "target" / "images"
        shutil.rmtree(out, ignore_errors=True)
        code, version, error = self.run("version")
        assert code == 0, error
        lines = [f"{name}: {self.registry.repository}/{name}@{layout(out / name, name, version)}" for name in PROGRAMS]
        (out / "images.yaml").write_text("\n".join(lines) + "\n")
        code, _, error = self.run("package", out / "images.yaml", version, "1700000000", out)
        assert code == 0, error
        return version

    def commit(self, message):
        (self.folder / "file").write_text(message)
        config.git(self.folder, "add", ".")
        config.git(self.folder, "commit", "--quiet", "--message", message)


def layout(folder, name, version, more=b""):
    """An OCI layout with one file in one layer; gives the manifest's digest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content, kind):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    layer = BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        content = f"{name} {version}".encode() + more
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, BytesIO(content))
    content_id = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
    layer = blob(gzip.compress(layer.getvalue()), "layer.v1.tar+gzip")
    image = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [content_id]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob(json.dumps(image).encode(), "config.v1+json"), "layers": [layer]}
    entry = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": version}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return entry["digest"]


def nothing_is_found_before(checkout):
    code, out, error = checkout.run("find")
    assert code == 1 and not out and "this commit was not released" in error, (code, out, error)
    code, _, error = checkout.run("../../.circleci/bin/operate", "promote", "qa")
    assert code == 1 and "was not released" in error, (code, error)


def what_is_pushed_is_found(checkout):
    version = checkout.build()
    code, released, error = checkout.run("release")
    assert code == 0, error
    assert re.fullmatch(rf"oci://{checkout.registry.repository}/charts/meridian@sha256:[0-9a-f]{{64}}", released), released
    code, found, error = checkout.run("find")
    assert code == 0 and found == released, (found, released, error)
    # The package behind the digest is the one that was built, byte for byte.
    pulled = checkout.folder / "target" / "pulled"
    pulled.mkdir()
    environment = {"HOME": str(checkout.home), "SSL_CERT_FILE": str(checkout.registry.certificate), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([os.environ["HELM"], "pull", released, "--destination", pulled],
                          env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (package,) = pulled.glob("*.tgz")
    assert package.read_bytes() == (checkout.folder / f"target/images/meridian-{version}.tgz").read_bytes()
    for line in (checkout.folder / "target/images/images.yaml").read_text().splitlines():
        image = line.split(": ")[1]
        done = subprocess.run(["skopeo", "inspect", "--raw", f"docker://{image}"], env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        assert "sha256:" + hashlib.sha256(done.stdout).hexdigest() == image.split("@")[1]


def a_second_release_changes_nothing(checkout):
    _, first, _ = checkout.run("find")
    (checkout.folder / "target/images/images.yaml").unlink()
    code, again, error = checkout.run("release")
    assert code == 0 and again == first and "released before" in error, (code, again, error)


def operate(checkout, *arguments, without=(), **more):
    """(exit code, what a stand-in for `regions` was given and read, standard error) of a job."""
    program = checkout.folder / "target/release/regions"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text('''#!/bin/sh
printf '%s\\n' "$@" >&2
for one in "$@"; do case $one in /*.jwt|/*.pem) cat "$one"; stat --format ' %a %F' "$one" ;; esac; done
exit "${ENDS:-3}"
''')
    program.chmod(0o755)
    return checkout.run("../../.circleci/bin/operate", *arguments, **more)


def promotion_is_by_digest(checkout):
    _, released, _ = checkout.run("find")
    code, _, error = operate(checkout, "promote", "qa", WHY="a b")
    assert code == 3, f"the exit code of regions is {code}: {error}"
    told = error.splitlines()
    assert "no Vault is asked" in error, error
    arguments = told[told.index("promote"):]
    helm = arguments.pop(arguments.index("--helm") + 1)
    assert Path(helm).name == "helm"
    assert arguments == ["promote", "--env", "qa", "--release", released, "--helm", "--yes", "--why", "a b"], arguments


def each_verb_is_given_what_it_takes(checkout):
    wanted = {
        ("settle", "qa"): ["promote", "--env", "qa", "--settle"],
        ("rollback", "qa"): ["rollback", "--env", "qa", "--to", "1.4.2", "--yes"],
        ("drain", "qa"): ["drain", "qa/europe-west4", "--yes"],
        ("restore", "qa"): ["restore", "qa/europe-west4", "--yes"],
        ("rotate", "qa"): ["rotate", "signing-keys", "--env", "qa", "--rotation", "9f3c-1"],
    }
    for asked, arguments in wanted.items():
        code, _, error = operate(checkout, *asked, REGION="europe-west4", TO="1.4.2", SECRET="signing-keys",
                                 ROTATION="9f3c-1", VAULT_CA="pem", CIRCLE_OIDC_TOKEN_V2="a.b.c")
        told = error.splitlines()
        assert code == 3 and arguments == told[told.index(arguments[0]):][:len(arguments)], error


def an_own_authority_of_what_clients_are_shown_is_trusted(checkout):
    """By those verbs that ask regions from outside; the others do not know the option."""
    for verb in ("promote", "settle", "rollback", "drain", "restore", "rotate"):
        _, _, error = operate(checkout, verb, "qa", REGION="europe-west4", TO="1.4.2", SECRET="signing-keys", VAULT_CA="pem",
                              PUBLIC_CA="public pem", CIRCLE_OIDC_TOKEN_V2="a.b.c")
        asks_outside = verb in ("promote", "rollback", "drain", "restore")
        assert ("--public-ca\n/dev/shm/meridian-job." in error) == asks_outside, (verb, error)


def what_has_another_form_reaches_no_command(checkout):
    for asked, variables in [
        (("drain", "qa"), {"REGION": "x; id"}), (("drain", "qa"), {"REGION": "--force"}), (("drain", "qa"), {}),
        (("drain", "qa/../x"), {"REGION": "x"}), (("rotate", "qa"), {"SECRET": "$(id)", "VAULT_CA": "x"}),
        (("rollback", "qa"), {"TO": "--region"}), (("promote", "qa"), {"WHY": "a\nb"}),
        (("rotate", "qa"), {"SECRET": "tls"}), (("delete", "qa"), {}), (("promote",), {}),
    ]:
        code, _, error = operate(checkout, *asked, **variables)
        assert code == 2 and "--env" not in error.splitlines(), (asked, variables, code, error)


def the_token_for_vault_is_in_no_argument(checkout):
    authorities = "-----BEGIN CERTIFICATE-----\n" + "A" * 5000 + "\n-----END CERTIFICATE-----"
    before = sorted(Path("/dev/shm").glob("meridian-job.*"))
    code, out, error = operate(checkout, "promote", "qa", VAULT_CA=authorities, CIRCLE_OIDC_TOKEN_V2="head.body.$sign", ENDS="0")
    assert code == 0 and out == f"head.body.$sign 600 regular file\n{authorities} 600 regular file", (code, out, error)
    assert "head.body" not in error and "--vault-jwt-file\n/dev/shm/meridian-job." in error, error
    assert sorted(Path("/dev/shm").glob("meridian-job.*")) == before, "the token was left behind"
    code, out, error = operate(checkout, "promote", "qa", VAULT_CA=authorities)
    assert code == 2 and not out and "no token to log in to Vault with" in error, (code, out, error)


def a_long_job_has_a_newer_token(checkout):
    """The runner makes tokens; `regions` sees another in its file before the first one ends."""
    runner = checkout.home / "circleci"
    runner.write_text("#!/bin/sh\n[ -f $HOME/second ] && echo second.t.t || echo first.t.t\n")
    runner.chmod(0o755)
    program = checkout.home / "regions"
    program.write_text('''#!/bin/sh
for one in "$@"; do case $one in *.jwt) file=$one ;; esac; done
cat "$file"; touch "$HOME/second"
timeout 20 sh -c 'until grep -q second "$0"; do sleep 0.05; done' "$file" && cat "$file"
''')
    program.chmod(0o755)
    path = f"{checkout.home}:{Path(os.environ['HELM']).parent}:{os.environ['PATH']}"
    code, out, error = checkout.run("../../.circleci/bin/operate", "promote", "qa", VAULT_CA="pem", PATH=path,
                                    REGIONS=str(program), TOKEN_REFRESH_SECONDS="0.2")
    assert code == 0 and out == "first.t.tsecond.t.t", (code, out, error)


def changes_that_are_not_committed_are_refused(checkout):
    file = checkout.folder / "Cargo.toml"
    content = file.read_text()
    file.write_text(content + "# changed\n")
    code, out, error = checkout.run("release")
    file.write_text(content)
    assert code == 1 and not out and "not committed" in error, (code, error)


def another_commit_needs_another_build(checkout):
    checkout.commit("two")
    code, _, error = checkout.run("release")
    assert code == 1 and "run `make image` on this commit first" in error, (code, error)


def an_image_that_is_not_the_pinned_one_is_refused(checkout):
    checkout.build()
    file = checkout.folder / "target/images/images.yaml"
    content = file.read_text()
    file.write_text(re.sub(r"(service@sha256:)[0-9a-f]{64}", r"\g<1>" + "0" * 64, content))
    code, _, error = checkout.run("release")
    file.write_text(content)
    assert code == 1 and "has the digest" in error, (code, error)
    assert checkout.run("find")[0] == 1, "the chart was pushed all the same"


def a_service_that_plays_faults_is_refused(checkout):
    """The text by which such a program is known stands in what it is made from."""
    version = checkout.build()
    out = checkout.folder / "target/images"
    shutil.rmtree(out / "service")
    faults = (config.ROOT / "service/src/http/faults.rs").read_bytes()
    digest = layout(out / "service", "service", version, faults)
    file = out / "images.yaml"
    content = file.read_text()
    file.write_text(re.sub(r"(/service@)sha256:[0-9a-f]{64}", rf"\g<1>{digest}", content))
    code, _, error = checkout.run("release")
    assert code == 1 and "this service plays faults on purpose" in error, (code, error)
    assert "pushing" not in error and checkout.run("find")[0] == 1, "it was pushed all the same"
    # Nor is its image taken for the service's by its name.
    file.write_text(content.replace("/service@", "/service-with-faults@"))
    code, _, error = checkout.run("release")
    assert code == 1 and "service was built for" in error, (code, error)


def another_repository_is_refused(checkout):
    elsewhere = checkout.registry.repository.replace("meridian", "other")
    code, _, error = checkout.run("release", IMAGE_REPOSITORY=elsewhere)
    assert code == 1 and "with the same IMAGE_REPOSITORY" in error, (code, error)


def a_registry_that_is_away_is_not_an_empty_one(checkout):
    code, _, error = checkout.run("find", IMAGE_REPOSITORY="localhost:1/meridian")
    assert code == 2 and "cannot be read" in error, (code, error)
    code, _, error = checkout.run("release", IMAGE_REPOSITORY="localhost:1/meridian")
    assert code == 2, (code, error)
    code, _, error = checkout.run("find", IMAGE_REPOSITORY="")
    assert code == 2 and "IMAGE_REPOSITORY is not set" in error, (code, error)


CHECKS = [
    nothing_is_found_before, what_is_pushed_is_found, a_second_release_changes_nothing, promotion_is_by_digest,
    each_verb_is_given_what_it_takes, an_own_authority_of_what_clients_are_shown_is_trusted,
    what_has_another_form_reaches_no_command, the_token_for_vault_is_in_no_argument,
    a_long_job_has_a_newer_token, *signing.CHECKS, changes_that_are_not_committed_are_refused, another_commit_needs_another_build,
    a_service_that_plays_faults_is_refused, an_image_that_is_not_the_pinned_one_is_refused, another_repository_is_refused,
    a_registry_that_is_away_is_not_an_empty_one,
]


def run():
    """Each on what the one before left."""
    recipes = config.ROOT / "local/images"
    missing = [need for need in ("skopeo", "openssl") if not shutil.which(need)]
    installed = not missing or subprocess.run([recipes / "install", *missing]).returncode == 0
    found = subprocess.run([recipes / "unpacked", "docker-registry", "usr/bin/docker-registry"], stdout=subprocess.PIPE, text=True)
    if not installed or found.returncode:
        skip("release and promote against a real registry", "skopeo, openssl or docker-registry cannot be had here")
        return
    with tempfile.TemporaryDirectory(prefix="meridian-releases.") as folder:
        registry = Registry(Path(folder), found.stdout.strip())
        try:
            checkout = Checkout(Path(folder), registry)
            if not signing.deny().is_file():
                skip("release: a planted advisory is noticed", "cargo-deny is not built; make lint builds it")
            for one in CHECKS:
                check(f"release: {one.__name__.replace('_', ' ')}", one, checkout)
        finally:
            registry.stop()
