"""What the chart tells the programs, read by the programs themselves."""

import json
import subprocess

import manifests
import random_catalogue
import rendering
from rendering import ROOT, WORK
from report import check, skip

STATIC = "target/static/x86_64-unknown-linux-gnu"
FOLDERS = ["target/debug", f"{STATIC}/release", f"{STATIC}/small", "target/release"]
FIELDS = {
    "metadata.name": "service-5d4f9c7b8-x2x9q",
    "metadata.uid": "0b7d5f0e-6f0c-4d3c-9f53-0d3a8c1f7a11",
    "metadata.labels['topology.kubernetes.io/zone']": "europe-west4-b",
}


def newest(name):
    """The program as it was built last."""
    built = [file for folder in FOLDERS if (file := ROOT / folder / name).is_file()]
    return max(built, key=lambda file: file.stat().st_mtime, default=None)


def variables(objects, container):
    """The container's environment, fields of the pod filled in as the kubelet would."""
    annotations = manifests.deployment(objects)["template"]["metadata"]["annotations"]
    fields = FIELDS | {f"metadata.annotations['{key}']": value for key, value in annotations.items()}
    named = {variable["name"] for variable in container["env"] if "valueFrom" in variable}
    found = manifests.environment(container)
    return {key: fields[value] if key in named else value for key, value in found.items()}


def check_config(program, objects, container, extra):
    arguments = []
    if "args" in container:
        file = WORK / "secrets-agent.toml"
        annotations = manifests.deployment(objects)["template"]["metadata"]["annotations"]
        file.write_text(annotations["meridian.internal/secrets-agent.toml"])
        arguments = ["--config", file]
    command = [program, "check-config", *arguments]
    environment = variables(objects, container) | extra
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)


def accepted(program, rendered, pick):
    """With every field of the pod, and with those empty that an older Kubernetes does not know."""
    for label, (objects, _) in rendered.items():
        for extra in ({}, {"SERVICE__IDENTITY__ZONE": ""} if pick is manifests.service else {}):
            done = check_config(program, objects, pick(objects), extra)
            assert done.returncode == 0, f"{label}: {extra}: {done.stdout}{done.stderr}"


def misspelt_is_seen(program, rendered, pick, name, said):
    objects, _ = next(iter(rendered.values()))
    done = check_config(program, objects, pick(objects), {name: "x"})
    assert done.returncode == 2 and said in done.stderr, f"{done.returncode}: {done.stdout}{done.stderr}"


def validated(regions):
    for catalogue in rendering.CATALOGUES:
        done = subprocess.run([regions, "--catalogue", catalogue, "validate"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr


def read_alike(regions):
    """`regions render` says what Helm is given; Helm and a third reader of YAML see the same."""
    shows = WORK / "shows"
    (shows / "templates").mkdir(parents=True)
    (shows / "Chart.yaml").write_text("apiVersion: v2\nname: shows\nversion: 1.0.0\n")
    (shows / "templates" / "values.yaml").write_text("values: {{ .Values | toJson | quote }}\n")
    for label, catalogue, environment, region in rendering.regions():
        command = [regions, "--catalogue", catalogue, "render", f"{environment}/{region}", "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, f"{label}: {done.stderr}"
        said = json.loads(done.stdout)
        [shown] = rendering.template(rendering.value_arguments(catalogue, environment, region), shows)
        assert json.loads(shown["values"]) == said, f"{label}: Helm: {shown['values']}\nregions: {json.dumps(said)}"
        assert rendering.values_of(catalogue, environment, region) == said, label


def run(rendered):
    """Both programs accept what every region's manifest tells them, and would not accept another name."""
    for name, pick, wrong in [
        ("service", manifests.service, "SERVICE__CEILINGS__TOKENLIFE"),
        ("secrets-agent", manifests.agent, "AGENT__VAULT__ADRESS"),
    ]:
        program = newest(name)
        title = f"{name} check-config accepts the variables of {len(rendered)} regions"
        if program is None:
            skip(title, f"{name} is not built; cargo build --package {name}")
            continue
        check(title, accepted, program, rendered, pick)
        said = wrong.rsplit("__", 1)[1].lower()
        check(f"{name} check-config refuses {wrong}", misspelt_is_seen, program, rendered, pick, wrong, said)
    if regions := newest("regions"):
        check(f"regions validate takes every catalogue, a random one too (SEED={random_catalogue.SEED})", validated, regions)
        check("regions render, Helm and another reader see the same values", read_alike, regions)
    else:
        skip("regions reads the catalogues", "regions is not built; cargo build --package regions")
