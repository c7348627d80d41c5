"""The chart rendered as `regions` renders it: the catalogue's two files, then both names."""

import atexit
import copy
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

import random_catalogue

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "k8s" / "chart"
FACTS = yaml.safe_load((CHART / "Chart.yaml").read_text())
HELM = os.environ["HELM"]
NAMESPACE = "meridian"
VERSIONS = ["1.33", "1.34", "1.35", "1.36", "1.37"]
IMAGES = {
    name: f"registry.example/meridian/{name}@sha256:{digit * 64}"
    for name, digit in [("service", "a"), ("secrets-agent", "b"), ("regions", "c")]
}

WORK = Path(tempfile.mkdtemp(prefix="meridian-chart."))
atexit.register(shutil.rmtree, WORK, ignore_errors=True)

# The committed ones, and one that nobody wrote.
CATALOGUES = [ROOT / "regions" / "catalogue", ROOT / "local" / "catalogue", WORK / "random" / "catalogue"]
shutil.copytree(ROOT / "regions" / "schema", WORK / "random" / "schema")
random_catalogue.write(CATALOGUES[2], 3)


class Refused(Exception):
    """Helm did not render; the message is what it said."""


def chart_with(images):
    """A copy of the chart that pins these images; `None` leaves the file out."""
    folder = Path(tempfile.mkdtemp(dir=WORK)) / "meridian"
    shutil.copytree(CHART, folder)
    if images is not None:
        (folder / "images.yaml").write_text(yaml.safe_dump(images))
    return folder


RELEASE = chart_with(IMAGES)


def regions():
    """Every region of the catalogues, as (label, catalogue, environment, region)."""
    found = []
    for catalogue in CATALOGUES:
        for file in sorted(catalogue.glob("*/*.yaml")):
            if not file.name.startswith("_"):
                label = f"{catalogue.parent.name}/{file.parent.name}/{file.stem}"
                found.append((label, catalogue, file.parent.name, file.stem))
    return found


def value_arguments(catalogue, environment, region):
    """What Helm is given for a region."""
    folder = catalogue / environment
    files = ["--values", folder / "_environment.yaml", "--values", folder / f"{region}.yaml"]
    return [*files, "--set-string", f"environment={environment}", "--set-string", f"region={region}"]


def values_of(catalogue, environment, region):
    """The same as one mapping. Helm merges maps; the two files share no key."""
    values = {}
    for file in ("_environment", region):
        values |= yaml.safe_load((catalogue / environment / f"{file}.yaml").read_text())
    return values | {"environment": environment, "region": region}


def helm(*arguments):
    """Runs Helm with nothing of the caller's settings."""
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(WORK)}
    command = [HELM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def template(arguments, chart=RELEASE, version="1.36.0"):
    """The objects that the chart renders to."""
    fixed = ["--namespace", NAMESPACE, "--no-hooks", "--include-crds", "--kube-version", version]
    done = helm("template", "service", chart, *fixed, *arguments)
    if done.returncode:
        raise Refused(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def template_values(values, chart=RELEASE, version="1.36.0"):
    """The objects for values given as one mapping."""
    file = WORK / "values.json"
    file.write_text(json.dumps(values))
    return template(["--values", file], chart, version)


def changed(values, path, value):
    """A copy of the values in which one leaf is another."""
    copied = copy.deepcopy(values)
    *parents, last = path
    place = copied
    for key in parents:
        place = place.setdefault(key, {}) if isinstance(place, dict) else place[key]
    place[last] = value
    return copied


def only(objects, kind, name=None):
    """The one object of a kind."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, f"expected one {kind} {name or ''}, found {len(found)}"
    return found[0]
