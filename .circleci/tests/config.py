"""The pipeline as CircleCI reads it: commands and parameters put in where they are used."""

import json
import re
import subprocess
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


def regions_program():
    """The command `regions` as it was built last, or None."""
    built = [ROOT / "target" / profile / "regions" for profile in ("debug", "release")]
    return max((f for f in built if f.is_file()), key=lambda f: f.stat().st_mtime, default=None)


def git(folder, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Stage:
    """One job of a workflow."""

    def __init__(self, entry, workflow):
        self.kind, given = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        self.given, self.workflow = given, workflow
        self.name = given.get("name", self.kind)
        self.approval = "type" in given
        # What must have ended before, and how: well, where nothing is said.
        waits = [({one: "success"} if isinstance(one, str) else one) for one in given.get("requires", [])]
        self.ends = {name: how for one in waits for name, how in one.items()}
        self.requires = list(self.ends)
        self.count = sum(len(one) for one in waits)

    def environment(self):
        """The environment that it touches, if it touches one."""
        return self.given.get("environment")


def stages(config, workflow="release"):
    return [Stage(entry, workflow) for entry in config["workflows"][workflow]["jobs"]]


def all_stages(config):
    return [stage for workflow in config["workflows"] for stage in stages(config, workflow)]


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


def put_in(content, given):
    """Content with parameters put in where they are used."""
    if isinstance(content, dict):
        return {key: put_in(value, given) for key, value in content.items()}
    if isinstance(content, list):
        return [put_in(value, given) for value in content]
    if isinstance(content, str) and "<< parameters." in content:
        for key, value in given.items():
            if isinstance(value, str):
                content = content.replace(f"<< parameters.{key} >>", value)
    return content


def steps(config, job, given):
    """The steps of a job, its commands put in: (kind, content)."""
    found = []
    for step in job["steps"]:
        kind, content = (step, {}) if isinstance(step, str) else next(iter(step.items()))
        content = put_in(content, given)
        if kind in config.get("commands", {}):
            found += steps(config, config["commands"][kind], content)
        else:
            found.append((kind, content))
    return found


def commands(config, stage):
    """What a stage runs."""
    if stage.approval:
        return []
    return [content["command"] for kind, content in steps(config, config["jobs"][stage.kind], stage.given) if kind == "run"]
