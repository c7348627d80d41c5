"""The schema of the chart's values, made from the catalogue's two schemas, so that both admit the same.

  k8s/tests/run --write-schema
"""

import json

from rendering import CHART, ROOT

FILE = CHART / "values.schema.json"
SOURCES = [ROOT / "regions" / "schema" / f"{name}.schema.json" for name in ("environment", "region")]
# What says nothing to Helm.
DROPPED = {"format", "default", "patternErrorMessage", "title"}
NAME = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,39}$"}

# What the catalogue's schemas leave to `regions validate`, and a chart that is rendered by hand is told here.
SECRETS = {"config": "value", "tls": "value", "clients": "clients", "signing-keys": "keyset"}
GENERATORS = {"value": (["random", "password"], False), "clients": (["random"], True), "keyset": (["ec-p256"], True)}
PRIVATE = {"pattern": "^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)"}


def tightened(properties):
    """The fixed secrets with their kinds, each kind with its generator, and private ranges."""
    secrets = properties["secrets"]
    (pattern,) = secrets["patternProperties"]
    rules = []
    for kind, (generators, required) in GENERATORS.items():
        then = {"properties": {"generator": {"enum": generators}}} | ({"required": ["generator"]} if required else {})
        rules.append({"if": {"required": ["kind"], "properties": {"kind": {"const": kind}}}, "then": then})
    secrets["patternProperties"][pattern]["allOf"] = rules
    secrets["required"] = list(SECRETS)
    secrets["properties"] = {name: {"properties": {"kind": {"const": kind}}} for name, kind in SECRETS.items()}
    properties["range"]["allOf"].append(PRIVATE)
    return properties


def stripped(value):
    """Without the keywords that Helm does not read; names of properties stay, whatever they are."""
    if isinstance(value, list):
        return [stripped(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, inner in value.items():
        if key in ("properties", "patternProperties", "definitions"):
            kept[key] = {name: stripped(schema) for name, schema in inner.items()}
        elif key not in DROPPED:
            kept[key] = stripped(inner)
    return kept


def made():
    """The text of the chart's schema, as the catalogue's are now."""
    environment, region = (stripped(json.loads(source.read_text())) for source in SOURCES)
    shared = set(environment["properties"]) & set(region["properties"])
    assert not shared, f"both files have {shared}, which Helm would merge"
    definitions = environment["definitions"] | region["definitions"]
    for name in set(environment["definitions"]) & set(region["definitions"]):
        assert environment["definitions"][name] == region["definitions"][name], f"{name} means two things"
    names = {
        "environment": NAME | {"description": "Name of the environment: its folder in the catalogue."},
        "region": NAME | {"description": "Name of the region: its file in the catalogue."},
    }
    return json.dumps({
        "$schema": environment["$schema"],
        "title": "Values of the chart: the catalogue's keys, and both names",
        "description": "Made from regions/schema by k8s/tests/run --write-schema.",
        "type": "object",
        "additionalProperties": False,
        "required": [*names, *environment["required"], *region["required"]],
        "anyOf": [
            {"required": ["pools"]},
            {"required": ["defaults"], "properties": {"defaults": {"required": ["pools"]}}},
        ],
        "properties": names | tightened(environment["properties"] | region["properties"]),
        "definitions": definitions,
    }, indent=2) + "\n"


def is_current():
    assert FILE.read_text() == made(), f"{FILE.relative_to(ROOT)} is not what the catalogue's schemas say; k8s/tests/run --write-schema"


if __name__ == "__main__":
    FILE.write_text(made())
