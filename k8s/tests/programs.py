"""What the chart tells the programs, read by the programs themselves."""

import subprocess

import manifests
import rendering
from rendering import ROOT, WORK
from report import check, skip

FOLDERS = ["target/debug", "target/static/x86_64-unknown-linux-gnu/release", "target/release"]
FIELDS = {
    "metadata.name": "service-5d4f9c7b8-x2x9q",
    "metadata.uid": "0b7d5f0e-6f0c-4d3c-9f53-0d3a8c1f7a11",
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
    for label, (objects, _) in rendered.items():
        done = check_config(program, objects, pick(objects), {})
        assert done.returncode == 0, f"{label}: {done.stdout}{done.stderr}"


def misspelt_is_seen(program, rendered, pick, name, said):
    objects, _ = next(iter(rendered.values()))
    done = check_config(program, objects, pick(objects), {name: "x"})
    assert done.returncode == 2 and said in done.stderr, f"{done.returncode}: {done.stdout}{done.stderr}"


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
