"""The tests of the chart. Run them with k8s/tests/run."""

import json
import os
import re
import subprocess
import sys
import time

import kubernetes_validate
import yaml

import apiserver
import manifests
import mutants
import programs
import refusals
import rendering
import scheduling
import values
from rendering import CHART, CATALOGUES, RELEASE, VERSIONS, WORK
from report import check, finish, skip

# Checks of checkov that do not fit, each with its reason and the day on which it was looked at.
CHECKOV_SKIPS = {}


def rendered():
    """The objects and values of every region, each rendered once."""
    found = {}
    for label, catalogue, environment, region in rendering.regions():
        arguments = rendering.value_arguments(catalogue, environment, region)
        found[label] = (rendering.template(arguments), rendering.values_of(catalogue, environment, region))
    return found


def lint(label, catalogue, environment, region):
    arguments = rendering.value_arguments(catalogue, environment, region)
    done = rendering.helm("lint", "--strict", RELEASE, *arguments)
    said = [line for line in done.stdout.splitlines() if line.startswith("[") and "icon is recommended" not in line]
    assert done.returncode == 0 and not said, done.stdout + done.stderr


def source_without_images():
    try:
        rendering.template(rendering.value_arguments(CATALOGUES[0], "qa", "europe-west4"), CHART)
    except rendering.Refused as refused:
        assert "images.yaml is missing" in str(refused) and "make image" in str(refused), refused
    else:
        raise AssertionError("the chart's source rendered, with whatever images")


def strictly_valid(version):
    for label, catalogue, environment, region in rendering.regions():
        arguments = rendering.value_arguments(catalogue, environment, region)
        for one in rendering.template(arguments, version=f"{version}.0"):
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise AssertionError(f"{label}: {one['kind']}: {error.message} at {list(error.path)}") from error


def validation_is_strict():
    objects = rendering.template(rendering.value_arguments(CATALOGUES[0], "qa", "europe-west4"))
    for version in VERSIONS:
        broken = json.loads(json.dumps(rendering.only(objects, "Deployment")))
        broken["spec"]["template"]["spec"]["terminationGracePeriod"] = 14
        try:
            kubernetes_validate.validate(broken, version, strict=True)
        except kubernetes_validate.ValidationError:
            continue
        raise AssertionError(f"Kubernetes {version} took an unknown field")


def manifest_checks_hold(objects, given):
    for one in manifests.CHECKS:
        try:
            one(objects, given)
        except Exception as error:
            raise AssertionError(f"{one.__name__.replace('_', ' ')}: {error}") from error


# Changes that mean the same to Kubernetes: TCP is what a port is without a protocol.
SAME = re.compile(r"^NetworkPolicy service: spec\.(in|e)gress\.\d\.ports\.\d\.protocol removed$")


def every_mutant_is_caught(objects, given):
    manifest_checks_hold(objects, given)
    survivors, count = [], 0
    for name, mutant in mutants.manifest_mutants(objects):
        count += 1
        for one in manifests.CHECKS:
            try:
                one(mutant, given)
            except Exception:
                break
        else:
            if not SAME.match(name):
                survivors.append(name)
    print(f"     {count} changed manifests, {len(survivors)} not noticed")
    assert not survivors, "\n".join(survivors)


def checkov():
    folder = WORK / "checkov"
    for label, (objects, _) in RENDERED.items():
        file = folder / f"{label.replace('/', '-')}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump_all(objects))
    program = sys.executable.removesuffix("python") + "checkov"
    skips = ["--skip-check", ",".join(CHECKOV_SKIPS)] if CHECKOV_SKIPS else []
    fixed = ["--framework", "kubernetes", "--skip-download", "--download-external-modules", "false", "--quiet"]
    command = ["nice", "-n", "15", program, *fixed, "--compact", "--output", "json", "--directory", folder, *skips]
    # Names of modules here must not stand before those that checkov imports.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.stdout.strip(), f"checkov ended with {done.returncode} and said: {done.stderr[-2000:]}"
    result = json.loads(done.stdout)
    summary = result["summary"]
    print(f"     checkov {summary['checkov_version']}: {summary['passed']} passed, {summary['failed']} failed")
    failed = {f"{c['check_id']} {c['check_name']}: {c['resource']}" for c in result["results"]["failed_checks"]}
    assert not failed and not summary["failed"] and not summary["parsing_errors"], "\n".join(sorted(failed))
    assert summary["passed"] > 50 * len(RENDERED), "checkov looked at next to nothing"


def the_package_is_the_same_each_time():
    images = WORK / "images.yaml"
    images.write_text(yaml.safe_dump(rendering.IMAGES))
    script = rendering.ROOT / "local" / "images" / "package"
    digests = set()
    for run in "12":
        if digests:
            time.sleep(1.1)
        done = subprocess.run([script, images, "1.2.3", "1700000000", WORK / run], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        digests.add(re.search(r"sha256:[0-9a-f]{64}", done.stdout).group())
    assert len(digests) == 1, digests
    arguments = rendering.value_arguments(CATALOGUES[0], "qa", "europe-west4")
    objects = rendering.template(arguments, WORK / "1" / "meridian-1.2.3.tgz")
    manifests.images_are_pinned(objects, {})
    labels = rendering.only(objects, "Deployment")["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == "1.2.3", labels


def readme_names_every_value():
    schema = json.loads((CHART / "values.schema.json").read_text())
    text = (CHART / "README.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(schema["properties"]), set(rows) ^ set(schema["properties"])


for region in rendering.regions():
    check(f"helm lint: {region[0]}", lint, *region)
check("the source, which pins no image, says what to do", source_without_images)
RENDERED = rendered()
for label, (objects, given) in RENDERED.items():
    check(f"manifests: {label}: {len(manifests.CHECKS)} checks", manifest_checks_hold, objects, given)
for version in VERSIONS:
    check(f"strictly valid for Kubernetes {version}: {len(RENDERED)} regions", strictly_valid, version)
check("an unknown field is seen refused by each version", validation_is_strict)
check("every changed manifest is noticed", every_mutant_is_caught, *RENDERED["regions/production/us-east4"])
refusals.run()
values.run()
programs.run(RENDERED)
apiserver.run(RENDERED)
scheduling.run(RENDERED)
check("checkov", checkov)
check("the chart is packaged to the same bytes each time", the_package_is_the_same_each_time)
check("README names every value", readme_names_every_value)
finish("chart")
