"""What is written down from what is so: the README's table of values, and ALERTS.md.

  k8s/tests/run --write-docs
"""

import json
import re

import alerts
import values_schema
from rendering import CHART

README, ALERTS = CHART / "README.md", CHART / "ALERTS.md"
BEGIN, END = "<!-- values: made by k8s/tests/run --write-docs -->\n", "<!-- end of values -->"


def resolved(schema, root):
    reference = schema.get("$ref") or schema.get("allOf", [{}])[0].get("$ref")
    return root["definitions"][reference.rsplit("/", 1)[1]] | {k: v for k, v in schema.items() if k != "allOf"} if reference else schema


def words(schema, root):
    """What a schema admits, in words."""
    schema = resolved(schema, root)
    if "oneOf" in schema:
        return " · ".join(f"`{one['const']}`" for one in schema["oneOf"])
    kind = schema.get("type")
    if kind == "integer":
        return f"{schema['minimum']} to {schema['maximum']}"
    if kind == "number":
        return f"between {schema['exclusiveMinimum']} and {schema['exclusiveMaximum']}"
    if kind == "boolean":
        return "`true` · `false`"
    if kind == "array":
        return f"a list: {words(schema['items'], root)}"
    return schema.get("patternErrorMessage", "text")


def rows(schema, root, path="", optional=False):
    """(name, description, what is admitted) of every key; maps by name show one entry, NAME."""
    schema = resolved(schema, root)
    text = " ".join(schema.get("description", "").split())
    if "patternProperties" in schema:
        [inner] = schema["patternProperties"].values()
        yield path, text, "a map by name", optional
        yield from rows(inner, root, f"{path}.NAME")
    elif "properties" in schema and path != "defaults":
        if path and not path.endswith(".NAME"):
            yield path, text, "a map", optional
        for key, inner in schema["properties"].items():
            left = key not in schema.get("required", [])
            yield from rows(inner, root, f"{path}.{key}" if path else key, left)
    elif path == "defaults":
        yield path, text, "keys of a region", optional
    else:
        yield path, text, words(schema, root), optional


def canonical(name):
    """A value's name as the table has it."""
    name = re.sub(r"^defaults\.", "", name)
    return re.sub(r"^(pools|secrets)(\.[^.]+)?(?=\.|$)", r"\1.NAME", name)


def shown(changes):
    return "every object" if changes == "every object" else ", ".join(sorted(changes))


def table(read):
    """The table of values; `read` has, by name, the objects that change with a value."""
    changed = {}
    for name, (_, objects) in read.items():
        changed.setdefault(canonical(name).removesuffix(".NAME"), set()).add(shown(objects))
    lines = ["| value | what it is | admitted | seen in |", "|---|---|---|---|",
             "| `environment` | name of the environment: its folder in the catalogue | a name | every object |",
             "| `region` | name of the region: its file in the catalogue | a name | every object |"]
    for source in values_schema.SOURCES:
        root = json.loads(source.read_text())
        for name, text, admitted, optional in rows(root, root):
            places = ", ".join(sorted({place for all in changed.get(name, ()) for place in all.split(", ")})) or "–"
            left = "; may be left out" if optional else ""
            lines.append(f"| `{name}` | {text.rstrip('.')} | {admitted}{left} | {places} |".replace("||", "\\|\\|"))
    return "\n".join(lines) + "\n"


def readme(read):
    text = README.read_text()
    assert text.count(BEGIN) == 1 and text.count(END) == 1, "the README has no place for the table of values"
    before, rest = text.split(BEGIN)
    return before + BEGIN + table(read) + END + rest.split(END)[1]


PLACES = {"$error_ratio": "gates.error_ratio", "$latency": "gates.latency_p99", "$min": "workload.min", "$max": "workload.max",
          "{{ $value }}": "N", "{{ $value | humanizePercentage }}": "N %", "{{ $value | humanizeDuration }}": "so long",
          "{{ $labels.document }}": "DOCUMENT", "{{ $labels.secret }}": "SECRET", "{{ $labels.pod }}": "POD", "$ours, ": "",
          "{$ours}": ""}


def plain(text):
    for place, word in PLACES.items():
        text = text.replace(place, word)
    assert "$" not in text, text
    return text


def page():
    """ALERTS.md."""
    lines = [
        "# Alerts", "",
        "Made from [alerts.yaml](alerts.yaml) by `k8s/tests/run --write-docs`. `page` is worth a call at night, `ticket` a look by",
        "day. Each carries the labels `severity`, `environment` and `region`, and as the annotation `runbook` what stands here.",
        "Words with a dot, such as `gates.error_ratio`, are the catalogue's.", "",
    ]
    for severity in ("page", "ticket"):
        for alert in alerts.ALERTS:
            if alert["severity"] == severity:
                lasts = "at once" if alert["for"] == "0s" else f"after {alert['for']}"
                lines += [f"## {alert['alert']}", "", f"`{severity}`, {lasts}. {plain(alert['summary'])}", "",
                          "```promql", plain(alert["expr"]), "```", "", f"**What to do.** {plain(alert['runbook'])}", ""]
    return "\n".join(lines)


def are_current(read):
    assert README.read_text() == readme(read), f"{README.name} is not what is so; k8s/tests/run --write-docs"
    assert ALERTS.exists() and ALERTS.read_text() == page(), f"{ALERTS.name} is not what is so; k8s/tests/run --write-docs"


def every_object_is_explained(rendered):
    """Under its kind in the README's table of what is rendered."""
    text = README.read_text()
    rows = "\n".join(line.split("|")[1] for line in text.split("## What is rendered")[1].split("### ")[0].splitlines() if "|" in line)
    kinds = {o["kind"] for objects, _ in rendered.values() for o in objects}
    missing = [kind for kind in sorted(kinds) if not re.search(rf"\b{kind.removesuffix('Binding') or kind}\b", rows)]
    assert not missing, f"README says nothing of {missing}"


def write(read):
    README.write_text(readme(read))
    ALERTS.write_text(page())
