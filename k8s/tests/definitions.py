"""How objects may look: Kubernetes' own kinds, by its versions; and the kinds of other projects that the chart uses, for
an API server too: the Prometheus operator's as its own module has them, and those of Google's collectors, which no
registry has, by hand: the fields that its reference lists."""

import functools
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from waiting import until

# It reads a version's definitions, which are megabytes, from their file for each object.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)

TEXT, INTEGER = {"type": "string"}, {"type": "integer"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
LIST = {"type": "array", "items": TEXT}


def fields(required=(), **properties):
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def many(item):
    return {"type": "array", "items": item}


SELECTOR = fields(
    matchLabels=TEXTS, matchExpressions=many(fields(["key", "operator"], key=TEXT, operator=TEXT, values=LIST)))
ENDPOINT = fields(
    ["port"], port={"x-kubernetes-int-or-string": True}, path=TEXT, scheme=TEXT, interval=TEXT, timeout=TEXT,
    params={"type": "object", "additionalProperties": LIST}, proxyUrl=TEXT)
RULE = fields(["expr"], alert=TEXT, record=TEXT, expr=TEXT, labels=TEXTS, annotations=TEXTS, **{"for": TEXT})
GOOGLE = {
    "PodMonitoring": fields(
        ["selector", "endpoints"], selector=SELECTOR, endpoints=many(ENDPOINT),
        targetLabels=fields(metadata=LIST, fromPod=many(fields(["from"], to=TEXT, **{"from": TEXT}))),
        limits=fields(samples=INTEGER, labels=INTEGER, labelNameLength=INTEGER, labelValueLength=INTEGER),
        filterRunning={"type": "boolean"}),
    "Rules": fields(["groups"], groups=many(fields(["name", "rules"], name=TEXT, interval=TEXT, rules=many(RULE)))),
}


def google(kind, spec):
    plural, group = {"PodMonitoring": "podmonitorings", "Rules": "rules"}[kind], "monitoring.googleapis.com"
    schema = fields(["spec"], apiVersion=TEXT, kind=TEXT, metadata={"type": "object"}, spec=spec)
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "versions": [version],
                 "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}},
    }


def operators():
    """The operator's definitions of the two kinds that are used."""
    command = [Path(__file__).parent / "rules/path", "--definitions"]
    folder = Path(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
    for name in ("podmonitors", "prometheusrules"):
        yield yaml.safe_load((folder / f"monitoring.coreos.com_{name}.yaml").read_text())


@functools.cache
def schemas():
    """Schemas by kind, which take no field that they do not name."""
    found = {}
    for one in [*operators(), *(google(kind, spec) for kind, spec in GOOGLE.items())]:
        schema = one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"].pop("status", None)
        found[one["spec"]["names"]["kind"]] = strict(schema)
    return found


def strict(schema):
    """Without other fields than are named; the object's metadata is Kubernetes' own."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and "type" in made:
        made.setdefault("additionalProperties", False)
    return made


def valid(one, version):
    """Strictly, as this version of Kubernetes or the project that the kind is of defines it."""
    if "monitoring" not in one["apiVersion"]:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise AssertionError(f"{one['kind']}: {error.message} at {list(error.path)}") from error
        return
    # The schemas themselves are not checked: their patterns are Go's.
    for error in jsonschema.Draft7Validator(schemas()[one["kind"]]).iter_errors(one):
        raise AssertionError(f"{one['kind']}: {error.message} at {list(error.path)}")


def install(server):
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for one in [*operators(), *(google(kind, spec) for kind, spec in GOOGLE.items())]:
        status, answer, _ = server.call("POST", path, one)
        assert status == 201, answer
        name = one["metadata"]["name"]

        def established(name=name):
            conditions = server.call("GET", f"{path}/{name}")[1].get("status", {}).get("conditions", [])
            return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

        until(f"{name} is served", established, 30)
