"""make sign, and what `regions promote` refuses: each against the real registry, with a key of the test's own."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import config

sys.path.insert(0, str(config.ROOT / "local/images"))
import papers  # noqa: E402


def key(folder, name):
    """(file of a private key, the public key as the catalogue has it)."""
    file = folder / f"{name}.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file], check=True, capture_output=True)
    der = subprocess.run(["openssl", "ec", "-in", file, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
    return file, base64.b64encode(der).decode()


def keys(checkout):
    if not hasattr(checkout, "keys"):
        checkout.keys = {name: key(checkout.home, name) for name in ("ours", "theirs")}
    return checkout.keys


def sign(checkout, who="ours", **more):
    return checkout.run("sign", SIGNING_KEY=str(keys(checkout)[who][0]), **more)


def promote(checkout, release, *signers):
    """(exit code, all output) of a dry run in an environment whose catalogue names these signers. The cluster that its
    kubeconfig names is nowhere, so that what passes is refused for that alone."""
    folder = checkout.home / "catalogue"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "qa").mkdir(parents=True)
    text = (config.CATALOGUE / "qa/_environment.yaml").read_text()
    named = "signers:\n" + "".join(f"  - {keys(checkout)[who][1]}\n" for who in signers) if signers else ""
    (folder / "qa/_environment.yaml").write_text(text.replace("defaults:\n", named + "defaults:\n", 1))
    for file in (config.CATALOGUE / "qa").glob("[!_]*.yaml"):
        shutil.copy(file, folder / "qa")
    # Where the first line of each file says that it is.
    shutil.copytree(config.ROOT / "regions/schema", checkout.home / "schema", dirs_exist_ok=True)
    kubeconfig = checkout.home / "kubeconfig"
    kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": []}))
    done = subprocess.run(
        [config.regions_program(), "--catalogue", folder, "promote", "--env", "qa", "--release", release, "--dry-run",
         "--kubeconfig", kubeconfig, "--helm", os.environ["HELM"]],
        env={"HOME": str(checkout.home), "SSL_CERT_FILE": str(checkout.registry.certificate), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def refused(checkout, why, release, *signers):
    code, said = promote(checkout, release, *signers)
    assert code == 1 and why in said, (code, said)


def goes_on(checkout, release, *signers):
    """What stops it is the cluster that is not there."""
    _, said = promote(checkout, release, *signers)
    assert "signed" not in said and "bill" not in said and "context" in said, said


def an_unsigned_release_is_refused_where_the_catalogue_asks_for_a_signature(checkout):
    _, release, _ = checkout.run("find")
    refused(checkout, "is not signed", release, "ours")
    goes_on(checkout, release)


def a_release_named_by_tag_is_refused(checkout):
    _, release, _ = checkout.run("find")
    version = checkout.run("version")[1]
    refused(checkout, "a tag can move", f"{release.split('@')[0]}:{version}", "ours")


def a_file_is_refused_where_the_catalogue_asks_for_a_signature(checkout):
    (package,) = (checkout.folder / "target/images").glob("*.tgz")
    refused(checkout, "signatures stand beside a release in its registry", str(package), "ours")


def a_release_is_signed_once_and_then_promoted(checkout):
    _, release, _ = checkout.run("find")
    code, _, error = sign(checkout)
    assert code == 0, error
    goes_on(checkout, release, "theirs", "ours")
    code, _, error = sign(checkout, "theirs")
    assert code == 0 and "was signed before" in error, error


def a_signature_of_a_stranger_is_refused(checkout):
    _, release, _ = checkout.run("find")
    refused(checkout, "is signed by none of the keys", release, "theirs")


def the_bill_of_materials_holds_to_its_schema_and_names_every_image(checkout):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (checkout.folder / "target/papers/bill.cdx.json").read_text()
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert wrong is None, wrong
    bill = json.loads(text)
    images = {one["name"]: one["version"] for one in bill["components"] if one["type"] == "container"}
    layouts = {name: checkout.folder / "target/images" / name / "index.json" for name in ("service", "secrets-agent", "regions")}
    assert images == {name: json.loads(file.read_text())["manifests"][0]["digest"] for name, file in layouts.items()}, images
    crates = {one["name"]: one for one in bill["components"] if one["type"] == "library"}
    assert {"axum", "vaultrs", "aws-lc-rs", "rustls"} <= set(crates), sorted(crates)
    assert "ring" not in crates and "proptest" not in crates, "it names what is not compiled in"
    without = [name for name, one in crates.items() if "hashes" not in one]
    assert set(without) <= {"regions", "secrets-agent", "secrets-agent-client", "service"}, without
    known = {one["bom-ref"] for one in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    named = {ref for one in bill["dependencies"] for ref in (one["ref"], *one["dependsOn"])}
    assert named <= known, named - known


def the_provenance_names_the_commit(checkout):
    paper = json.loads((checkout.folder / "target/papers/provenance.json").read_text())
    head = config.git(checkout.folder, "rev-parse", "HEAD")
    first = paper["buildDefinition"]["resolvedDependencies"][0]
    assert first["digest"] == {"gitCommit": head} and paper["runDetails"]["metadata"]["invocationId"] == "by-hand", paper


def a_login_is_in_no_paper(checkout):
    made = papers.provenance("c", "https://user:canary@git.example/meridian.git", "b", "i")
    assert "canary" not in json.dumps(made) and made["buildDefinition"]["externalParameters"]["repository"] == "https://git.example/meridian.git"


def a_bill_of_materials_of_another_release_is_refused(checkout):
    """Signed by the very key, and of another package: somebody who may push put it there."""
    _, release, _ = checkout.run("find")
    script = f"""
