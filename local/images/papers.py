"""What comes with a release: its bill of materials (CycloneDX 1.6), and where it comes from (SLSA provenance 1)."""

import hashlib
import json
import re
import subprocess
import tomllib
import urllib.parse
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = "x86_64-unknown-linux-gnu"
CYCLONEDX = "https://cyclonedx.org/bom"
SLSA = "https://slsa.dev/provenance/v1"
# Ids that follow from what they name: the same release has the same papers.
NAMESPACE = uuid.UUID("6f1c2f0e-53f5-5c0e-9b1b-0d0e0a6d1d10")


def cargo(*arguments):
    done = subprocess.run(["cargo", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"papers: cargo {arguments[0]}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def crates(program):
    """(name, version, licence) of each crate that is compiled into a program, itself first."""
    said = cargo("tree", "--locked", "--package", program, "--edges", "normal", "--target", TARGET, "--prefix", "none",
                 "--no-dedupe", "--format", "{p}|{l}")
    found = {}
    for line in said.splitlines():
        crate, _, licence = line.partition("|")
        name, version = crate.split()[:2]
        found.setdefault((name, version.removeprefix("v")), licence)
    return [(name, version, licence) for (name, version), licence in found.items()]


def locked():
    """Each crate of Cargo.lock by name and version."""
    text = (ROOT / "Cargo.lock").read_text()
    return {(one["name"], one["version"]): one for one in tomllib.loads(text)["package"]}


def component(name, version, licence, lock):
    """A crate as CycloneDX has it; what stands in the registry has the digest that Cargo.lock pins."""
    own = "source" not in lock
    purl = f"pkg:cargo/{name}@{urllib.parse.quote(version)}"
    made = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if licence:
        # cargo still takes the form of old, with a stroke.
        made["licenses"] = [{"expression": licence.replace("/", " OR ")}]
    if not own:
        made["hashes"] = [{"alg": "SHA-256", "content": lock["checksum"]}]
    return made


def edges(included, lock):
    """What each crate of the bill depends on, of what is in the bill."""
    versions = {}
    for name, version in included:
        versions.setdefault(name, []).append(version)
    found = []
    for name, version in sorted(included):
        on = set()
        for dependency in lock[name, version].get("dependencies", []):
            other, _, exact = dependency.partition(" ")
            exact = exact.split(" ")[0]
            on |= {f"pkg:cargo/{other}@{urllib.parse.quote(v)}" for v in versions.get(other, []) if exact in ("", v)}
        found.append({"ref": f"pkg:cargo/{name}@{urllib.parse.quote(version)}", "dependsOn": sorted(on)})
    return found


def bill(release, package, version, images):
    """The bill of materials of a release: its images, and every crate that is compiled into them.

    `release` is oci://REPOSITORY@sha256:DIGEST, `package` the SHA-256 of the packaged chart, `images` the reference of
    each program's image, by digest."""
    lock, included, parts = locked(), {}, []
    dependencies = []
    for program, image in sorted(images.items()):
        inside = crates(program)
        included |= {(name, version): licence for name, version, licence in inside}
        repository, digest = image.split("@")
        purl = f"pkg:oci/{program}@{urllib.parse.quote(digest, safe='')}?repository_url={urllib.parse.quote(repository, safe='')}"
        parts.append({"type": "container", "bom-ref": purl, "name": program, "version": digest, "purl": purl,
                      "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]})
        name, own, _ = inside[0]
        dependencies.append({"ref": purl, "dependsOn": [f"pkg:cargo/{name}@{own}"]})
    libraries = [component(name, version, licence, lock[name, version]) for (name, version), licence in sorted(included.items())]
    repository, digest = release.removeprefix("oci://").split("@")
    purl = f"pkg:oci/meridian@{urllib.parse.quote(digest, safe='')}?repository_url={urllib.parse.quote(repository, safe='')}"
    dependencies.append({"ref": purl, "dependsOn": [one["bom-ref"] for one in parts]})
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, digest + package)}",
        "metadata": {"component": {
            "type": "application", "bom-ref": purl, "name": "meridian", "version": version, "purl": purl,
            "hashes": [{"alg": "SHA-256", "content": package}]}},
        "components": parts + libraries,
        "dependencies": dependencies + edges(set(included), lock),
    }


def provenance(revision, source, builder, build):
    """Where a release comes from, as SLSA has it: the commit, what pins what went in, and the build that made it."""
    def file(name):
        return {"name": name, "digest": {"sha256": hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}}
    repository = re.sub(r"^git@([^:]+):", r"https://\1/", source or "unknown")
    # A login has no place in a paper.
    repository = re.sub(r"//[^/@]*@", "//", repository)
    return {
        "buildDefinition": {
            "buildType": "https://meridian.internal/make-image/v1",
            "externalParameters": {"repository": repository, "revision": revision, "command": "make image"},
            "resolvedDependencies": [
                {"uri": f"git+{repository}", "digest": {"gitCommit": revision}},
                file("Cargo.lock"), file("rust-toolchain.toml"),
                *[file(f"{one}/Dockerfile") for one in ("service", "secrets-agent", "regions")],
            ],
        },
        "runDetails": {"builder": {"id": builder}, "metadata": {"invocationId": build}},
    }


def statement(release, kind, predicate):
    """An in-toto statement about a release."""
    repository, digest = release.removeprefix("oci://").split("@")
    return {"_type": "https://in-toto.io/Statement/v1", "predicateType": kind,
            "subject": [{"name": repository, "digest": {"sha256": digest.removeprefix("sha256:")}}], "predicate": predicate}


def text(value):
    """JSON, the same each time."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
