"""The tests of the chart. Run them with k8s/tests/run; with --lint, those alone that need nothing but files."""

import json
import os
import re
import subprocess
import sys
import time

import yaml

import across
import alerts
import apiserver
import definitions
import docs
import examples
import live
import manifests
import mutants
import programs
import refusals
import rendering
import scheduling
import settings
import values
from rendering import CHART, CATALOGUES, RELEASE, VERSIONS, WORK
from report import check, finish, skip

# Checks of checkov that do not fit, each with its reason and the day on which it was looked at.
CHECKOV_SKIPS = {
    "CKV_K8S_38": "the watcher has rights in Kubernetes; that nobody else is given a token is held by manifests.py",
}


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
                definitions.valid(one, version)
            except AssertionError as error:
                raise AssertionError(f"{label}: {error}") from error


def validation_is_strict():
    """An unknown field is refused in every kind, by every version."""
    for who in ("google", "operator"):
        values = rendering.values_of(CATALOGUES[0], "qa", "europe-west4") | {"monitoring": who}
        for one in rendering.template_values(values):
            broken = json.loads(json.dumps(one))
            broken.setdefault("spec" if "spec" in one else "metadata", {})["unknownField"] = 14
            for version in VERSIONS:
                try:
                    definitions.valid(broken, version)
                except AssertionError:
                    continue
                raise AssertionError(f"Kubernetes {version} took an unknown field in {one['kind']}")


def manifest_checks_hold(objects, given):
    for one in manifests.CHECKS:
        try:
            one(objects, given)
        except Exception as error:
            raise AssertionError(f"{one.__name__.replace('_', ' ')}: {error}") from error


# Changes that mean the same to Kubernetes: TCP is what a port is without a protocol.
SAME = re.compile(r"^NetworkPolicy \w+: spec\.(in|e)gress\.\d\.ports\.\d\.protocol removed$")
# What only an API server can judge: fence.py breaks these one by one, on a real one.
JUDGED = re.compile(r"^ValidatingAdmissionPolicy [\w.]+: spec\.(variables|validations|matchConditions)\.\d\.(e|messageE)xpression changed$")


def every_mutant_is_caught(objects, given, kinds=None):
    manifest_checks_hold(objects, given)
    survivors, count = [], 0
    for name, mutant in mutants.manifest_mutants(objects, kinds):
        count += 1
        for one in manifests.CHECKS:
            try:
                one(mutant, given)
            except Exception:
                break
        else:
            if not SAME.match(name) and not JUDGED.match(name):
                survivors.append(name)
    print(f"     {count} changed manifests, {len(survivors)} not noticed")
    assert not survivors, "\n".join(survivors)


def checkov():
    folder = WORK / "checkov"
    for label, (objects, _) in RENDERED.items():
        file = folder / f"{label.replace('/', '-')}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump_all(objects))
    for file in examples.FILES:
        (folder / f"example-{file.name}").write_text(yaml.safe_dump_all(examples.objects(file)))
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
    labels = rendering.only(objects, "Deployment", "service")["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == "1.2.3", labels


def notes_say_what_a_region_needs():
    """Of every region: where its Vault is, what must be there first, and whether anybody is woken."""
    for label, catalogue, environment, region in rendering.regions():
        values = RENDERED[label][1]
        arguments = rendering.value_arguments(catalogue, environment, region)
        done = rendering.helm("install", "service", RELEASE, "--dry-run=client", "--namespace", rendering.NAMESPACE, *arguments)
        notes = done.stdout.split("NOTES:")[-1]
        wanted = [f"{environment}/{region}:", manifests.vault_address(values), f"https://{values['domain']},", manifests.FENCE,
                  *(name for name, optional in manifests.FOREIGN.items() if not optional),
                  *(f"{rendering.NAMESPACE}/{name}" for name in ("service", "watcher")),
                  {"google": "gmp-system", "operator": "monitoring: operator", "none": "Nobody reads"}[manifests.monitoring(values)]]
        missing = [word for word in wanted if word not in notes]
        assert done.returncode == 0 and not missing, f"{label}: {missing} in {notes}{done.stderr}"


def operators():
    """A region whose metrics the Prometheus operator's Prometheus reads."""
    values = rendering.values_of(CATALOGUES[0], "production", "us-east4") | {"monitoring": "operator"}
    return rendering.template_values(values), values


def of_files():
    """What needs nothing but files and Helm."""
    for region in rendering.regions():
        check(f"helm lint: {region[0]}", lint, *region)
    check("the source, which pins no image, says what to do", source_without_images)
    for label, (objects, given) in RENDERED.items():
        check(f"manifests: {label}: {len(manifests.CHECKS)} checks", manifest_checks_hold, objects, given)
    for version in VERSIONS:
        check(f"strictly valid for Kubernetes {version}: {len(RENDERED)} regions", strictly_valid, version)
    check("an unknown field is seen refused by each version, in each kind", validation_is_strict)
    check("every changed manifest is noticed", every_mutant_is_caught, *RENDERED["regions/production/us-east4"])
    check("every changed manifest is noticed, with an operator", every_mutant_is_caught, *operators(), OPERATORS)
    refusals.run()
    values.run()
    alerts.run()
    across.run(RENDERED)
    examples.run()
    check("README and ALERTS.md say what is so", docs.are_current, values.READ)
    check("README explains every object", docs.every_object_is_explained, RENDERED)
    check("NOTES say what a region needs", notes_say_what_a_region_needs)
    check("checkov", checkov)
    check("the chart is packaged to the same bytes each time", the_package_is_the_same_each_time)


def of_programs():
    """What needs the programs, a Vault, and a Kubernetes API server."""
    programs.run(RENDERED)
    settings.run(RENDERED)
    live.run()
    apiserver.run(RENDERED)
    scheduling.run(RENDERED)


OPERATORS = {"NetworkPolicy", "PodMonitor", "PrometheusRule"}
RENDERED = rendered()
of_files()
if "--lint" not in sys.argv:
    of_programs()
finish("chart-lint" if "--lint" in sys.argv else "chart")
