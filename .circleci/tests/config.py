"""The pipeline as CircleCI reads it: commands and parameters put in where they are used."""

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / ".circleci" / "config.yml"
CATALOGUE = ROOT / "regions" / "catalogue"


class Unique(yaml.SafeLoader):
    """YAML in which no key stands twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"{', '.join(map(str, twice))} twice{node.start_mark}")
        return super().construct_mapping(node, deep)


def read(text):
    """The configuration, with no part shared between two places."""
    return json.loads(json.dumps(yaml.load(text, Unique)))


def environments():
    """The catalogue's environments, in the order of promotion."""
    files = CATALOGUE.glob("*/_environment.yaml")
    return [f.parent.name for f in sorted(files, key=lambda f: yaml.safe_load(f.read_text())["order"])]


def make_targets():
    """Targets that the Makefile has."""
    text = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", text, re.MULTILINE))


class Stage:
    """One job of the workflow."""

    def __init__(self, entry):
        self.kind, given = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        self.given = given
        self.name = given.get("name", self.kind)
        self.approval = "type" in given
        self.requires = given.get("requires", [])

    def environment(self):
        """The environment that it promotes to, if it does."""
        return self.given.get("environment") if self.kind == "promote" else None


def stages(config, workflow="release"):
    return [Stage(entry) for entry in config["workflows"][workflow]["jobs"]]


def before(name, found):
    """Names of all stages that end before a stage begins."""
    requires = {stage.name: stage.requires for stage in found}
    seen, open_ = set(), list(requires.get(name, []))
    while open_:
        one = open_.pop()
        if one not in seen:
            seen.add(one)
            open_ += requires.get(one, [])
    return seen


def steps(config, job, given):
    """The steps of a job, its commands put in: (kind, content)."""
    found = []
    for step in job["steps"]:
        kind, content = (step, {}) if isinstance(step, str) else next(iter(step.items()))
        if kind in config.get("commands", {}):
            found += steps(config, config["commands"][kind], given)
        else:
            text = json.dumps(content)
            for key, value in given.items():
                if isinstance(value, str):
                    text = text.replace(f"<< parameters.{key} >>", value)
            found.append((kind, json.loads(text)))
    return found


def commands(config, stage):
    """What a stage runs."""
    if stage.approval:
        return []
    return [content["command"] for kind, content in steps(config, config["jobs"][stage.kind], stage.given) if kind == "run"]