import importlib.machinery, importlib.util, sys, tempfile
from pathlib import Path
sys.path.insert(0, "local/images")
loader = importlib.machinery.SourceFileLoader("sign", "local/images/sign")
sign = importlib.util.module_from_spec(importlib.util.spec_from_loader("sign", loader)); loader.exec_module(sign)
release = {release!r}
digest = release.split("@")[1]
for file, subject, package in [("one", "sha256:" + "0" * 64, "1" * 64), ("two", digest, "2" * 64)][int(sys.argv[1]):][:1]:
    bill = {{"metadata": {{"component": {{"hashes": [{{"alg": "SHA-256", "content": package}}]}}}}}}
    statement = sign.papers.statement(release.split("@")[0] + "@" + subject, sign.papers.CYCLONEDX, bill)
    repository = release.removeprefix("oci://").split("@")[0]
    with tempfile.TemporaryDirectory() as folder:
        sign.push([(sign.DSSE, sign.envelope(statement), {{}})], f"{{repository}}:{{digest.replace(':', '-')}}.att", Path(folder) / file)
"""
    environment = {"PATH": f"{Path(os.environ['HELM']).parent}:{os.environ['PATH']}", "HOME": str(checkout.home),
                   "SSL_CERT_FILE": str(checkout.registry.certificate), "SIGNING_KEY": str(keys(checkout)["ours"][0]),
                   "PYTHONDONTWRITEBYTECODE": "1"}
    for index, what in enumerate(["is for the release sha256:000", "is for the package 2222"]):
        done = subprocess.run([sys.executable, "-c", script, str(index)], cwd=checkout.folder, env=environment,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        refused(checkout, what, release, "ours")


def deny():
    """The cargo-deny that `make lint` builds."""
    makefile = (config.ROOT / "Makefile").read_text()
    version = re.search(r"^deny_version := (\S+)", makefile, re.MULTILINE)[1]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / f"meridian/cargo-deny-{version}/bin/cargo-deny"


def a_planted_advisory_is_noticed(checkout):
    """cargo-deny with a small database of the test's own: a crate of ours that has an advisory."""
    base = checkout.home / "advisories"
    (base / "crates/axum").mkdir(parents=True)
    (base / "crates/axum/RUSTSEC-2099-0001.md").write_text(
        '```toml\n[advisory]\nid = "RUSTSEC-2099-0001"\npackage = "axum"\ndate = "2099-01-01"\n\n'
        "[versions]\npatched = []\n```\n\n# Planted by a test\n\nNothing is wrong with it.\n")
    config.git(checkout.home, "init", "--quiet", "--initial-branch=main", base)
    config.git(base, "add", ".")
    config.git(base, "commit", "--quiet", "--message", "planted")
    # A database must have a host's name; git finds it here all the same.
    url = "https://advisories.example/planted"
    rewritten = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{base}.insteadOf", "GIT_CONFIG_VALUE_0": url}
    settings = checkout.home / "deny.toml"
    settings.write_text(f'[advisories]\ndb-path = "{checkout.home}/db"\ndb-urls = ["{url}"]\nyanked = "allow"\ngit-fetch-with-cli = true\n')
    done = subprocess.run([deny(), "--locked", "--manifest-path", config.ROOT / "Cargo.toml", "--all-features", "--config", settings, "check",
                           "advisories"], env=os.environ | rewritten | {"CARGO_NET_OFFLINE": "true"}, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode != 0 and "RUSTSEC-2099-0001" in done.stderr, (done.returncode, done.stderr[-3000:])


CHECKS = [
    an_unsigned_release_is_refused_where_the_catalogue_asks_for_a_signature, a_release_named_by_tag_is_refused,
    a_file_is_refused_where_the_catalogue_asks_for_a_signature, a_release_is_signed_once_and_then_promoted,
    a_signature_of_a_stranger_is_refused, the_bill_of_materials_holds_to_its_schema_and_names_every_image,
    the_provenance_names_the_commit, a_login_is_in_no_paper, a_bill_of_materials_of_another_release_is_refused,
    *([a_planted_advisory_is_noticed] if deny().is_file() else []),
]
