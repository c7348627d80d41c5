"""The examples: valid as they stand, taken by a real API server, and their scripts run beside the real agent."""

import subprocess

import yaml

import definitions
import programs
import rendering
from rendering import IMAGES, NAMESPACE, ROOT, VERSIONS, WORK
from report import check
from waiting import until

FOLDER = ROOT / "k8s" / "examples"
FILLED = {"AGENT_IMAGE": IMAGES["secrets-agent"], "APP_IMAGE": f"registry.example/busybox@sha256:{'d' * 64}",
          "VAULT_ADDRESS": "https://vault.eu.meridian.example:8200"}
FILES = sorted(FOLDER.glob("*.yaml"))
VOLUME = "/run/secrets-volume"


def objects(file, **filled):
    """The objects of an example with its places filled in, as envsubst does it."""
    text = file.read_text()
    for name, value in (FILLED | filled).items():
        assert f"${{{name}}}" in text, f"{file.name} has no place {name}"
        text = text.replace(f"${{{name}}}", value)
    return list(yaml.safe_load_all(text))


def template(file):
    """The pods that it makes."""
    [one] = [o for o in objects(file) if o["kind"] in ("Job", "Deployment")]
    return one["spec"]["template"]


def agent(file):
    [container] = template(file)["spec"]["initContainers"]
    return container


def script(file, folder):
    """The application's script, its volume elsewhere."""
    [container] = template(file)["spec"]["containers"]
    shell, options, text = container["command"]
    return [shell, options, text.replace(VOLUME, str(folder))]


def is_whole(file):
    found = objects(file)
    for one in found:
        assert one["metadata"]["namespace"] == NAMESPACE
        for version in VERSIONS:
            definitions.valid(one, version)
    name = found[0]["metadata"]["name"]
    made = template(file)
    assert made["metadata"]["labels"] == {"app.kubernetes.io/name": name}
    assert name != "service", "the workload's Service, autoscaler and policies would take it for their own"
    [policy] = [o for o in found if o["kind"] == "NetworkPolicy"]
    assert policy["spec"]["podSelector"]["matchLabels"] == made["metadata"]["labels"]
    spec = made["spec"]
    assert spec["terminationGracePeriodSeconds"] <= 14, "a spot node gives 15 s"
    assert agent(file)["restartPolicy"] == "Always", "a native sidecar"
    [volume] = [v for v in spec["volumes"] if v["name"] == "secrets"]
    assert volume["emptyDir"]["medium"] == "Memory" and volume["emptyDir"]["sizeLimit"]
    assert "${" not in str(found), "a place is left"


def aliases_are_not_used(file):
    """Not every reader of YAML follows anchors and merges."""
    tokens = (yaml.AnchorToken, yaml.AliasToken)
    assert not [t for t in yaml.scan(file.read_text()) if isinstance(t, tokens)]


def environment(file):
    """The agent's variables, fields of the pod filled in as the kubelet would."""
    found = {}
    for variable in agent(file)["env"]:
        field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        found[variable["name"]] = programs.FIELDS[field] if field else variable["value"]
    return found


def toml(file):
    return template(file)["metadata"]["annotations"]["meridian.internal/secrets-agent.toml"]


def agent_accepts_it(program, file):
    config = WORK / "example.toml"
    config.write_text(toml(file))
    command = [program, "check-config", "--config", config]
    done = subprocess.run(command, env=environment(file), capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


def is_taken(server, file):
    """By the API server, and its pods by the namespace, which admits restricted ones alone."""
    for one in objects(file):
        server.apply(one)
    made = template(file)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": made["metadata"] | {"name": "example"}, "spec": made["spec"]}
    path = server.path(pod, name=False) + "?dryRun=All&fieldValidation=Strict"
    status, answer, warnings = server.call("POST", path, pod)
    assert status == 201 and not warnings, answer.get("message") or warnings


def on_a_server(server):
    for file in FILES:
        check(f"the API server takes {file.name}, and its pods", is_taken, server, file)


def lines(log):
    return log.read_text().splitlines()


def sees_swaps(folder, change):
    """The script of files.yaml beside an agent that writes into `folder`; `change` writes a new version to Vault."""
    log = folder / "application.log"
    with open(log, "wb") as output:
        application = subprocess.Popen(script(FOLDER / "files.yaml", folder), stdout=output, stderr=output)
    try:
        until("the application sees its first files", lambda: len(lines(log)) == 1, 20)
        change()
        until("the application sees the swap", lambda: len(lines(log)) == 2, 20)
        first, second = lines(log)
        assert first.startswith("swap 1: ") and second.startswith("swap 2: ") and first[6:] != second[6:], lines(log)
    finally:
        application.terminate()
    assert application.wait(10) == 0, lines(log)


def a_job_ends(folder):
    done = subprocess.run(script(FOLDER / "job.yaml", folder), capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stdout.startswith("done, with "), done


def run():
    """What can be seen without a server."""
    for file in FILES:
        check(f"{file.name} is whole, and strictly valid for Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}", is_whole, file)
        check(f"{file.name} uses no aliases", aliases_are_not_used, file)
        if program := programs.newest("secrets-agent"):
            check(f"secrets-agent check-config accepts {file.name}", agent_accepts_it, program, file)
    readme = (FOLDER / "README.md").read_text()
    check("README names every example", lambda: [readme.index(f"({file.name})") for file in FILES])
